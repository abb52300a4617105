// The named timers of one activation, and the turns that they cause. Invariants: a durable timer takes effect exactly
// once, because its turn deletes its row in its own commit; it runs when its delay has passed or its time by the wall clock
// is reached, whichever is first, so that no jump of the wall clock delays it. Volatile timers end with the activation.

import { InputError, shorten } from '../wire/errors.ts'
import { MAX_STORED_BYTES } from '../wire/limits.ts'
import { decodeStored, encodeStored } from '../wire/stored.ts'
import type { Timer } from '../ports/clock.ts'
import type { StoredTimer } from '../ports/store.ts'
import type { Channel } from '../channel/channel.ts'
import type { TurnHandler } from './plan.ts'
import type { Turn } from './turn.ts'
import type { ActivationContext, TurnCause, TurnShard, TurnTimers } from './turnhost.ts'
import type { TimerWrite } from './turnwrites.ts'

/** Runs turns that no call caused. */
export interface HookRunner {
  /** `cause` as in NO_CALLER, but for `channel` and these parts. */
  newTurn(channel: Channel | null, cause?: Partial<TurnCause>): Turn
  runTurn(turn: Turn, handler: TurnHandler, input: unknown): void
  /** Commits a turn that no handler ran in. */
  commitTurn(turn: Turn): void
  /** Rolls a turn back as if its handler had thrown `error`. */
  failTurn(turn: Turn, error: unknown): void
}

/** The range of setTimeout; a longer wait is split. */
const LONGEST_MS = 2_147_483_647
const RETRY_MS = 1_000
const MAX_RETRIES = 5

interface DurableTimer extends TimerWrite {
  readonly retries: number
  /** null = its turn is queued. */
  timer: Timer | null
}

export class Timers implements TurnTimers {
  readonly #activation: ActivationContext
  readonly #runner: HookRunner
  readonly #shard: Pick<TurnShard, 'enqueueWork'>
  readonly #durable = new Map<string, DurableTimer>()
  readonly #volatile = new Map<string, Timer>()

  constructor(activation: ActivationContext, runner: HookRunner, shard: Pick<TurnShard, 'enqueueWork'>) {
    this.#activation = activation
    this.#runner = runner
    this.#shard = shard
  }

  get hasVolatile(): boolean {
    return this.#volatile.size > 0
  }

