// The legacy frame, `!5B3I`: a header of 17 bytes, then the body; byte-compatible with the original Firefly. Invariant: the
// decoder is O(n) for any chunks, and never allocates memory for a length that is only declared.

import { readU32, writeU32 } from './bytes.ts'
import { ProtocolError } from './errors.ts'

export const HEADER_BYTES = 17
/** The length field includes the command field. */
const LENGTH_EXTRA = 4
/** First buffer of a split frame, and its growth factor as bytes arrive. */
const FIRST_BUFFER = 1_024
const GROWTH = 4

/** The six fields that identify the frames of one game. All must match. */
export interface FrameIdentity {
  /** HEAD_0..HEAD_3, each 0..255. */
  readonly head: readonly [number, number, number, number]
  /** 0..255 */
  readonly protoVersion: number
  /** 0..4294967295 */
  readonly serverVersion: number
}

export const DEFAULT_FRAME_IDENTITY: FrameIdentity = { head: [0, 0, 0, 0], protoVersion: 0, serverVersion: 0 }

/** Parses HEAD_0..HEAD_3, such as `78,37,38,48`; null = not four numbers 0..255. */
export function parseFrameHead(text: string): FrameIdentity['head'] | null {
  const bytes = text.split(',').map((part) => (/^\s*\d{1,3}\s*$/.test(part) ? Number(part) : 256))
  const [a, b, c, d] = bytes
  if (bytes.length !== 4 || bytes.some((byte) => byte > 255)) return null
  return [a!, b!, c!, d!]
}

/** The nine identity bytes at the start of every frame. */
export function frameIdentityBytes(identity: FrameIdentity): Uint8Array {
  const bytes = new Uint8Array(9)
  bytes.set(identity.head, 0)
  bytes[4] = identity.protoVersion
  writeU32(bytes, 5, identity.serverVersion)
  return bytes
}

/** Writes a frame's 17 header bytes at `at`; the caller appends `bodyBytes` bytes. */
export function writeHeader(
  target: Uint8Array,
  at: number,
  identity: Uint8Array,
  command: number,
  bodyBytes: number,
): void {
  for (let i = 0; i < 9; i++) target[at + i] = identity[i]!
  writeU32(target, at + 9, bodyBytes + LENGTH_EXTRA)
  writeU32(target, at + 13, command)
}

/** Returns one complete frame in a new buffer. `identity` is from {@link frameIdentityBytes}. */
export function encodeFrame(identity: Uint8Array, command: number, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + body.length)
  writeHeader(frame, 0, identity, command, body.length)
  frame.set(body, HEADER_BYTES)
  return frame
}

/** Receives one frame: its body is `source[start..end)`, valid as long as the chunk passed to `push`. */
export type FrameSink = (command: number, source: Uint8Array, start: number, end: number) => void

/** Splits a byte stream into frames. After a ProtocolError the stream is unusable: close the connection. */
export class FrameDecoder {
  readonly #identity: Uint8Array
  readonly #head: number
  readonly #serverVersion: number
  readonly #maxBodyBytes: number
  readonly #sink: FrameSink
  /** Bytes of an incomplete frame, header included; null between frames. */
  #partial: Uint8Array | null = null
  #bufferedBytes = 0
  #stopped = false
  #paused = false

  /** `identity` may be its 9 bytes, which decoders can share. */
  constructor(identity: FrameIdentity | Uint8Array, maxBodyBytes: number, sink: FrameSink) {
    this.#identity = identity instanceof Uint8Array ? identity : frameIdentityBytes(identity)
    this.#head = readU32(this.#identity, 0)
    this.#serverVersion = readU32(this.#identity, 5)
    this.#maxBodyBytes = maxBodyBytes
    this.#sink = sink
  }

  /** Bytes of the incomplete frame. */
  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  /** Discards buffered bytes, the rest of the current chunk and all later chunks. */
  stop(): void {
    this.#stopped = true
    this.#partial = null
    this.#bufferedBytes = 0
  }

  /** Called from the sink: `push` returns after the current frame, and the caller keeps the rest. */
  pause(): void {
    this.#paused = true
  }

