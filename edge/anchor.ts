// A gateway's line to a shard that every game has beside its own: a session's, or the service that knows the game's
// `auth`. The line of an owner is the session's channel 0, of which the newest stands; one without is only for questions,
// and disturbs nobody. Each question is asked until it is answered or too late; what breaks is mended by the link.

import {
  NEWCOMER,
  type ChannelIn,
  type ChannelOut,
  type Clock,
  type Link,
  type Timer,
} from '../core/run/ports.ts'
import { CODECS } from '../core/wire/codec.ts'
import type { AnyCommand, Contract } from '../core/wire/contract.ts'
import type { SystemCode } from '../core/wire/errors.ts'
import { TIMES } from '../core/wire/limits.ts'
import type { ErrorKind } from '../core/wire/message.ts'

export type Answer =
  | { readonly ok: true; readonly output: unknown }
  /** A refusal of the contract, or a system code. */
  | { readonly ok: false; readonly code: string; readonly message: string }

/** Who has the line. */
export interface AnchorOwner {
  /** The line stands with this activation of the shard, with what number of `opened`. */
  anchored(activation: number): void
  pushed(sequence: number, event: number, body: Uint8Array): void
  /** Events up to this number are gone. */
  missed(events: number): void
  /** The shard has ended the session: a close reason, or the word of a kick. */
  expelled(code: string): void
}

export interface AnchorRequest {
  readonly contract: Contract
  readonly key: string
  /** 16 bytes. */
  readonly session: Uint8Array
  readonly uid: string
  readonly epoch: number
  readonly generation: number
}

interface Question {
  readonly command: AnyCommand
  readonly body: Uint8Array
  readonly timer: Timer
  readonly done: (answer: Answer) => void
  /** 0 = not sent yet. */
  sequence: number
}

const codec = CODECS.get('msgpack')!

export class Anchor implements ChannelOut {
  readonly #clock: Clock
  readonly #owner: AnchorOwner | null
  readonly #questions = new Set<Question>()
  /** Set right after the link gave it: a link may speak while it opens. */
  #channel: ChannelIn | null = null
  #asked = 0
  #isOpen = false
  #over = false

  constructor(link: Link, clock: Clock, request: AnchorRequest, owner: AnchorOwner | null) {
    this.#clock = clock
    this.#owner = owner
    const { contract, key, session, uid, epoch, generation } = request
    const channel = owner ? 0 : 1 + Math.floor(clock.random() * 0xfffffffe)
    const shard = { contract: contract.name, key }
    this.#channel = link.open({ ...NEWCOMER, shard, session, channel, uid, epoch, generation }, this)
  }

  /** Asks; `done` hears the answer once, UNAVAILABLE at the latest after the deadline of a call. */
  ask(command: AnyCommand, input: unknown, done: (answer: Answer) => void): void {
    if (this.#over) return done(unavailable('the line is closed'))
    let body: Uint8Array
    try {
      body = codec.encode(command.input(input))
    } catch (error) {
      return done({ ok: false, code: 'BAD_INPUT', message: error instanceof Error ? error.message : '' })
    }
    const late = (): void => this.#answer(question, unavailable(`no answer within ${TIMES.callMs} ms`))
    const question: Question = {
      command,
      body,
      done,
      timer: this.#clock.after(TIMES.callMs, late),
      sequence: 0,
    }
    this.#questions.add(question)
    if (this.#isOpen) this.#send(question)
  }

  #send(question: Question): void {
    if (question.sequence === 0) question.sequence = ++this.#asked
    let answered = this.#asked
    for (const { sequence } of this.#questions)
      if (sequence !== 0) answered = Math.min(answered, sequence - 1)
    const { command, body, sequence } = question
    this.#channel?.call(sequence, command.number, 0, answered, body)
  }

  ack(events: number): void {
    this.#channel?.ack(this.#asked, events)
  }

  hold(on: boolean): void {
    this.#channel?.hold(on)
  }

  identify(uid: string, epoch: number): void {
    this.#channel?.identify(uid, epoch)
  }

  /** `forget`: the session is over for good. */
  close(forget: boolean): void {
    if (this.#over) return
    this.#end()
    this.#channel?.close(forget)
  }

  #end(): void {
    this.#over = true
    for (const question of [...this.#questions]) this.#answer(question, unavailable('the line is closed'))
  }

  #answer(question: Question | undefined, answer: Answer): void {
    if (!question || !this.#questions.delete(question)) return
    question.timer.cancel()
    question.done(answer)
  }

  #asking(sequence: number): Question | undefined {
    for (const question of this.#questions) if (question.sequence === sequence) return question
    return undefined
  }

  opened(activation: number, mark: number, lost: boolean): void {
    this.#owner?.anchored(activation)
    const isFirst = !this.#isOpen
    this.#isOpen = true
    // Earlier connections of this session have asked up to here.
    this.#asked = Math.max(this.#asked, mark)
    // The link gives what `open` returns only after it; then the constructor asks.
    if (this.#channel === null || !(isFirst || lost)) return
    for (const question of this.#questions) this.#send(question)
  }

  reply(sequence: number, _command: number, body: Uint8Array): void {
    const question = this.#asking(sequence)
    const output = question?.command.output
    if (output) this.#answer(question, { ok: true, output: output(codec.decode(body)) })
  }

  error(sequence: number, _command: number, _kind: ErrorKind, code: string, message: string): void {
    this.#answer(this.#asking(sequence), { ok: false, code, message })
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    if (!this.#over) this.#owner?.pushed(sequence, event, body)
  }

  resync(events: number): void {
    if (!this.#over) this.#owner?.missed(events)
  }

  closed(code: string): void {
    if (this.#over) return
    this.#end()
    this.#owner?.expelled(code)
  }

  applied(): void {}
  memo(): void {}
  bind(): void {}
  login(): void {}
}

function unavailable(message: string): Answer {
  return { ok: false, code: 'UNAVAILABLE' satisfies SystemCode, message }
}
