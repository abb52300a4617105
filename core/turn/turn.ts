// One turn: the context a handler sees and the write set and effects it gathers. Nothing of it leaves before the
// turn has ended well; a turn that throws is undone. After its end the context refuses to be used.

import type { Cached } from '../game/cacheable.ts'
import type { Emit, Kv, ShardHandle, Rows, Tables, User } from '../game/context.ts'
import type { Contract, Entries } from '../wire/contract.ts'
import { Refusal } from '../wire/errors.ts'
import type { Fields } from '../wire/type.ts'
import type { Activation } from '../engine/activation.ts'
import type { Channel } from '../channel/channel.ts'
import { emitterOf, type Audience } from './emitter.ts'
import { encodeGrant, sendGrant, type SessionGrant } from '../channel/grant.ts'
import { loginSession, userOf } from './login.ts'
import { KvView } from './kv.ts'
import type { Member, UndoStep } from '../channel/members.ts'
import type { CommandPlan } from './plan.ts'
import type { PeerAnswer } from '../ports/directory.ts'
import type { Row, StoredCast } from '../ports/store.ts'
import type { CastReceipt } from './castreceiver.ts'
import { remoteOf } from './remote.ts'
import type { CachedRow } from '../rows/rowcache.ts'
import type { TableRows } from '../rows/tablerows.ts'

/** Leaves when the turn has committed. */
export type Effect = (life: Activation) => void

/** Why the turn runs. */
export interface TurnCause {
  readonly channel: Channel | null
  readonly command: CommandPlan | null
  readonly sequence: number
  readonly flags: number
  /** Shards that wait for this turn, outermost first. */
  readonly chain: readonly string[]
  /** Wall clock by which a calling shard wants its answer; 0 = nobody waits. */
  readonly deadlineMs: number
  readonly onAnswer: ((answer: PeerAnswer) => void) | null
  /** The durable timer that is due. */
  readonly timer: string | null
  /** A durable cast of another shard: remembered with whatever the turn did. */
  readonly receipt: CastReceipt | null
}

/** A turn that nobody waits for. */
export const NO_CALLER: Omit<TurnCause, 'command'> = {
  channel: null,
  sequence: 0,
  flags: 0,
  chain: [],
  deadlineMs: 0,
  onAnswer: null,
  timer: null,
  receipt: null,
}
export class Turn {
  readonly activation: Activation
  readonly cause: TurnCause
  isEnded = false
  /** In a `leave` hook: who has just gone. */
  leavingMember: Member<Channel> | null = null
  effects: Effect[] | null = null
  undoSteps: UndoStep[] | null = null
  /** Changed keys, encoded; null deletes. */
  kvWrites: Map<string, Uint8Array | null> | null = null
  timerWrites: Map<string, { dueMs: number; data: unknown } | null> | null = null
  /** The same keys as they were before this turn. */
  kvBefore: Map<string, Uint8Array | null> | null = null
  /** Durable casts that it makes (or, null, ends). */
  castWrites: Map<number, StoredCast | null> | null = null
  /** Rows that it changed, with how they were before. */
  changedRows: Map<CachedRow, { readonly rows: TableRows; readonly before: Row | null }> | null = null
  /** Its answer waits for MySQL. */
  requiresFlush = false
  /** What it grants the session that caused it. */
  grants: SessionGrant[] | null = null
  /** Its caller was told RETRY_LATER. */
  isAnsweredEarly = false
  /** It acts on the answer of a durable cast. */
  answeredCast: { readonly sequence: number; readonly failed: () => void } | null = null
  #now = 0
  /** Logged in by this very turn. */
  #uid = ''

  constructor(activation: Activation, cause: TurnCause) {
    this.activation = activation
    this.cause = cause
  }

