// The outbound bytes of a connection, gathered into one write per event-loop turn. Bytes are copied once, into a slab that
// all connections of a gateway share. Invariant: a region of a slab is written once, so the platform may use the bytes
// that it received for as long as it needs.

import { writeU32 } from '../../core/wire/bytes.ts'
import { HEADER_BYTES, writeHeader } from '../../core/wire/frame.ts'

const SLAB_BYTES = 65_536

/** Memory reserved front to back. `allocate` may return a platform's own kind of Uint8Array. */
export class Slab {
  readonly #allocate: (bytes: number) => Uint8Array
  /** The memory of the last reservation. */
  buffer: Uint8Array
  #offset = 0

  constructor(allocate: (bytes: number) => Uint8Array = (bytes) => new Uint8Array(bytes)) {
    this.#allocate = allocate
    this.buffer = allocate(SLAB_BYTES)
  }

  /** Reserves bytes of `buffer`, which may be a new one; returns their offset. */
  reserve(bytes: number): number {
    if (bytes > this.buffer.length - this.#offset) {
      this.buffer = this.#allocate(Math.max(SLAB_BYTES, bytes))
      this.#offset = 0
    }
    const at = this.#offset
    this.#offset += bytes
    return at
  }
}

export class WriteBuffer {
  readonly #slab: Slab
  readonly #frameIdentity: Uint8Array
  /** Completed regions before the current one, and frames of broadcasts, uncopied. */
  #regions: Uint8Array[] | null = null
  #buffer: Uint8Array | null = null
  #start = 0
  #end = 0
  /** Largest message of several frames. */
  readonly #maxMessageBytes: number
  /** Offsets at which messages begin, but the first; null = none. */
  #cuts: number[] | null = null
  #messageStart = 0
  /** Bytes to be written by the next flush. */
  bytes = 0

  constructor(slab: Slab, frameIdentity: Uint8Array, maxMessageBytes = Infinity) {
    this.#slab = slab
    this.#frameIdentity = frameIdentity
    this.#maxMessageBytes = maxMessageBytes
  }

  appendFrame(command: number, body: Uint8Array): void {
    const at = this.#reserve(HEADER_BYTES + body.length)
    writeHeader(this.#buffer!, at, this.#frameIdentity, command, body.length)
    this.#buffer!.set(body, at + HEADER_BYTES)
  }

  /** Appends a session message: two or three u32 fields, then a body. */
  appendMessage(command: number, first: number, second: number, third: number | null, body: Uint8Array): void {
    const fields = third === null ? 8 : 12
    const at = this.#reserve(HEADER_BYTES + fields + body.length)
    const buffer = this.#buffer!
    writeHeader(buffer, at, this.#frameIdentity, command, fields + body.length)
    writeU32(buffer, at + HEADER_BYTES, first)
    writeU32(buffer, at + HEADER_BYTES + 4, second)
    if (third !== null) writeU32(buffer, at + HEADER_BYTES + 8, third)
    buffer.set(body, at + HEADER_BYTES + fields)
  }

  /** Appends an encoded frame without a copy: many connections send it. */
  appendEncoded(frame: Uint8Array): void {
    this.#beginFrame(frame.length)
    this.#endRegion()
    this.#regions!.push(frame)
    this.bytes += frame.length
  }

  /** Removes and returns the offsets that cut the bytes of the next `take` into messages; null = one message. */
  takeCuts(): readonly number[] | null {
    const cuts = this.#cuts
    this.#cuts = null
    return cuts
  }

  /** Removes and returns all bytes as one array; null = none. */
  take(): Uint8Array | null {
    if (this.bytes === 0) return null
    let joined: Uint8Array
    if (this.#regions === null) joined = this.#buffer!.subarray(this.#start, this.#end)
    else {
      this.#endRegion()
      joined = this.#regions.length === 1 ? this.#regions[0]! : this.#join(this.#regions)
    }
    this.#regions = null
    this.#buffer = null
    this.#cuts = null
    this.#messageStart = 0
    this.bytes = 0
    return joined
  }

  #join(regions: readonly Uint8Array[]): Uint8Array {
    const start = this.#slab.reserve(this.bytes)
    const { buffer } = this.#slab
    let at = start
    for (const region of regions) {
      buffer.set(region, at)
      at += region.length
    }
    return buffer.subarray(start, at)
  }

  /** Begins the next message before a frame that does not fit into the current one. */
  #beginFrame(bytes: number): void {
    if (this.bytes - this.#messageStart + bytes <= this.#maxMessageBytes || this.bytes === this.#messageStart) return
    this.#cuts ??= []
    this.#cuts.push(this.bytes)
    this.#messageStart = this.bytes
  }

  #reserve(bytes: number): number {
    this.#beginFrame(bytes)
    const at = this.#slab.reserve(bytes)
    if (this.#buffer === this.#slab.buffer && this.#end === at) this.#end = at + bytes
    else {
      if (this.#buffer !== null) this.#endRegion()
      this.#buffer = this.#slab.buffer
      this.#start = at
      this.#end = at + bytes
    }
    this.bytes += bytes
    return at
  }

  #endRegion(): void {
    this.#regions ??= []
    if (this.#buffer !== null) this.#regions.push(this.#buffer.subarray(this.#start, this.#end))
    this.#buffer = null
  }
}
