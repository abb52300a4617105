// Clients on real sockets and real time, for the hosts that have them.

import { connect as connectTcp } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket, type ClientOptions } from 'ws'

import { utf8Decoder, utf8Encoder } from '../../core/wire/bytes.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import type { RawClient } from '../conformance/host.ts'
import { DEADLINE_MS } from './wait.ts'

const MAX_FRAME_BYTES = 1 << 24
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

/** Polls on every event-loop turn at first: most conditions become true within a millisecond. */
export async function waitUntil(condition: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + DEADLINE_MS
  for (let i = 0; !condition(); i++) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`)
    await (i < 100 ? new Promise(setImmediate) : sleep(2))
  }
}

export async function sleepRealTime(ms: number): Promise<void> {
  await sleep(ms)
}

type LegacyTransport = Pick<RawClient, 'send' | 'setReading' | 'close'>

/** A client of the legacy protocol over any transport: sends frames, collects complete frames. */
export class LegacyClient implements RawClient {
  readonly frames: RawClient['frames'] = []
  readonly readBytes: number[] = []
  /** Of a WebSocket; 0 for any other transport. null = open. */
  closeCode: number | null = null
  readonly #transport: LegacyTransport
  readonly #decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_FRAME_BYTES, (command, source, start, end) => {
    this.frames.push({ command, body: new Uint8Array(source.subarray(start, end)) })
  })

  constructor(transport: LegacyTransport) {
    this.#transport = transport
  }

  get isClosed(): boolean {
    return this.closeCode !== null
  }

  /** For the transport: bytes arrived. */
  receive(bytes: Uint8Array): void {
    this.readBytes.push(bytes.length)
    this.#decoder.push(bytes)
  }

  /** For the transport: the connection is closed. */
  onClosed(code = 0): void {
    this.closeCode ??= code
  }

  send(bytes: Uint8Array): void {
    this.#transport.send(bytes)
  }

  /** The body is bytes, or a value that is sent as JSON. */
  sendFrame(command: number, body: Uint8Array | object): void {
    const bytes = body instanceof Uint8Array ? body : utf8Encoder.encode(JSON.stringify(body))
    this.send(encodeFrame(identity, command, bytes))
  }

  /** Waits for a frame of that command; removes it from `frames` and returns its body. */
  async nextFrame(command: number): Promise<Uint8Array> {
    const indexOf = (): number => this.frames.findIndex((frame) => frame.command === command)
    await waitUntil(() => indexOf() >= 0 || this.isClosed, `a frame with command ${command}`)
    const [frame] = this.frames.splice(indexOf(), 1)
    if (frame?.command !== command) throw new Error(`closed with ${this.closeCode} before command ${command}`)
    return frame.body
  }

  /** Sends a command with a JSON body; returns its JSON reply. */
  async call(command: number, body: object): Promise<unknown> {
    this.sendFrame(command, body)
    return JSON.parse(utf8Decoder.decode(await this.nextFrame(command)))
  }

  setReading(isReading: boolean): void {
    this.#transport.setReading(isReading)
  }

  close(): void {
    this.#transport.close()
  }
}

/** Each send is one write; the kernel may still join writes that follow each other quickly. */
export function tcpClient(host: string, port: number): Promise<LegacyClient> {
  const socket = connectTcp({ host, port, noDelay: true })
  const client = new LegacyClient({
    send: (bytes) => void socket.write(bytes),
    setReading: (isReading) => void (isReading ? socket.resume() : socket.pause()),
    close: () => socket.destroy(),
  })
  socket.on('data', (bytes) => client.receive(bytes))
  socket.on('close', () => client.onClosed())
  return new Promise((resolve, reject) => socket.on('error', reject).on('connect', () => resolve(client)))
}

/** Each send is one binary message. */
export function webSocketClient(url: string, options: ClientOptions = {}): Promise<LegacyClient> {
  const socket = new WebSocket(url, { perMessageDeflate: false, ...options })
  const client = new LegacyClient({
    send: (bytes) => socket.send(bytes),
    setReading: (isReading) => (isReading ? socket.resume() : socket.pause()),
    close: () => socket.close(),
  })
  socket.on('message', (data: Buffer) => client.receive(data))
  socket.on('close', (code) => client.onClosed(code))
  return new Promise((resolve, reject) => {
    socket.on('error', ({ message }) => reject(new Error(`no WebSocket at ${url}: ${message}`)))
    socket.on('open', () => resolve(client))
  })
}
