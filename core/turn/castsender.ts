// Durable casts at the sender. A cast is stored until its answer was handled. One cast at a time is delivered to each
// target, because the receiver stores only the last one. Invariant: an answer takes effect once, because what its hook
// writes and the end of the cast are committed together.

import type { CastAnswer } from '../game/context.ts'
import { EMPTY_BYTES } from '../wire/bytes.ts'
import { backoffMs } from '../wire/backoff.ts'
import { InputError, shorten, TRANSIENT_CODES } from '../wire/errors.ts'
import { MAX_STORED_BYTES } from '../wire/limits.ts'
import { shardName } from '../wire/shardid.ts'
import { decodeStored, encodeStored } from '../wire/stored.ts'
import type { Timer } from '../ports/clock.ts'
import { systemError, type PeerAnswer } from '../ports/directory.ts'
import type { StoredCast } from '../ports/store.ts'
import { staleMarkOf } from './castreceiver.ts'
import type { AnswerHandler, ShardPlan } from './plan.ts'
import type { HookRunner } from './timers.ts'
import type { Turn } from './turn.ts'
import type { ActivationContext, TurnCasts, TurnCause, TurnShard } from './turnhost.ts'

/**
 * Sequences per millisecond. An activation uses only those that equal its number modulo this, so two activations never
 * give the same sequence to two casts, even within one millisecond. Sequences follow the clock, so that they also rise
 * after a loss of the Store.
 */
const SEQUENCES_PER_MS = 1_024
/** An unanswered delivery is repeated: the answer may be lost, and the receiver runs a cast once. */
const DELIVERY_TIMEOUT_MS = 10_000
const RETRY = { minMs: 100, maxMs: 10_000 } as const
/** The host activates the sender after this time, in case it was evicted meanwhile. */
const WAKE_MS = 30_000
const MAX_FAILURES = 5

export interface ShardPlans {
  planOf(contract: string): ShardPlan | undefined
}

interface CastQueue {
  readonly waiting: StoredCast[]
  /** The head of `waiting` is being delivered, or its answer handled. */
  isBusy: boolean
  /** Failed deliveries of the head. */
  tries: number
  /** Failed turns of its answer. */
  failures: number
  /** Ends the delivery, or starts the next one. */
  timer: Timer | null
}

export class CastSender implements TurnCasts {
  readonly #activation: ActivationContext
  readonly #runner: HookRunner
  readonly #plans: ShardPlans
  readonly #shard: Pick<TurnShard, 'enqueueWork'>
  readonly #pending = new Map<number, StoredCast>()
  readonly #queues = new Map<string, CastQueue>()
  #lastSequence = 0

  constructor(
    activation: ActivationContext,
    runner: HookRunner,
    plans: ShardPlans,
    shard: Pick<TurnShard, 'enqueueWork'>,
  ) {
    this.#activation = activation
    this.#runner = runner
    this.#plans = plans
    this.#shard = shard
  }

  get size(): number {
    return this.#pending.size
  }

  /** When the shard must be active for its casts; null = none is pending. */
  get wakeMs(): number | null {
    return this.#pending.size === 0 ? null : this.#activation.clock.now() + WAKE_MS
  }

  /** Takes over the pending casts of an earlier activation; `start` delivers them. */
  restore(stored: readonly StoredCast[]): void {
    for (const cast of stored) {
      this.#pending.set(cast.sequence, cast)
      this.#lastSequence = Math.max(this.#lastSequence, cast.sequence)
    }
  }

