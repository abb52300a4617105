// The shard's end of one internal WebSocket, which carries one channel. State that must survive hibernation (the opening
// and the membership token) is stored in the socket's attachment. Invariants: a socket is closed once; a socket that was
// replaced by a newer one of the same channel never detaches that channel.

import { REPLACED, RETAIN, type ChannelIn, type ChannelOut } from '../ports/link.ts'
import { EMPTY_BYTES } from '../wire/bytes.ts'
import { ProtocolError } from '../wire/errors.ts'
import type { ErrorKind } from '../wire/message.ts'
import { activationTag, RecordBatch, type OpenRecord, type ShardRecords } from '../wire/record.ts'

/** The part of its object that a link uses. */
export interface LinkSocketHost {
  readonly routingVersion: string
  /** `admitted`: the game has already admitted the channel. */
  attachChannel(link: LinkSocket, opening: OpenRecord, admitted: boolean): ChannelIn
  /** Calls `link.flush` at the end of the current event. */
  scheduleFlush(link: LinkSocket): void
  socketEnded(link: LinkSocket): void
}

/** Stored with the socket while the object hibernates; at most 16,384 bytes. */
export interface LinkAttachment {
  readonly contract: string
  readonly key: string
  /** null until the edge has sent OPEN. */
  readonly opening: OpenRecord | null
  /** The game has admitted the channel. */
  readonly admitted: boolean
  /** The membership token is too large for the attachment: the edge must present it again. */
  readonly membershipOmitted: boolean
}

/** Leaves space for the names in the 16 KB of an attachment. */
const MAX_MEMBERSHIP_BYTES = 14_000

export class LinkSocket implements ShardRecords, ChannelOut {
  readonly socket: WebSocket
  readonly #host: LinkSocketHost
  readonly #batch = new RecordBatch()
  #attachment: LinkAttachment
  #channel: ChannelIn | null = null
  #isFlushScheduled = false
  #isEnded = false
  /** The tag of the last activation reported to the edge, 0 = none yet. */
  #activationTag = 0
  /** Calls sent on this socket were lost: later ones in transit must not overtake them. */
  #dropsStaleCalls = false

  constructor(host: LinkSocketHost, socket: WebSocket, attachment: LinkAttachment) {
    this.#host = host
    this.socket = socket
    this.#attachment = attachment
  }

  /** `session:channel`, '' before OPEN. */
  get name(): string {
    const { opening } = this.#attachment
    return opening ? `${opening.session.join('.')}:${opening.channel}` : ''
  }

  /** The generation of its client connection, 0 before OPEN. */
  get generation(): number {
    return this.#attachment.opening?.generation ?? 0
  }

  /** The channel is open. */
  get isOpen(): boolean {
    return this.#channel !== null
  }

  /** Reopens the channel from the attachment, after hibernation or eviction. */
  reopenChannel(): void {
    const { opening, membershipOmitted, admitted } = this.#attachment
    if (membershipOmitted) this.closeSocket(1012, 'present the membership again')
    else if (opening) this.#channel = this.#host.attachChannel(this, opening, admitted)
  }

