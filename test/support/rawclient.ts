// A minimal client of one connection, without the SDK: version 2 with one channel, or the legacy protocol. It sends calls and
// counts replies and events. Invariant: it sends PONG and ACK as a correct client does; whether it reads is the caller's
// decision.

import { connect } from 'node:net'
import { WebSocket } from 'ws'

import { EMPTY_BYTES, readU32 } from '../../core/wire/bytes.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import {
  decodeError,
  decodeOpened,
  encodeAck,
  encodeCall,
  encodeHello,
  encodeOpen,
  EVENT_BYTES,
  MESSAGE,
  type Opened,
} from '../../core/wire/message.ts'

export type Transport = 'tcp' | 'ws'
export type Protocol = 'v2' | 'legacy'

export interface RawClientOptions {
  readonly transport: Transport
  readonly protocol: Protocol
  /** On 127.0.0.1. */
  readonly port: number
  readonly contract: string
  readonly key: string
  /** Commands from this number on are events. Legacy frames do not tell events from replies. */
  readonly firstEvent?: number
  /** After a loss of calls, send the last call again if it has no reply. Default false. */
  readonly resend?: boolean
  /** The reply to the n-th call, n from 1. */
  readonly onReply?: (sequence: number) => void
  readonly onEvent?: (event: number, source: Uint8Array, start: number, end: number) => void
  /** A call or the channel failed. */
  readonly onError?: (reason: string) => void
  /** The server closed the connection. */
  readonly onClosed?: (reason: string) => void
}

interface RawSocket {
  write(bytes: Uint8Array): void
  pause(): void
  close(): void
}

const HOST = '127.0.0.1'
const MAX_BODY_BYTES = 1_048_576
const CHANNEL = 1
/** Events that one ACK acknowledges. */
const ACK_EVENTS = 16
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
/** One read buffer for all clients: the decoder copies an incomplete frame. */
const readBuffer = Buffer.alloc(65_536)

export const HELLO = encodeFrame(
  identity,
  MESSAGE.HELLO,
  encodeHello({ minVersion: 2, maxVersion: 2, session: new Uint8Array(16), ticket: EMPTY_BYTES, token: EMPTY_BYTES }),
)
const PING = encodeFrame(identity, MESSAGE.PING, new Uint8Array(8))

/** A frame of the default identity. */
export function encodeDefaultFrame(command: number, body: Uint8Array): Uint8Array {
  return encodeFrame(identity, command, body)
}

export class RawClient {
  /** PONG received, PING answered, EVENT received, RESYNC received. */
  pongs = 0
  answeredPings = 0
  events = 0
  resyncs = 0
  readonly #options: RawClientOptions
  readonly #decoder: FrameDecoder
  readonly #opened = Promise.withResolvers<void>()
  #socket: RawSocket | null = null
  #opening = 0
  #sent = 0
  #answered = 0
  /** The last call, for `resend`. */
  #lastCall: { readonly command: number; readonly body: Uint8Array } | null = null
  #lastEvent = 0
  #ackedEvent = 0
  #closeReason = ''

  private constructor(options: RawClientOptions) {
    this.#options = options
    this.#decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_BODY_BYTES, (...part) => this.#frame(...part))
  }

  /** Resolves when the channel is open. @throws Error when the server does not open it */
  static async open(options: RawClientOptions): Promise<RawClient> {
    const client = new RawClient(options)
    const dial = options.transport === 'tcp' ? dialTcp : dialWebSocket
    const read = (bytes: Uint8Array): void => void client.#decoder.push(bytes)
    client.#socket = await dial(options.port, read, (reason) => client.#closed(reason))
    if (options.protocol === 'legacy') client.#opened.resolve()
    else client.#socket.write(HELLO)
    await client.#opened.promise
    return client
  }

