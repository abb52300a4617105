// Trees as bytes, with every freedom that the formats leave and some that they do not: lengths wider than needed,
// repeated keys, escapes where none is needed. Invariant: the same tree and style give the same bytes.

import { utf8Encoder } from '../../../../core/wire/bytes.ts'
import { Random } from '../../../support/random.ts'
import { MapEntries, RawBytes, type ValueTree } from './tree.ts'

/** Draws where the encoder is free; null = the canonical encoding. */
type Style = Random | null

const styleOf = (seed: number): Style => (seed === 0 ? null : new Random(seed))

/** The bytes of the tree that is being encoded. One list is enough: encoding is synchronous. */
const out: number[] = []
const wide = new DataView(new ArrayBuffer(8))

/** MessagePack. One of eight lengths is wider than needed. */
export function packTree(seed: number, tree: ValueTree): Uint8Array {
  out.length = 0
  pack(styleOf(seed), tree)
  return Uint8Array.from(out)
}

function pack(style: Style, tree: ValueTree): void {
  if (tree === null) out.push(0xc0)
  else if (typeof tree === 'boolean') out.push(tree ? 0xc3 : 0xc2)
  else if (typeof tree === 'number') packNumber(style, tree)
  else if (typeof tree === 'bigint') packBigInt(tree)
  else if (typeof tree === 'string') {
    const text = utf8Encoder.encode(tree)
    packLength(style, text.length, 0xa0, 32, 0xd9)
    packRaw(text)
  } else if (tree instanceof RawBytes) packRaw(tree.bytes)
  else if (tree instanceof Date) packDate(tree)
  else if (tree instanceof Uint8Array) {
    packLength(style, tree.length, 0, 0, 0xc4)
    packRaw(tree)
  } else {
    const isMap = tree instanceof MapEntries
    packLength(style, (isMap ? tree.entries : tree).length, isMap ? 0x80 : 0x90, 16, isMap ? 0xdd : 0xdb)
    for (const item of isMap ? tree.entries.flat() : tree) pack(style, item)
  }
}

/** `tag`: with a length of 1 byte; the tags for 2 and 4 bytes follow it. Arrays and maps have none for 1. */
function packLength(style: Style, length: number, short: number, below: number, tag: number): void {
  const isWider = style?.chance(1 / 8)
  if (length < below && !isWider) return void out.push(short | length)
  const hasOne = tag !== 0xdb && tag !== 0xdd
  const width = length > 0xffff || (isWider && style?.chance(0.5)) ? 4 : length > 0xff || !hasOne ? 2 : 1
  packInt(tag + (width === 1 ? 0 : width === 2 ? 1 : 2), width, length)
}

function packNumber(style: Style, value: number): void {
  const isFloat = !Number.isSafeInteger(value) || Object.is(value, -0)
  if (!isFloat && value >= -32 && value < 128) return void out.push(value & 0xff)
  if (isFloat || style?.chance(1 / 8)) {
    wide.setFloat64(0, value)
    packWide(0xcb)
  } else if (value >= 2 ** 32 || value < -(2 ** 31)) packBigInt(BigInt(value))
  else if (value < 0) packInt(0xd2, 4, value)
  else if (value < 256) packInt(0xcc, 1, value)
  else packInt(value < 65_536 ? 0xcd : 0xce, value < 65_536 ? 2 : 4, value)
}

function packBigInt(value: bigint): void {
  wide.setBigUint64(0, BigInt.asUintN(64, value))
  packWide(value < 0n ? 0xd3 : 0xcf)
}

/** A timestamp of 96 bits. */
function packDate(date: Date): void {
  const ms = date.getTime()
  const seconds = Math.floor(ms / 1_000)
  out.push(0xc7, 12)
  packInt(0xff, 4, (ms - seconds * 1_000) * 1_000_000)
  wide.setBigInt64(0, BigInt(seconds))
  packWide()
}

function packInt(tag: number, width: number, value: number): void {
  out.push(tag)
  for (let i = width - 1; i >= 0; i--) out.push(Math.floor(value / 256 ** i) & 0xff)
}

function packWide(...tags: readonly number[]): void {
  out.push(...tags)
  for (let i = 0; i < 8; i++) out.push(wide.getUint8(i))
}

function packRaw(bytes: Uint8Array): void {
  for (const byte of bytes) out.push(byte)
}

/** JSON. Values that JSON has no form for are written as a careless encoder would. */
export function jsonTree(seed: number, tree: ValueTree): Uint8Array {
  return utf8Encoder.encode(json(styleOf(seed), tree))
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
