// Trees as bytes, with every freedom that the formats leave and some that they do not: lengths wider than needed,
// repeated keys, escapes where none is needed. Invariant: the same tree and style give the same bytes.

import { Random } from '../../../support/random.ts'
import { MapEntries, RawBytes, type ValueTree } from './tree.ts'

/** Draws where the encoder is free; null = the canonical encoding. */
type Style = Random | null

const styleOf = (seed: number): Style => (seed === 0 ? null : new Random(seed))

/** A buffer that grows. One is enough: encoding is synchronous. */
class ByteWriter {
  #buffer = Buffer.allocUnsafe(4_096)
  #at = 0

  /** Reserves bytes for the caller to write. */
  reserve(size: number): { readonly buffer: Buffer; readonly at: number } {
    if (this.#at + size > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(2 * (this.#at + size))
      this.#buffer.copy(grown, 0, 0, this.#at)
      this.#buffer = grown
    }
    const at = this.#at
    this.#at += size
    return { buffer: this.#buffer, at }
  }

  u8(value: number): void {
    const { buffer, at } = this.reserve(1)
    buffer[at] = value
  }

  raw(bytes: Uint8Array): void {
    const { buffer, at } = this.reserve(bytes.length)
    buffer.set(bytes, at)
  }

  reset(): void {
    this.#at = 0
  }

  copy(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.#at))
  }
}

const bytes = new ByteWriter()

/** MessagePack. One of eight lengths is wider than needed. */
export function packTree(seed: number, tree: ValueTree): Uint8Array {
  bytes.reset()
  pack(styleOf(seed), tree)
  return bytes.copy()
}

function pack(style: Style, tree: ValueTree): void {
  if (tree === null) return bytes.u8(0xc0)
  if (typeof tree === 'boolean') return bytes.u8(tree ? 0xc3 : 0xc2)
  if (typeof tree === 'number') return packNumber(style, tree)
  if (typeof tree === 'bigint') return packBigInt(tree)
  if (typeof tree === 'string') {
    const text = Buffer.from(tree, 'utf8')
    packLength(style, text.length, 0xa0, 32, 0xd9)
    return bytes.raw(text)
  }
  if (tree instanceof RawBytes) return bytes.raw(tree.bytes)
  if (tree instanceof Date) return packDate(tree)
  if (tree instanceof Uint8Array) {
    packLength(style, tree.length, 0, 0, 0xc4)
    return bytes.raw(tree)
  }
  if (tree instanceof MapEntries) {
    packLength(style, tree.entries.length, 0x80, 16, 0xdd)
    for (const [key, value] of tree.entries) {
      pack(style, key)
      pack(style, value)
    }
    return
  }
  packLength(style, tree.length, 0x90, 16, 0xdb)
  for (const item of tree) pack(style, item)
}

/** `wide`: the tag with a length of 1 byte; the tags for 2 and 4 bytes follow it. Arrays and maps have none for 1. */
function packLength(style: Style, length: number, short: number, below: number, wide: number): void {
  const isWider = style?.chance(1 / 8)
  if (length < below && !isWider) return bytes.u8(short | length)
  const hasOne = wide !== 0xdb && wide !== 0xdd
  const width = length > 0xffff || (isWider && style?.chance(0.5)) ? 4 : length > 0xff || !hasOne ? 2 : 1
  const { buffer, at } = bytes.reserve(1 + width)
  buffer[at] = wide + (width === 1 ? 0 : width === 2 ? 1 : 2)
  buffer.writeUIntBE(length, at + 1, width)
}

function packNumber(style: Style, value: number): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) return packFloat(value)
  if (value >= 0 && value < 128) return bytes.u8(value)
  if (value < 0 && value >= -32) return bytes.u8(value & 0xff)
  if (style?.chance(1 / 8)) return packFloat(value)
  if (value >= 0 && value < 2 ** 32) {
    const width = value < 256 ? 1 : value < 65_536 ? 2 : 4
    const { buffer, at } = bytes.reserve(1 + width)
    buffer[at] = width === 1 ? 0xcc : width === 2 ? 0xcd : 0xce
    buffer.writeUIntBE(value, at + 1, width)
  } else if (value < 0 && value >= -(2 ** 31)) {
    const { buffer, at } = bytes.reserve(5)
    buffer[at] = 0xd2
    buffer.writeInt32BE(value, at + 1)
  } else packBigInt(BigInt(value))
}

function packFloat(value: number): void {
  const { buffer, at } = bytes.reserve(9)
  buffer[at] = 0xcb
  buffer.writeDoubleBE(value, at + 1)
}

function packBigInt(value: bigint): void {
  const { buffer, at } = bytes.reserve(9)
  buffer[at] = value < 0n ? 0xd3 : 0xcf
  buffer.writeBigUInt64BE(BigInt.asUintN(64, value), at + 1)
}

/** A timestamp of 96 bits. */
function packDate(date: Date): void {
  const ms = date.getTime()
  const seconds = Math.floor(ms / 1_000)
  const { buffer, at } = bytes.reserve(15)
  buffer[at] = 0xc7
  buffer[at + 1] = 12
  buffer[at + 2] = 0xff
  buffer.writeUInt32BE((ms - seconds * 1_000) * 1_000_000, at + 3)
  buffer.writeBigInt64BE(BigInt(seconds), at + 7)
}

/** JSON. Values that JSON has no form for are written as a careless encoder would. */
export function jsonTree(seed: number, tree: ValueTree): Uint8Array {
  return new Uint8Array(Buffer.from(json(styleOf(seed), tree), 'utf8'))
}

function json(style: Style, tree: ValueTree): string {
  if (tree === null || typeof tree === 'boolean') return String(tree)
  if (typeof tree === 'number') return style?.chance(1 / 32) ? `${tree}e400` : String(tree)
  if (typeof tree === 'bigint') return String(tree)
  if (typeof tree === 'string') return quoted(style, tree)
  if (tree instanceof Date) return `"${tree.getTime()}"`
  if (tree instanceof RawBytes) return Buffer.from(tree.bytes).toString('latin1')
  if (tree instanceof Uint8Array) return `"${Buffer.from(tree).toString('base64')}"`
  const space = style?.chance(1 / 16) ? ' \n' : ''
  if (tree instanceof MapEntries) {
    const entries = tree.entries.map(([key, value]) => `${json(style, key)}:${space}${json(style, value)}`)
    return `{${entries.join(',')}}`
  }
  return `[${space}${tree.map((item) => json(style, item)).join(',')}]`
}

function quoted(style: Style, text: string): string {
  if (!style?.chance(1 / 16) || text === '') return JSON.stringify(text)
  const at = style.below(text.length)
  const code = text.charCodeAt(at).toString(16).padStart(4, '0')
  const escaped = (part: string): string => JSON.stringify(part).slice(1, -1)
  return `"${escaped(text.slice(0, at))}\\u${code}${escaped(text.slice(at + 1))}"`
}
