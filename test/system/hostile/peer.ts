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
import { until } from '../../conformance/sockets.ts'
import { hearing, type Heard } from './frames.ts'

export class Peer {
  readonly socket: Socket
  /** Whole frames that came, oldest first. */
  readonly heard: Heard[] = []
  /** Everything that came. */
  bytes = 0
  closed = false
  #feed: (chunk: Buffer) => void

  private constructor(socket: Socket) {
    this.socket = socket
    const decoder = hearing(this.heard)
    this.#feed = (chunk) => void decoder.push(chunk)
    socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length
      this.#feed(chunk)
    })
    socket.on('error', () => {})
    socket.on('close', () => (this.closed = true))
  }

  static dial(port: number): Promise<Peer> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new Peer(socket))
      })
    })
  }

  /** What comes from now on is not frames, or not at the top. */
  reads(feed: (chunk: Buffer) => void): void {
    this.#feed = feed
  }

  /** Resolves when the kernel has taken the bytes, or the connection is over. */
  send(...parts: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve) => void this.socket.write(Buffer.concat(parts), () => resolve()))
  }

  /** FIN. */
  finish(): void {
    this.socket.end()
  }

  /** RST, unless the server has ended it before: a handle that shuts down is not to be reset, and would never close. */
  reset(): void {
    if (this.socket.writableEnded) this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  /** Leaves what the server says in the kernel. */
  deafen(): void {
    this.socket.pause()
  }

  hears(count: number): Promise<void> {
    return until(() => this.heard.length >= count, `${count} frames`)
  }

  ends(): Promise<void> {
    return until(() => this.closed, 'the end of the connection')
  }

  /** Legacy answers as text. */
  texts(): [number, string][] {
    return this.heard.map(({ command, body }) => [command, body.toString()])
  }

  /** Errors of a version 2 session, as `channel/sequence CODE`. */
  errors(): string[] {
    return this.#all(MESSAGE.ERROR, decodeError).map(
      ({ channel, sequence, code }) => `${channel}/${sequence} ${code}`,
    )
  }

  /** Bodies of the replies of a version 2 session by sequence. */
  replies(): Map<number, Buffer> {
    const bodies = this.#bodies(MESSAGE.REPLY)
    return new Map(
      bodies.map((body) => [decodeReply(body, 0, body.length).sequence, body.subarray(REPLY_BYTES)]),
    )
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
    return this.heard.flatMap(({ command, body }) => {
      const { length } = body
      if (command === MESSAGE.RESYNC)
        return [{ sequence: decodeResync(body, 0, length).events, event: 0, body }]
      if (command !== MESSAGE.EVENT) return []
      return [{ ...decodeEvent(body, 0, length), body: body.subarray(EVENT_BYTES) }]
    })
  }

  #all<T>(command: number, decode: (source: Buffer, start: number, end: number) => T): T[] {
    return this.#bodies(command).map((body) => decode(body, 0, body.length))
  }

  #bodies(command: number): Buffer[] {
    return this.heard.filter((one) => one.command === command).map(({ body }) => body)
  }
}
