// One turn: the context a handler sees and the write set and effects it gathers. Nothing of it leaves before the
// turn has ended well; a turn that throws is undone. After its end the context refuses to be used.

import type { Cached } from '../game/cacheable.ts'
import type { Emit, Kv, Remote, Rows, Tables, User } from '../game/context.ts'
import type { Contract, Entries } from '../wire/contract.ts'
import { Refusal } from '../wire/errors.ts'
import type { Fields } from '../wire/type.ts'
import type { Activation } from './activation.ts'
import type { Channel } from './channel.ts'
import { emitterOf, type Audience } from './emitter.ts'
import { encodeGrant, sayGrant, type Grant } from './grant.ts'
import { login, userOf } from './identity.ts'
import { KvView } from './kv.ts'
import type { Member, Undo } from './members.ts'
import type { CommandPlan } from './plan.ts'
import type { PeerAnswer, Row, StoredCast } from './ports.ts'
import type { Receipt } from './receipts.ts'
import { remoteOf } from './remote.ts'
import type { CachedRow } from './rowcache.ts'
import type { TableRows } from './rows.ts'

/** Leaves when the turn has committed. */
export type Effect = (life: Activation) => void

/** Why the turn runs. */
export interface Cause {
  readonly channel: Channel | null
  readonly command: CommandPlan | null
  readonly sequence: number
  readonly flags: number
  /** Shards that wait for this turn, outermost first. */
  readonly chain: readonly string[]
  /** Wall clock by which a calling shard wants its answer; 0 = nobody waits. */
  readonly deadlineMs: number
  readonly answer: ((answer: PeerAnswer) => void) | null
  /** The durable timer that is due. */
  readonly timer: string | null
  /** A durable cast of another shard: remembered with whatever the turn did. */
  readonly receipt: Receipt | null
}

/** A turn that nobody waits for. */
export const NOBODY: Omit<Cause, 'command'> = {
  channel: null,
  sequence: 0,
  flags: 0,
  chain: [],
  deadlineMs: 0,
  answer: null,
  timer: null,
  receipt: null,
}
export class Turn {
  readonly life: Activation
  readonly cause: Cause
  ended = false
  /** In a `leave` hook: who has just gone. */
  leaving: Member | null = null
  effects: Effect[] | null = null
  undo: Undo[] | null = null
  /** Changed keys, encoded; null deletes. */
  kvWrites: Map<string, Uint8Array | null> | null = null
  timerWrites: Map<string, { dueMs: number; data: unknown } | null> | null = null
  /** The same keys as they were before this turn. */
  kvBefore: Map<string, Uint8Array | null> | null = null
  /** Durable casts that it makes (or, null, ends). */
  casts: Map<number, StoredCast | null> | null = null
  /** Rows that it changed, with how they were before. */
  changed: Map<CachedRow, { readonly rows: TableRows; readonly before: Row | null }> | null = null
  /** Its answer waits for MySQL. */
  saved = false
  /** What it grants the session that caused it. */
  grants: Grant[] | null = null
  /** Its caller was told RETRY_LATER. */
  told = false
  /** It acts on the answer of a durable cast. */
  finishes: { readonly sequence: number; readonly failed: () => void } | null = null
  #now = 0
  /** Logged in by this very turn. */
  #uid = ''

  constructor(life: Activation, cause: Cause) {
    this.life = life
    this.cause = cause
  }

