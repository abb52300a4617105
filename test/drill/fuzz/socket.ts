// One socket of the fuzzer, TCP or WebSocket, with every byte in its own hands. What a server sends is cut into frames
// by the same rules as ours: a server that breaks them is found out.

import { connect, type Socket as NetSocket } from 'node:net'

import { DEFAULT_FRAME_IDENTITY, FrameDecoder, type FrameSink } from '../../../core/wire/frame.ts'
import { BINARY, CLOSE, FIN, PING, PONG, UPGRADE, WebReader, webFrame } from './web.ts'

const MAX_FRAME_BYTES = 1 << 22

export interface SocketEvents {
  readonly frame: FrameSink
  /** The server sent what is no frame. */
  readonly fault: (what: string) => void
  /** Once, however it ended; of a WebSocket when the server has said that it closes. */
  readonly closed: () => void
  /** The server has taken its time between saying so and doing so. */
  readonly lingered: () => void
}

const LINGER_MS = 1_000

export class Socket {
  readonly via: 'tcp' | 'ws'
  isOver = false
  readonly #socket: NetSocket
  readonly #decoder: FrameDecoder
  readonly #reader: WebReader | null
  readonly #events: SocketEvents
  #upgraded: boolean
  /** The answer to the upgrade, until it is whole. */
  #head = ''
  #waiting: Uint8Array[] = []
  #ends = false

  constructor(via: 'tcp' | 'ws', port: number, events: SocketEvents) {
    this.via = via
    this.#events = events
    this.#decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_FRAME_BYTES, events.frame)
    this.#reader = via === 'ws' ? new WebReader((opcode, payload) => this.#webFrame(opcode, payload)) : null
    this.#upgraded = via === 'tcp'
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.#socket = socket
    if (via === 'ws') socket.write(UPGRADE)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    // What went wrong is told by 'close'.
    socket.on('error', () => {})
    socket.on('close', () => this.#over())
  }

  /** Bytes as they are: for a WebSocket those of its frames. */
  write(bytes: Uint8Array): void {
    if (this.#upgraded) this.#socket.write(bytes)
    else this.#waiting.push(bytes)
  }

  /** Nothing more will be said; what the server still has to say is heard. */
  end(): void {
    if (this.#upgraded) this.#socket.end()
    else this.#ends = true
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #receive(chunk: Uint8Array): void {
    try {
      if (!this.#upgraded) this.#upgrade(chunk)
      else if (this.#reader) this.#reader.push(chunk)
      else this.#decoder.push(chunk)
    } catch (error) {
      this.#events.fault(`the server sent what is no frame: ${String(error)}`)
      this.#socket.destroy()
    }
  }

  #upgrade(chunk: Uint8Array): void {
    const had = this.#head.length
    this.#head += Buffer.from(chunk).toString('latin1')
    const end = this.#head.indexOf('\r\n\r\n')
    if (end < 0) return
    if (!this.#head.startsWith('HTTP/1.1 101 ')) return this.destroy()
    this.#upgraded = true
    for (const bytes of this.#waiting) this.#socket.write(bytes)
    this.#waiting = []
    if (this.#ends) this.#socket.end()
    const rest = chunk.subarray(end + 4 - had)
    if (rest.length > 0) this.#reader!.push(rest)
  }

  #webFrame(opcode: number, payload: Uint8Array): void {
    if (opcode === BINARY) {
      this.#decoder.push(payload)
      if (this.#decoder.bufferedBytes > 0) throw new Error('a message ends inside a frame')
    } else if (opcode === PING) this.#socket.write(webFrame(payload, FIN | PONG))
    else if (opcode === CLOSE) {
      this.#socket.end(webFrame(payload, FIN | CLOSE))
      const saidMs = performance.now()
      this.#socket.once('close', () => {
        if (performance.now() - saidMs > LINGER_MS) this.#events.lingered()
      })
      this.#over()
    }
  }

  #over(): void {
    if (this.isOver) return
    this.isOver = true
    this.#events.closed()
  }
}
