// A kind of shard as the engine runs it: what its builder (shard.ts) has collected. The types of handlers are erased here;
// the builder has checked them.

import type { Contract } from '../wire/contract.ts'
import type { Fields } from '../wire/type.ts'
import type { CastAnswer, ContextLog } from './context.ts'
import type { TableDefinition } from './table.ts'

/** A value, or a promise of it. */
export type Awaitable<T> = T | Promise<T>

/** When and how volatile state is saved. */
export interface SnapshotOptions<State, Saved> {
  /** At most this often, while turns run; also when the shard is drained or evicted. */
  readonly everyMs: number
  /** Returns a value from which `load` restores the state; docs/state.md lists what it may hold. Called after a turn. */
  readonly save: (state: State) => Saved
  /** Returns the state of a saved value. A throw refuses the activation. */
  readonly load: (saved: Saved, key: string) => State
}

/** Options of `shard`. */
export interface ShardOptions {
  /** What a bug does beyond rolling the turn back: 'reset' also ends the activation. Default 'keep'. */
  readonly onBug?: 'keep' | 'reset'
}

/** What the engine runs; built by {@link ShardBuilder}, compiled by core/turn/plan.ts. */
export interface ShardDefinition {
  readonly contract: Contract
  access: Access
  /** Turns at a time: 1 for a shard, more for a service. */
  readonly concurrency: number
  readonly stateless: boolean
  readonly onBug: 'keep' | 'reset'
  init: (key: string) => unknown
  snapshot: SnapshotOptions<unknown, unknown> | null
  kv: Fields
  readonly handlers: Map<string, Handler>
  ticker: { readonly hz: number; readonly fixed: boolean; readonly run: Hook<number> } | null
  readonly timers: Map<string, { readonly parse: (data: unknown) => unknown; readonly run: Hook<unknown> }>
  /** By the name in this shard. */
  readonly tables: Map<string, TableDefinition>
  readonly answers: Map<string, AnswerDefinition>
  readonly hooks: Map<MemberHook | ActivationHook, Hook<void>>
  admit: Admit | null
  /** How long a member without connection retains its seat; null = TIMES.lingerMs. */
  lingerMs: number | null
}
/** The hook of a durable cast's answer. */
export interface AnswerDefinition {
  /** Number of the only command whose casts may name it. */
  readonly command: number
  readonly parse: (data: unknown) => unknown
  /** Returns the value of stored data, which `parse` has returned. */
  readonly restore: (data: unknown) => unknown
  readonly run: AnswerHook
}
/** Erased handler: `c` is the runtime's Turn. */
export type Handler = (c: never, input: never) => unknown
export type Hook<Arg> = (c: never, arg: Arg) => unknown
/** Hooks that run when the connection or the seat of a member changes. */
export type MemberHook = 'onDisconnect' | 'onReconnect' | 'onResync' | 'onLeave' | 'onRejoin'
/** Hooks at the begin and the end of an activation. */
export type ActivationHook = 'onActivate' | 'onDeactivate'
export type AnswerHook = (c: never, data: never, answer: CastAnswer<never>) => unknown
/** Permitted callers: other shards only, sessions bound to it, logged-in sessions, or all sessions. */
export type Access = 'shards' | 'bound' | 'players' | 'public'

/** The session that opens a shard, before the shard is activated. */
export interface Admittance {
  /** '' = not logged in. */
  readonly uid: string
  /** 32 hex digits. */
  readonly session: string
  /** IP address of the client; '' = the host cannot determine it. */
  readonly remote: string
  /** Wall clock, milliseconds. */
  readonly now: number
  /** The server's log. */
  readonly log: ContextLog
}
/** Decides whether a session may open the shard with that key. */
export type Admit = (who: Admittance, key: string) => Awaitable<boolean>

export function createDefinition(
  contract: Contract,
  concurrency: number,
  stateless: boolean,
  { onBug = 'keep' }: ShardOptions = {},
): ShardDefinition {
  return {
    contract,
    access: 'shards',
    concurrency,
    stateless,
    onBug,
    init: () => ({}),
    snapshot: null,
    kv: {},
    handlers: new Map(),
    ticker: null,
    timers: new Map(),
    tables: new Map(),
    answers: new Map(),
    hooks: new Map(),
    admit: null,
    lingerMs: null,
  }
}
