// One turn: the context that a handler sees, and the writes and effects that it collects. Invariant: effects run only
// after the turn ended well and was committed; a turn that throws is undone; a context throws when it is used later.

import type { Cached } from '../game/cacheable.ts'
import type { ContextLog, Emit, Kv, Rows, SessionContext, ShardHandle, Tables, User } from '../game/context.ts'
import type { TableDefinition } from '../game/table.ts'
import type { Contract, Entries } from '../wire/contract.ts'
import { Refusal } from '../wire/errors.ts'
import type { Fields } from '../wire/type.ts'
import type { Row, StoredCast } from '../ports/store.ts'
import type { Channel } from '../channel/channel.ts'
import { encodeGrant, sendGrant, type SessionGrant } from '../channel/retainedreplies.ts'
import type { Members } from '../channel/members.ts'
import type { CachedRow } from '../rows/rowcache.ts'
import type { RowTurn, TableRows } from '../rows/tablerows.ts'
import { emitterOf, type Audience } from './emitter.ts'
import { KvView, type KvTurn } from './kv.ts'
import { loginSession, userOf } from './login.ts'
import type { CommandPlan } from './plan.ts'
import { remoteOf } from './remote.ts'
import type { Effect, TurnCause, TurnHost, TurnScope } from './turnhost.ts'
import { TurnWrites } from './turnwrites.ts'

export class Turn implements SessionContext, RowTurn, KvTurn, TurnScope {
  readonly cause: TurnCause
  readonly command: CommandPlan | null
  /** @internal Only this class writes these fields. */
  isEnded = false
  /** @internal null = the turn changed nothing that is committed. */
  writes: TurnWrites | null = null
  /** @internal What the turn granted to its session. */
  grants: SessionGrant[] | null = null
  readonly #host: TurnHost
  #effects: Effect[] | null = null
  #undoSteps: (() => void)[] | null = null
  #now = 0
  /** Set by a login in this turn. */
  #uid = ''

  constructor(host: TurnHost, cause: TurnCause, command: CommandPlan | null) {
    this.#host = host
    this.cause = cause
    this.command = command
  }

