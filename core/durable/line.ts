// The shard's end of one internal WebSocket: one channel. What must survive hibernation (who speaks, and the
// membership) stands in the socket's attachment. Invariant: whoever closes it closes it once, and a socket that a
// newer one of the same channel has replaced never detaches that channel.

import { RETAIN, type ChannelIn, type ChannelOut } from '../run/ports.ts'
import { ProtocolError } from '../wire/errors.ts'
import type { ErrorKind } from '../wire/message.ts'
import { lifeMark, RecordBatch, type Opening, type ShardRecords } from '../wire/record.ts'

/** What the line needs of its object. */
export interface LineHost {
  readonly doorVersion: string
  /** `admitted`: its game was asked before. */
  attach(line: Line, opening: Opening, admitted: boolean): ChannelIn
  /** Calls `line.flush` at the end of the event in hand. */
  flushSoon(line: Line): void
  gone(line: Line): void
}

/** Kept with the socket while the object sleeps; 16,384 bytes at most. */
export interface Attachment {
  readonly contract: string
  readonly key: string
  /** null until the edge has said OPEN. */
  readonly opening: Opening | null
  /** Its game was asked, and its channel has been opened. */
  readonly admitted: boolean
  /** The membership was too large to keep here: the edge must present it again. */
  readonly spilt: boolean
}

/** Leaves room for the names in the 16 KB of an attachment. */
const MAX_MEMO_BYTES = 14_000

export class Line implements ShardRecords, ChannelOut {
  readonly socket: WebSocket
  readonly #host: LineHost
  readonly #batch = new RecordBatch()
  #attachment: Attachment
  #channel: ChannelIn | null = null
  #dirty = false
  #over = false
  /** Of the last activation that was told here, 0 = none yet. */
  #lifeMark = 0
  /** Calls were lost under this very socket: those on their way must not overtake them. */
  #fenced = false

  constructor(host: LineHost, socket: WebSocket, attachment: Attachment) {
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
  get alive(): boolean {
    return this.#channel !== null
  }

  /** After hibernation or eviction: the channel is opened anew, as its attachment remembers it. */
  revive(): void {
    const { opening, spilt, admitted } = this.#attachment
    if (spilt) this.end(1012, 'present the membership again')
    else if (opening) this.#channel = this.#host.attach(this, opening, admitted)
  }

  open(opening: Opening): void {
    if (this.#attachment.opening) throw new ProtocolError('BAD_MESSAGE', 'OPEN was said before')
    this.#keep(opening)
    this.#channel = this.#host.attach(this, opening, false)
  }

  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    const channel = this.#opened()
    // Sent before the edge heard `lost`; its client sends it again, behind what is older.
    if (this.#fenced && flags >> 1 !== this.#lifeMark && !this.#attachment.opening?.legacy) return
    channel.call(sequence, command, flags & RETAIN, replyAck, body)
  }

  ack(calls: number, events: number): void {
    this.#opened().ack(calls, events)
  }

  hold(on: boolean): void {
    this.#opened().hold(on)
  }

  identify(uid: string, epoch: number): void {
    const { opening } = this.#attachment
    if (opening) this.#keep({ ...opening, uid, epoch })
    this.#opened().identify(uid, epoch)
  }

  close(forget: boolean): void {
    this.end(1000, 'closed by the gateway', forget)
  }

  ping(): void {
    this.#batch.pong()
    this.#soon()
  }

  #opened(): ChannelIn {
    if (this.#channel === null) throw new ProtocolError('BAD_MESSAGE', 'a record came before OPEN')
    return this.#channel
  }

  opened(activation: number, mark: number, lost: boolean): void {
    const { opening, admitted } = this.#attachment
    if (opening && !admitted) this.#keep(opening, true)
    this.#fenced = lost && this.#lifeMark !== 0
    this.#lifeMark = lifeMark(activation)
    this.#batch.opened(activation, mark, lost, this.#host.doorVersion)
    this.#soon()
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#batch.reply(sequence, command, body)
    this.#soon()
  }

  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#batch.error(sequence, command, kind, code, message)
    this.#soon()
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#batch.event(sequence, event, body)
    this.#soon()
  }

  applied(mark: number): void {
    this.#batch.applied(mark)
    this.#soon()
  }

  memo(memo: Uint8Array): void {
    const { opening } = this.#attachment
    if (opening && !same(opening.memo, memo)) {
      this.#keep({ ...opening, memo })
      this.#batch.memo(memo)
      this.#soon()
    }
  }

  bind(contract: string, key: string): void {
    this.#batch.bind(contract, key)
    this.#soon()
  }

  resync(events: number): void {
    this.#batch.resync(events)
    this.#soon()
  }

  login(uid: string, epoch: number): void {
    this.#batch.login(uid, epoch)
    this.#soon()
  }

  closed(code: string): void {
    this.#batch.closed(code)
    this.end(1000, code)
  }

  #keep(opening: Opening, admitted = this.#attachment.admitted): void {
    const spilt = opening.memo.length > MAX_MEMO_BYTES
    this.#attachment = { ...this.#attachment, opening, admitted, spilt }
    const memo = spilt ? new Uint8Array(0) : opening.memo
    // The next life knows nothing of calls on their way, so it is opened as if for the first time.
    this.socket.serializeAttachment({ ...this.#attachment, opening: { ...opening, activation: 0, memo } })
  }

  #soon(): void {
    if (this.#dirty || this.#over) return
    this.#dirty = true
    this.#host.flushSoon(this)
  }

  /** One message for all that the event caused. The platform's output gate holds it until its commits are on disk. */
  flush(): void {
    this.#dirty = false
    if (this.#over || this.#batch.size === 0) return
    this.#send()
  }

  #send(): void {
    try {
      this.socket.send(this.#batch.take())
    } catch {
      // The socket is closing; its close event tells the channel.
    }
  }

  /** The channel is detached at once, the socket closed behind what was said. */
  end(code: number, reason: string, forget = false): void {
    if (this.#over) return
    if (this.#batch.size > 0) this.#send()
    this.ended(forget)
    try {
      this.socket.close(code, reason)
    } catch {
      // Closed already.
    }
  }

  /** The socket is gone. */
  ended(forget = false): void {
    if (this.#over) return
    this.#over = true
    this.#host.gone(this)
    this.#channel?.close(forget)
  }

  /** A newer socket carries the channel: this one goes without a word to it. Its edge must not open it again. */
  replaced(): void {
    this.#channel = null
    this.#batch.closed('REPLACED')
    this.end(1000, 'replaced')
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
