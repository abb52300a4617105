// One channel as its shard sees it: session x shard. It outlives connections and, by its mark, activations.
// Invariant: a call at or below the mark is never run again; its kept reply is sent again instead.

import { hexOf, ByteReader, ByteWriter, EMPTY_BYTES, utf8Encoder, utf8Decoder } from '../wire/bytes.ts'
import type { ErrorKind } from '../wire/message.ts'
import { encodeGrant, sendGrant, type SessionGrant } from './grant.ts'
import { EventHistory, type OutgoingEvent } from './eventhistory.ts'
import { encodeMembershipToken, type Member } from './members.ts'
import type { ChannelIn, ChannelOut, OpenRequest } from '../ports/link.ts'
import type { ChannelWrite, StoredChannel } from '../ports/store.ts'
import type { Timer } from '../ports/clock.ts'
import type { Shard } from '../engine/shard.ts'

/** A kept answer. */
interface RetainedReply {
  readonly sequence: number
  readonly command: number
  readonly kind: 'reply' | ErrorKind | SessionGrant['kind']
  /** Empty for a reply. */
  readonly code: string
  /** Of a reply or a grant; for an error its message. */
  readonly body: Uint8Array
}

export function channelName(session: Uint8Array, channel: number): string {
  return [hexOf(session), channel].join(':')
}

export class Channel implements ChannelIn {
  readonly shard: Shard
  readonly name: string
  /** Channel 0: the session's own. */
  readonly isSessionChannel: boolean
  /** The session part of the name, 32 hex digits. */
  readonly session: string
  readonly legacy: boolean
  /** null while no connection carries it. */
  out: ChannelOut | null = null
  /** The activation it was last introduced to. */
  introducedActivation = 0
  /** Its last activation ended while calls may have been on their way. */
  callsLost = false
  /** What the client knew when a new connection brought the channel; null once introduced. */
  #reportedState: { readonly activation: number; readonly eventAck: number } | null = null
  /** Who has logged in, '' = nobody, and with which login of that uid. */
  uid: string
  epoch: number
  /** Of the newest connection that has carried it. */
  generation: number
  /** Monotonic time since when `out` is null. */
  detachedMs = 0
  /** The highest call that was begun. */
  mark = 0
  /** The highest call whose effects have left, after its commit. */
  committedMark = 0
  /** Events of this activation. */
  readonly #history = new EventHistory()
  /** Events go out as they come; else they wait, from here on those behind `#sent`. */
  #isSending = false
  #lastSent = 0
  /** The client reads too slowly. */
  #isPaused = false
  /** Until a member without connection loses its seat. */
  seatTimer: Timer | null = null
  /** The game was told that the connection is gone. */
  isAway = false
  /** Calls that wait in the mailbox. */
  queuedCalls = 0
  member: Member | null = null
  /** How the Store has it, as far as this activation knows. */
  storedState: StoredChannel = { mark: 0, replies: EMPTY_BYTES }
  /** The membership the gateway presented, until the shard is awake to honour it. */
  membershipToken: Uint8Array
  #retained: RetainedReply[] = []
  #retainedBytes = 0

  constructor(shard: Shard, request: OpenRequest) {
    this.shard = shard
    this.name = channelName(request.session, request.channel)
    this.session = this.name.slice(0, 32)
    this.isSessionChannel = request.channel === 0
    this.legacy = request.legacy
    this.membershipToken = request.membershipToken
    this.uid = request.uid
    this.epoch = request.epoch
    this.generation = request.generation
  }

  /** A connection carries it from now on. */
  attach(out: ChannelOut, request: OpenRequest): void {
    this.seatTimer?.cancel()
    this.seatTimer = null
    this.out = out
    this.#reportedState = request
    this.#isSending = this.#isPaused = false
    this.#lastSent = this.#history.last
    this.uid = request.uid
    this.epoch = request.epoch
    this.generation = request.generation
    if (request.membershipToken.length > 0) this.membershipToken = request.membershipToken
  }

  /** No connection carries it. */
  detach(): void {
    this.out = null
    this.#isSending = false
    this.#lastSent = this.#history.last
  }

  /** The number of its last event. */
  get lastEvent(): number {
    return this.#history.last
  }

  /** Its seat is lost: a client that comes back hears RESYNC, whatever it has. */
  expireHistory(): void {
    this.#history.discardUpTo(this.#history.last + 1)
  }

