// One socket of the fuzzer, TCP or WebSocket, that controls every byte. Invariant: what a server sends is split into
// frames by the product's own rules, so a server that violates them is detected.

import { connect, type Socket as NetSocket } from 'node:net'

import { DEFAULT_FRAME_IDENTITY, FrameDecoder, type FrameSink } from '../../../core/wire/frame.ts'
import { BINARY, CLOSE, FIN, PING, PONG, UPGRADE, WebReader, webFrame } from './webframes.ts'

const MAX_FRAME_BYTES = 1 << 22

export interface RawSocketEvents {
  readonly frame: FrameSink
  /** The server has sent bytes that are no frame. */
  readonly fault: (what: string) => void
  /** Once, however it ended; of a WebSocket when the server has sent its close frame. */
  readonly closed: () => void
  /** The server has closed the TCP connection late after its close frame. */
  readonly slowClose: () => void
}

const SLOW_CLOSE_MS = 1_000

export class RawSocket {
  isOver = false
  readonly #socket: NetSocket
  readonly #decoder: FrameDecoder
  readonly #reader: WebReader | null
  readonly #events: RawSocketEvents
  #isUpgraded: boolean
  /** The answer to the upgrade, until it is complete. */
  #head = ''
  /** Writes before the upgrade. */
  #pending: Uint8Array[] = []
  #endsAfterUpgrade = false

  constructor(via: 'tcp' | 'ws', port: number, events: RawSocketEvents) {
    this.#events = events
    this.#decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_FRAME_BYTES, events.frame)
    this.#reader = via === 'ws' ? new WebReader((opcode, payload) => this.#receiveWebFrame(opcode, payload)) : null
    this.#isUpgraded = via === 'tcp'
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.#socket = socket
    if (via === 'ws') socket.write(UPGRADE)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    // 'close' follows.
    socket.on('error', () => {})
    socket.on('close', () => this.#close())
  }

  /** Bytes that are sent unchanged: for a WebSocket those of its frames. */
  write(bytes: Uint8Array): void {
    if (this.#isUpgraded) this.#socket.write(bytes)
    else this.#pending.push(bytes)
  }

  /** Ends the sending direction; what the server still sends is received. */
  end(): void {
    if (this.#isUpgraded) this.#socket.end()
    else this.#endsAfterUpgrade = true
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #receive(chunk: Uint8Array): void {
    try {
      if (!this.#isUpgraded) this.#upgrade(chunk)
      else if (this.#reader) this.#reader.push(chunk)
      else this.#decoder.push(chunk)
    } catch (error) {
      this.#events.fault(`the server sent bytes that are no frame: ${String(error)}`)
      this.#socket.destroy()
    }
  }

  #upgrade(chunk: Uint8Array): void {
    const earlier = this.#head.length
    this.#head += Buffer.from(chunk).toString('latin1')
    const end = this.#head.indexOf('\r\n\r\n')
    if (end < 0) return
    if (!this.#head.startsWith('HTTP/1.1 101 ')) return this.destroy()
    this.#isUpgraded = true
    for (const bytes of this.#pending) this.#socket.write(bytes)
    this.#pending = []
    if (this.#endsAfterUpgrade) this.#socket.end()
    const rest = chunk.subarray(end + 4 - earlier)
    if (rest.length > 0) this.#reader!.push(rest)
  }

  #receiveWebFrame(opcode: number, payload: Uint8Array): void {
    if (opcode === BINARY) {
      this.#decoder.push(payload)
      if (this.#decoder.bufferedBytes > 0) throw new Error('a message ends inside a frame')
    } else if (opcode === PING) this.#socket.write(webFrame(payload, FIN | PONG))
    else if (opcode === CLOSE) {
      this.#socket.end(webFrame(payload, FIN | CLOSE))
      const closedMs = performance.now()
      this.#socket.once('close', () => {
        if (performance.now() - closedMs > SLOW_CLOSE_MS) this.#events.slowClose()
      })
      this.#close()
    }
  }

  #close(): void {
    if (this.isOver) return
    this.isOver = true
    this.#events.closed()
  }
}
