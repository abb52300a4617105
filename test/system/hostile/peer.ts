// A raw TCP connection to the attacked server: writes whatever bytes it is told to, keeps what comes back and how the
// connection ended. It never answers anything by itself.

import { connect, type Socket } from 'node:net'
import {
  decodeError,
  decodeEvent,
  decodeOpened,
  decodeReply,
  decodeResync,
  decodeToken,
  decodeWelcome,
  EVENT_BYTES,
  MESSAGE,
  REPLY_BYTES,
  type Opened,
  type Welcome,
} from '../../../core/wire/message.ts'
import { waitUntil } from '../../support/sockets.ts'
import { createFrameDecoder, type ReceivedFrame } from './frames.ts'

export class RawPeer {
  readonly socket: Socket
  /** Whole frames that came, oldest first. */
  readonly frames: ReceivedFrame[] = []
  /** Everything that came. */
  receivedBytes = 0
  isClosed = false
  #onChunk: (chunk: Buffer) => void

  private constructor(socket: Socket) {
    this.socket = socket
    const decoder = createFrameDecoder(this.frames)
    this.#onChunk = (chunk) => void decoder.push(chunk)
    socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length
      this.#onChunk(chunk)
    })
    socket.on('error', () => {})
    socket.on('close', () => (this.isClosed = true))
  }

  static connect(port: number): Promise<RawPeer> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new RawPeer(socket))
      })
    })
  }

  /** What comes from now on is not frames, or not at the top. */
  replaceReader(feed: (chunk: Buffer) => void): void {
    this.#onChunk = feed
  }

  /** Resolves when the kernel has taken the bytes, or the connection is over. */
  send(...parts: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve) => void this.socket.write(Buffer.concat(parts), () => resolve()))
  }

  /** FIN. */
  sendFin(): void {
    this.socket.end()
  }

  /** RST, unless the server has ended it before: a handle that shuts down is not to be reset, and would never close. */
  sendReset(): void {
    if (this.socket.writableEnded) this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  /** Leaves what the server says in the kernel. */
  pauseReading(): void {
    this.socket.pause()
  }

  waitForFrames(count: number): Promise<void> {
    return waitUntil(() => this.frames.length >= count, `${count} frames`)
  }

  waitForClose(): Promise<void> {
    return waitUntil(() => this.isClosed, 'the end of the connection')
  }

  /** Legacy answers as text. */
  frameTexts(): [number, string][] {
    return this.frames.map(({ command, body }) => [command, body.toString()])
  }

  /** Errors of a version 2 session, as `channel/sequence CODE`. */
  errors(): string[] {
    return this.#all(MESSAGE.ERROR, decodeError).map(({ channel, sequence, code }) => `${channel}/${sequence} ${code}`)
  }

  /** Bodies of the replies of a version 2 session by sequence. */
  replies(): Map<number, Buffer> {
    const bodies = this.#bodies(MESSAGE.REPLY)
    return new Map(bodies.map((body) => [decodeReply(body, 0, body.length).sequence, body.subarray(REPLY_BYTES)]))
  }

  /** WELCOME of a version 2 session, with the newest token. */
  welcome(): Welcome {
    const welcome = this.#all(MESSAGE.WELCOME, decodeWelcome).at(-1)
    if (!welcome) throw new Error(`no WELCOME: ${this.errors().join()}`)
    return { ...welcome, ...this.#all(MESSAGE.TOKEN, decodeToken).at(-1) }
  }

  opened(): Opened[] {
    return this.#all(MESSAGE.OPENED, decodeOpened)
  }

  /** Events of a version 2 session, and its RESYNCs (as `event` 0) among them, oldest first. */
  events(): { sequence: number; event: number; body: Buffer }[] {
    return this.frames.flatMap(({ command, body }) => {
      const { length } = body
      if (command === MESSAGE.RESYNC) return [{ sequence: decodeResync(body, 0, length).events, event: 0, body }]
      if (command !== MESSAGE.EVENT) return []
      return [{ ...decodeEvent(body, 0, length), body: body.subarray(EVENT_BYTES) }]
    })
  }

  #all<T>(command: number, decode: (source: Buffer, start: number, end: number) => T): T[] {
    return this.#bodies(command).map((body) => decode(body, 0, body.length))
  }

  #bodies(command: number): Buffer[] {
    return this.frames.filter((one) => one.command === command).map(({ body }) => body)
  }
}
