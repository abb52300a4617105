// One channel, the path of a session to a shard, as a state machine. It outlives connections and, through its mark,
// activations. Invariants: a call at or below the mark never runs again, its retained reply is resent; no event leaves
// before `channelOpened`. Transitions (`-` = ignored):
//
//              attach     introduce         pause   resume       detach    endActivation  eventsMissed
//   detached   attaching  detached          -       -            -         detached       detached, history discarded
//   attaching  attaching  sending, paused*  *       *            detached  attaching      attaching, history discarded
//   sending    attaching  -                 paused  -            detached  attaching      sending after RESYNC
//   paused     attaching  -                 -       sending**    detached  attaching      paused after RESYNC
//
//   *  The gateway's last request counts: `attaching` only records it, and `introduce` applies it.
//   ** After the events that waited, or after RESYNC when some of them were dropped. The same holds for `introduce`.

import { EMPTY_BYTES, hexOf } from '../wire/bytes.ts'
import type { Timer } from '../ports/clock.ts'
import type { ChannelIn, ChannelOut, OpenRequest } from '../ports/link.ts'
import { channelWrite, type ChannelWrite, type StoredChannel } from '../ports/store.ts'
import { CallMark } from './callmark.ts'
import { EventHistory, type HistoryBounds, type OutgoingEvent } from './eventhistory.ts'
import { encodeMembershipToken, type Member } from './members.ts'
import { RetainedReplies } from './retainedreplies.ts'

/** `attaching`: a connection waits for its introduction. `paused`: events wait because the client reads too slowly. */
export type ChannelState = 'detached' | 'attaching' | 'sending' | 'paused'

/** What a channel needs of its shard. */
export interface ChannelHost {
  readonly limits: HistoryBounds
  handleCall(channel: Channel, sequence: number, command: number, flags: number, body: Uint8Array): void
  /** `before`: the uid until now. */
  loginChanged(channel: Channel, before: string): void
  /** Waiting events were dropped: the game may send fresh state. */
  requestResync(channel: Channel): void
  detachChannel(channel: Channel, isFinal: boolean): void
}

type ChannelKey = Pick<OpenRequest, 'session' | 'channel' | 'legacy'>

export function channelName(session: Uint8Array, channel: number): string {
  return `${hexOf(session)}:${channel}`
}

export class Channel implements ChannelIn {
  readonly name: string
  /** Channel 0: the session's own. */
  readonly isSessionChannel: boolean
  /** The session part of the name, 32 hex digits. */
  readonly session: string
  readonly legacy: boolean
  readonly replies = new RetainedReplies()
  readonly #host: ChannelHost
  #state: ChannelState = 'detached'
  #out: ChannelOut | null = null
  /** The last request of the newest connection's gateway. */
  #isPauseRequested = false
  /** The client's position when the newest connection attached; null once introduced. */
  #reported: { readonly activation: number; readonly eventAck: number } | null = null
  #introducedActivation = 0
  #callsLost = false
  #uid = ''
  #epoch = 0
  /** Of the newest connection. */
  #generation = 0
  #remote = ''
  #detachedMs = 0
  #seatTimer: Timer | null = null
  readonly #calls = new CallMark()
  #queuedCalls = 0
  #member: Member<Channel> | null = null
  #membershipToken: Uint8Array = EMPTY_BYTES
  /** The channel in the Store, as far as this activation has read or written it. */
  #storedState: StoredChannel = { mark: 0, replies: EMPTY_BYTES }
  readonly #history = new EventHistory()
  /** Unless `sending`: the number of the last event that was sent. */
  #lastSent = 0

  constructor(host: ChannelHost, { session, channel, legacy }: ChannelKey) {
    this.#host = host
    this.name = channelName(session, channel)
    this.session = this.name.slice(0, 32)
    this.isSessionChannel = channel === 0
    this.legacy = legacy
  }

  /** Bytes of the events and replies that the client has not acknowledged. */
  get retainedBytes(): number {
    return this.#history.bytes + this.replies.bytes
  }

