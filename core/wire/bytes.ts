// Big-endian fields, written and read in order. Invariant: a ByteReader never reads past its end; a message that is too
// short is a ProtocolError that names the message.

import { ProtocolError } from './errors.ts'

/** The shared empty body; its length of 0 makes it immutable. */
export const EMPTY_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(0)
export const utf8Encoder = new TextEncoder()
// `@__PURE__`: the bundler of a client drops the constant if it is unused.
/** Replaces invalid UTF-8; for text that was validated before, or that is only displayed. */
export const utf8Decoder = /* @__PURE__ */ new TextDecoder()

// A byte order mark is preserved: a key must decode to what was encoded.
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const HEX_DIGITS = /* @__PURE__ */ Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0))
/** Bytes whose digits are arguments of one call. */
const HEX_CHUNK = 4_096

/** Two hex digits per byte. */
export function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (let start = 0; start < bytes.length; start += HEX_CHUNK) {
    const digits: number[] = []
    for (let i = start; i < bytes.length && i < start + HEX_CHUNK; i++)
      digits.push(HEX_DIGITS[bytes[i]! >> 4]!, HEX_DIGITS[bytes[i]! & 15]!)
    text += String.fromCharCode(...digits)
  }
  return text
}

const MAX_KNOWN_TEXTS = 256
const knownTexts = new Map<string, Uint8Array>()

/** UTF-8 of a text that many messages contain, such as an error's; shared, so it must not be changed. */
export function encodeKnownText(text: string): Uint8Array {
  let bytes = knownTexts.get(text)
  if (bytes) return bytes
  bytes = utf8Encoder.encode(text)
  if (knownTexts.size >= MAX_KNOWN_TEXTS) knownTexts.clear()
  knownTexts.set(text, bytes)
  return bytes
}

/** The inverse of `hexOf`. */
export function bytesOfHex(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16))
}

export function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

export function writeU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
}

/** Reads 4 bytes; the caller has checked the bounds. */
export function readU32(source: Uint8Array, at: number): number {
  return ((source[at]! << 24) | (source[at + 1]! << 16) | (source[at + 2]! << 8) | source[at + 3]!) >>> 0
}

/** Fills a buffer of a fixed size; for session messages and link records. */
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
  /** Writes a u16 length, then the bytes. @throws RangeError above 65535 bytes */
  blob(bytes: Uint8Array): this {
    if (bytes.length > 0xffff) throw new RangeError(`a field of ${bytes.length} bytes exceeds 65535`)
    return this.u16(bytes.length).raw(bytes)
  }
}

/** Reads fields in order. @throws ProtocolError BAD_MESSAGE, naming the message, when a field exceeds the end */
export class ByteReader {
  readonly #messageName: string
  readonly #source: Uint8Array
  readonly #end: number
  #at: number
  constructor(messageName: string, source: Uint8Array, start: number, end: number) {
    this.#messageName = messageName
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
    if (this.#end - at < size)
      throw new ProtocolError('BAD_MESSAGE', `${this.#messageName} ends ${size - (this.#end - at)} bytes too early`)
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
  /** Returns a copy. `slice` of a Buffer would return a view that retains the whole chunk. */
  raw(size: number): Uint8Array {
    const at = this.#take(size)
    return new Uint8Array(this.#source.subarray(at, at + size))
  }
  blob(): Uint8Array {
    return this.raw(this.u16())
  }
  /** Reads a u32 length and returns a view of that many bytes. */
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
    return decodeText(this.#messageName, this.#source.subarray(at, at + size))
  }
}

/** Decodes the text of a message. @throws ProtocolError BAD_MESSAGE, naming the message, for invalid UTF-8 */
export function decodeText(messageName: string, bytes: Uint8Array): string {
  try {
    return strictDecoder.decode(bytes)
  } catch {
    throw new ProtocolError('BAD_MESSAGE', `${messageName} contains text that is not UTF-8`)
  }
}
