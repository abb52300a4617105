// One connection: receives and sends frames. Invariant: after it is closed by either side it calls no callback. Frames sent in
// one event-loop turn share a message.

import { ProtocolError } from '../core/wire/errors.ts'
import {
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
  type FrameSink,
  type FrameIdentity,
} from '../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import type { ClientClock, Dial, Socket } from './socket.ts'

export interface ClientConnectionSettings {
  readonly url: string
  readonly dial: Dial
  readonly clock: ClientClock
  readonly identity: FrameIdentity
  /** Bytes of all connections of the session; updated here. */
  readonly traffic: { in: number; out: number }
}
export interface ClientConnectionEvents {
  onOpen(): void
  onReceived(): void
  readonly onFrame: FrameSink
  onProtocolError(error: ProtocolError): void
  onClose(reason: string): void
}

const MAX_FRAME_BYTES = 16 * 1_048_576

export class ClientConnection {
  readonly #settings: ClientConnectionSettings
  readonly #events: ClientConnectionEvents
  readonly #identity: Uint8Array
  readonly #decoder: FrameDecoder
  #socket: Socket | null = null
  #isClosed = false
  #unsentFrames: Uint8Array[] = []

  constructor(settings: ClientConnectionSettings, events: ClientConnectionEvents) {
    this.#settings = settings
    this.#events = events
    this.#identity = frameIdentityBytes(settings.identity)
    this.#decoder = new FrameDecoder(settings.identity, MAX_FRAME_BYTES, events.onFrame)
  }

  /** @throws the platform's error for the URL */
  dial(): void {
    const { url, dial } = this.#settings
    this.#socket = dial(url, {
      opened: () => {
        if (!this.#isClosed) this.#events.onOpen()
      },
      message: (bytes) => this.#receive(bytes),
      closed: (reason) => {
        if (this.#isClosed) return
        this.#socket = null
        this.#events.onClose(reason)
      },
    })
  }

  send(command: number, body: Uint8Array): void {
    if (this.#isClosed) return
    this.#unsentFrames.push(encodeFrame(this.#identity, command, body))
    if (this.#unsentFrames.length === 1) this.#settings.clock.defer(() => this.flush())
  }

  flush(): void {
    const frames = this.#unsentFrames
    this.#unsentFrames = []
    for (let first = 0; first < frames.length;) {
      let size = frames[first]!.length
      let next = first + 1
      while (next < frames.length && size + frames[next]!.length <= DEFAULT_LIMITS.maxMessageBytes)
        size += frames[next++]!.length
      this.#settings.traffic.out += size
      this.#socket?.send(next === first + 1 ? frames[first]! : join(frames.slice(first, next), size))
      first = next
    }
  }

  /** Closes the socket and discards frames that were not flushed. */
  closeConnection(endsSession: boolean): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#unsentFrames = []
    this.#decoder.stop()
    this.#socket?.close(endsSession)
    this.#socket = null
  }

  #receive(bytes: Uint8Array): void {
    if (this.#isClosed) return
    this.#settings.traffic.in += bytes.length
    this.#events.onReceived()
    try {
      this.#decoder.push(bytes)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      if (!this.#isClosed) this.#events.onProtocolError(error)
    }
  }
}

function join(frames: readonly Uint8Array[], size: number): Uint8Array {
  const message = new Uint8Array(size)
  let at = 0
  for (const frame of frames) {
    message.set(frame, at)
    at += frame.length
  }
  return message
}
