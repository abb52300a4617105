// One life of a shard in memory: state, members, timers, and the turns that change them. A turn either ends well
// (its writes are committed, then its effects leave) or leaves no trace. A commit that is not known to be good
// ends the activation: what the next one reads from the store is the truth.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import type { Cached } from '../game/cacheable.ts'
import type { CastAnswer, ContextLog } from '../game/context.ts'
import type { TableDefinition } from '../game/table.ts'
import type { Contract } from '../wire/contract.ts'
import { CODECS } from '../wire/codec.ts'
import { CallError, InputError, PROPAGATED_CODES, Refusal, shorten } from '../wire/errors.ts'
import type { Limits } from '../wire/limits.ts'
import { TIMES } from '../wire/limits.ts'
import type { ErrorKind } from '../wire/message.ts'
import type { Channel } from '../channel/channel.ts'
import { MemberLifecycle, type MemberHook } from '../channel/memberlifecycle.ts'
import { CastSender } from '../turn/castsender.ts'
import type { Engine } from './engine.ts'
import { KvState } from '../turn/kv.ts'
import { Members, type Member } from '../channel/members.ts'
import type { EngineMeter } from './meter.ts'
import { CastReceiver } from '../turn/castreceiver.ts'
import type { TurnHandler, ShardPlan } from '../turn/plan.ts'
import { isKey, shardName, type ShardId } from '../wire/shardid.ts'
import { RETAIN } from '../ports/link.ts'
import type { Clock } from '../ports/clock.ts'
import type { Peer, PeerAnswer } from '../ports/directory.ts'
import type { Row, RowKey, Store, StoredShard, StoredCast } from '../ports/store.ts'
import type { RowCache } from '../rows/rowcache.ts'
import { TableRows } from '../rows/tablerows.ts'
import { TurnCommit } from '../turn/turncommit.ts'
import type { Shard } from './shard.ts'
import { Snapshots } from './snapshots.ts'
import { Ticker } from './ticker.ts'
import { Timers } from '../turn/timers.ts'
import { NO_CALLER, Turn, type TurnCause } from '../turn/turn.ts'

export class Activation {
  readonly shard: Shard
  readonly plan: ShardPlan
  readonly clock: Clock
  readonly limits: Limits
  readonly meter: EngineMeter
  readonly log: ContextLog
  /** Higher than that of every earlier activation of this shard. */
  readonly number: number
  readonly kv: KvState
  readonly members = new Members<Channel>()
  readonly memberLifecycle = new MemberLifecycle(this)
  readonly timers: Timers
  readonly state: unknown
  readonly turnCommit: TurnCommit
  readonly castSender = new CastSender(this)
  readonly castReceiver = new CastReceiver(this)
  readonly rowCache: RowCache
  readonly store: Store
  isEnded = false
  readonly #engine: Engine
  readonly #tables = new Map<TableDefinition, TableRows>()
  readonly #ticker: Ticker | null
  readonly #snapshots: Snapshots | null

  constructor(engine: Engine, shard: Shard, stored: StoredShard) {
    this.#engine = engine
    this.shard = shard
    this.plan = shard.plan
    this.clock = engine.clock
    this.limits = engine.limits
    this.meter = engine.meter
    this.rowCache = engine.rowCache
    this.store = engine.store
    this.turnCommit = new TurnCommit(this, engine)
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
    this.timers.restore(stored.timers)
    this.castSender.restore(stored.casts)
    this.#ticker = this.plan.ticker && new Ticker(this, this.plan.ticker)
  }

  get name(): string {
    return shardName(this.shard.id)
  }

  /** No commit is on its way, and with it no answer. */
  get isFullyCommitted(): boolean {
    return this.turnCommit.isIdle
  }

  /** Nothing holds it in memory: no members, no volatile timers, no casts, no commit on its way. */
  get canEvict(): boolean {
    return (
      this.members.size === 0 &&
      !this.timers.hasVolatile &&
      this.castSender.size === 0 &&
      this.turnCommit.isIdle
    )
  }

