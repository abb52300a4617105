// One life of a shard in memory: state, members, timers, and the turns that change them. A turn either ends well
// (its writes are committed, then its effects leave) or leaves no trace. A commit that is not known to be good
// ends the activation: what the next one reads from the store is the truth.

import type { Cached } from '../game/cacheable.ts'
import type { CastAnswer, ContextLog } from '../game/context.ts'
import type { TableDefinition } from '../game/table.ts'
import type { Contract } from '../wire/contract.ts'
import { CODECS } from '../wire/codec.ts'
import { CallError, InputError, PASSED, Refusal, shorten } from '../wire/errors.ts'
import type { Limits } from '../wire/limits.ts'
import { TIMES } from '../wire/limits.ts'
import type { ErrorKind } from '../wire/message.ts'
import type { Channel } from './channel.ts'
import { Casts } from './casts.ts'
import type { Engine } from './engine.ts'
import { KvState } from './kv.ts'
import { encodeMemo, Members } from './members.ts'
import type { Meter } from './meter.ts'
import { Receipts } from './receipts.ts'
import type { Run, ShardPlan } from './plan.ts'
import { Presence } from './presence.ts'
import {
  isKey,
  RETAIN,
  shardName,
  type Clock,
  type Peer,
  type PeerAnswer,
  type Row,
  type RowKey,
  type ShardId,
  type Store,
  type Stored,
  type StoredCast,
} from './ports.ts'
import type { RowCache } from './rowcache.ts'
import { TableRows } from './rows.ts'
import { Settlement } from './settlement.ts'
import type { Shard } from './shard.ts'
import { Snapshots } from './snapshots.ts'
import { Ticker } from './ticker.ts'
import { Timers } from './timers.ts'
import { NOBODY, Turn, type Cause } from './turn.ts'

export class Activation {
  readonly shard: Shard
  readonly plan: ShardPlan
  readonly clock: Clock
  readonly limits: Limits
  readonly meter: Meter
  readonly log: ContextLog
  /** Higher than that of every earlier activation of this shard. */
  readonly number: number
  readonly kv: KvState
  readonly members = new Members()
  readonly presence = new Presence(this)
  readonly timers: Timers
  readonly state: unknown
  readonly settlement: Settlement
  readonly casts = new Casts(this)
  readonly receipts = new Receipts(this)
  readonly rowCache: RowCache
  readonly store: Store
  over = false
  readonly #engine: Engine
  readonly #tables = new Map<TableDefinition, TableRows>()
  readonly #ticker: Ticker | null
  readonly #snapshots: Snapshots | null

