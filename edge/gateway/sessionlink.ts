// A link from the gateway to a built-in shard: the session shard, or the service that runs the game's `auth`. With a
// listener it is the session's channel 0, and a newer one replaces it; without, it only sends requests, on a random channel.
// Invariant: every request gets one result, UNAVAILABLE at the latest after the deadline of a call.

import { NEW_CHANNEL_DEFAULTS, type ChannelIn, type ChannelOut, type OpenRequest } from '../../core/ports/link.ts'
import type { Clock, Timer } from '../../core/ports/clock.ts'
import type { SystemCode } from '../../core/wire/errors.ts'
import { decodeFlatMap, encodeFlatMap, type FlatMap } from '../../core/wire/flatmap.ts'
import { TIMES } from '../../core/wire/limits.ts'
import type { ErrorKind } from '../../core/wire/message.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import type { GatewayContext } from './context.ts'

export type RequestResult =
  | { readonly ok: true; readonly output: FlatMap }
  /** `code`: a refusal of the contract, or a system code. */
  | { readonly ok: false; readonly code: string; readonly message: string }

export interface SessionLinkListener {
  /** The link is open to this activation of the shard; again after the activation changed. */
  onLinkOpened(activation: number): void
  onPush(sequence: number, event: number, body: Uint8Array): void
  /** Events up to this number are lost. */
  onEventsMissed(events: number): void
}

export type ChannelOpener = Pick<OpenRequest, 'session' | 'uid' | 'epoch' | 'generation' | 'remote'>

interface PendingRequest {
  readonly command: number
  readonly body: Uint8Array
  readonly timer: Timer
  readonly onResult: (result: RequestResult) => void
  /** 0 = not sent yet. */
  sequence: number
}

export class SessionLink implements ChannelOut {
  readonly #clock: Clock
  readonly #listener: SessionLinkListener | null
  readonly #onEnded: (code: string, reason?: string) => void
  readonly #pendingRequests = new Set<PendingRequest>()
  /** Set when `link.open` returns; the link may use this object before that. */
  #channel: ChannelIn | null = null
  #lastSequence = 0
  /** Requests are sent from `open` on. */
  #state: 'opening' | 'open' | 'closed' = 'opening'

  /** `onEnded`: the shard closed the link. `reason`: the text of a kick. */
  constructor(
    { link, clock }: Pick<GatewayContext, 'link' | 'clock'>,
    shard: ShardId,
    opener: Pick<ChannelOpener, 'session'> & Partial<ChannelOpener>,
    listener: SessionLinkListener | null,
    onEnded: (code: string, reason?: string) => void = () => {},
  ) {
    this.#clock = clock
    this.#listener = listener
    this.#onEnded = onEnded
    const channel = listener ? 0 : 1 + Math.floor(clock.random() * 0xfffffffe)
    this.#channel = link.open({ ...NEW_CHANNEL_DEFAULTS, ...opener, shard, channel }, this)
  }

  /** The shard checks the input. */
  request(command: number, input: FlatMap, onResult: (result: RequestResult) => void): void {
    if (this.#state === 'closed') return onResult(unavailableResult('the link is closed'))
    const body = encodeFlatMap(input)
    const onTimeout = (): void => this.#complete(pending, unavailableResult(`no reply within ${TIMES.callMs} ms`))
    const timer = this.#clock.after(TIMES.callMs, onTimeout)
    const pending: PendingRequest = { command, body, onResult, timer, sequence: 0 }
    this.#pendingRequests.add(pending)
    if (this.#state === 'open') this.#send(pending)
  }

  #send(pending: PendingRequest): void {
    if (pending.sequence === 0) pending.sequence = ++this.#lastSequence
    let replyAck = this.#lastSequence
    for (const { sequence } of this.#pendingRequests) if (sequence !== 0) replyAck = Math.min(replyAck, sequence - 1)
    const { command, body, sequence } = pending
    this.#channel?.submitCall(sequence, command, 0, replyAck, body)
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

  /** `isFinal`: the session has ended. */
  closeLink(isFinal: boolean): void {
    if (this.#state === 'closed') return
    this.#closeAndFailPending()
    this.#channel?.closeChannel(isFinal)
  }

  #closeAndFailPending(): void {
    this.#state = 'closed'
    for (const pending of [...this.#pendingRequests]) this.#complete(pending, unavailableResult('the link is closed'))
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
    const isFirst = this.#state === 'opening'
    if (isFirst) this.#state = 'open'
    // Earlier connections of this session used the numbers up to the mark.
    this.#lastSequence = Math.max(this.#lastSequence, mark)
    // Without a channel `link.open` has not returned, so there is no request yet.
    if (this.#channel === null || !(isFirst || lost)) return
    for (const pending of this.#pendingRequests) this.#send(pending)
  }

  reply(sequence: number, _command: number, body: Uint8Array): void {
    this.#complete(this.#findPending(sequence), { ok: true, output: decodeFlatMap(body) })
  }

  error(sequence: number, _command: number, _kind: ErrorKind, code: string, message: string): void {
    this.#complete(this.#findPending(sequence), { ok: false, code, message })
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    if (this.#state !== 'closed') this.#listener?.onPush(sequence, event, body)
  }

  resyncRequired(events: number): void {
    if (this.#state !== 'closed') this.#listener?.onEventsMissed(events)
  }

  channelClosed(code: string, reason?: string): void {
    if (this.#state === 'closed') return
    this.#closeAndFailPending()
    this.#onEnded(code, reason)
  }

  callsApplied(): void {}
  membershipToken(): void {}
  keyBound(): void {}
  loggedIn(): void {}
}

function unavailableResult(message: string): RequestResult {
  return { ok: false, code: 'UNAVAILABLE' satisfies SystemCode, message }
}
