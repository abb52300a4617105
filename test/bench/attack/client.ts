// A client's side of one connection with as little as possible behind it: frames out, answers and events counted. It
// speaks version 2 with one channel, or the legacy protocol. Invariant: what a well-behaved client owes (PONG, ACK of
// events) it sends by itself; that it does not read is for its owner to decide.

import { connect } from 'node:net'
import { WebSocket } from 'ws'

import { readU32 } from '../../../core/wire/bytes.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../../core/wire/frame.ts'
import {
  decodeError,
  encodeAck,
  encodeCall,
  encodeHello,
  encodeOpen,
  EVENT_BYTES,
  MESSAGE,
} from '../../../core/wire/message.ts'

export type Transport = 'tcp' | 'ws'
export type Protocol = 'v2' | 'legacy'

export interface BenchClientOptions {
  readonly transport: Transport
  readonly protocol: Protocol
  readonly port: number
  readonly contract: string
  readonly key: string
  /** Numbers from here on are events; needed for legacy lines, whose frames do not say. */
  readonly firstEvent: number
  /** The answer to the n-th call, n from 1. */
  readonly onReply?: (sequence: number) => void
  readonly onEvent?: (event: number, source: Uint8Array, start: number, end: number) => void
  /** The server ended the connection. */
  readonly onEnded?: (why: string) => void
}

interface BenchSocket {
  write(bytes: Uint8Array): void
  pause(): void
}

const HOST = '127.0.0.1'
const MAX_BODY_BYTES = 1_048_576
const CHANNEL = 1
/** So many events are acknowledged together. */
const ACK_EVENTS = 16
const EMPTY_BYTES = new Uint8Array(0)
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
/** One read buffer for all lines: a frame that arrives in pieces is copied by its decoder. */
const readBuffer = Buffer.alloc(65_536)

export const HELLO = encodeFrame(
  identity,
  MESSAGE.HELLO,
  encodeHello({
    minVersion: 2,
    maxVersion: 2,
    session: new Uint8Array(16),
    ticket: EMPTY_BYTES,
    token: EMPTY_BYTES,
  }),
)
const PING = encodeFrame(identity, MESSAGE.PING, new Uint8Array(8))

/** A frame of the default identity. */
export function encodeDefaultFrame(command: number, body: Uint8Array): Uint8Array {
  return encodeFrame(identity, command, body)
}

export class BenchClient {
  /** PONG received, PING answered, events received, RESYNC received. */
  pongs = 0
  answeredPings = 0
  events = 0
  resyncs = 0
  readonly #options: BenchClientOptions
  readonly #decoder: FrameDecoder
  readonly #opened = Promise.withResolvers<void>()
  #socket: BenchSocket | null = null
  #sent = 0
  #answered = 0
  #lastEvent = 0
  #ackedEvent = 0
  #closeReason = ''

  private constructor(options: BenchClientOptions) {
    this.#options = options
    this.#decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_BODY_BYTES, (...part) =>
      this.#frame(...part),
    )
  }

  /** Resolves when calls may be made. @throws Error when the server does not open it */
  static async open(options: BenchClientOptions): Promise<BenchClient> {
    const line = new BenchClient(options)
    const dial = options.transport === 'tcp' ? dialTcp : dialWebSocket
    const read = (bytes: Uint8Array): void => void line.#decoder.push(bytes)
    line.#socket = await dial(options.port, read, (why) => line.#onClosed(why))
    if (options.protocol === 'legacy') line.#opened.resolve()
    else line.#socket.write(HELLO)
    await line.#opened.promise
    return line
  }

  /** Returns the call's sequence. */
  call(command: number, body: Uint8Array): number {
    const sequence = ++this.#sent
    if (this.#options.protocol === 'legacy') this.#send(command, body)
    else {
      const call = { channel: CHANNEL, opening: 0, sequence, replyAck: this.#answered, command }
      this.#send(MESSAGE.CALL, encodeCall(call, body))
    }
    return sequence
  }

  sendPing(): void {
    this.#socket?.write(PING)
  }

  /** From now on nothing is read. */
  pauseReading(): void {
    this.#socket?.pause()
  }

  #send(command: number, body: Uint8Array): void {
    this.#socket?.write(encodeFrame(identity, command, body))
  }

  #onClosed(why: string): void {
    if (this.#socket === null) return
    this.#socket = null
    const reason = this.#closeReason === '' ? why : this.#closeReason
    this.#opened.reject(new Error(`the server ended a connection: ${reason}`))
    this.#options.onEnded?.(reason)
  }

  #frame(command: number, source: Uint8Array, start: number, end: number): void {
    if (this.#options.protocol === 'legacy') {
      if (command < this.#options.firstEvent) this.#reply(this.#answered + 1)
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
        return this.#opened.resolve()
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
        if (error.channel === 0) this.#closeReason = `${error.code}: ${error.message}`
        else this.#opened.reject(new Error(`${error.code}: ${error.message}`))
        return
      }
      case MESSAGE.CLOSE:
        this.#opened.reject(new Error('the channel was closed'))
    }
  }

  #reply(sequence: number): void {
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

type Dial = (
  port: number,
  read: (bytes: Uint8Array) => void,
  end: (why: string) => void,
) => Promise<BenchSocket>

const dialTcp: Dial = (port, read, end) => {
  const dialed = Promise.withResolvers<BenchSocket>()
  const onread = {
    buffer: readBuffer,
    callback: (bytes: number) => {
      read(readBuffer.subarray(0, bytes))
      return true
    },
  }
  const socket = connect({ host: HOST, port, noDelay: true, onread })
  socket.once('connect', () => dialed.resolve(socket))
  socket.once('error', dialed.reject)
  socket.once('error', (error) => end(error.message))
  socket.once('close', () => end('closed'))
  return dialed.promise
}

const dialWebSocket: Dial = (port, read, end) => {
  const dialed = Promise.withResolvers<BenchSocket>()
  const socket = new WebSocket(`ws://${HOST}:${port}/ws`, { perMessageDeflate: false })
  socket.binaryType = 'nodebuffer'
  socket.on('message', (data: Buffer) => read(data))
  socket.once('open', () =>
    dialed.resolve({ write: (bytes) => socket.send(bytes), pause: () => socket.pause() }),
  )
  socket.once('error', dialed.reject)
  socket.once('error', (error) => end(error.message))
  socket.once('close', (_code, reason) => end(reason.toString() || 'closed'))
  return dialed.promise
}
