// Trees as bytes, with every freedom that the formats leave and some that they do not: lengths wider than needed, keys
// twice, escapes where none is needed.

import type { Random } from '../../support/random.ts'
import { Pairs, Verbatim, type Tree } from './tree.ts'

/** Grows; a body never needs more than the widest tree. */
class Bytes {
  #buffer = Buffer.allocUnsafe(4_096)
  #at = 0

  /** Where so many bytes are the caller's. */
  room(size: number): { readonly buffer: Buffer; readonly at: number } {
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
    const { buffer, at } = this.room(1)
    buffer[at] = value
  }

  raw(bytes: Uint8Array): void {
    const { buffer, at } = this.room(bytes.length)
    buffer.set(bytes, at)
  }

  reset(): void {
    this.#at = 0
  }

  copy(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.#at))
  }
}

const bytes = new Bytes()

/** MessagePack. One of eight lengths is written wider than it need be. */
export function packTree(random: Random, tree: Tree): Uint8Array {
  bytes.reset()
  pack(random, tree)
  return bytes.copy()
}

function pack(random: Random, tree: Tree): void {
  if (tree === null) return bytes.u8(0xc0)
  if (typeof tree === 'boolean') return bytes.u8(tree ? 0xc3 : 0xc2)
  if (typeof tree === 'number') return packNumber(random, tree)
  if (typeof tree === 'bigint') return packWide(tree)
  if (typeof tree === 'string') {
    const text = Buffer.from(tree, 'utf8')
    packLength(random, text.length, 0xa0, 32, 0xd9)
    return bytes.raw(text)
  }
  if (tree instanceof Verbatim) return bytes.raw(tree.bytes)
  if (tree instanceof Date) return packDate(tree)
  if (tree instanceof Uint8Array) {
    packLength(random, tree.length, 0, 0, 0xc4)
    return bytes.raw(tree)
  }
  if (tree instanceof Pairs) {
    packLength(random, tree.entries.length, 0x80, 16, 0xdd)
    for (const [key, value] of tree.entries) {
      pack(random, key)
      pack(random, value)
    }
    return
  }
  packLength(random, tree.length, 0x90, 16, 0xdb)
  for (const item of tree) pack(random, item)
}

/** `wide` is the tag with 1 byte of length; those of 2 and 4 follow it. Arrays and maps have none of 1 byte. */
function packLength(random: Random, length: number, short: number, below: number, wide: number): void {
  const extra = random.below(8) === 0
  if (length < below && !extra) return bytes.u8(short | length)
  const hasOne = wide !== 0xdb && wide !== 0xdd
  const width = length > 0xffff || (extra && random.chance(0.5)) ? 4 : length > 0xff || !hasOne ? 2 : 1
  const { buffer, at } = bytes.room(1 + width)
  buffer[at] = wide + (width === 1 ? 0 : width === 2 ? 1 : 2)
  buffer.writeUIntBE(length, at + 1, width)
}

function packNumber(random: Random, value: number): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) return packFloat(value)
  if (value >= 0 && value < 128) return bytes.u8(value)
  if (value < 0 && value >= -32) return bytes.u8(value & 0xff)
  if (random.below(8) === 0) return packFloat(value)
  if (value >= 0 && value < 2 ** 32) {
    const width = value < 256 ? 1 : value < 65_536 ? 2 : 4
    const { buffer, at } = bytes.room(1 + width)
    buffer[at] = width === 1 ? 0xcc : width === 2 ? 0xcd : 0xce
    buffer.writeUIntBE(value, at + 1, width)
  } else if (value < 0 && value >= -(2 ** 31)) {
    const { buffer, at } = bytes.room(5)
    buffer[at] = 0xd2
    buffer.writeInt32BE(value, at + 1)
  } else packWide(BigInt(value))
}

function packFloat(value: number): void {
  const { buffer, at } = bytes.room(9)
  buffer[at] = 0xcb
  buffer.writeDoubleBE(value, at + 1)
}

function packWide(value: bigint): void {
  const { buffer, at } = bytes.room(9)
  buffer[at] = value < 0n ? 0xd3 : 0xcf
  buffer.writeBigUInt64BE(BigInt.asUintN(64, value), at + 1)
}

/** A timestamp of 96 bits. */
function packDate(date: Date): void {
  const ms = date.getTime()
  const seconds = Math.floor(ms / 1_000)
  const { buffer, at } = bytes.room(15)
  buffer[at] = 0xc7
  buffer[at + 1] = 12
  buffer[at + 2] = 0xff
  buffer.writeUInt32BE((ms - seconds * 1_000) * 1_000_000, at + 3)
  buffer.writeBigInt64BE(BigInt(seconds), at + 7)
}

/** JSON; what it has no form for becomes what a careless writer makes of it. */
export function jsonTree(random: Random, tree: Tree): Uint8Array {
  return new Uint8Array(Buffer.from(json(random, tree), 'utf8'))
}

function json(random: Random, tree: Tree): string {
  if (tree === null || typeof tree === 'boolean') return String(tree)
  if (typeof tree === 'number') return random.below(32) === 0 ? `${tree}e400` : String(tree)
  if (typeof tree === 'bigint') return String(tree)
  if (typeof tree === 'string') return quoted(random, tree)
  if (tree instanceof Date) return `"${tree.getTime()}"`
  if (tree instanceof Verbatim) return Buffer.from(tree.bytes).toString('latin1')
  if (tree instanceof Uint8Array) return `"${Buffer.from(tree).toString('base64')}"`
  const space = random.below(16) === 0 ? ' \n' : ''
  if (tree instanceof Pairs) {
    const entries = tree.entries.map(([key, value]) => `${json(random, key)}:${space}${json(random, value)}`)
    return `{${entries.join(',')}}`
  }
  return `[${space}${tree.map((item) => json(random, item)).join(',')}]`
}

function quoted(random: Random, text: string): string {
  if (random.below(16) !== 0 || text === '') return JSON.stringify(text)
  const at = random.below(text.length)
  const code = text.charCodeAt(at).toString(16).padStart(4, '0')
  const part = (some: string): string => JSON.stringify(some).slice(1, -1)
  return `"${part(text.slice(0, at))}\\u${code}${part(text.slice(at + 1))}"`
}