  get key(): string {
    return this.live().shard.id.key
  }
  get state(): unknown {
    return this.live().state
  }
  get now(): number {
    if (this.#now === 0) this.#now = this.live().clock.now()
    return this.#now
  }
  get size(): number {
    return this.live().members.size
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
    const member = this.leaving ?? this.cause.channel?.member
    if (!member) throw new Error('this session has no seat: join first')
    return member.seat
  }
  get log(): Activation['log'] {
    return this.life.log
  }
  random(): number {
    return this.live().clock.random()
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
  at(contract: Contract, key: string = contract.key): Remote<Entries> {
    this.live()
    return remoteOf(this, contract, key)
  }

  get rows(): Rows<Tables> {
    return new (this.live().plan.rowsView)(this)
  }

  save(): void {
    this.live()
    this.saved = true
  }

  cached<Params, Value>(what: Cached<Params, Value>, params: Params): Promise<Value> {
    return this.live().cached(what, params)
  }

  bind(contract: Contract, key: string): void {
    const { channel } = this.cause
    this.live().checkKey(contract, key)
    if (!channel) throw new Error('only a session can be bound')
    this.grant({ kind: 'bind', contract: contract.name, key })
  }

  async login(uid: string): Promise<void> {
    this.live()
    await login(this, uid)
    this.#uid = uid
  }

  user(uid: string): User {
    this.live()
    return userOf(this, uid)
  }

  get kv(): Kv<Fields> {
    this.live()
    return new KvView(this)
  }

  join(...groups: string[]): number {
    const life = this.live()
    const channel = this.cause.channel
    if (!channel) throw new Error('only a session can join')
    if (channel.member && groups.length === 0) return channel.member.seat
    if (!channel.member) this.onUndo(life.members.add(channel))
    for (const group of groups) this.onUndo(life.members.join(channel.member!, group))
    this.#membershipChanged(channel)
    // Its connection went while the call waited: it has joined as one that is away.
    if (channel.out === null) this.effect((life) => life.shard.attendance.linger(channel))
    return channel.member!.seat
  }

  leave(...groups: string[]): void {
    const life = this.live()
    const member = this.cause.channel?.member
    if (!member) return
    if (groups.length === 0) this.onUndo(life.members.remove(member))
    for (const group of groups) this.onUndo(life.members.quit(member, group))
    this.#membershipChanged(member.channel)
  }

  after(ms: number, name: string, data: unknown = {}): void {
    const parsed = this.live().timers.check(name, ms, data)
    this.timerWrites ??= new Map()
    this.timerWrites.set(name, { dueMs: this.now + ms, data: parsed })
  }

  later(ms: number, name: string, data: unknown = {}): void {
    const parsed = this.live().timers.check(name, ms, data)
    this.effect((life) => life.timers.later(name, ms, parsed))
  }

  cancel(name: string): void {
    const { timers } = this.live()
    if (timers.isDurable(name) || this.timerWrites?.has(name)) {
      this.timerWrites ??= new Map()
      this.timerWrites.set(name, null)
    }
    this.effect((life) => life.timers.stopLater(name))
  }

  fail(code: string, message?: string): Error {
    const { plan } = this.live()
    if (!plan.refuses.has(code)) {
      return new Error(`${plan.contract.name} does not declare the refusal ${JSON.stringify(code)}`)
    }
    return new Refusal(code, message)
  }

  /** @internal A durable cast: a row of this turn, on its way once it is committed. */
  cast(cast: Omit<StoredCast, 'sequence' | 'data'>, data: unknown): void {
    this.casts ??= new Map()
    const made = this.live().casts.make(cast, data, this.casts.size)
    this.casts.set(made.sequence, made)
    this.effect((life) => life.casts.send(made))
  }

  /** @internal Somebody waits for its answer, and may be told to ask again. */
  get isAwaited(): boolean {
    const { channel, sequence, answer, receipt } = this.cause
    return channel ? sequence !== 0 : answer !== null && receipt === null
  }

  /** @internal It changed something that is to be committed. */
  get wrote(): boolean {
    return Boolean(this.kvWrites ?? this.timerWrites ?? this.casts ?? this.changed) || this.saved
  }

  /** @internal */
  touched(row: CachedRow): boolean {
    return this.changed?.has(row) ?? false
  }

  /** @internal */
  touch(row: CachedRow, rows: TableRows, before: Row | null): void {
    this.changed ??= new Map()
    this.changed.set(row, { rows, before })
  }

  /** @internal Nothing of it is committed or leaves. */
  discard(): void {
    this.effects = this.kvWrites = this.kvBefore = this.timerWrites = this.casts = this.changed = null
    this.grants = null
    this.saved = false
  }

  /** @internal Said before the answer, and again with it if it has to be. */
  grant(grant: Grant): void {
    const { channel } = this.cause
    this.grants ??= []
    this.grants.push(grant)
    const body = encodeGrant(grant)
    this.effect(() => sayGrant(channel?.out ?? null, grant.kind, body))
  }

  /** @internal */
  effect(effect: Effect): void {
    this.live()
    if (this.effects === null) this.effects = [effect]
    else this.effects.push(effect)
  }

  /** @internal */
  onUndo(undo: Undo): void {
    if (this.undo === null) this.undo = [undo]
    else this.undo.push(undo)
  }

  /** @internal Takes back what the turn changed in memory, last first. */
  rollback(): void {
    if (!this.undo) return
    for (let i = this.undo.length - 1; i >= 0; i--) this.undo[i]!()
    this.life.membershipChanged()
  }

  #membershipChanged(channel: Channel): void {
    this.life.membershipChanged()
    this.effect((life) => life.sendMemo(channel))
  }

  #emitter(audience: Audience): Emit<Entries> {
    return emitterOf(this, this.live().plan, audience)
  }

  /** @internal The activation, if this turn may still act for it. */
  live(): Activation {
    if (this.ended) throw new Error('this context is over: its turn has ended (was an await forgotten?)')
    if (this.life.over) throw new Error('this context is over: its activation has ended')
    return this.life
  }
}