  start(): void {
    for (const cast of this.#pending.values()) this.enqueueCast(cast)
  }

  createCast(cast: Omit<StoredCast, 'sequence' | 'data'>, data: unknown, earlier: number): StoredCast {
    const { plan, limits } = this.#activation
    if (this.#pending.size + earlier >= limits.maxCasts)
      throw new InputError(`${limits.maxCasts} durable casts of this shard wait for their answers already`)
    const answer = plan.definition.answers.get(cast.answer)
    if (cast.answer !== '' && !answer)
      throw new InputError(`no answer ${shorten(cast.answer)}; declare it with .answer(name, command, fields, run)`)
    if (answer && answer.command !== cast.command)
      throw new InputError(`answer ${cast.answer} is for command ${answer.command}, not ${cast.command}`)
    const encoded = answer ? encodeStored(answer.parse(data), `data of answer ${cast.answer}`) : EMPTY_BYTES
    const bytes = cast.body.length + encoded.length
    if (bytes > MAX_STORED_BYTES)
      throw new InputError(`a durable cast of ${bytes} bytes with its data exceeds ${MAX_STORED_BYTES}`)
    return { ...cast, sequence: this.#nextSequence(), data: encoded }
  }

  /** A sequence above all before it, and of no other activation. */
  #nextSequence(): number {
    const { clock, number } = this.#activation
    const minSequence = Math.max(this.#lastSequence + 1, clock.now() * SEQUENCES_PER_MS)
    const offset = (number - minSequence) % SEQUENCES_PER_MS
    this.#lastSequence = minSequence + (offset < 0 ? offset + SEQUENCES_PER_MS : offset)
    return this.#lastSequence
  }

  /** Updates the pending casts by a write set that is about to be committed. */
  applyWrites(casts: ReadonlyMap<number, StoredCast | null>): void {
    for (const [sequence, cast] of casts) {
      if (cast) this.#pending.set(sequence, cast)
      else this.#pending.delete(sequence)
    }
  }

  /** The rows that undo a turn which changes these casts; called before the change. */
  castsForUndo(sequences: Iterable<number>): Map<number, StoredCast | null> {
    return new Map([...sequences].map((sequence) => [sequence, this.#pending.get(sequence) ?? null]))
  }

  /** Delivers a committed cast, after the earlier ones to its target. */
  enqueueCast(cast: StoredCast): void {
    const name = shardName(cast.target)
    let queue = this.#queues.get(name)
    if (!queue) this.#queues.set(name, (queue = { waiting: [], isBusy: false, tries: 0, failures: 0, timer: null }))
    queue.waiting.push(cast)
    if (!queue.isBusy) this.#deliverHead(name, queue)
  }

  stop(): void {
    for (const { timer } of this.#queues.values()) timer?.cancel()
  }

  #deliverHead(name: string, queue: CastQueue): void {
    const [cast] = queue.waiting
    if (!cast) return void this.#queues.delete(name)
    queue.isBusy = true
    const activation = this.#activation
    let isAnswered = false
    const onAnswer = (answer: PeerAnswer): void => {
      if (activation.isEnded || isAnswered) return
      isAnswered = true
      queue.timer?.cancel()
      const mark = staleMarkOf(answer)
      if (mark !== null) return this.#renumber(name, queue, mark)
      // As far as is known the cast was not run: deliver it again.
      if (answer.kind === 'system' && TRANSIENT_CODES.has(answer.code)) return this.#retryLater(name, queue)
      this.#shard.enqueueWork(() => {
        if (!activation.isEnded) this.#handleAnswer(name, queue, cast, answer)
      })
    }
    queue.timer = activation.clock.after(DELIVERY_TIMEOUT_MS, () => onAnswer(systemError('DEADLINE')))
    activation
      .peer(cast.target)
      .deliver(activation.name, cast)
      .then(onAnswer, () => onAnswer(systemError('UNAVAILABLE')))
  }

  #retryLater(name: string, queue: CastQueue): void {
    const { clock, meter } = this.#activation
    meter.castRetries++
    const ms = backoffMs(queue.tries++, RETRY, clock.random())
    queue.timer = clock.after(ms, () => this.#deliverHead(name, queue))
  }

  #handleAnswer(name: string, queue: CastQueue, cast: StoredCast, answer: PeerAnswer): void {
    const { plan, log } = this.#activation
    const onFailed = (): void => {
      if (queue.failures++ < MAX_FAILURES) this.#retryLater(name, queue)
      else this.#dropAnswer(name, queue, cast)
    }
    const turn = this.#newAnswerTurn(name, queue, cast, { onFailed })
    const hook = plan.definition.answers.get(cast.answer)
    // The cast may be of an earlier version of the game, where the name was for another command.
    if (hook?.command !== cast.command) {
      if (cast.answer !== '') log.warn('an answer that the game does not declare is dropped', { answer: cast.answer })
      return this.#runner.commitTurn(turn)
    }
    let castAnswer: CastAnswer
    let data: unknown
    try {
      castAnswer = this.#decodeAnswer(cast, answer)
      data = hook.restore(decodeStored(cast.data))
    } catch (error) {
      return this.#runner.failTurn(turn, error)
    }
    const run = hook.run as AnswerHandler
    this.#runner.runTurn(turn, (c, input) => run(c, input, castAnswer), data)
  }

  /** Ends a cast without its hook, which failed too often. */
  #dropAnswer(name: string, queue: CastQueue, cast: StoredCast): void {
    this.#activation.log.error('the answer of a cast failed too often and is dropped', {
      answer: cast.answer,
      target: shardName(cast.target),
    })
    this.#runner.commitTurn(this.#newAnswerTurn(name, queue, cast))
  }

  /** A turn that ends the cast at the head of a queue. */
  #newAnswerTurn(name: string, queue: CastQueue, cast: StoredCast, cause: Partial<TurnCause> = {}): Turn {
    const turn = this.#runner.newTurn(null, cause)
    turn.changeWrites().setCast(cast.sequence, null)
    turn.addEffect(() => this.#removeHead(name, queue))
    return turn
  }

  #decodeAnswer(cast: StoredCast, answer: PeerAnswer): CastAnswer {
    if (answer.kind !== 'reply') return { ok: false, code: answer.code, message: answer.message }
    const command = this.#plans.planOf(cast.target.contract)?.commands.get(cast.command)
    if (!command?.output || answer.body === null) return { ok: true, output: undefined }
    return { ok: true, output: command.output(command.codec.decode(answer.body, command.outputBounds)) }
  }

  #removeHead(name: string, queue: CastQueue): void {
    queue.waiting.shift()
    queue.tries = queue.failures = 0
    queue.isBusy = false
    this.#deliverHead(name, queue)
  }

  /** Gives all casts of a queue new sequences, above the mark of the receiver. */
  #renumber(name: string, queue: CastQueue, mark: number): void {
    const casts = new Map<number, StoredCast | null>()
    this.#lastSequence = Math.max(this.#lastSequence, mark)
    for (const [i, cast] of queue.waiting.entries()) {
      const renumbered = { ...cast, sequence: this.#nextSequence() }
      casts.set(cast.sequence, null)
      casts.set(renumbered.sequence, renumbered)
      queue.waiting[i] = renumbered
    }
    this.applyWrites(casts)
    const critical = this.#activation.plan.hasCriticalTable
    this.#activation.commitParts({ casts, critical }, () => this.#deliverHead(name, queue))
  }
}