  /** When the next durable timer is due; null = none is set. */
  get wakeMs(): number | null {
    let next: number | null = null
    for (const { dueMs } of this.#durable.values()) if (next === null || dueMs < next) next = dueMs
    return next
  }

  isDurable(name: string): boolean {
    return this.#durable.has(name)
  }

  checkTimer(name: string, ms: number, data: unknown): unknown {
    const { plan, limits } = this.#activation
    const timer = plan.definition.timers.get(name)
    if (!timer) throw new InputError(`no timer ${shorten(name)}; declare it with .timer(name, fields, run)`)
    if (!(ms >= 0)) throw new InputError(`timer ${name}: ${ms} ms is not a delay`)
    if (this.#durable.size + this.#volatile.size >= limits.maxTimers)
      throw new InputError(`timer ${name}: this shard has ${limits.maxTimers} timers already`)
    return timer.parse(data)
  }

  createWrite(name: string, ms: number, data: unknown, nowMs: number): TimerWrite {
    const parsed = this.checkTimer(name, ms, data)
    const encoded = encodeStored(parsed, `timer ${name}`)
    if (encoded.length > MAX_STORED_BYTES)
      throw new InputError(`timer ${name}: ${encoded.length} bytes of data exceed ${MAX_STORED_BYTES}`)
    return { dueMs: nowMs + ms, monoMs: this.#activation.clock.mono() + ms, data: parsed, encoded }
  }

  restore(stored: readonly StoredTimer[]): void {
    for (const { name, dueMs, data } of stored)
      this.#setDurableAt(name, { dueMs, data: decodeStored(data), encoded: data })
  }

  /** Starts, moves or (null) stops a durable timer in memory. Its row is changed by the commit. */
  setDurable(name: string, change: TimerWrite | null, retries = 0): void {
    this.#durable.get(name)?.timer?.cancel()
    if (!change) return void this.#durable.delete(name)
    const pending: DurableTimer = { ...change, retries, timer: null }
    this.#durable.set(name, pending)
    this.#arm(name, pending)
  }

  /** Runs what is due by the wall clock, or was due at `untilMs`. */
  runDue(untilMs: number): void {
    const nowMs = Math.max(untilMs, this.#activation.clock.now())
    for (const [name, pending] of this.#durable) if (pending.dueMs <= nowMs) this.#enqueueDurable(name, pending)
  }

  setVolatile(name: string, ms: number, data: unknown): void {
    this.cancelVolatile(name)
    const timer = this.#activation.clock.after(Math.min(ms, LONGEST_MS), () => {
      this.#volatile.delete(name)
      this.#shard.enqueueWork(() => this.#fire(name, data, false))
    })
    this.#volatile.set(name, timer)
  }

  cancelVolatile(name: string): void {
    this.#volatile.get(name)?.cancel()
    this.#volatile.delete(name)
  }

  stopAll(): void {
    for (const { timer } of this.#durable.values()) timer?.cancel()
    for (const timer of this.#volatile.values()) timer.cancel()
    this.#durable.clear()
    this.#volatile.clear()
  }

  /** The rows that undo a turn which changes these timers; called before the change. */
  encodeUndo(names: Iterable<string>): Map<string, StoredTimer | null> {
    return encodeTimers(new Map([...names].map((name) => [name, this.#durable.get(name) ?? null])))
  }

  #setDurableAt(name: string, change: Omit<TimerWrite, 'monoMs'>, retries = 0): void {
    const { clock } = this.#activation
    this.setDurable(name, { ...change, monoMs: clock.mono() + change.dueMs - clock.now() }, retries)
  }

  #arm(name: string, pending: DurableTimer): void {
    const { clock } = this.#activation
    const delayMs = Math.max(0, Math.min(pending.monoMs - clock.mono(), LONGEST_MS))
    pending.timer = clock.after(delayMs, () => {
      if (pending.monoMs > clock.mono() && pending.dueMs > clock.now()) this.#arm(name, pending)
      else this.#enqueueDurable(name, pending)
    })
  }

  #enqueueDurable(name: string, pending: DurableTimer): void {
    if (pending.timer === null) return
    pending.timer.cancel()
    pending.timer = null
    this.#shard.enqueueWork(() => {
      // Unless it was moved or stopped meanwhile.
      if (this.#durable.get(name) === pending) this.#fire(name, pending.data, true)
    })
  }

  /** Runs the turn of a timer that is due. */
  #fire(name: string, data: unknown, isDurable: boolean): void {
    const { plan, log, isEnded, isDeactivating } = this.#activation
    // A durable timer stays stored, and fires in the next activation.
    if (isEnded || isDeactivating) return
    const handler = plan.definition.timers.get(name)?.run as TurnHandler | undefined
    const turn = this.#runner.newTurn(null, isDurable ? { onFailed: () => this.#retry(name) } : {})
    if (isDurable) turn.changeWrites().setTimer(name, null)
    if (handler) return this.#runner.runTurn(turn, handler, data)
    log.warn('a stored timer that the game does not declare is deleted', { timer: name })
    this.#runner.commitTurn(turn)
  }

  /** The handler of a durable timer threw: the turn runs again later, a bounded number of times. */
  #retry(name: string): void {
    const pending = this.#durable.get(name)
    if (pending && pending.retries < MAX_RETRIES) {
      const retries = pending.retries + 1
      const dueMs = this.#activation.clock.now() + RETRY_MS * 2 ** retries
      return this.#setDurableAt(name, { ...pending, dueMs }, retries)
    }
    this.#activation.log.error('a timer failed too often and is deleted', { timer: name })
    const turn = this.#runner.newTurn(null)
    turn.changeWrites().setTimer(name, null)
    this.#runner.commitTurn(turn)
  }
}

/** Timers as the Store holds them. */
export function encodeTimers(writes: ReadonlyMap<string, TimerWrite | null>): Map<string, StoredTimer | null> {
  const rows = new Map<string, StoredTimer | null>()
  for (const [name, write] of writes) rows.set(name, write && { name, dueMs: write.dueMs, data: write.encoded })
  return rows
}
