// The shard's end of one internal WebSocket: one channel. What must survive hibernation (who speaks, and the
// membership) stands in the socket's attachment. Invariant: whoever closes it closes it once, and a socket that a
// newer one of the same channel has replaced never detaches that channel.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import { RETAIN, type ChannelIn, type ChannelOut } from '../ports/link.ts'
import { ProtocolError } from '../wire/errors.ts'
import type { ErrorKind } from '../wire/message.ts'
import { activationTag, RecordBatch, type OpenRecord, type ShardRecords } from '../wire/record.ts'

/** What the line needs of its object. */
export interface LinkSocketHost {
  readonly routingVersion: string
  /** `admitted`: its game was asked before. */
  attachChannel(link: LinkSocket, opening: OpenRecord, admitted: boolean): ChannelIn
  /** Calls `line.flush` at the end of the event in hand. */
  scheduleFlush(link: LinkSocket): void
  socketEnded(link: LinkSocket): void
}

/** Kept with the socket while the object sleeps; 16,384 bytes at most. */
export interface LinkAttachment {
  readonly contract: string
  readonly key: string
  /** null until the edge has said OPEN. */
  readonly opening: OpenRecord | null
  /** Its game was asked, and its channel has been opened. */
  readonly admitted: boolean
  /** The membership was too large to keep here: the edge must present it again. */
  readonly membershipOmitted: boolean
}

/** Leaves room for the names in the 16 KB of an attachment. */
const MAX_MEMBERSHIP_BYTES = 14_000

export class LinkSocket implements ShardRecords, ChannelOut {
  readonly socket: WebSocket
  readonly #host: LinkSocketHost
  readonly #batch = new RecordBatch()
  #attachment: LinkAttachment
  #channel: ChannelIn | null = null
  #isFlushScheduled = false
  #isEnded = false
  /** Of the last activation that was told here, 0 = none yet. */
  #activationTag = 0
  /** Calls were lost under this very socket: those on their way must not overtake them. */
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

  /** Of the connection that it belongs to, 0 before OPEN. */
  get generation(): number {
    return this.#attachment.opening?.generation ?? 0
  }

  /** Its channel is open. */
  get isOpen(): boolean {
    return this.#channel !== null
  }

  /** After hibernation or eviction: the channel is opened anew, as its attachment remembers it. */
  reopenChannel(): void {
    const { opening, membershipOmitted: spilt, admitted } = this.#attachment
    if (spilt) this.closeSocket(1012, 'present the membership again')
    else if (opening) this.#channel = this.#host.attachChannel(this, opening, admitted)
  }

  open(opening: OpenRecord): void {
    if (this.#attachment.opening) throw new ProtocolError('BAD_MESSAGE', 'OPEN was said before')
    this.#saveAttachment(opening)
    this.#channel = this.#host.attachChannel(this, opening, false)
  }

  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    const channel = this.#requireChannel()
    // Sent before the edge heard `lost`; its client sends it again, behind what is older.
    if (this.#dropsStaleCalls && flags >> 1 !== this.#activationTag && !this.#attachment.opening?.legacy)
      return
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

  close(forget: boolean): void {
    this.closeSocket(1000, 'closed by the gateway', forget)
  }

  ping(): void {
    this.#batch.pong()
    this.#scheduleFlush()
  }

  #requireChannel(): ChannelIn {
    if (this.#channel === null) throw new ProtocolError('BAD_MESSAGE', 'a record came before OPEN')
    return this.#channel
  }

  channelOpened(activation: number, mark: number, callsLost: boolean): void {
    const { opening, admitted } = this.#attachment
    if (opening && !admitted) this.#saveAttachment(opening, true)
    this.#dropsStaleCalls = callsLost && this.#activationTag !== 0
    this.#activationTag = activationTag(activation)
    this.#batch.opened(activation, mark, callsLost, this.#host.routingVersion)
    this.#scheduleFlush()
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#batch.reply(sequence, command, body)
    this.#scheduleFlush()
  }

  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#batch.error(sequence, command, kind, code, message)
    this.#scheduleFlush()
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#batch.event(sequence, event, body)
    this.#scheduleFlush()
  }

  callsApplied(mark: number): void {
    this.#batch.applied(mark)
    this.#scheduleFlush()
  }

  membershipToken(token: Uint8Array): void {
    const { opening } = this.#attachment
    if (opening && !sameBytes(opening.membershipToken, token)) {
      this.#saveAttachment({ ...opening, membershipToken: token })
      this.#batch.membershipToken(token)
      this.#scheduleFlush()
    }
  }

  keyBound(contract: string, key: string): void {
    this.#batch.bind(contract, key)
    this.#scheduleFlush()
  }

  resyncRequired(events: number): void {
    this.#batch.resync(events)
    this.#scheduleFlush()
  }

  loggedIn(uid: string, epoch: number): void {
    this.#batch.login(uid, epoch)
    this.#scheduleFlush()
  }

  channelClosed(code: string, reason?: string): void {
    this.#batch.closed(code, reason)
    this.closeSocket(1000, code)
  }

  #saveAttachment(opening: OpenRecord, admitted = this.#attachment.admitted): void {
    const membershipOmitted = opening.membershipToken.length > MAX_MEMBERSHIP_BYTES
    this.#attachment = { ...this.#attachment, opening, admitted, membershipOmitted }
    const membershipToken = membershipOmitted ? EMPTY_BYTES : opening.membershipToken
    // The next life knows nothing of calls on their way, so it is opened as if for the first time.
    this.socket.serializeAttachment({
      ...this.#attachment,
      opening: { ...opening, activation: 0, memo: membershipToken },
    })
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled || this.#isEnded) return
    this.#isFlushScheduled = true
    this.#host.scheduleFlush(this)
  }

  /** One message for all that the event caused. The platform's output gate holds it until its commits are on disk. */
  flush(): void {
    this.#isFlushScheduled = false
    if (this.#isEnded || this.#batch.size === 0) return
    this.#send()
  }

  #send(): void {
    try {
      this.socket.send(this.#batch.takeMessage())
    } catch {
      // The socket is closing; its close event tells the channel.
    }
  }

  /** The channel is detached at once, the socket closed behind what was said. */
  closeSocket(code: number, reason: string, forget = false): void {
    if (this.#isEnded) return
    if (this.#batch.size > 0) this.#send()
    this.socketClosed(forget)
    try {
      this.socket.close(code, reason)
    } catch {
      // Closed already.
    }
  }

  /** The socket is gone. */
  socketClosed(forget = false): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#host.socketEnded(this)
    this.#channel?.closeChannel(forget)
  }

  /** A newer socket carries the channel: this one goes without a word to it. Its edge must not open it again. */
  closeReplaced(): void {
    this.#channel = null
    this.#batch.closed('REPLACED')
    this.closeSocket(1000, 'replaced')
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
