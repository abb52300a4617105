// One connection: frames in, frames out. Invariant: after its end, whoever ended it, it tells nothing more. Frames of
// one moment leave in one message.

import { ProtocolError } from '../core/wire/errors.ts'
import {
  encodeFrame,
  FrameDecoder,
  identityBytes,
  type FrameSink,
  type Identity,
} from '../core/wire/frame.ts'
import type { ClientClock, Dial, Socket } from './socket.ts'

export interface Wire {
  readonly url: string
  readonly dial: Dial
  readonly clock: ClientClock
  readonly identity: Identity
  /** Bytes of all connections so far. */
  readonly traffic: { in: number; out: number }
}
export interface LineEvents {
  opened(): void
  /** Bytes arrived. */
  heard(): void
  readonly frame: FrameSink
  /** The server breaks the protocol. */
  broken(error: ProtocolError): void
  closed(reason: string): void
}

const MAX_FRAME_BYTES = 16 * 1_048_576
/** Frames share a message up to here; servers bound a message (ours at 128 KiB). */
const MESSAGE_BYTES = 65_536

export class Line {
  readonly #wire: Wire
  readonly #events: LineEvents
  readonly #identity: Uint8Array
  readonly #decoder: FrameDecoder
  #socket: Socket | null = null
  #over = false
  #out: Uint8Array[] = []

  constructor(wire: Wire, events: LineEvents) {
    this.#wire = wire
    this.#events = events
    this.#identity = identityBytes(wire.identity)
    this.#decoder = new FrameDecoder(wire.identity, MAX_FRAME_BYTES, events.frame)
  }

  /** @throws whatever the platform has against the URL */
  dial(): void {
    const { url, dial } = this.#wire
    this.#socket = dial(url, {
      opened: () => {
        if (!this.#over) this.#events.opened()
      },
      message: (bytes) => this.#receive(bytes),
      closed: (reason) => {
        if (this.#over) return
        this.#socket = null
        this.#events.closed(reason)
      },
    })
  }

  send(command: number, body: Uint8Array): void {
    if (this.#over) return
    this.#out.push(encodeFrame(this.#identity, command, body))
    if (this.#out.length === 1) this.#wire.clock.defer(() => this.flush())
  }

  flush(): void {
    const frames = this.#out
    this.#out = []
    for (let first = 0; first < frames.length;) {
      let size = frames[first]!.length
      let next = first + 1
      while (next < frames.length && size + frames[next]!.length <= MESSAGE_BYTES)
        size += frames[next++]!.length
      this.#wire.traffic.out += size
      this.#socket?.send(next === first + 1 ? frames[first]! : join(frames.slice(first, next), size))
      first = next
    }
  }

  /** Hangs up; what was not flushed is gone. */
  end(leave: boolean): void {
    if (this.#over) return
    this.#over = true
    this.#out = []
    this.#decoder.stop()
    this.#socket?.close(leave)
    this.#socket = null
  }

  #receive(bytes: Uint8Array): void {
    if (this.#over) return
    this.#wire.traffic.in += bytes.length
    this.#events.heard()
    try {
      this.#decoder.push(bytes)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      if (!this.#over) this.#events.broken(error)
    }
  }
}

function join(frames: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size)
  let at = 0
  for (const frame of frames) {
    whole.set(frame, at)
    at += frame.length
  }
  return whole
}