  /** When it must be awake, wall clock; null = nothing durable waits. */
  get wakeMs(): number | null {
    const timer = this.timers.wakeMs
    const cast = this.castSender.wakeMs
    return timer === null || cast === null ? (timer ?? cast) : Math.min(timer, cast)
  }

  rows(table: TableDefinition): TableRows {
    let rows = this.#tables.get(table)
    if (!rows) this.#tables.set(table, (rows = new TableRows(this, table)))
    return rows
  }

  cached<Params, Value>(what: Cached<Params, Value>, params: Params): Promise<Value> {
    return this.#engine.valueCache.get(what, params)
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
  refreshRow(rows: TableRows, key: RowKey, row: Row | null): void {
    this.turnCommit.commitParts({ rows: [rows.beginRefresh(key, row)] }, () => rows.endRefresh(key))
  }

  /** One call of a channel. Sequences at or below its mark are answered from what is kept. */
  runCall(channel: Channel, sequence: number, number: number, flags: number, body: Uint8Array): void {
    if (!channel.beginCall(sequence)) return
    this.runCommand({ ...NO_CALLER, channel, sequence, flags }, number, body)
  }

  /** Runs the command `number` with what its contract makes of `body`; what cannot be run is answered at once. */
  runCommand(cause: Omit<TurnCause, 'command'>, number: number, body: Uint8Array): void {
    const declared = this.plan.commands.get(number) ?? null
    const command = declared?.internal && cause.channel ? null : declared
    const turn = new Turn(this, { ...cause, command })
    if (!command)
      return this.#refuseTurn(
        turn,
        'system',
        'UNKNOWN_COMMAND',
        `${this.name} has no command ${number}`,
        number,
      )
    let input: unknown
    try {
      input = command.input(command.codec.decode(body))
    } catch (error) {
      return this.#refuseInput(turn, error, number)
    }
    this.runTurn(turn, command.run, input)
  }

  /** Runs one turn to its end; an asynchronous one holds the shard meanwhile. */
  runTurn(turn: Turn, handler: TurnHandler, input: unknown): void {
    this.meter.turns++
    let result: unknown
    try {
      result = handler(turn, input)
    } catch (error) {
      return this.#failTurn(turn, error)
    }
    if (result instanceof Promise) this.#awaitTurn(turn, result)
    else this.#completeTurn(turn, result)
  }

  #awaitTurn(turn: Turn, result: Promise<unknown>): void {
    const resume = this.shard.beginAsyncTurn()
    const finish = (end: () => void): void => {
      timer.cancel()
      if (turn.isEnded) return
      resume(() => {
        if (!this.isEnded) end()
      })
    }
    const timer = this.clock.after(TIMES.turnMs, () =>
      finish(() => {
        this.#failTurn(turn, new Error(`the turn did not end within ${TIMES.turnMs} ms`))
        this.shard.restart()
      }),
    )
    result.then(
      (value) => finish(() => this.#completeTurn(turn, value)),
      (error: unknown) => finish(() => this.#failTurn(turn, error)),
    )
  }

  #completeTurn(turn: Turn, result: unknown): void {
    const { command, channel, sequence, flags } = turn.cause
    let reply: Uint8Array | null = null
    if (command?.output && result !== undefined) {
      try {
        reply = command.codec.encode(command.output(result))
        // `raw` gives the handler's own bytes, which it may use again. A copy by `new`: a Buffer's slice is a view.
        if (reply === result && !this.#canReleaseNow(turn)) reply = new Uint8Array(reply)
      } catch (error) {
        return this.#failTurn(
          turn,
          new Error(`${command.name} returned what its contract refuses`, { cause: error }),
        )
      }
    }
    turn.isEnded = true
    if (turn.grants && channel && command && (flags & RETAIN) !== 0)
      for (const grant of turn.grants) channel.retainGrant(sequence, command.number, grant)
    if (channel && command?.output && (flags & RETAIN) !== 0) {
      channel.retainReply(sequence, command.number, reply ?? EMPTY_BYTES)
    }
    this.turnCommit.commitTurn(turn, reply, null)
  }

