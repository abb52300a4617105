// A raw TCP connection to the server under attack. It writes the given bytes and records what it receives. Invariant: it
// sends nothing by itself.

import assert from 'node:assert/strict'
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
import { callFrame, createFrameDecoder, type ReceivedFrame } from './frames.ts'
import { COMMAND } from './game.ts'

export class RawPeer {
  readonly socket: Socket
  /** Complete frames, oldest first. */
  readonly frames: ReceivedFrame[] = []
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

  /** From now on `read` receives the bytes, and `frames` does not grow. */
  replaceReader(read: (chunk: Buffer) => void): void {
    this.#onChunk = read
  }

  /** Resolves when the kernel has accepted the bytes, or the connection has ended. */
  send(...parts: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve) => void this.socket.write(Buffer.concat(parts), () => resolve()))
  }

  /** FIN. */
  sendFin(): void {
    this.socket.end()
  }

  /** RST. A handle that is shutting down cannot be reset and would never close, so it is destroyed. */
  sendReset(): void {
    if (this.socket.writableEnded) this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  /** Leaves received bytes in the kernel. */
  pauseReading(): void {
    this.socket.pause()
  }

  resumeReading(): void {
    this.socket.resume()
  }

  waitForFrames(count: number): Promise<void> {
    return waitUntil(() => this.frames.length >= count, `${count} frames`)
  }

  waitForClose(): Promise<void> {
    return waitUntil(() => this.isClosed, 'the connection ends')
  }

  /** Command and text of each legacy frame. */
  frameTexts(): [number, string][] {
    return this.frames.map(({ command, body }) => [command, body.toString()])
  }

  frameCommands(): number[] {
    return this.frames.map(({ command }) => command)
  }

  /** Errors as `channel/sequence CODE`. */
  errors(): string[] {
    return this.#all(MESSAGE.ERROR, decodeError).map(({ channel, sequence, code }) => `${channel}/${sequence} ${code}`)
  }

  /** Bodies of the replies by sequence. */
  replies(): Map<number, Buffer> {
    const bodies = this.#bodies(MESSAGE.REPLY)
    return new Map(bodies.map((body) => [decodeReply(body, 0, body.length).sequence, body.subarray(REPLY_BYTES)]))
  }

  /** The last WELCOME, with the newest token. */
  welcome(): Welcome {
    const welcome = this.#all(MESSAGE.WELCOME, decodeWelcome).at(-1)
    if (!welcome) throw new Error(`no WELCOME: ${this.errors().join()}`)
    return { ...welcome, ...this.#all(MESSAGE.TOKEN, decodeToken).at(-1) }
  }

  replyText(sequence: number): string | undefined {
    return this.replies().get(sequence)?.toString()
  }

  /** Asserts that channel 1 replies and the session has received no error. */
  async assertAnswered(): Promise<void> {
    const answered = this.replies().size
    await this.send(callFrame(1, answered + 1, COMMAND.RAW, 'alive', answered))
    await waitUntil(() => this.replies().size > answered, 'a reply')
    assert.equal(this.replyText(answered + 1), 'alive')
    assert.deepEqual(this.errors(), [])
    assert.equal(this.isClosed, false)
  }

  opened(): Opened[] {
    return this.#all(MESSAGE.OPENED, decodeOpened)
  }

  /** Events and RESYNCs (as `event` 0), oldest first. */
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
    return this.frames.filter((received) => received.command === command).map(({ body }) => body)
  }
}