  open(opening: OpenRecord): void {
    if (this.#attachment.opening) throw new ProtocolError('BAD_MESSAGE', 'a second OPEN on one link')
    this.#saveAttachment(opening)
    this.#channel = this.#host.attachChannel(this, opening, false)
  }

  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    const channel = this.#requireChannel()
    // Sent before the edge received `lost`; the client resends it after the older calls.
    if (this.#dropsStaleCalls && flags >> 1 !== this.#activationTag && !this.#attachment.opening?.legacy) return
    channel.submitCall(sequence, command, flags & RETAIN, replyAck, body)
  }

  ack(calls: number, events: number): void {
    this.#requireChannel().ack(calls, events)
  }

  pauseEvents(on: boolean): void {
    this.#requireChannel().pauseEvents(on)
  }

  identify(uid: string, epoch: number): void {
    const { opening } = this.#attachment
    if (opening) this.#saveAttachment({ ...opening, uid, epoch })
    this.#requireChannel().identify(uid, epoch)
  }

  close(isFinal: boolean): void {
    this.closeSocket(1000, 'closed by the gateway', isFinal)
  }

  ping(): void {
    this.#output().pong()
  }

  #requireChannel(): ChannelIn {
    if (this.#channel === null) throw new ProtocolError('BAD_MESSAGE', 'a record before OPEN')
    return this.#channel
  }

  channelOpened(activation: number, mark: number, callsLost: boolean): void {
    const { opening, admitted } = this.#attachment
    if (opening && !admitted) this.#saveAttachment(opening, true)
    this.#dropsStaleCalls = callsLost && this.#activationTag !== 0
    this.#activationTag = activationTag(activation)
    this.#output().opened(activation, mark, callsLost, this.#host.routingVersion)
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#output().reply(sequence, command, body)
  }

  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#output().error(sequence, command, kind, code, message)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#output().event(sequence, event, body)
  }

  callsApplied(mark: number): void {
    this.#output().applied(mark)
  }

  membershipToken(token: Uint8Array): void {
    const { opening } = this.#attachment
    if (opening && !sameBytes(opening.membershipToken, token)) {
      this.#saveAttachment({ ...opening, membershipToken: token })
      this.#output().membershipToken(token)
    }
  }

  keyBound(contract: string, key: string): void {
    this.#output().bind(contract, key)
  }

  resyncRequired(events: number): void {
    this.#output().resync(events)
  }

  loggedIn(uid: string, epoch: number): void {
    this.#output().login(uid, epoch)
  }

  channelClosed(code: string, reason?: string): void {
    this.#batch.closed(code, reason)
    this.closeSocket(1000, code)
  }

  #saveAttachment(opening: OpenRecord, admitted = this.#attachment.admitted): void {
    const membershipOmitted = opening.membershipToken.length > MAX_MEMBERSHIP_BYTES
    this.#attachment = { ...this.#attachment, opening, admitted, membershipOmitted }
    const membershipToken = membershipOmitted ? EMPTY_BYTES : opening.membershipToken
    // The next activation cannot know which calls are in transit, so it opens the channel as a new one.
    this.socket.serializeAttachment({ ...this.#attachment, opening: { ...opening, activation: 0, membershipToken } })
  }

  /** Returns the batch, which is sent at the end of the current event. */
  #output(): RecordBatch {
    if (!this.#isFlushScheduled && !this.#isEnded) {
      this.#isFlushScheduled = true
      this.#host.scheduleFlush(this)
    }
    return this.#batch
  }

  /** Sends one message with all output of the event. The platform's output gate holds it until the commits are durable. */
  flush(): void {
    this.#isFlushScheduled = false
    if (this.#isEnded || this.#batch.size === 0) return
    this.#send()
  }

  #send(): void {
    try {
      this.socket.send(this.#batch.takeMessage())
    } catch {
      // The socket is closing; its close event detaches the channel.
    }
  }

  /** Detaches the channel, and closes the socket after the buffered records are sent. */
  closeSocket(code: number, reason: string, isFinal = false): void {
    if (this.#isEnded) return
    if (this.#batch.size > 0) this.#send()
    this.socketClosed(isFinal)
    try {
      this.socket.close(code, reason)
    } catch {
      // Already closed.
    }
  }

  /** Called when the socket is closed. */
  socketClosed(isFinal = false): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#host.socketEnded(this)
    this.#channel?.closeChannel(isFinal)
  }

  /** Closes this socket because a newer one carries the channel; the channel stays attached, the edge must not reopen. */
  closeReplaced(): void {
    this.#channel = null
    this.#batch.closed(REPLACED)
    this.closeSocket(1000, 'replaced')
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
