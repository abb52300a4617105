// One life of a shard in memory: state, members, timers, and the turns that change them. A turn either ends well
// (its writes are committed, then its effects leave) or leaves no trace. A commit that is not known to be good
// ends the activation: what the next one reads from the store is the truth.

import type { ContextLog } from '../game/context.ts'
import { CallError, InputError, Refusal } from '../wire/errors.ts'
import type { Limits } from '../wire/limits.ts'
import { TIMES } from '../wire/limits.ts'
import type { ErrorKind } from '../wire/message.ts'
import type { Channel } from './channel.ts'
import { Egress } from './egress.ts'
import type { Engine } from './engine.ts'
import { Homecoming } from './homecoming.ts'
import { KvState } from './kv.ts'
import { encodeMemo, Members } from './members.ts'
import type { Meter } from './meter.ts'
import type { CommandPlan, Run, ShardPlan } from './plan.ts'
import {
  RETAIN,
  shardName,
  type Clock,
  type Peer,
  type ShardId,
  type Stored,
  type WriteSet,
} from './ports.ts'
import type { Shard } from './shard.ts'
import { Snapshots } from './snapshots.ts'
import { Ticker } from './ticker.ts'
import { Timers } from './timers.ts'
import { Turn, type Cause } from './turn.ts'

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
  readonly homecoming = new Homecoming(this)
  readonly timers: Timers
  readonly state: unknown
  over = false
  readonly #engine: Engine
  readonly #egress = new Egress(
    (work) => this.shard.inRun(work),
    (outcome) => {
      this.meter.lostCommits++
      const cause = String(outcome.cause)
      this.#engine.log.error(`commit ${outcome.kind}, the activation ends`, { shard: this.name, cause })
      this.shard.restart()
    },
  )
  readonly #ticker: Ticker | null
  readonly #snapshots: Snapshots | null

  constructor(engine: Engine, shard: Shard, stored: Stored) {
    this.#engine = engine
    this.shard = shard
    this.plan = shard.plan
    this.clock = engine.clock
    this.limits = engine.limits
    this.meter = engine.meter
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
    this.#ticker = this.plan.ticker && new Ticker(this, this.plan.ticker)
  }

  get name(): string {
    return shardName(this.shard.id)
  }

  /** No commit is on its way, and with it no answer. */
  get settled(): boolean {
    return this.#egress.idle
  }

  /** Nothing holds it in memory: no members, no volatile timers, no commit on its way. */
  get disposable(): boolean {
    return this.members.size === 0 && !this.timers.busy && this.#egress.idle
  }

  /** One call of a channel. Sequences at or below its mark are answered from what is kept. */
  call(channel: Channel, sequence: number, number: number, flags: number, body: Uint8Array): void {
    if (sequence <= channel.mark) return channel.repeat(sequence)
    channel.mark = sequence
    const command = this.plan.commands.get(number) ?? null
    const cause: Cause = {
      channel,
      command,
      sequence,
      flags,
      chain: NO_CHAIN,
      deadlineMs: 0,
      answer: null,
      timer: null,
    }
    const turn = new Turn(this, cause)
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
        this.#failed(turn, new CallError('DEADLINE', `the turn did not end within ${TIMES.turnMs} ms`))
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
    if (channel && command?.output && (flags & RETAIN) !== 0) {
      channel.keepReply(sequence, command.number, reply ?? NO_BYTES)
    }
    this.#settle(turn, reply, null)
  }

  /** Its answer is neither kept nor held. */
  #leavesNow({ cause, kvWrites, timerWrites }: Turn): boolean {
    return (cause.flags & RETAIN) === 0 && !kvWrites && !timerWrites && this.#egress.idle
  }

  /** The turn threw: its changes are taken back, the caller is told. */
  #failed(turn: Turn, error: unknown): void {
    const { command } = turn.cause
    // A refusal that this contract does not declare (another shard's, say) or that nobody asked for is a bug.
    if (command && error instanceof Refusal && this.plan.refuses.has(error.code)) {
      this.meter.refusals++
      return this.#refuse(turn, 'refusal', error.code, error.message, command.number)
    }
    this.meter.bugs++
    this.#engine.log.error('a handler threw; its turn is rolled back', {
      shard: this.name,
      command: command?.name,
      error: error instanceof Error ? (error.stack ?? error.message).slice(0, 2_000) : String(error),
    })
    this.#refuse(turn, 'system', 'INTERNAL', 'the handler failed', command?.number ?? 0)
    if (turn.cause.timer !== null) this.#retryTimer(turn.cause.timer)
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
    turn.effects = turn.kvWrites = turn.timerWrites = null
    const { channel, sequence, flags, command } = turn.cause
    const body = channel?.legacy && kind === 'refusal' && command ? this.#legacyRefusal(command, code) : null
    if (channel && body) {
      if ((flags & RETAIN) !== 0) channel.keepReply(sequence, number, body)
      return this.#settle(turn, body, null)
    }
    if (channel && (flags & RETAIN) !== 0) channel.keepError(sequence, number, kind, code, message)
    this.#settle(turn, null, { kind, code, message })
  }

  /** null where the codec has no form for it, as raw has none for the default `{error}`: then it is silence. */
  #legacyRefusal(command: CommandPlan, code: string): Uint8Array | null {
    try {
      return command.codec.encode(this.plan.contract.refuseLegacy(code))
    } catch (error) {
      this.meter.bugs++
      this.#engine.log.error('a legacy refusal could not be encoded; declare legacy.refuse for its codec', {
        shard: this.name,
        command: command.name,
        error: String(error),
      })
      return null
    }
  }

  /** Commits what is to be committed, then lets the effects and the answer go, in order. */
  #settle(
    turn: Turn,
    reply: Uint8Array | null,
    error: { kind: ErrorKind; code: string; message: string } | null,
  ): void {
    const write = this.#writeSet(turn)
    this.#snapshots?.touched()
    if (write === null && this.#egress.idle) return this.#release(turn, reply, error)
    this.#egress.push(write && this.#engine.commit(write), () => this.#release(turn, reply, error))
  }

  #writeSet(turn: Turn): WriteSet | null {
    const { kvWrites, timerWrites, cause } = turn
    if (!kvWrites && !timerWrites) return null
    const { channel, flags } = cause
    if (timerWrites) for (const [name, write] of timerWrites) this.timers.set(name, write)
    const stored =
      channel && (flags & RETAIN) !== 0
        ? { id: channel.name, nowMs: this.clock.now(), ...channel.store() }
        : null
    const timers = timerWrites && this.timers.encode(timerWrites)
    return this.#writes({ kv: kvWrites, timers, channel: stored })
  }

  #release(
    turn: Turn,
    reply: Uint8Array | null,
    error: { kind: ErrorKind; code: string; message: string } | null,
  ): void {
    const { effects, cause } = turn
    if (effects !== null) for (const effect of effects) effect(this)
    const { channel, command, sequence } = cause
    if (channel !== null) {
      if (sequence === 0) return
      if (sequence > channel.settled) channel.settled = sequence
      const { out } = channel
      if (out === null) return
      if (error) out.error(sequence, command?.number ?? 0, error.kind, error.code, error.message)
      else if (reply !== null) out.reply(sequence, command!.number, reply)
      else if (command!.output && !channel.legacy) out.reply(sequence, command!.number, NO_BYTES)
      else out.applied(sequence)
    } else if (cause.answer) {
      cause.answer(error ?? { kind: 'reply', body: reply })
    }
  }

  /** The connection of a member is gone: its seat is free, and the game hears it with the seat still in hand. */
  goodbye(channel: Channel): void {
    const { member } = channel
    if (!member) return
    this.members.remove(member)
    this.membershipChanged()
    if (!this.plan.leave) return
    const turn = this.turnOf(channel)
    turn.leaving = member
    this.run(turn, this.plan.leave, undefined)
  }

  /** A turn that a channel or (null) the clock caused without a call. */
  turnOf(channel: Channel | null, timer: string | null = null): Turn {
    const cause = {
      channel,
      command: null,
      sequence: 0,
      flags: 0,
      chain: NO_CHAIN,
      deadlineMs: 0,
      answer: null,
      timer,
    }
    return new Turn(this, cause)
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
    this.#settle(turn, null, null)
  }

  /** The turn of a durable timer threw: it is run again later, or dropped when that did not help. */
  #retryTimer(name: string): void {
    if (this.timers.retry(name)) return
    this.#engine.log.error('a timer failed too often and is dropped', { shard: this.name, timer: name })
    const drop = this.turnOf(null)
    drop.timerWrites = new Map([[name, null]])
    this.#settle(drop, null, null)
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

  /** Saves the snapshot now, if the shard has any; the returned promise waits for the store. */
  save(): Promise<void> {
    this.#snapshots?.stop()
    this.#saveSnapshot()
    return this.#egress.emptied()
  }

  /** Nothing of this activation speaks or acts from here on. */
  end(): void {
    this.over = true
    this.#ticker?.update(false)
    this.#snapshots?.stop()
    this.timers.stop()
    this.#egress.stop()
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
    this.#egress.push(this.#engine.commit(this.#writes({ snapshot: bytes })), () => {})
  }

  /** A write set of this activation that changes `parts`. */
  #writes(parts: Partial<WriteSet>): WriteSet {
    return {
      shard: this.shard.id,
      activation: this.number,
      kv: null,
      timers: null,
      channel: null,
      snapshot: null,
      wakeMs: this.timers.wakeMs,
      ...parts,
    }
  }
}

const NO_CHAIN: readonly string[] = []
const NO_BYTES = new Uint8Array(0)