  /** Its answer is neither kept nor held. */
  #canReleaseNow({ cause, hasWrites: wrote }: Turn): boolean {
    return (cause.flags & RETAIN) === 0 && cause.receipt === null && !wrote && this.turnCommit.isIdle
  }

  /** The turn threw: its changes are taken back, the caller is told. */
  #failTurn(turn: Turn, error: unknown): void {
    const { command } = turn.cause
    // A refusal that this contract does not declare (another shard's, say) or that nobody asked for is a bug.
    if (command && error instanceof Refusal && this.plan.declaredRefusals.has(error.code)) {
      this.meter.refusals++
      return this.#refuseTurn(turn, 'refusal', error.code, error.message, command.number)
    }
    if (error instanceof CallError && PROPAGATED_CODES.has(error.code))
      return this.#refuseTurn(turn, 'system', error.code, error.message, command?.number ?? 0)
    this.meter.bugs++
    this.#engine.log.error('a handler threw; its turn is rolled back', {
      shard: this.name,
      command: command?.name,
      error: error instanceof Error ? (error.stack ?? error.message).slice(0, 2_000) : String(error),
    })
    this.#refuseTurn(turn, 'system', 'INTERNAL', 'the handler failed', command?.number ?? 0)
    if (turn.cause.timer !== null) this.#retryTimer(turn.cause.timer)
    turn.answeredCast?.failed()
    if (this.plan.definition.onBug === 'reset') this.shard.restart()
  }

  #refuseInput(turn: Turn, error: unknown, number: number): void {
    this.meter.badInputs++
    const message = error instanceof InputError ? error.message : 'the body was refused'
    this.#refuseTurn(turn, 'system', 'BAD_INPUT', message, number)
  }

  /** Ends a turn without trace but for its answer. */
  #refuseTurn(turn: Turn, kind: ErrorKind, code: string, message: string, number: number): void {
    turn.rollback()
    turn.isEnded = true
    turn.discard()
    const { channel, sequence, flags, command } = turn.cause
    const body =
      channel?.legacy && (kind === 'refusal' || PROPAGATED_CODES.has(code)) && command
        ? this.shard.encodeLegacyRefusal(command, code)
        : null
    if (channel && body) {
      if ((flags & RETAIN) !== 0) channel.retainReply(sequence, number, body)
      return this.turnCommit.commitTurn(turn, body, null)
    }
    if (channel && (flags & RETAIN) !== 0) channel.retainError(sequence, number, kind, code, message)
    this.turnCommit.commitTurn(turn, null, { kind, code, message })
  }

  /** A turn that a channel or (null) the clock caused without a call. */
  newTurn(channel: Channel | null, timer: string | null = null): Turn {
    return new Turn(this, { ...NO_CALLER, channel, timer, command: null })
  }

  /** A timer is due: its turn takes the row away in the same commit as its effects. */
  fireTimer(name: string, data: unknown, durable: boolean): void {
    if (durable && !this.timers.isDue(name, this.clock.now())) return
    const run = this.plan.timers.get(name)
    const turn = this.newTurn(null, durable ? name : null)
    if (durable) turn.timerWrites = new Map([[name, null]])
    if (run) return this.runTurn(turn, run, data)
    this.#engine.log.warn('a stored timer that the game does not declare is dropped', {
      shard: this.name,
      timer: name,
    })
    this.turnCommit.commitTurn(turn, null, null)
  }

  /** A durable cast of ours was answered: the hook runs, and what it writes ends the cast. `done` = it is committed. */
  castAnswered(cast: StoredCast, answer: PeerAnswer, onDone: (onDone: boolean) => void): void {
    const turn = this.newTurn(null)
    turn.answeredCast = { sequence: cast.sequence, failed: () => onDone(false) }
    turn.castWrites = new Map([[cast.sequence, null]])
    turn.addEffect(() => onDone(true))
    const run = this.plan.answers.get(cast.answer)
    if (!run) {
      if (cast.answer !== '')
        this.#engine.log.warn('an answer that the game does not declare is dropped', {
          shard: this.name,
          answer: cast.answer,
        })
      return this.turnCommit.commitTurn(turn, null, null)
    }
    let castAnswer: CastAnswer
    let data: unknown
    try {
      castAnswer = this.#decodeCastAnswer(cast, answer)
      data = this.plan.definition.answers.get(cast.answer)!.parse(codec.decode(cast.data))
    } catch (error) {
      return this.#failTurn(turn, error)
    }
    this.runTurn(turn, (c, input) => run(c, input, castAnswer), data)
  }

  /** A cast whose answer nobody could act on ends without it. */
  dropCast(cast: StoredCast, onDone: () => void): void {
    this.#engine.log.error('the answer of a cast failed too often and is dropped', {
      shard: this.name,
      answer: cast.answer,
      target: shardName(cast.target),
    })
    const turn = this.newTurn(null)
    turn.castWrites = new Map([[cast.sequence, null]])
    turn.addEffect(onDone)
    this.turnCommit.commitTurn(turn, null, null)
  }

  #decodeCastAnswer(cast: StoredCast, answer: PeerAnswer): CastAnswer {
    if (answer.kind !== 'reply') return { ok: false, code: answer.code, message: answer.message }
    const command = this.#engine.planOf(cast.target.contract)?.commands.get(cast.command)
    if (!command?.output || answer.body === null) return { ok: true, output: undefined }
    return { ok: true, output: command.output(command.codec.decode(answer.body)) }
  }

  /** The turn of a durable timer threw: it is run again later, or dropped when that did not help. */
  #retryTimer(name: string): void {
    if (this.timers.retryDurable(name)) return
    this.#engine.log.error('a timer failed too often and is dropped', { shard: this.name, timer: name })
    const drop = this.newTurn(null)
    drop.timerWrites = new Map([[name, null]])
    this.turnCommit.commitTurn(drop, null, null)
  }

  membershipChanged(): void {
    this.#ticker?.setRunning(this.members.size > 0)
  }

  runMemberHook(hook: MemberHook, channel: Channel, leaving: Member<Channel> | null = null): void {
    const run = this.plan[hook]
    if (!run) return
    const turn = this.newTurn(channel)
    turn.leavingMember = leaving
    this.runTurn(turn, run, undefined)
  }

  peer(id: ShardId): Peer {
    return this.#engine.peer(id)
  }

  /** A turn has ended: the state may have changed. */
  stateChanged(): void {
    this.#snapshots?.stateChanged()
  }

  /** Saves the snapshot now, if the shard has any; the returned promise waits for the store. */
  saveState(): Promise<void> {
    this.#snapshots?.stop()
    this.#saveSnapshot()
    return this.turnCommit.whenEmpty()
  }

  /** Nothing of this activation speaks or acts from here on. */
  deactivate(): void {
    this.isEnded = true
    this.#ticker?.setRunning(false)
    this.#snapshots?.stop()
    this.timers.stopAll()
    this.turnCommit.stop()
    this.castSender.stop()
    for (const rows of this.#tables.values()) rows.releaseRows()
  }

  #saveSnapshot(): void {
    if (this.isEnded || !this.#snapshots) return
    let bytes: Uint8Array
    try {
      bytes = this.#snapshots.encode(this.state)
    } catch (error) {
      this.meter.bugs++
      this.#engine.log.error('the snapshot could not be made', { shard: this.name, error: String(error) })
      return
    }
    this.turnCommit.commitParts({ snapshot: bytes }, () => {})
  }
}

const codec = CODECS.get('msgpack')!