  get state(): ChannelState {
    return this.#state
  }
  get out(): ChannelOut | null {
    return this.#out
  }
  /** '' = not logged in. */
  get uid(): string {
    return this.#uid
  }
  /** Number of the login of that uid. */
  get epoch(): number {
    return this.#epoch
  }
  get generation(): number {
    return this.#generation
  }
  /** IP address of the newest connection, '' = unknown. */
  get remote(): string {
    return this.#remote
  }
  /** The last activation that the channel was introduced to, 0 = none. */
  get introducedActivation(): number {
    return this.#introducedActivation
  }
  /** The last activation ended while calls may have been in flight, and the client has not been notified. */
  get callsLost(): boolean {
    return this.#callsLost
  }
  /** Monotonic time of the last detach. */
  get detachedMs(): number {
    return this.#detachedMs
  }
  /** The highest call that has begun. */
  get mark(): number {
    return this.#calls.begun
  }
  /** Calls of this channel in the mailbox. */
  get queuedCalls(): number {
    return this.#queuedCalls
  }
  get member(): Member<Channel> | null {
    return this.#member
  }
  /** The number of the last event. */
  get lastEvent(): number {
    return this.#history.last
  }

  /** any state -> attaching */
  attach(out: ChannelOut, request: OpenRequest): void {
    this.setSeatTimer(null)
    this.#state = 'attaching'
    this.#out = out
    this.#reported = request
    this.#isPauseRequested = false
    this.#uid = request.uid
    this.#epoch = request.epoch
    this.#generation = request.generation
    this.#remote = request.remote
    if (request.membershipToken.length > 0) this.#membershipToken = request.membershipToken
  }

