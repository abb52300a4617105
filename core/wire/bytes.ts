// Big-endian fields, written and read in order. A Reader never reads past its end: a message that is too
// short is a peer's fault and names itself.

import { ProtocolError } from './errors.ts'

/** The one empty body. Nobody may write to it, which a length of 0 ensures. */
export const EMPTY_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(0)
export const utf8Encoder = new TextEncoder()
/** Replaces what is not UTF-8; for text that was checked before, or that is only shown. */
export const utf8Decoder = new TextDecoder()

// A byte order mark is text like any other: a key must read as it was written.
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Two digits a byte, in one flat string. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => HEX[byte]).join('')
}

/** The bytes that `hexOf` has written. */
export function bytesOfHex(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  )
}

export function writeU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
}

/** Reads 4 bytes that the caller knows to be there. */
export function readU32(source: Uint8Array, at: number): number {
  return ((source[at]! << 24) | (source[at + 1]! << 16) | (source[at + 2]! << 8) | source[at + 3]!) >>> 0
}

/** Fills a buffer of a size known beforehand; for session messages and link records. */
export class ByteWriter {
  readonly bytes: Uint8Array
  #at = 0
  constructor(size: number) {
    this.bytes = new Uint8Array(size)
  }
  u8(value: number): this {
    this.bytes[this.#at++] = value
    return this
  }
  u16(value: number): this {
    this.bytes[this.#at++] = value >>> 8
    this.bytes[this.#at++] = value
    return this
  }
  u32(value: number): this {
    writeU32(this.bytes, this.#at, value)
    this.#at += 4
    return this
  }
  raw(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#at)
    this.#at += bytes.length
    return this
  }
  /** u16 length, then the bytes. */
  blob(bytes: Uint8Array): this {
    if (bytes.length > 0xffff) throw new RangeError(`a field of ${bytes.length} bytes exceeds 65535`)
    return this.u16(bytes.length).raw(bytes)
  }
}

/** Reads fields in order; anything that runs over the end is a ProtocolError that names the message. */
export class ByteReader {
  readonly #messageName: string
  readonly #source: Uint8Array
  readonly #end: number
  #at: number
  constructor(what: string, source: Uint8Array, start: number, end: number) {
    this.#messageName = what
    this.#source = source
    this.#at = start
    this.#end = end
  }
  get at(): number {
    return this.#at
  }
  get isAtEnd(): boolean {
    return this.#at >= this.#end
  }
  #take(size: number): number {
    const at = this.#at
    if (this.#end - at < size) {
      throw new ProtocolError(
        'BAD_MESSAGE',
        `${this.#messageName} ends ${size - (this.#end - at)} bytes too early`,
      )
    }
    this.#at = at + size
    return at
  }
  u8(): number {
    return this.#source[this.#take(1)]!
  }
  u16(): number {
    const at = this.#take(2)
    return (this.#source[at]! << 8) | this.#source[at + 1]!
  }
  u32(): number {
    return readU32(this.#source, this.#take(4))
  }
  /** A copy, safe to keep. `slice` would not be one: a Buffer's gives a view that holds the whole chunk. */
  raw(size: number): Uint8Array {
    const at = this.#take(size)
    return new Uint8Array(this.#source.subarray(at, at + size))
  }
  blob(): Uint8Array {
    return this.raw(this.u16())
  }
  /** A view into the source: u32 length, then the bytes. */
  view32(): Uint8Array {
    const size = this.u32()
    const at = this.#take(size)
    return this.#source.subarray(at, at + size)
  }
  text8(): string {
    return this.#text(this.u8())
  }
  text16(): string {
    return this.#text(this.u16())
  }
  #text(size: number): string {
    const at = this.#take(size)
    try {
      return strictUtf8.decode(this.#source.subarray(at, at + size))
    } catch {
      throw new ProtocolError('BAD_MESSAGE', `${this.#messageName} holds text that is not UTF-8`)
    }
  }
}
