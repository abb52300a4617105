// Runs the turns of one activation: decodes the input, calls the handler, encodes the reply. Invariant: a turn ends
// once, either with its writes in a commit, or rolled back with an error as its answer.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import { CallError, contractViolation, InputError, PROPAGATED_CODES, Refusal } from '../wire/errors.ts'
import { MAX_STORED_BYTES, TIMES } from '../wire/limits.ts'
import type { ErrorKind } from '../wire/message.ts'
import { RETAIN } from '../ports/link.ts'
import type { Channel } from '../channel/channel.ts'
import type { CommandRunner } from './castreceiver.ts'
import type { TurnHandler } from './plan.ts'
import type { HookRunner } from './timers.ts'
import { Turn } from './turn.ts'
import { encodeLegacyRefusal, type TurnCommit } from './turncommit.ts'
import { NO_CALLER, type TurnCause, type TurnHost, type TurnShard } from './turnhost.ts'

export class TurnRunner implements HookRunner, CommandRunner {
  readonly #activation: TurnHost
  readonly #commit: TurnCommit
  readonly #shard: TurnShard

  constructor(activation: TurnHost, commit: TurnCommit, shard: TurnShard) {
    this.#activation = activation
    this.#commit = commit
    this.#shard = shard
  }

  newTurn(channel: Channel | null, cause: Partial<TurnCause> = {}): Turn {
    return new Turn(this.#activation, { ...NO_CALLER, ...cause, channel }, null)
  }

  /** Runs a call of a channel. A repeated call gets its retained reply. */
  runCall(channel: Channel, sequence: number, number: number, flags: number, body: Uint8Array): void {
    if (!channel.beginCall(sequence)) return
    this.runCommand({ ...NO_CALLER, channel, sequence, flags }, number, body)
  }

  /** Runs the command `number`. An unknown command or a bad body is refused without a turn. */
  runCommand(cause: TurnCause, number: number, body: Uint8Array): void {
    const { plan, name } = this.#activation
    const declared = plan.commands.get(number) ?? null
    const command = declared?.internal && cause.channel ? null : declared
    const turn = new Turn(this.#activation, cause, command)
    if (!command) return this.#refuseTurn(turn, 'system', 'UNKNOWN_COMMAND', `${name} has no command ${number}`, number)
    let input: unknown
    try {
      input = command.input(command.codec.decode(body, command.inputBounds))
    } catch (error) {
      return this.#refuseInput(turn, error, number)
    }
    this.runTurn(turn, command.run, input)
  }

  /** Runs a handler. While an asynchronous one runs, the shard is busy. */
  runTurn(turn: Turn, handler: TurnHandler, input: unknown): void {
    this.#activation.meter.turns++
    let result: unknown
    try {
      result = handler(turn, input)
    } catch (error) {
      return this.failTurn(turn, error)
    }
    if (result instanceof Promise) this.#awaitTurn(turn, result)
    else this.#completeTurn(turn, result)
  }

  #awaitTurn(turn: Turn, result: Promise<unknown>): void {
    const endTurn = this.#shard.beginAsyncTurn()
    const finish = (end: () => void): void => {
      timer.cancel()
      if (turn.isEnded) return
      endTurn(() => {
        if (!this.#activation.isEnded) end()
      })
    }
    const timer = this.#activation.clock.after(TIMES.turnMs, () =>
      finish(() => {
        this.failTurn(turn, new Error(`the turn did not end within ${TIMES.turnMs} ms`))
        if (!this.#activation.isEnded) this.#shard.restart()
      }),
    )
    result.then(
      (value) => finish(() => this.#completeTurn(turn, value)),
      (error: unknown) => finish(() => this.failTurn(turn, error)),
    )
  }

  #completeTurn(turn: Turn, result: unknown): void {
    const { command } = turn
    const { channel, sequence, flags } = turn.cause
    let reply: Uint8Array | null = null
    if (command?.output && result !== undefined) {
      try {
        reply = command.codec.encode(command.output(result), command.outputBounds)
        // `raw` returns the handler's own array, which it may reuse. Copy by `new`: the slice of a Buffer is a view.
        if (reply === result && !this.#canReleaseNow(turn)) reply = new Uint8Array(reply)
      } catch (cause) {
        const entry = `${this.#activation.plan.definition.contract.name}.${command.name}`
        return this.failTurn(turn, contractViolation(entry, 'reply', cause))
      }
    }
    const isStored = turn.cause.receipt !== null || ((flags & RETAIN) !== 0 && turn.writes !== null)
    if (isStored && reply !== null && reply.length > MAX_STORED_BYTES)
      return this.failTurn(turn, new Error(`a reply of ${reply.length} bytes exceeds ${MAX_STORED_BYTES}`))
    try {
      this.#activation.checkSnapshot()
    } catch (error) {
      return this.failTurn(turn, error)
    }
    turn.end()
    if (channel && command && (flags & RETAIN) !== 0) {
      for (const grant of turn.grants ?? []) channel.replies.addGrant(sequence, command.number, grant)
      if (command.output) channel.replies.addReply(sequence, command.number, reply ?? EMPTY_BYTES)
    }
    this.#commit.commitTurn(turn, reply)
  }

  /** The reply is sent at once, and is neither stored nor queued. */
  #canReleaseNow({ cause, writes }: Turn): boolean {
    return (cause.flags & RETAIN) === 0 && cause.receipt === null && writes === null && this.#commit.queue.isEmpty
  }

  commitTurn(turn: Turn): void {
    this.#commit.commitTurn(turn)
  }

  failTurn(turn: Turn, error: unknown): void {
    const { command } = turn
    const { plan, meter, log } = this.#activation
    // Only a refusal that this contract declares is an answer. Any other one, or one without a caller, is a bug.
    if (command && error instanceof Refusal && plan.declaredRefusals.has(error.code)) {
      meter.refusals++
      return this.#refuseTurn(turn, 'refusal', error.code, error.message, command.number)
    }
    if (error instanceof CallError && PROPAGATED_CODES.has(error.code)) {
      this.#refuseTurn(turn, 'system', error.code, error.message, command?.number ?? 0)
      return turn.cause.onFailed?.(error)
    }
    meter.bugs++
    log.error('a handler threw; its turn is rolled back', {
      command: command?.name,
      error,
    })
    this.#refuseTurn(turn, 'system', 'INTERNAL', 'the handler failed', command?.number ?? 0)
    turn.cause.onFailed?.(error)
    if (plan.definition.onBug === 'reset' && !this.#activation.isEnded) this.#shard.restart()
  }

  #refuseInput(turn: Turn, error: unknown, number: number): void {
    this.#activation.meter.badInputs++
    const message = error instanceof InputError ? error.message : 'the body was refused'
    this.#refuseTurn(turn, 'system', 'BAD_INPUT', message, number)
  }

  /** Undoes a turn and answers with an error, which is stored like a reply. */
  #refuseTurn(turn: Turn, kind: ErrorKind, code: string, message: string, number: number): void {
    turn.rollback()
    turn.discard()
    const { command } = turn
    const { channel, sequence, flags } = turn.cause
    const isLegacyRefusal = channel?.legacy && (kind === 'refusal' || PROPAGATED_CODES.has(code))
    const body = isLegacyRefusal && command ? encodeLegacyRefusal(this.#activation, command, code) : null
    if (channel && body) {
      if ((flags & RETAIN) !== 0) channel.replies.addReply(sequence, number, body)
      return this.#commit.commitTurn(turn, body)
    }
    if (channel && (flags & RETAIN) !== 0) channel.replies.addError(sequence, number, kind, code, message)
    this.#commit.commitTurn(turn, null, { kind, code, message })
  }
}