  /** Returns the call's sequence. */
  call(command: number, body: Uint8Array): number {
    const sequence = ++this.#sent
    if (this.#options.resend) this.#lastCall = { command, body }
    this.#sendCall(sequence, command, body)
    return sequence
  }

  sendPing(): void {
    this.#socket?.write(PING)
  }

  /** Stops reading permanently. */
  pauseReading(): void {
    this.#socket?.pause()
  }

  /** Closes the connection; `onClosed` is not called. */
  close(): void {
    const socket = this.#socket
    this.#socket = null
    socket?.close()
  }

  #sendCall(sequence: number, command: number, body: Uint8Array): void {
    if (this.#options.protocol === 'legacy') return this.#send(command, body)
    const call = { channel: CHANNEL, opening: this.#opening, sequence, replyAck: this.#answered, command }
    this.#send(MESSAGE.CALL, encodeCall(call, body))
  }

  #send(command: number, body: Uint8Array): void {
    this.#socket?.write(encodeFrame(identity, command, body))
  }

  #closed(cause: string): void {
    if (this.#socket === null) return
    this.#socket = null
    const reason = this.#closeReason === '' ? cause : this.#closeReason
    this.#opened.reject(new Error(`the server closed a connection: ${reason}`))
    this.#options.onClosed?.(reason)
  }

  #frame(command: number, source: Uint8Array, start: number, end: number): void {
    if (this.#options.protocol === 'legacy') {
      if (command < (this.#options.firstEvent ?? Infinity)) this.#reply(this.#answered + 1)
      else this.#event(command, source, start, end)
      return
    }
    switch (command) {
      case MESSAGE.WELCOME: {
        const { contract, key } = this.#options
        const open = encodeOpen({ channel: CHANNEL, activation: 0, eventAck: 0, contract, key })
        return this.#send(MESSAGE.OPEN, open)
      }
      case MESSAGE.OPENED:
        return this.#channelOpened(decodeOpened(source, start, end))
      case MESSAGE.REPLY:
        return this.#reply(readU32(source, start + 4))
      case MESSAGE.EVENT:
        this.#lastEvent = readU32(source, start + 4)
        this.#event(readU32(source, start + 8), source, start + EVENT_BYTES, end)
        return this.#acknowledge()
      case MESSAGE.PING:
        this.answeredPings++
        return this.#send(MESSAGE.PONG, source.slice(start, end))
      case MESSAGE.PONG:
        this.pongs++
        return
      case MESSAGE.RESYNC:
        this.resyncs++
        return
      case MESSAGE.ERROR: {
        const error = decodeError(source, start, end)
        const reason = `${error.code}: ${error.message}`
        if (error.channel === 0) this.#closeReason = reason
        else this.#opened.reject(new Error(reason))
        return this.#options.onError?.(reason)
      }
      case MESSAGE.CLOSE:
        this.#opened.reject(new Error('the channel was closed'))
    }
  }

  #channelOpened({ lost, opening }: Opened): void {
    this.#opening = opening
    this.#opened.resolve()
    if (lost && this.#lastCall && this.#answered < this.#sent)
      this.#sendCall(this.#sent, this.#lastCall.command, this.#lastCall.body)
  }

  #reply(sequence: number): void {
    // A resent call can have two replies.
    if (sequence <= this.#answered) return
    this.#answered = sequence
    this.#options.onReply?.(sequence)
  }

  #event(event: number, source: Uint8Array, start: number, end: number): void {
    this.events++
    this.#options.onEvent?.(event, source, start, end)
  }

  #acknowledge(): void {
    if (this.#lastEvent - this.#ackedEvent < ACK_EVENTS) return
    this.#ackedEvent = this.#lastEvent
    const ack = { channel: CHANNEL, calls: this.#answered, events: this.#lastEvent }
    this.#send(MESSAGE.ACK, encodeAck(ack))
  }
}

type RawDial = (
  port: number,
  onBytes: (bytes: Uint8Array) => void,
  onClosed: (reason: string) => void,
) => Promise<RawSocket>

const dialTcp: RawDial = (port, onBytes, onClosed) => {
  const dialed = Promise.withResolvers<RawSocket>()
  const onread = {
    buffer: readBuffer,
    callback: (bytes: number) => {
      onBytes(readBuffer.subarray(0, bytes))
      return true
    },
  }
  const socket = connect({ host: HOST, port, noDelay: true, onread })
  socket.once('connect', () =>
    dialed.resolve({
      write: (bytes) => void socket.write(bytes),
      pause: () => socket.pause(),
      close: () => socket.destroy(),
    }),
  )
  socket.once('error', dialed.reject)
  socket.once('error', (error) => onClosed(error.message))
  socket.once('close', () => onClosed('closed'))
  return dialed.promise
}

const dialWebSocket: RawDial = (port, onBytes, onClosed) => {
  const dialed = Promise.withResolvers<RawSocket>()
  const socket = new WebSocket(`ws://${HOST}:${port}/ws`, { perMessageDeflate: false })
  socket.binaryType = 'nodebuffer'
  socket.on('message', (data: Buffer) => onBytes(data))
  socket.once('open', () =>
    dialed.resolve({
      write: (bytes) => socket.send(bytes),
      pause: () => socket.pause(),
      close: () => socket.terminate(),
    }),
  )
  socket.once('error', dialed.reject)
  socket.once('error', (error) => onClosed(error.message))
  socket.once('close', (_code, reason) => onClosed(reason.toString() || 'closed'))
  return dialed.promise
}