  /** Whether `opened` must still be said for this activation. */
  needsIntroduction(activation: number): boolean {
    // A service has one number for all its activations.
    return (
      this.out !== null &&
      (this.#reportedState !== null || this.callsLost || this.introducedActivation !== activation)
    )
  }

  /** Events may be gone of which nobody here knows. */
  eventsMissed(): void {
    if (this.out === null) this.expireHistory()
    else this.#resync(this.#history.last + 1)
  }

  /**
   * Tells the client which life it speaks to, and gives it the events that it misses; false = they are not all there.
   * `numbered`: events that this life had for the channel before it was forgotten, and that only the client knows of.
   */
  introduceActivation(activation: number, lastEventNumber: number): boolean {
    const reported = this.#reportedState
    const reportedActivation = reported?.activation ?? 0
    const isSame = this.introducedActivation === activation
    const lostCalls =
      this.callsLost || (reportedActivation !== 0 && !(reportedActivation === activation && isSame))
    this.introducedActivation = activation
    this.callsLost = false
    this.#reportedState = null
    this.out?.channelOpened(activation, this.committedMark, lostCalls)
    this.#sendGrants()
    if (reported === null) return this.#resumeSending()
    if (this.isSessionChannel && this.member === null && this.membershipToken.length === 0) {
      // Nothing is sent to it yet; who seats it says then that something may be missed.
      this.#history.discardUpTo(lastEventNumber)
      this.#lastSent = this.#history.last
      return this.#resumeSending()
    }
    if (reportedActivation === 0 && !isSame && lastEventNumber > 0) return this.#resync(lastEventNumber)
    // A gateway that knows nothing (of channel 0, say) goes on from what was acknowledged.
    const eventAck = reportedActivation === activation ? reported.eventAck : this.#history.acked
    // Forgotten here and not by the client: its numbers go on, above what it says it has, so that it hears of this
    // once more if this word is lost.
    if (reportedActivation === activation && !isSame) return this.#resync(eventAck + 1)
    this.#lastSent = eventAck
    return this.#resumeSending()
  }

  /** An event of a turn that has ended. */
  emit(sent: OutgoingEvent): void {
    if (this.#isSending) {
      const sequence = this.legacy ? ++this.#history.last : this.#history.add(sent, false, this.shard.limits)
      this.out!.event(sequence, sent.event, sent.body)
    } else if (!this.legacy || this.#isPaused) this.#history.add(sent, true, this.shard.limits)
  }

  pauseEvents(isPaused: boolean): void {
    if (this.out === null || isPaused === this.#isPaused) return
    this.#isPaused = isPaused
    if (isPaused) {
      this.#isSending = false
      this.#lastSent = this.#history.last
    } else if (this.introducedActivation !== 0 && this.#reportedState === null && !this.#resumeSending())
      this.shard.channels.requestResync(this)
  }

  /** Events go out again, those that waited first; false = some of them gave way. */
  #resumeSending(): boolean {
    const { out } = this
    if (this.#isSending || out === null || this.#isPaused) return true
    if (!this.#history.canReplayFrom(this.#lastSent)) return this.#resync(0)
    this.#isSending = true
    this.#history.replay(this.#lastSent, (sequence, { event, body }) => out.event(sequence, event, body))
    if (this.legacy) this.#history.discardUpTo(0)
    return true
  }

  #resync(last: number): false {
    this.#history.discardUpTo(last)
    this.#lastSent = this.#history.last
    this.#isSending = !this.#isPaused
    this.out?.resyncRequired(this.#history.last)
    return false
  }

  identify(uid: string, epoch: number): void {
    const before = this.uid
    this.uid = uid
    this.epoch = epoch
    this.shard.channels.loginChanged(this, before)
  }

  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (replyAck !== 0 && this.#retained.length > 0) this.ack(replyAck, 0)
    this.shard.handleCall(this, sequence, command, flags, body)
  }

  /** The client has every answer up to `calls`, and every event up to `events`. */
  ack(calls: number, events: number): void {
    if (events !== 0) this.#history.ack(events)
    let count = 0
    while (count < this.#retained.length && this.#retained[count]!.sequence <= calls) {
      this.#retainedBytes -= retainedBytesOf(this.#retained[count]!)
      count++
    }
    if (count > 0) this.#retained.splice(0, count)
  }

  closeChannel(forget: boolean): void {
    this.shard.channels.detachChannel(this, forget)
  }

  /** Whether another answer may be kept; a client that never acknowledges is ended by its gateway's window. */
  canRetainReply(replies: number, bytes: number): boolean {
    return this.#retained.length < replies && this.#retainedBytes < bytes
  }

  retainReply(sequence: number, command: number, body: Uint8Array): void {
    this.#retain({ sequence, command, kind: 'reply', code: '', body })
  }

  retainError(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#retain(errorReply(sequence, command, kind, code, message))
  }

  /** What the turn of this call has granted; goes with its answer. */
  retainGrant(sequence: number, command: number, grant: SessionGrant): void {
    this.#retain({ sequence, command, kind: grant.kind, code: '', body: encodeGrant(grant) })
  }

  /** Of calls whose answers may not have arrived; of one call, or of all. */
  #sendGrants(sequence = 0): void {
    for (const { kind, body, sequence: of } of this.#retained)
      if (
        (kind === 'login' || kind === 'bind') &&
        of <= this.committedMark &&
        (sequence === 0 || of === sequence)
      )
        sendGrant(this.out, kind, body)
  }

  #retain(answer: RetainedReply): void {
    this.#retained.push(answer)
    this.#retainedBytes += retainedBytesOf(answer)
  }

  /** Answers a call that was begun before: the kept answer, or that it has been applied; later, if it still runs. */
  resendReply(sequence: number): void {
    if (sequence > this.committedMark) return
    this.#sendGrants(sequence)
    const answer = this.#retained.findLast((kept) => kept.sequence === sequence)
    if (!answer || answer.kind === 'login' || answer.kind === 'bind')
      this.out?.callsApplied(this.committedMark)
    else if (answer.kind === 'reply') this.out?.reply(sequence, answer.command, answer.body)
    else this.out?.error(sequence, answer.command, answer.kind, answer.code, utf8Decoder.decode(answer.body))
  }

  /** What a commit stores of this channel. */
  createWrite(nowMs: number): ChannelWrite {
    const write = new LazyChannelWrite(this.name, nowMs, this.mark, this.#retained, this.#retainedBytes)
    this.storedState = write
    return write
  }

  /** The same, if this call had been refused and no later one had come. */
  refusedState(sequence: number, command: number, code: string, message: string): StoredChannel {
    const retained = this.#retained.filter((answer) => answer.sequence < sequence)
    const refused = errorReply(sequence, command, 'system', code, message)
    return { mark: sequence, replies: packReplies([...retained, refused], sequence) }
  }

  /** Takes over what an earlier activation committed. */
  restore(stored: StoredChannel): void {
    this.storedState = stored
    this.mark = this.committedMark = stored.mark
    const reader = new ByteReader('stored replies', stored.replies, 0, stored.replies.length)
    while (!reader.isAtEnd) {
      const sequence = reader.u32()
      const command = reader.u32()
      const kind = KINDS[reader.u8()] ?? 'system'
      const code = reader.text8()
      const body = reader.view32().slice()
      this.#retain({ sequence, command, kind, code, body })
    }
  }

  /** A new activation knows only what was committed, and the seat that the gateway would present. */
  reset(): void {
    // Its gateway has not heard of a seat before it was introduced.
    if (this.member && this.introducedActivation !== 0)
      this.membershipToken = encodeMembershipToken(this.member)
    this.mark = this.committedMark = 0
    this.storedState = { mark: 0, replies: EMPTY_BYTES }
    this.#history.reset()
    this.#lastSent = 0
    this.#isSending = false
    this.isAway = false
    this.member = null
    this.#retained = []
    this.#retainedBytes = 0
  }
}

/**
 * A channel as one turn left it. Of several in one transaction only the last is written, so its replies are packed when
 * they are asked for: what was acknowledged since is not among them, what was answered since is left out.
 */
class LazyChannelWrite implements ChannelWrite {
  readonly id: string
  readonly nowMs: number
  readonly mark: number
  readonly weight: number
  readonly #retained: readonly RetainedReply[]
  #packed: Uint8Array | null = null

  constructor(id: string, nowMs: number, mark: number, kept: readonly RetainedReply[], weight: number) {
    this.id = id
    this.nowMs = nowMs
    this.mark = mark
    this.weight = weight
    this.#retained = kept
  }

  get replies(): Uint8Array {
    return (this.#packed ??= packReplies(this.#retained, this.mark))
  }
}

const KINDS = ['reply', 'refusal', 'system', 'login', 'bind'] as const

function errorReply(
  sequence: number,
  command: number,
  kind: ErrorKind,
  code: string,
  message: string,
): RetainedReply {
  return { sequence, command, kind, code, body: utf8Encoder.encode(message) }
}

function retainedBytesOf({ code, body }: RetainedReply): number {
  return 32 + code.length + body.length
}

/** Kept answers up to a mark, as one blob. Codes are names of ASCII letters. */
function packReplies(retained: readonly RetainedReply[], mark: number): Uint8Array {
  let size = 0
  for (const { sequence, code, body } of retained)
    if (sequence <= mark) size += 14 + code.length + body.length
  const writer = new ByteWriter(size)
  for (const { sequence, command, kind, code, body } of retained) {
    if (sequence > mark) continue
    writer.u32(sequence).u32(command).u8(KINDS.indexOf(kind)).u8(code.length)
    if (code !== '') writer.raw(utf8Encoder.encode(code))
    writer.u32(body.length).raw(body)
  }
  return writer.bytes
}
