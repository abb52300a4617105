// Checks a MessagePack body before it is decoded: bounds nesting and items, and rejects what no contract needs (extensions
// except timestamp, 0xc1, keys that are not strings or are `__proto__`). Invariant: one pass, no recursion, no allocation,
// no read past the end; an accepted body is exactly one value.

import { InputError } from './errors.ts'
import { SCAN_LIMITS } from './limits.ts'

export const MAX_SCAN_DEPTH = 256

export interface ScanLimits {
  /** Nesting depth of containers; at most MAX_SCAN_DEPTH. */
  readonly depth: number
  /** Array elements and map entries of all containers. */
  readonly items: number
}

const TIMESTAMP = 0xff // extension type -1
const MAX_SECONDS = 8_640_000_000_000 // ECMA-262 section 21.4.1.1: beyond it a Date is invalid

// Values still missing in each open container, outermost first; a map counts keys and values, so an even number means
// that a key is next. Scratch memory of one synchronous call.
const valuesMissing = new Uint32Array(MAX_SCAN_DEPTH)
const isMap = new Uint8Array(MAX_SCAN_DEPTH)

/**
 * Returns when `body` is exactly one MessagePack value within the limits.
 * @throws InputError that names the reason and the byte
 */
export function scanMsgpack(body: Uint8Array, limits: ScanLimits = SCAN_LIMITS): void {
  const end = body.length
  const maxDepth = Math.min(limits.depth, valuesMissing.length)
  let items = limits.items
  let depth = 0
  let at = 0
  for (;;) {
    if (at >= end) throw scanError('ends too early', at)
    const start = at
    const tag = body[at++] as number
    const isKey = depth > 0 && isMap[depth - 1] === 1 && ((valuesMissing[depth - 1] as number) & 1) === 0
    let size = 0 // bytes to skip
    let count = -1 // items of a container
    let map = 0
    let text = false
    if (tag < 0x80 || tag >= 0xe0) {
      // fixint: nothing follows
    } else if (tag < 0x90) {
      count = tag & 0x0f
      map = 1
    } else if (tag < 0xa0) {
      count = tag & 0x0f
    } else if (tag < 0xc0) {
      size = tag & 0x1f
      text = true
    } else {
      const width = WIDTHS[tag - 0xc0] as number
      if (width > end - at) throw scanError('ends too early', end)
      const length = width === 0 ? 0 : bigEndian(body, at, width)
      at += width
      switch (tag) {
        case 0xc0: // nil
        case 0xc2: // false
        case 0xc3: // true
          break
        case 0xc1:
          throw scanError('contains the unused byte 0xc1', start)
        case 0xc4: // bin 8, 16, 32
        case 0xc5:
        case 0xc6:
          size = length
          break
        case 0xc7: // ext 8, 16, 32
        case 0xc8:
        case 0xc9:
          size = length + 1
          checkExtension(body, at, end, length, start)
          break
        case 0xd4: // fixext 1, 2, 4, 8, 16
        case 0xd5:
        case 0xd6:
        case 0xd7:
        case 0xd8:
          size = (1 << (tag - 0xd4)) + 1
          checkExtension(body, at, end, size - 1, start)
          break
        case 0xd9: // str 8, 16, 32
        case 0xda:
        case 0xdb:
          size = length
          text = true
          break
        case 0xdc: // array 16, 32
        case 0xdd:
          count = length
          break
        case 0xde: // map 16, 32
        case 0xdf:
          count = length
          map = 1
          break
        default: // the numbers
          size = NUMBER_SIZES[tag - 0xca] as number
      }
    }
    if (size > end - at) throw scanError(`declares ${size} bytes where ${end - at} are left`, start)
    if (isKey && (!text || isProto(body, at, size)))
      throw scanError(text ? 'has a key __proto__' : 'has a key that is not a string', start)
    at += size
    if (count > 0) {
      if (count * (1 + map) > end - at)
        throw scanError(`declares ${count} items where ${end - at} bytes are left`, start)
      if (depth >= maxDepth) throw scanError(`is nested deeper than ${maxDepth}`, start)
      if ((items -= count) < 0) throw scanError(`contains more than ${limits.items} items`, start)
      valuesMissing[depth] = count * (1 + map)
      isMap[depth] = map
      depth++
      continue
    }
    if (count === 0 && depth >= maxDepth) throw scanError(`is nested deeper than ${maxDepth}`, start)
    while (depth > 0) {
      const left = (valuesMissing[depth - 1] as number) - 1
      valuesMissing[depth - 1] = left
      if (left > 0) break
      depth--
    }
    if (depth === 0) break
  }
  if (at !== end) throw scanError(`has ${end - at} bytes after its value`, at)
}

// Bytes of the length that follows a tag from 0xc0 to 0xdf.
const WIDTHS = new Uint8Array([
  0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4,
])
// Bytes of float 32, 64, uint 8, 16, 32, 64, int 8, 16, 32, 64: tags from 0xca to 0xd3.
const NUMBER_SIZES = new Uint8Array([4, 8, 1, 2, 4, 8, 1, 2, 4, 8])

function bigEndian(body: Uint8Array, at: number, width: number): number {
  let value = 0
  for (let i = 0; i < width; i++) value = value * 256 + (body[at + i] as number)
  return value
}

// A timestamp out of range decodes to an invalid Date, which throws when it is formatted.
function checkExtension(body: Uint8Array, at: number, end: number, length: number, start: number): void {
  if (length + 1 > end - at) throw scanError(`declares ${length + 1} bytes where ${end - at} are left`, start)
  if (body[at] !== TIMESTAMP || (length !== 4 && length !== 8 && length !== 12))
    throw scanError(`contains extension ${body[at]} of ${length} bytes`, start)
  if (length === 4) return
  const word = bigEndian(body, at + 1, 4)
  const nanoseconds = length === 8 ? Math.floor(word / 4) : word
  if (nanoseconds > 999_999_999) throw scanError('contains a timestamp beyond a second of nanoseconds', start)
  if (length === 8) return
  const high = bigEndian(body, at + 5, 4)
  const seconds = (high >= 0x8000_0000 ? high - 0x1_0000_0000 : high) * 0x1_0000_0000 + bigEndian(body, at + 9, 4)
  if (seconds < -MAX_SECONDS || seconds >= MAX_SECONDS) throw scanError('contains a timestamp out of range', start)
}

// '__proto__' is 5f 5f 70 72 6f 74 6f 5f 5f. A decoder would rename it, which lets two keys become one.
function isProto(body: Uint8Array, at: number, size: number): boolean {
  if (size !== 9 || body[at] !== 0x5f) return false
  for (let i = 0; i < 9; i++) if (body[at + i] !== '__proto__'.charCodeAt(i)) return false
  return true
}

function scanError(why: string, at: number): InputError {
  return new InputError(`msgpack body ${why}, at byte ${at}`)
}
