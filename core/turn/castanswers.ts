// The turns that handle the answers of durable casts. Invariant: what the hook writes and the end of the cast are
// committed together, so an answer takes effect once.

import type { CastAnswer } from '../game/context.ts'
import { msgpack } from '../wire/codec.ts'
import { shardName } from '../wire/shardid.ts'
import type { PeerAnswer } from '../ports/directory.ts'
import type { StoredCast } from '../ports/store.ts'
import type { ShardPlan } from './plan.ts'
import type { HookRunner } from './timers.ts'
import type { Turn } from './turn.ts'
import type { ActivationContext } from './turnhost.ts'

export interface AnswerRunner extends HookRunner {
  /** Rolls a turn back as if its handler had thrown `error`. */
  failTurn(turn: Turn, error: unknown): void
}

export interface ShardPlans {
  planOf(contract: string): ShardPlan | undefined
}

export class CastAnswers {
  readonly #activation: Pick<ActivationContext, 'plan' | 'log'>
  readonly #runner: AnswerRunner
  readonly #plans: ShardPlans

  constructor(activation: Pick<ActivationContext, 'plan' | 'log'>, runner: AnswerRunner, plans: ShardPlans) {
    this.#activation = activation
    this.#runner = runner
    this.#plans = plans
  }

  /** Runs the hook of an answer. `onBug`: the hook threw, and the cast is still stored. */
  run(cast: StoredCast, answer: PeerAnswer, onCommitted: () => void, onBug: () => void): void {
    const { plan, log } = this.#activation
    const turn = this.#runner.newTurn(null, { onBug })
    turn.changeWrites().setCast(cast.sequence, null)
    turn.addEffect(onCommitted)
    const handler = plan.answers.get(cast.answer)
    if (!handler) {
      if (cast.answer !== '') log.warn('an answer that the game does not declare is dropped', { answer: cast.answer })
      return this.#runner.commitTurn(turn)
    }
    let castAnswer: CastAnswer
    let data: unknown
    try {
      castAnswer = this.#decodeAnswer(cast, answer)
      data = plan.definition.answers.get(cast.answer)!.parse(msgpack.decode(cast.data))
    } catch (error) {
      return this.#runner.failTurn(turn, error)
    }
    this.#runner.runTurn(turn, (c, input) => handler(c, input, castAnswer), data)
  }

  /** Ends a cast without its hook, which threw too often. */
  drop(cast: StoredCast, onCommitted: () => void): void {
    this.#activation.log.error('the answer of a cast failed too often and is dropped', {
      answer: cast.answer,
      target: shardName(cast.target),
    })
    const turn = this.#runner.newTurn(null)
    turn.changeWrites().setCast(cast.sequence, null)
    turn.addEffect(onCommitted)
    this.#runner.commitTurn(turn)
  }

  #decodeAnswer(cast: StoredCast, answer: PeerAnswer): CastAnswer {
    if (answer.kind !== 'reply') return { ok: false, code: answer.code, message: answer.message }
    const command = this.#plans.planOf(cast.target.contract)?.commands.get(cast.command)
    if (!command?.output || answer.body === null) return { ok: true, output: undefined }
    return { ok: true, output: command.output(command.codec.decode(answer.body)) }
  }
}
