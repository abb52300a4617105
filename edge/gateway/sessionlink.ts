// A gateway's line to a shard that every game has beside its own: a session's, or the service that knows the game's
// `auth`. The line of an owner is the session's channel 0, of which the newest stands; one without is only for questions,
// and disturbs nobody. Each question is asked until it is answered or too late; what breaks is mended by the link.

import {
  NEW_CHANNEL_DEFAULTS,
  type ChannelIn,
  type ChannelOut,
  type ShardLink,
} from '../../core/ports/link.ts'
import type { Clock, Timer } from '../../core/ports/clock.ts'
import { CODECS } from '../../core/wire/codec.ts'
import type { AnyCommand, Contract } from '../../core/wire/contract.ts'
import type { SystemCode } from '../../core/wire/errors.ts'
import { TIMES } from '../../core/wire/limits.ts'
import type { ErrorKind } from '../../core/wire/message.ts'

export type RequestResult =
  | { readonly ok: true; readonly output: unknown }
  /** A refusal of the contract, or a system code. */
  | { readonly ok: false; readonly code: string; readonly message: string }

/** Who has the line. */
export interface SessionLinkListener {
  /** The line stands with this activation of the shard, with what number of `opened`. */
  onLinkOpened(activation: number): void
  onPush(sequence: number, event: number, body: Uint8Array): void
  /** Events up to this number are gone. */
  onEventsMissed(events: number): void
  /** The shard has ended the session. `reason`: the game's, of KICKED. */
  onSessionEnded(code: string, reason?: string): void
}

export interface SessionLinkRequest {
  readonly contract: Contract
  readonly key: string
  /** 16 bytes. */
  readonly session: Uint8Array
  readonly uid: string
  readonly epoch: number
  readonly generation: number
}

interface PendingRequest {
  readonly command: AnyCommand
  readonly body: Uint8Array
  readonly timer: Timer
  readonly onResult: (answer: RequestResult) => void
  /** 0 = not sent yet. */
  sequence: number
}

const codec = CODECS.get('msgpack')!

export class SessionLink implements ChannelOut {
  readonly #clock: Clock
  readonly #listener: SessionLinkListener | null
  readonly #pendingRequests = new Set<PendingRequest>()
  /** Set right after the link gave it: a link may speak while it opens. */
  #channel: ChannelIn | null = null
  #lastSequence = 0
  #isOpen = false
  #isClosed = false

  constructor(
    link: ShardLink,
    clock: Clock,
    request: SessionLinkRequest,
    listener: SessionLinkListener | null,
  ) {
    this.#clock = clock
    this.#listener = listener
    const { contract, key, session, uid, epoch, generation } = request
    const channel = listener ? 0 : 1 + Math.floor(clock.random() * 0xfffffffe)
    const shard = { contract: contract.name, key }
    this.#channel = link.open(
      { ...NEW_CHANNEL_DEFAULTS, shard, session, channel, uid, epoch, generation },
      this,
    )
  }

  /** Asks; `done` hears the answer once, UNAVAILABLE at the latest after the deadline of a call. */
  request(command: AnyCommand, input: unknown, onResult: (answer: RequestResult) => void): void {
    if (this.#isClosed) return onResult(unavailableResult('the line is closed'))
    let body: Uint8Array
    try {
      body = codec.encode(command.input(input))
    } catch (error) {
      return onResult({ ok: false, code: 'BAD_INPUT', message: error instanceof Error ? error.message : '' })
    }
    const onTimeout = (): void =>
      this.#complete(pending, unavailableResult(`no answer within ${TIMES.callMs} ms`))
    const pending: PendingRequest = {
      command,
      body,
      onResult,
      timer: this.#clock.after(TIMES.callMs, onTimeout),
      sequence: 0,
    }
    this.#pendingRequests.add(pending)
    if (this.#isOpen) this.#send(pending)
  }

  #send(pending: PendingRequest): void {
    if (pending.sequence === 0) pending.sequence = ++this.#lastSequence
    let replyAck = this.#lastSequence
    for (const { sequence } of this.#pendingRequests)
      if (sequence !== 0) replyAck = Math.min(replyAck, sequence - 1)
    const { command, body, sequence } = pending
    this.#channel?.submitCall(sequence, command.number, 0, replyAck, body)
  }

  ack(events: number): void {
    this.#channel?.ack(this.#lastSequence, events)
  }

  pauseEvents(isPaused: boolean): void {
    this.#channel?.pauseEvents(isPaused)
  }

  identify(uid: string, epoch: number): void {
    this.#channel?.identify(uid, epoch)
  }

  /** `forget`: the session is over for good. */
  closeLink(isFinal: boolean): void {
    if (this.#isClosed) return
    this.#closeAndFailPending()
    this.#channel?.closeChannel(isFinal)
  }

  #closeAndFailPending(): void {
    this.#isClosed = true
    for (const pending of [...this.#pendingRequests])
      this.#complete(pending, unavailableResult('the line is closed'))
  }

  #complete(pending: PendingRequest | undefined, result: RequestResult): void {
    if (!pending || !this.#pendingRequests.delete(pending)) return
    pending.timer.cancel()
    pending.onResult(result)
  }

  #findPending(sequence: number): PendingRequest | undefined {
    for (const pending of this.#pendingRequests) if (pending.sequence === sequence) return pending
    return undefined
  }

  channelOpened(activation: number, mark: number, lost: boolean): void {
    this.#listener?.onLinkOpened(activation)
    const isFirst = !this.#isOpen
    this.#isOpen = true
    // Earlier connections of this session have asked up to here.
    this.#lastSequence = Math.max(this.#lastSequence, mark)
    // The link gives what `open` returns only after it; then the constructor asks.
    if (this.#channel === null || !(isFirst || lost)) return
    for (const pending of this.#pendingRequests) this.#send(pending)
  }

  reply(sequence: number, _command: number, body: Uint8Array): void {
    const pending = this.#findPending(sequence)
    const output = pending?.command.output
    if (output) this.#complete(pending, { ok: true, output: output(codec.decode(body)) })
  }

  error(sequence: number, _command: number, _kind: ErrorKind, code: string, message: string): void {
    this.#complete(this.#findPending(sequence), { ok: false, code, message })
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    if (!this.#isClosed) this.#listener?.onPush(sequence, event, body)
  }

  resyncRequired(events: number): void {
    if (!this.#isClosed) this.#listener?.onEventsMissed(events)
  }

  channelClosed(code: string, reason?: string): void {
    if (this.#isClosed) return
    this.#closeAndFailPending()
    this.#listener?.onSessionEnded(code, reason)
  }

  callsApplied(): void {}
  membershipToken(): void {}
  keyBound(): void {}
  loggedIn(): void {}
}

function unavailableResult(message: string): RequestResult {
  return { ok: false, code: 'UNAVAILABLE' satisfies SystemCode, message }
}