  /**
   * attaching -> sending, paused. Sends the number of the activation and the events that the client has missed; returns
   * false when some of them are lost. A channel that was detached while the Store was read stays detached.
   * @param lastEventNumber the last event that a forgotten channel of this name had in this activation
   */
  introduce(activation: number, lastEventNumber: number): boolean {
    if (this.#state === 'sending' || this.#state === 'paused') return true
    const reported = this.#reported
    const reportedActivation = reported?.activation ?? 0
    const isSame = this.#introducedActivation === activation
    const callsLost = this.#callsLost || (reportedActivation !== 0 && !(reportedActivation === activation && isSame))
    this.#introducedActivation = activation
    this.#callsLost = false
    this.#reported = null
    this.#out?.channelOpened(activation, this.#calls.committed, callsLost)
    this.replies.sendGrants(this.#out, this.#calls.committed)
    if (reported === null) return this.#startSending()
    if (this.isSessionChannel && this.#member === null && this.#membershipToken.length === 0) {
      // No event is sent before the channel joins. RESYNC follows when it does.
      this.#history.discardUpTo(lastEventNumber)
      this.#lastSent = this.#history.last
      return this.#startSending()
    }
    if (reportedActivation === 0 && !isSame && lastEventNumber > 0) return this.#resync(lastEventNumber)
    // Numbers continue above the client's, so that it detects the loss again if this RESYNC does not arrive.
    if (reportedActivation === activation && !isSame) return this.#resync(reported.eventAck + 1)
    // A gateway without a position (of channel 0, for example) continues after the acknowledged events.
    this.#lastSent = reportedActivation === activation ? reported.eventAck : this.#history.acked
    return this.#startSending()
  }

  pauseEvents(isPaused: boolean): void {
    if (this.#state === 'detached' || isPaused === this.#isPauseRequested) return
    this.#isPauseRequested = isPaused
    if (this.#state === 'sending') this.#pause()
    else if (this.#state === 'paused' && !this.#startSending()) this.#host.requestResync(this)
  }

  /** sending -> paused */
  #pause(): void {
    this.#state = 'paused'
    this.#lastSent = this.#history.last
  }

  /** any state -> detached */
  detach(nowMs: number): void {
    this.#state = 'detached'
    this.#out = null
    this.#detachedMs = nowMs
  }

  /** attaching, sending, paused -> attaching. The next activation restores what was committed and the membership. */
  endActivation(): void {
    // Before the introduction the gateway still has the token that it presented.
    if (this.#member && this.#introducedActivation !== 0) this.#membershipToken = encodeMembershipToken(this.#member)
    if (this.#state !== 'detached') this.#state = 'attaching'
    this.#calls.restart(0)
    this.#storedState = { mark: 0, replies: EMPTY_BYTES }
    this.#history.reset()
    this.#lastSent = 0
    this.#member = null
    this.replies.clear()
  }

  /** Events may be lost that are in no history: RESYNC now, or when the channel is introduced. */
  eventsMissed(): void {
    if (this.#state === 'sending' || this.#state === 'paused') this.#resync(this.#history.last + 1)
    else this.expireHistory()
  }

  /** The next introduction sends RESYNC, whatever the client has received. */
  expireHistory(): void {
    this.#history.discardUpTo(this.#history.last + 1)
  }

  /** attaching, paused -> sending, or paused while a pause is requested. Returns false after RESYNC. */
  #startSending(): boolean {
    const out = this.#out
    if (out === null) return true
    if (this.#isPauseRequested) {
      this.#state = 'paused'
      return true
    }
    if (!this.#history.canReplayFrom(this.#lastSent)) return this.#resync(0)
    this.#state = 'sending'
    this.#history.replay(this.#lastSent, (sequence, { event, body }) => out.event(sequence, event, body))
    if (this.legacy) this.#history.discardUpTo(0)
    return true
  }

  /** attaching, sending, paused -> sending, or paused while a pause is requested. Discards all events up to `last`. */
  #resync(last: number): false {
    this.#history.discardUpTo(last)
    this.#lastSent = this.#history.last
    if (this.#out === null) return false
    this.#state = this.#isPauseRequested ? 'paused' : 'sending'
    this.#out.resyncRequired(this.#history.last)
    return false
  }

  /** Sends or retains an event of a committed turn. A legacy client cannot resume, so only a pause retains its events. */
  emit(sent: OutgoingEvent): void {
    if (this.#state === 'sending') {
      const sequence = this.legacy ? this.#history.skip() : this.#history.add(sent, false, this.#host.limits)
      this.#out!.event(sequence, sent.event, sent.body)
    } else if (!this.legacy || this.#isPauseRequested) this.#history.add(sent, true, this.#host.limits)
  }

  identify(uid: string, epoch: number): void {
    const before = this.#uid
    this.#uid = uid
    this.#epoch = epoch
    this.#host.loginChanged(this, before)
  }

  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (replyAck !== 0) this.replies.ack(replyAck)
    this.#host.handleCall(this, sequence, command, flags, body)
  }

  ack(calls: number, events: number): void {
    if (events !== 0) this.#history.ack(events)
    this.replies.ack(calls)
  }

  closeChannel(isFinal: boolean): void {
    this.#host.detachChannel(this, isFinal)
  }

  setMember(member: Member<Channel> | null): void {
    this.#member = member
  }

  sendMembershipToken(): void {
    this.#out?.membershipToken(encodeMembershipToken(this.#member))
  }

  /** Returns the token that the gateway presented, empty = none, and clears it. */
  takeMembershipToken(): Uint8Array {
    const token = this.#membershipToken
    this.#membershipToken = EMPTY_BYTES
    return token
  }

  /** Replaces the timer that releases the seat of a detached member. */
  setSeatTimer(timer: Timer | null): void {
    this.#seatTimer?.cancel()
    this.#seatTimer = timer
  }

  markCallsLost(): void {
    this.#callsLost = true
  }
  addQueuedCalls(count: 1 | -1): void {
    this.#queuedCalls += count
  }

  /** No call runs from now on: the Store could not be read, so it is unknown which ones have run. */
  refuseCalls(): void {
    this.#calls.refuse()
  }

  /** Raises the mark to a new call. Returns false for an earlier one: its reply or the mark is sent, once it is committed. */
  beginCall(sequence: number): boolean {
    const beginning = this.#calls.begin(sequence)
    if (beginning === 'committed') this.replies.resend(this.#out, this.#calls.committed, sequence)
    return beginning === 'begun'
  }

  /** The call is committed and its effects have left. */
  callCommitted(sequence: number): void {
    this.#calls.commit(sequence)
  }

  /** Acknowledges the calls that later ones have overtaken, after the answer of the last of those. */
  acknowledgeOvertaken(): void {
    if (this.#calls.takeOvertaken()) this.#out?.callsApplied(this.#calls.committed)
  }

  createWrite(nowMs: number): ChannelWrite {
    return (this.#storedState = this.replies.createWrite(this.name, nowMs, this.#calls.begun))
  }
  createUndoWrite(nowMs: number): ChannelWrite {
    return channelWrite(this.name, nowMs, this.#storedState)
  }

  /** Restores what an earlier activation committed. */
  restore(stored: StoredChannel): void {
    this.#storedState = stored
    this.#calls.restart(stored.mark)
    this.replies.restore(stored)
  }
}