  /**
   * Delivers every frame that this chunk completes, in order, then buffers the rest.
   * Returns the number of bytes consumed: all, unless the sink paused.
   * @throws ProtocolError for an invalid header, after the preceding frames were delivered
   */
  push(chunk: Uint8Array): number {
    this.#paused = false
    let at = this.#bufferedBytes === 0 ? 0 : this.#finishPartial(chunk)
    const end = chunk.length
    while (!this.#paused && !this.#stopped && end - at >= HEADER_BYTES) {
      const bodyBytes = this.#checkHeader(chunk, at)
      const bodyAt = at + HEADER_BYTES
      if (end - bodyAt < bodyBytes) break
      at = bodyAt + bodyBytes
      this.#sink(readU32(chunk, bodyAt - 4), chunk, bodyAt, at)
    }
    if (this.#stopped) return end
    if (this.#paused) return at
    if (at < end) this.#startPartial(chunk, at)
    return end
  }

  /** Validates a complete header and returns the body's length. */
  #checkHeader(source: Uint8Array, at: number): number {
    if (
      readU32(source, at) !== this.#head ||
      source[at + 4] !== this.#identity[4] ||
      readU32(source, at + 5) !== this.#serverVersion
    ) {
      throw this.#badIdentity(source, at)
    }
    const length = readU32(source, at + 9)
    if (length < LENGTH_EXTRA) throw new ProtocolError('BAD_LENGTH', `frame length ${length} is below 4`)
    const bodyBytes = length - LENGTH_EXTRA
    if (bodyBytes > this.#maxBodyBytes)
      throw new ProtocolError('FRAME_TOO_LARGE', `frame body ${bodyBytes} bytes exceeds ${this.#maxBodyBytes}`)
    return bodyBytes
  }

  #badIdentity(source: Uint8Array, at: number): ProtocolError {
    const got = [...source.subarray(at, at + 9)].join(',')
    return new ProtocolError('BAD_IDENTITY', `frame identity ${got} is not ${[...this.#identity].join(',')}`)
  }

  /** Starts an incomplete frame. A wrong identity byte is rejected as soon as it arrives. */
  #startPartial(chunk: Uint8Array, at: number): void {
    const rest = chunk.length - at
    const buffer = new Uint8Array(Math.max(rest, FIRST_BUFFER))
    buffer.set(chunk.subarray(at), 0)
    this.#partial = buffer
    this.#bufferedBytes = rest
    this.#checkPrefix(0)
  }

  #checkPrefix(from: number): void {
    const to = Math.min(this.#bufferedBytes, 9)
    for (let i = from; i < to; i++) {
      if (this.#partial![i] !== this.#identity[i]) throw this.#badIdentity(this.#partial!, 0)
    }
  }

  /** Appends to the incomplete frame; returns the position of the next frame in the chunk. */
  #finishPartial(chunk: Uint8Array): number {
    let at = 0
    if (this.#bufferedBytes < HEADER_BYTES) {
      const before = this.#bufferedBytes
      at = Math.min(HEADER_BYTES - before, chunk.length)
      this.#append(chunk, 0, at, FIRST_BUFFER)
      this.#checkPrefix(before)
      if (this.#bufferedBytes < HEADER_BYTES) return at
    }
    const frameBytes = HEADER_BYTES + this.#checkHeader(this.#partial!, 0)
    const take = Math.min(frameBytes - this.#bufferedBytes, chunk.length - at)
    this.#append(chunk, at, at + take, frameBytes)
    if (this.#bufferedBytes === frameBytes) {
      const frame = this.#partial!
      this.#partial = null
      this.#bufferedBytes = 0
      this.#sink(readU32(frame, 13), frame, HEADER_BYTES, frameBytes)
    }
    return at + take
  }

  /** Copies bytes to the end of the incomplete frame; the buffer grows at most to the frame's size. */
  #append(chunk: Uint8Array, start: number, end: number, maxBytes: number): void {
    const needed = this.#bufferedBytes + end - start
    if (needed > this.#partial!.length) {
      const grown = new Uint8Array(Math.max(needed, Math.min(this.#partial!.length * GROWTH, maxBytes)))
      grown.set(this.#partial!.subarray(0, this.#bufferedBytes), 0)
      this.#partial = grown
    }
    this.#partial!.set(start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end), this.#bufferedBytes)
    this.#bufferedBytes = needed
  }
}
