// A turn's cause, and the activation as turns and their parts use it: interfaces, so that Turn, Timers and CastSender
// need not import each other. core/engine/activation.ts implements TurnHost.

import type { Cached } from '../game/cacheable.ts'
import type { TableDefinition } from '../game/table.ts'
import type { Contract } from '../wire/contract.ts'
import type { Limits } from '../wire/limits.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { Clock } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { Peer, PeerAnswer } from '../ports/directory.ts'
import type { ChannelWrite, StoredCast, WriteSet } from '../ports/store.ts'
import type { Channel } from '../channel/channel.ts'
import type { ChannelActivation, ChannelRegistry } from '../channel/channelregistry.ts'
import type { Member, Members } from '../channel/members.ts'
import type { SessionGrant } from '../channel/retainedreplies.ts'
import type { RowHost, TableRows } from '../rows/tablerows.ts'
import type { KvState } from './kv.ts'
import type { EngineMeter } from './meter.ts'
import type { ShardPlan } from './plan.ts'
import type { TimerWrite } from './turnwrites.ts'

/** Why a turn runs, and what waits for its answer. */
export interface TurnCause {
  readonly channel: Channel | null
  /** Of the channel's call; 0 = the turn is no call. */
  readonly sequence: number
  readonly flags: number
  /** The shards that wait for this turn, first caller first. */
  readonly chain: readonly string[]
  /** Monotonic clock; the calling shard waits until then. 0 = no deadline. */
  readonly deadlineMs: number
  readonly onAnswer: ((answer: PeerAnswer) => void) | null
  /** Of a durable cast from another shard: stored in the commit of this turn. */
  readonly receipt: CastReceipt | null
  /** Runs when the handler threw a bug or a propagated error and the turn was rolled back: no caller runs it again. */
  readonly onFailed: ((error: unknown) => void) | null
  /** In an `onLeave` hook: the member that left. */
  readonly leavingMember: Member<Channel> | null
}

export const NO_CALLER: TurnCause = {
  channel: null,
  sequence: 0,
  flags: 0,
  chain: [],
  deadlineMs: 0,
  onAnswer: null,
  receipt: null,
  onFailed: null,
  leavingMember: null,
}

/** The last durable cast of one sender, as its commit stores it. */
export interface CastReceipt {
  createWrite(nowMs: number, answer: PeerAnswer): ChannelWrite
  /** What the Store gets back when the turn is undone; called before `createWrite`. */
  createUndoWrite(nowMs: number): ChannelWrite
}

/** Work of a turn that runs when the turn is committed. */
export type Effect = (host: TurnHost) => void

/** What every part of an activation uses. */
export interface ActivationContext {
  readonly shardId: ShardId
  readonly name: string
  /** The number of the activation, above that of every earlier one of this shard. */
  readonly number: number
  readonly plan: ShardPlan
  readonly clock: Clock
  readonly limits: Limits
  readonly meter: EngineMeter
  /** Adds the name of the shard to each line. */
  readonly log: Log
  readonly isEnded: boolean
  /** `onDeactivate` has begun: ticks and timers cause no more turns. */
  readonly isDeactivating: boolean
  peer(id: ShardId): Peer
  /** Commits a change that no turn made. */
  commitParts(parts: Partial<WriteSet>, onCommitted: () => void): void
}

/** The shard, as its activation uses it. */
export interface TurnShard {
  /** Asynchronous turns occupy the shard. */
  readonly isBusy: boolean
  /** Runs work after the queued work, or drops it when the activation ends. */
  enqueueWork(run: () => void): void
  /** Begins an asynchronous turn. The returned function ends it, inside the engine's run. */
  beginAsyncTurn(): (end: () => void) => void
  /** Runs work inside the engine's run: turns that it causes run after it. */
  inRun(work: () => void): void
  commitSucceeded(): void
  /** Ends the activation and, if work waits, begins the next. */
  restart(): void
  /** The same after a failed commit; the next activation begins after `until` settled. */
  restartAfterFailure(until?: Promise<unknown>): void
}

export interface TurnHost extends ActivationContext, RowHost, ChannelActivation {
  readonly log: Log
  readonly meter: EngineMeter
  readonly state: unknown
  /** Called at the end of a turn, until one succeeds. @throws the error of `save`, or TypeError with path and reason */
  checkSnapshot(): void
  readonly kv: KvState
  readonly members: Members<Channel>
  readonly timers: TurnTimers
  readonly castSender: TurnCasts
  readonly channels: Pick<ChannelRegistry, 'startSeatTimeout' | 'endChannel' | 'expectSession'>
  rows(table: TableDefinition): TableRows
  cached<Params, Value>(definition: Cached<Params, Value>, params: Params): Promise<Value>
  /** The key of `c.at(contract)`. @throws InputError for a kind of shard without default key */
  defaultKey(contract: Contract): string
  /** @throws InputError when no session can be bound to this key */
  checkKey(contract: Contract, key: string): void
  membershipChanged(): void
}

export interface TurnTimers {
  /** Returns the parsed data. @throws InputError for an unknown name, a bad delay, bad data, too many timers */
  checkTimer(name: string, ms: number, data: unknown): unknown
  /** The same for a durable timer. @throws TypeError for data that cannot be stored, InputError for too much */
  createWrite(name: string, ms: number, data: unknown, nowMs: number): TimerWrite
  isDurable(name: string): boolean
  setVolatile(name: string, ms: number, data: unknown): void
  cancelVolatile(name: string): void
}

export interface TurnCasts {
  /** `earlier`: casts that the turn made before. @throws InputError for too many pending casts, an unknown answer */
  createCast(cast: Omit<StoredCast, 'sequence' | 'data'>, data: unknown, earlier: number): StoredCast
  enqueueCast(cast: StoredCast): void
}

/** The turn, as its emitters, its login and its handles of other shards use it. */
export interface TurnScope {
  readonly cause: TurnCause
  /** @throws Error when the turn or its activation has ended */
  requireActive(): TurnHost
  addEffect(effect: Effect): void
  /** Creates a durable cast, which is stored by this turn and sent after its commit. */
  addCast(cast: Omit<StoredCast, 'sequence' | 'data'>, data: unknown): void
  /** Sends a grant before the answer, and again with each resend of the answer. */
  addGrant(grant: SessionGrant): void
}