  constructor(engine: Engine, shard: Shard, stored: Stored) {
    this.#engine = engine
    this.shard = shard
    this.plan = shard.plan
    this.clock = engine.clock
    this.limits = engine.limits
    this.meter = engine.meter
    this.rowCache = engine.rowCache
    this.store = engine.store
    this.settlement = new Settlement(this, engine)
    this.number = stored.activation
    const { log } = engine
    this.log = {
      info: (message, fields) => log.info(message, { shard: this.name, ...fields }),
      warn: (message, fields) => log.warn(message, { shard: this.name, ...fields }),
    }
    this.kv = new KvState(this.plan.kv, engine.limits.maxKvBytes)
    this.kv.load(stored.kv)
    const { definition } = this.plan
    this.#snapshots =
      definition.snapshot && new Snapshots(definition.snapshot, this.clock, () => this.#saveSnapshot())
    const { key } = shard.id
    this.state =
      stored.snapshot && this.#snapshots ? this.#snapshots.load(stored.snapshot, key) : definition.init(key)
    this.timers = new Timers(this)
    this.timers.load(stored.timers)
    this.casts.load(stored.casts)
    this.#ticker = this.plan.ticker && new Ticker(this, this.plan.ticker)
  }

  get name(): string {
    return shardName(this.shard.id)
  }

  /** No commit is on its way, and with it no answer. */
  get settled(): boolean {
    return this.settlement.idle
  }

  /** Nothing holds it in memory: no members, no volatile timers, no casts, no commit on its way. */
  get disposable(): boolean {
    return this.members.size === 0 && !this.timers.busy && this.casts.size === 0 && this.settlement.idle
  }

  /** When it must be awake, wall clock; null = nothing durable waits. */
  get wakeMs(): number | null {
    const timer = this.timers.wakeMs
    const cast = this.casts.wakeMs
    return timer === null || cast === null ? (timer ?? cast) : Math.min(timer, cast)
  }

  rows(table: TableDefinition): TableRows {
    let rows = this.#tables.get(table)
    if (!rows) this.#tables.set(table, (rows = new TableRows(this, table)))
    return rows
  }

  cached<Params, Value>(what: Cached<Params, Value>, params: Params): Promise<Value> {
    return this.#engine.cache.get(what, params)
  }

  /** Whether a session may be bound to it. @throws InputError */
  checkKey(contract: Contract, key: string): void {
    if (!this.#engine.planOf(contract.name)) throw new InputError(`no shard serves ${contract.name}`)
    if (!isKey(key, this.limits.maxKeyBytes))
      throw new InputError(
        `${shorten(key)} is no key: 1..${this.limits.maxKeyBytes} bytes without control characters`,
      )
  }

  /** A row that another program wrote, as MySQL has it now. */
  refresh(rows: TableRows, key: RowKey, row: Row | null): void {
    this.settlement.commit({ rows: [rows.refresh(key, row)] }, () => rows.refreshed(key))
  }

  /** One call of a channel. Sequences at or below its mark are answered from what is kept. */
  call(channel: Channel, sequence: number, number: number, flags: number, body: Uint8Array): void {
    if (sequence <= channel.mark) return channel.repeat(sequence)
    channel.mark = sequence
    this.perform({ ...NOBODY, channel, sequence, flags }, number, body)
  }

  /** Runs the command `number` with what its contract makes of `body`; what cannot be run is answered at once. */
  perform(cause: Omit<Cause, 'command'>, number: number, body: Uint8Array): void {
    const known = this.plan.commands.get(number) ?? null
    const command = known?.internal && cause.channel ? null : known
    const turn = new Turn(this, { ...cause, command })
    if (!command)
      return this.#refuse(turn, 'system', 'UNKNOWN_COMMAND', `${this.name} has no command ${number}`, number)
    let input: unknown
    try {
      input = command.input(command.codec.decode(body))
    } catch (error) {
      return this.#badInput(turn, error, number)
    }
    this.run(turn, command.run, input)
  }

  /** Runs one turn to its end; an asynchronous one holds the shard meanwhile. */
  run(turn: Turn, handler: Run, input: unknown): void {
    this.meter.turns++
    let result: unknown
    try {
      result = handler(turn, input)
    } catch (error) {
      return this.#failed(turn, error)
    }
    if (result instanceof Promise) this.#await(turn, result)
    else this.#done(turn, result)
  }

  #await(turn: Turn, result: Promise<unknown>): void {
    const resume = this.shard.hold()
    const settle = (end: () => void): void => {
      timer.cancel()
      if (turn.ended) return
      resume(() => {
        if (!this.over) end()
      })
    }
    const timer = this.clock.after(TIMES.turnMs, () =>
      settle(() => {
        this.#failed(turn, new Error(`the turn did not end within ${TIMES.turnMs} ms`))
        this.shard.restart()
      }),
    )
    result.then(
      (value) => settle(() => this.#done(turn, value)),
      (error: unknown) => settle(() => this.#failed(turn, error)),
    )
  }

  #done(turn: Turn, result: unknown): void {
    const { command, channel, sequence, flags } = turn.cause
    let reply: Uint8Array | null = null
    if (command?.output && result !== undefined) {
      try {
        reply = command.codec.encode(command.output(result))
        // `raw` gives the handler's own bytes, which it may use again. A copy by `new`: a Buffer's slice is a view.
        if (reply === result && !this.#leavesNow(turn)) reply = new Uint8Array(reply)
      } catch (error) {
        return this.#failed(
          turn,
          new Error(`${command.name} returned what its contract refuses`, { cause: error }),
        )
      }
    }
    turn.ended = true
    if (turn.grants && channel && command && (flags & RETAIN) !== 0)
      for (const grant of turn.grants) channel.keepGrant(sequence, command.number, grant)
    if (channel && command?.output && (flags & RETAIN) !== 0) {
      channel.keepReply(sequence, command.number, reply ?? NO_BYTES)
    }
    this.settlement.settle(turn, reply, null)
  }

  /** Its answer is neither kept nor held. */
  #leavesNow({ cause, wrote }: Turn): boolean {
    return (cause.flags & RETAIN) === 0 && cause.receipt === null && !wrote && this.settlement.idle
  }

  /** The turn threw: its changes are taken back, the caller is told. */
  #failed(turn: Turn, error: unknown): void {
    const { command } = turn.cause
    // A refusal that this contract does not declare (another shard's, say) or that nobody asked for is a bug.
    if (command && error instanceof Refusal && this.plan.refuses.has(error.code)) {
      this.meter.refusals++
      return this.#refuse(turn, 'refusal', error.code, error.message, command.number)
    }
    if (error instanceof CallError && PASSED.has(error.code))
      return this.#refuse(turn, 'system', error.code, error.message, command?.number ?? 0)
    this.meter.bugs++
    this.#engine.log.error('a handler threw; its turn is rolled back', {
      shard: this.name,
      command: command?.name,
      error: error instanceof Error ? (error.stack ?? error.message).slice(0, 2_000) : String(error),
    })
    this.#refuse(turn, 'system', 'INTERNAL', 'the handler failed', command?.number ?? 0)
    if (turn.cause.timer !== null) this.#retryTimer(turn.cause.timer)
    turn.finishes?.failed()
    if (this.plan.definition.onBug === 'reset') this.shard.restart()
  }

  #badInput(turn: Turn, error: unknown, number: number): void {
    this.meter.badInputs++
    const message = error instanceof InputError ? error.message : 'the body was refused'
    this.#refuse(turn, 'system', 'BAD_INPUT', message, number)
  }

  /** Ends a turn without trace but for its answer. */
  #refuse(turn: Turn, kind: ErrorKind, code: string, message: string, number: number): void {
    turn.rollback()
    turn.ended = true
    turn.discard()
    const { channel, sequence, flags, command } = turn.cause
    const body =
      channel?.legacy && (kind === 'refusal' || PASSED.has(code)) && command
        ? this.shard.legacyRefusal(command, code)
        : null
    if (channel && body) {
      if ((flags & RETAIN) !== 0) channel.keepReply(sequence, number, body)
      return this.settlement.settle(turn, body, null)
    }
    if (channel && (flags & RETAIN) !== 0) channel.keepError(sequence, number, kind, code, message)
    this.settlement.settle(turn, null, { kind, code, message })
  }

  /** A turn that a channel or (null) the clock caused without a call. */
  turnOf(channel: Channel | null, timer: string | null = null): Turn {
    return new Turn(this, { ...NOBODY, channel, timer, command: null })
  }

  /** A timer is due: its turn takes the row away in the same commit as its effects. */
  fire(name: string, data: unknown, durable: boolean): void {
    if (durable && !this.timers.isDue(name, this.clock.now())) return
    const run = this.plan.timers.get(name)
    const turn = this.turnOf(null, durable ? name : null)
    if (durable) turn.timerWrites = new Map([[name, null]])
    if (run) return this.run(turn, run, data)
    this.#engine.log.warn('a stored timer that the game does not declare is dropped', {
      shard: this.name,
      timer: name,
    })
    this.settlement.settle(turn, null, null)
  }

  /** A durable cast of ours was answered: the hook runs, and what it writes ends the cast. `done` = it is committed. */
  answered(cast: StoredCast, answer: PeerAnswer, done: (done: boolean) => void): void {
    const turn = this.turnOf(null)
    turn.finishes = { sequence: cast.sequence, failed: () => done(false) }
    turn.casts = new Map([[cast.sequence, null]])
    turn.effect(() => done(true))
    const run = this.plan.answers.get(cast.answer)
    if (!run) {
      if (cast.answer !== '')
        this.#engine.log.warn('an answer that the game does not declare is dropped', {
          shard: this.name,
          answer: cast.answer,
        })
      return this.settlement.settle(turn, null, null)
    }
    let heard: CastAnswer
    let data: unknown
    try {
      heard = this.#heard(cast, answer)
      data = this.plan.definition.answers.get(cast.answer)!.parse(codec.decode(cast.data))
    } catch (error) {
      return this.#failed(turn, error)
    }
    this.run(turn, (c, input) => run(c, input, heard), data)
  }

  /** A cast whose answer nobody could act on ends without it. */
  drop(cast: StoredCast, done: () => void): void {
    this.#engine.log.error('the answer of a cast failed too often and is dropped', {
      shard: this.name,
      answer: cast.answer,
      target: shardName(cast.target),
    })
    const turn = this.turnOf(null)
    turn.casts = new Map([[cast.sequence, null]])
    turn.effect(done)
    this.settlement.settle(turn, null, null)
  }

  #heard(cast: StoredCast, answer: PeerAnswer): CastAnswer {
    if (answer.kind !== 'reply') return { ok: false, code: answer.code, message: answer.message }
    const command = this.#engine.planOf(cast.target.contract)?.commands.get(cast.command)
    if (!command?.output || answer.body === null) return { ok: true, output: undefined }
    return { ok: true, output: command.output(command.codec.decode(answer.body)) }
  }

  /** The turn of a durable timer threw: it is run again later, or dropped when that did not help. */
  #retryTimer(name: string): void {
    if (this.timers.retry(name)) return
    this.#engine.log.error('a timer failed too often and is dropped', { shard: this.name, timer: name })
    const drop = this.turnOf(null)
    drop.timerWrites = new Map([[name, null]])
    this.settlement.settle(drop, null, null)
  }

  membershipChanged(): void {
    this.#ticker?.update(this.members.size > 0)
  }

  sendMemo(channel: Channel): void {
    channel.out?.memo(encodeMemo(channel.member))
  }

  peer(id: ShardId): Peer {
    return this.#engine.peer(id)
  }

  /** A turn has ended: the state may have changed. */
  touched(): void {
    this.#snapshots?.touched()
  }

  /** Saves the snapshot now, if the shard has any; the returned promise waits for the store. */
  save(): Promise<void> {
    this.#snapshots?.stop()
    this.#saveSnapshot()
    return this.settlement.emptied()
  }

  /** Nothing of this activation speaks or acts from here on. */
  end(): void {
    this.over = true
    this.#ticker?.update(false)
    this.#snapshots?.stop()
    this.timers.stop()
    this.settlement.stop()
    this.casts.stop()
    for (const rows of this.#tables.values()) rows.end()
  }

  #saveSnapshot(): void {
    if (this.over || !this.#snapshots) return
    let bytes: Uint8Array
    try {
      bytes = this.#snapshots.encode(this.state)
    } catch (error) {
      this.meter.bugs++
      this.#engine.log.error('the snapshot could not be made', { shard: this.name, error: String(error) })
      return
    }
    this.settlement.commit({ snapshot: bytes }, () => {})
  }
}

const codec = CODECS.get('msgpack')!
const NO_BYTES = new Uint8Array(0)