  get key(): string {
    return this.requireActive().shardId.key
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
  get remote(): string {
    return this.cause.channel?.remote ?? ''
  }
  get joined(): boolean {
    return this.cause.channel?.member != null
  }
  get seat(): number {
    const member = this.cause.leavingMember ?? this.cause.channel?.member
    if (!member) throw new Error('this session has no seat: join first')
    return member.seat
  }
  get log(): ContextLog {
    return this.#host.log
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
  at<E extends Entries, Code extends string>(contract: Contract<E, Code>, key?: string): ShardHandle<E> {
    const host = this.requireActive()
    return remoteOf(this, contract, key ?? host.defaultKey(contract))
  }

  get rows(): Rows<Tables> {
    return new (this.requireActive().plan.rowsView)(this)
  }

  save(): void {
    this.requireActive()
    this.changeWrites().requireFlush()
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
    return new KvView(this, this.requireActive().kv)
  }

  join(...groups: string[]): number {
    const { members } = this.requireActive()
    const { channel } = this.cause
    if (!channel) throw new Error('only a session can join')
    if (channel.member && groups.length === 0) return channel.member.seat
    if (!channel.member) this.addUndo(members.add(channel))
    for (const group of groups) this.addUndo(members.joinGroup(channel.member!, group))
    this.#membershipChanged(channel)
    // The connection closed while the call waited: the member joins as detached.
    if (channel.out === null) this.addEffect((host) => host.channels.startSeatTimeout(channel))
    return channel.member!.seat
  }

  leave(...groups: string[]): void {
    const { members } = this.requireActive()
    const member = this.cause.channel?.member
    if (!member) return
    if (groups.length === 0) this.addUndo(members.remove(member))
    for (const group of groups) this.addUndo(members.leaveGroup(member, group))
    this.#membershipChanged(member.channel)
  }

  schedule(ms: number, name: string, data: unknown = {}): void {
    const write = this.requireActive().timers.createWrite(name, ms, data, this.now)
    this.changeWrites().setTimer(name, write)
  }

  setTimer(ms: number, name: string, data: unknown = {}): void {
    const parsed = this.requireActive().timers.checkTimer(name, ms, data)
    this.addEffect((host) => host.timers.setVolatile(name, ms, parsed))
  }

  cancel(name: string): void {
    const { timers } = this.requireActive()
    if (timers.isDurable(name) || this.writes?.timers?.has(name)) this.changeWrites().setTimer(name, null)
    this.addEffect((host) => host.timers.cancelVolatile(name))
  }

  fail(code: string, message?: string): Error {
    const { plan } = this.requireActive()
    if (!plan.declaredRefusals.has(code))
      return new Error(`${plan.definition.contract.name} does not declare the refusal ${JSON.stringify(code)}`)
    return new Refusal(code, message)
  }

  /** @internal */
  get channel(): Channel | null {
    return this.cause.channel
  }
  /** @internal */
  get members(): Members<Channel> {
    return this.requireActive().members
  }
  /** @internal A caller waits for the answer, and can send the call again. */
  get hasWaitingCaller(): boolean {
    const { channel, sequence, onAnswer, receipt } = this.cause
    return channel ? sequence !== 0 : onAnswer !== null && receipt === null
  }

  /** @internal */
  end(): void {
    this.isEnded = true
  }

  /** @internal Ends the turn without writes and effects. */
  discard(): void {
    this.isEnded = true
    this.#effects = this.writes = this.grants = null
  }

  /** @internal Undoes what the turn changed in memory, last change first. */
  rollback(): void {
    if (!this.#undoSteps) return
    for (let i = this.#undoSteps.length - 1; i >= 0; i--) this.#undoSteps[i]!()
    this.#host.membershipChanged()
  }

  /** @internal */
  runEffects(): void {
    if (this.#effects !== null) for (const effect of this.#effects) effect(this.#host)
  }

  /** @internal */
  addCast(cast: Omit<StoredCast, 'sequence' | 'data'>, data: unknown): void {
    const { castSender } = this.requireActive()
    const created = castSender.createCast(cast, data, this.writes?.casts?.size ?? 0)
    this.changeWrites().setCast(created.sequence, created)
    this.addEffect((host) => host.castSender.enqueueCast(created))
  }

  /** @internal Returns the write set of this turn, which is created at the first change. */
  changeWrites(): TurnWrites {
    return (this.writes ??= new TurnWrites())
  }

  /** @internal */
  rowsOf(table: TableDefinition): TableRows {
    return this.requireActive().rows(table)
  }

  /** @internal */
  hasChanged(cached: CachedRow): boolean {
    return this.writes?.rows?.has(cached) ?? false
  }

  /** @internal */
  recordChange(cached: CachedRow, rows: TableRows, before: Row | null): void {
    this.changeWrites().setRow(cached, { rows, before })
  }

  /** @internal */
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
    if (this.#effects === null) this.#effects = [effect]
    else this.#effects.push(effect)
  }

  /** @internal */
  addUndo(undo: () => void): void {
    if (this.#undoSteps === null) this.#undoSteps = [undo]
    else this.#undoSteps.push(undo)
  }

  /** @internal @throws Error when the turn or its activation has ended */
  requireActive(): TurnHost {
    if (this.isEnded) throw new Error('this context is over: its turn has ended (was an await forgotten?)')
    if (this.#host.isEnded) throw new Error('this context is over: its activation has ended')
    return this.#host
  }

  #membershipChanged(channel: Channel): void {
    this.#host.membershipChanged()
    this.addEffect(() => channel.sendMembershipToken())
  }

  #emitter(audience: Audience): Emit<Entries> {
    return emitterOf(this, this.requireActive().plan, audience)
  }
}