  get key(): string {
    return this.requireActive().shard.id.key
  }
  get state(): unknown {
    return this.requireActive().state
  }
  get now(): number {
    if (this.#now === 0) this.#now = this.requireActive().clock.now()
    return this.#now
  }
  get size(): number {
    return this.requireActive().members.size
  }
  get session(): string {
    return this.cause.channel?.session ?? ''
  }
  get uid(): string {
    return this.#uid || (this.cause.channel?.uid ?? '')
  }
  get joined(): boolean {
    return this.cause.channel?.member != null
  }
  get seat(): number {
    const member = this.leavingMember ?? this.cause.channel?.member
    if (!member) throw new Error('this session has no seat: join first')
    return member.seat
  }
  get log(): Activation['log'] {
    return this.activation.log
  }
  random(): number {
    return this.requireActive().clock.random()
  }

  get broadcast(): Emit<Entries> {
    return this.#emitter({ to: 'all', except: null })
  }
  get others(): Emit<Entries> {
    return this.#emitter({ to: 'all', except: this.cause.channel })
  }
  get push(): Emit<Entries> {
    return this.#emitter({ to: 'channel', channel: this.cause.channel })
  }
  group(name: string): Emit<Entries> {
    return this.#emitter({ to: 'group', name })
  }
  to(seat: number): Emit<Entries> {
    return this.#emitter({ to: 'seat', seat })
  }
  at(contract: Contract, key: string = contract.key): ShardHandle<Entries> {
    this.requireActive()
    return remoteOf(this, contract, key)
  }

  get rows(): Rows<Tables> {
    return new (this.requireActive().plan.rowsView)(this)
  }

  save(): void {
    this.requireActive()
    this.requiresFlush = true
  }

  cached<Params, Value>(what: Cached<Params, Value>, params: Params): Promise<Value> {
    return this.requireActive().cached(what, params)
  }

  bind(contract: Contract, key: string): void {
    const { channel } = this.cause
    this.requireActive().checkKey(contract, key)
    if (!channel) throw new Error('only a session can be bound')
    this.addGrant({ kind: 'bind', contract: contract.name, key })
  }

  async login(uid: string): Promise<void> {
    this.requireActive()
    await loginSession(this, uid)
    this.#uid = uid
  }

  user(uid: string): User {
    this.requireActive()
    return userOf(this, uid)
  }

  get kv(): Kv<Fields> {
    this.requireActive()
    return new KvView(this)
  }

  join(...groups: string[]): number {
    const activation = this.requireActive()
    const channel = this.cause.channel
    if (!channel) throw new Error('only a session can join')
    if (channel.member && groups.length === 0) return channel.member.seat
    if (!channel.member) this.addUndo(activation.members.add(channel))
    for (const group of groups) this.addUndo(activation.members.joinGroup(channel.member!, group))
    this.#membershipChanged(channel)
    // Its connection went while the call waited: it has joined as one that is away.
    if (channel.out === null)
      this.addEffect((activation) => activation.shard.channels.startSeatTimeout(channel))
    return channel.member!.seat
  }

  leave(...groups: string[]): void {
    const activation = this.requireActive()
    const member = this.cause.channel?.member
    if (!member) return
    if (groups.length === 0) this.addUndo(activation.members.remove(member))
    for (const group of groups) this.addUndo(activation.members.leaveGroup(member, group))
    this.#membershipChanged(member.channel)
  }

  after(ms: number, name: string, data: unknown = {}): void {
    const parsed = this.requireActive().timers.checkTimer(name, ms, data)
    this.timerWrites ??= new Map()
    this.timerWrites.set(name, { dueMs: this.now + ms, data: parsed })
  }

  later(ms: number, name: string, data: unknown = {}): void {
    const parsed = this.requireActive().timers.checkTimer(name, ms, data)
    this.addEffect((activation) => activation.timers.setVolatile(name, ms, parsed))
  }

  cancel(name: string): void {
    const { timers } = this.requireActive()
    if (timers.isDurable(name) || this.timerWrites?.has(name)) {
      this.timerWrites ??= new Map()
      this.timerWrites.set(name, null)
    }
    this.addEffect((activation) => activation.timers.cancelVolatile(name))
  }

  fail(code: string, message?: string): Error {
    const { plan } = this.requireActive()
    if (!plan.declaredRefusals.has(code)) {
      return new Error(`${plan.contract.name} does not declare the refusal ${JSON.stringify(code)}`)
    }
    return new Refusal(code, message)
  }

  /** @internal A durable cast: a row of this turn, on its way once it is committed. */
  addCast(cast: Omit<StoredCast, 'sequence' | 'data'>, data: unknown): void {
    this.castWrites ??= new Map()
    const made = this.requireActive().castSender.createCast(cast, data, this.castWrites.size)
    this.castWrites.set(made.sequence, made)
    this.addEffect((activation) => activation.castSender.enqueueCast(made))
  }

  /** @internal Somebody waits for its answer, and may be told to ask again. */
  get hasWaitingCaller(): boolean {
    const { channel, sequence, onAnswer: answer, receipt } = this.cause
    return channel ? sequence !== 0 : answer !== null && receipt === null
  }

  /** @internal It changed something that is to be committed. */
  get hasWrites(): boolean {
    return (
      Boolean(this.kvWrites ?? this.timerWrites ?? this.castWrites ?? this.changedRows) || this.requiresFlush
    )
  }

  /** @internal */
  hasChanged(row: CachedRow): boolean {
    return this.changedRows?.has(row) ?? false
  }

  /** @internal */
  recordChange(row: CachedRow, rows: TableRows, before: Row | null): void {
    this.changedRows ??= new Map()
    this.changedRows.set(row, { rows, before })
  }

  /** @internal Nothing of it is committed or leaves. */
  discard(): void {
    this.effects =
      this.kvWrites =
      this.kvBefore =
      this.timerWrites =
      this.castWrites =
      this.changedRows =
        null
    this.grants = null
    this.requiresFlush = false
  }

  /** @internal Said before the answer, and again with it if it has to be. */
  addGrant(grant: SessionGrant): void {
    const { channel } = this.cause
    this.grants ??= []
    this.grants.push(grant)
    const body = encodeGrant(grant)
    this.addEffect(() => sendGrant(channel?.out ?? null, grant.kind, body))
  }

  /** @internal */
  addEffect(effect: Effect): void {
    this.requireActive()
    if (this.effects === null) this.effects = [effect]
    else this.effects.push(effect)
  }

  /** @internal */
  addUndo(undo: UndoStep): void {
    if (this.undoSteps === null) this.undoSteps = [undo]
    else this.undoSteps.push(undo)
  }

  /** @internal Takes back what the turn changed in memory, last first. */
  rollback(): void {
    if (!this.undoSteps) return
    for (let i = this.undoSteps.length - 1; i >= 0; i--) this.undoSteps[i]!()
    this.activation.membershipChanged()
  }

  #membershipChanged(channel: Channel): void {
    this.activation.membershipChanged()
    this.addEffect(() => channel.sendMembershipToken())
  }

  #emitter(audience: Audience): Emit<Entries> {
    return emitterOf(this, this.requireActive().plan, audience)
  }

  /** @internal The activation, if this turn may still act for it. */
  requireActive(): Activation {
    if (this.isEnded) throw new Error('this context is over: its turn has ended (was an await forgotten?)')
    if (this.activation.isEnded) throw new Error('this context is over: its activation has ended')
    return this.activation
  }
}
