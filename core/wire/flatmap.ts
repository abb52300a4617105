// The MessagePack subset of a gateway's requests to the built-in shards: one map of text, numbers, booleans and bytes. The
// shards use the full codec; an edge bundle without it has a third of the size (docs/decisions/016). Invariant: what this
// file encodes, the full codec decodes to the same fields, and the other way round.

import { ByteReader, ByteWriter, decodeText, utf8Encoder } from './bytes.ts'
import { ProtocolError } from './errors.ts'

export type FlatValue = string | number | boolean | Uint8Array
export type FlatMap = { readonly [field: string]: FlatValue }

/** Encodes at most 15 fields whose names have at most 31 bytes; text and bytes have at most 65,535. */
export function encodeFlatMap(fields: FlatMap): Uint8Array {
  const entries = Object.entries(fields)
  const parts: Uint8Array[] = [Uint8Array.of(0x80 | entries.length)]
  for (const [name, value] of entries) {
    const nameBytes = utf8Encoder.encode(name)
    parts.push(Uint8Array.of(0xa0 | nameBytes.length), nameBytes, encodeValue(value))
  }
  const writer = new ByteWriter(parts.reduce((sum, part) => sum + part.length, 0))
  for (const part of parts) writer.raw(part)
  return writer.bytes
}

function encodeValue(value: FlatValue): Uint8Array {
  if (typeof value === 'boolean') return Uint8Array.of(value ? 0xc3 : 0xc2)
  if (typeof value === 'number') return encodeNumber(value)
  const bytes = typeof value === 'string' ? utf8Encoder.encode(value) : value
  return new ByteWriter(3 + bytes.length).u8(typeof value === 'string' ? 0xda : 0xc5).blob(bytes).bytes
}

function encodeNumber(value: number): Uint8Array {
  if (value >>> 0 === value) return new ByteWriter(5).u8(0xce).u32(value).bytes
  const float64 = new Uint8Array(9)
  float64[0] = 0xcb
  new DataView(float64.buffer).setFloat64(1, value)
  return float64
}

/** Returns the fields of a map; an empty body has none. @throws ProtocolError for anything but a flat map */
export function decodeFlatMap(body: Uint8Array): FlatMap {
  const fields: Record<string, FlatValue> = {}
  if (body.length === 0) return fields
  const reader = new ByteReader('reply', body, 0, body.length)
  const head = reader.u8()
  if (head >>> 4 !== 0x8) throw unexpected(head)
  for (let left = head & 0xf; left > 0; left--) {
    const name = decodeValue(reader)
    if (typeof name !== 'string') throw new ProtocolError('BAD_MESSAGE', `a reply has a key that is a ${typeof name}`)
    fields[name] = decodeValue(reader)
  }
  if (!reader.isAtEnd) throw new ProtocolError('BAD_MESSAGE', `a reply has bytes behind its value, at ${reader.at}`)
  return fields
}

function decodeValue(reader: ByteReader): FlatValue {
  const head = reader.u8()
  if (head <= 0x7f) return head
  if (head >>> 5 === 0b101) return decodeText('reply', reader.raw(head & 0x1f))
  switch (head) {
    case 0xc2:
    case 0xc3:
      return head === 0xc3
    case 0xc4:
      return reader.raw(reader.u8())
    case 0xc5:
      return reader.blob()
    case 0xcb:
      return new DataView(reader.raw(8).buffer).getFloat64(0)
    case 0xcc:
      return reader.u8()
    case 0xcd:
      return reader.u16()
    case 0xce:
      return reader.u32()
    case 0xd9:
      return reader.text8()
    case 0xda:
      return reader.text16()
    default:
      throw unexpected(head)
  }
}

function unexpected(head: number): ProtocolError {
  return new ProtocolError('BAD_MESSAGE', `a reply contains the MessagePack byte 0x${head.toString(16)}`)
}
