// Codecs: between a body's bytes and a plain value. Invariants: whatever bytes arrive, `decode` gives a value or
// an InputError and costs time in proportion to the body; `encode` gives bytes that nothing else writes to, and
// throws a TypeError for what it cannot carry: that is the game's bug, not the peer's fault.

// An ambient declaration cannot be imported; with the reference the types hold in any consumer's program.
// oxlint-disable-next-line typescript/triple-slash-reference
/// <reference path="./msgpackr.d.ts" preserve="true" />

import { EMPTY_BYTES, utf8Encoder } from './bytes.ts'
import { addExtension, Packr, RESET_BUFFER_MODE, Unpackr } from 'msgpackr/index-no-eval'

import { DefinitionError, InputError, shorten } from './errors.ts'
import { SCAN_LIMITS } from './limits.ts'
import { scanMsgpack } from './scan.ts'

export interface Codec {
  readonly name: string
  /** The body of a value; an empty one for undefined. The caller owns the result. */
  encode(value: unknown): Uint8Array
  /** The value of a body. Only `raw` gives a value that still shares memory with the body. */
  decode(body: Uint8Array): unknown
}

/** Opaque bytes, as they are. */
export const raw: Codec = {
  name: 'raw',
  encode(value) {
    if (value === undefined) return EMPTY_BYTES
    if (value instanceof Uint8Array) return value
    throw new TypeError(`raw: a body must be a Uint8Array, got ${shorten(value)}`)
  },
  decode: (body) => body,
}

/** UTF-8 JSON. It has no form for bytes, NaN or Infinity. */
export const json: Codec = {
  name: 'json',
  encode(value) {
    if (value === undefined) return EMPTY_BYTES
    const text: string | undefined = JSON.stringify(value)
    if (text === undefined) throw new TypeError(`json: cannot carry ${shorten(value)}`)
    return utf8Encoder.encode(text)
  },
  decode(body) {
    if (body.length === 0) return undefined
    checkJsonDepth(body, SCAN_LIMITS.depth)
    try {
      const text = utf8.decode(body)
      // JSON.parse makes an own property of a key `__proto__`, which pollutes when a later hand copies it.
      // The key is in the text as it is, or with at least one of its letters written as \u00xx.
      const suspect = text.includes('__proto__') || text.includes('\\u00')
      return suspect ? JSON.parse(text, refuseProto) : JSON.parse(text)
    } catch (cause) {
      throw decodeError('json', cause)
    }
  },
}

/** MessagePack without extensions but timestamp; undefined is left out of maps and is nil in arrays. */
export const msgpack: Codec = {
  name: 'msgpack',
  encode(value) {
    if (value === undefined) return EMPTY_BYTES
    try {
      // The packer's result is a view of a buffer that it shares and reuses: copied before anything else runs.
      const body = new Uint8Array(packr.pack(value, RESET_BUFFER_MODE))
      scanMsgpack(body) // the peer would refuse it; here the stack still says who made it
      return body
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : shorten(cause)
      throw new TypeError(`msgpack: cannot carry ${shorten(value)}: ${why}`, { cause })
    }
  },
  decode(body) {
    if (body.length === 0) return undefined
    scanMsgpack(body)
    try {
      // A view of our own: msgpackr writes a property to what it reads, and would give Buffers for a Buffer.
      return unpackr.unpack(new Uint8Array(body.buffer, body.byteOffset, body.byteLength))
    } catch (cause) {
      throw decodeError('msgpack', cause)
    }
  },
}

/**
 * A codec of the game's own, protobuf for example. Whatever its `decode` throws counts as the peer's fault.
 * @throws DefinitionError for a name that is taken or not [a-z][a-z0-9-]{0,31}
 */
export function customCodec(
  name: string,
  { encode, decode }: { encode: (value: unknown) => Uint8Array; decode: (body: Uint8Array) => unknown },
): Codec {
  if (CODECS.has(name) || !/^[a-z][a-z0-9-]{0,31}$/.test(name))
    throw new DefinitionError(`codec name ${shorten(name)} is taken or does not match [a-z][a-z0-9-]{0,31}`)
  return {
    name,
    encode(value) {
      const body: unknown = encode(value)
      if (body instanceof Uint8Array) return body
      throw new TypeError(`codec ${name}: encode must give a Uint8Array, gave ${shorten(body)}`)
    },
    decode(body) {
      try {
        return decode(body)
      } catch (cause) {
        throw decodeError(name, cause)
      }
    },
  }
}

/** What belongs to its turn, a row for instance: it has no form in a message or a snapshot, and says so. */
export class Unserializable {}

/** The built-in codecs by name. */
export const CODECS: ReadonlyMap<string, Codec> = new Map([raw, json, msgpack].map((one) => [one.name, one]))

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

// DESIGN section 9. Beyond it: 'auto' reads 64-bit integers as numbers where that is exact (other languages
// write them so) and as BigInt elsewhere; undefined would otherwise be an extension, which the scan refuses; a key
// `toJSON` of a player's record is not a function that the packer may call.
const options = {
  useRecords: false,
  mapsAsObjects: true,
  structuredClone: false,
  copyBuffers: true,
  int64AsType: 'auto',
  skipValues: [undefined],
  encodeUndefinedAsNil: true,
  useToJSON: false,
} as const
const unpackr = new Unpackr({ ...options })
const packr = createPackr()

// msgpackr 2.1.3 writes a typed array of wider elements as so many bytes, fills only the first of them, and so
// sends what an earlier message, perhaps another player's, left in its buffer.
function createPackr(): Packr {
  const write = (value: unknown): never => {
    if (value instanceof Unserializable)
      throw new TypeError('a row has no form: it belongs to its turn; use its values')
    throw new TypeError(`${Object.prototype.toString.call(value)} has no form; use a Uint8Array or an array`)
  }
  const wide = [Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array]
  for (const Class of [...wide, BigInt64Array, BigUint64Array, DataView, Unserializable])
    addExtension({ Class, write })
  return new Packr({ ...options })
}

// JSON.parse recurses; so does what reads its result. Brackets inside strings do not count.
function checkJsonDepth(body: Uint8Array, maxDepth: number): void {
  let depth = 0
  let inString = false
  for (let at = 0; at < body.length; at++) {
    const byte = body[at]
    if (byte === 0x22) inString = !inString
    else if (inString) {
      if (byte === 0x5c) at++ // a backslash takes the next byte with it
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > maxDepth)
        throw new InputError(`json body is nested deeper than ${maxDepth}, at byte ${at}`)
    } else if (byte === 0x5d || byte === 0x7d) depth--
  }
}

function refuseProto(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new InputError('json body has a key __proto__')
  return value
}

function decodeError(name: string, cause: unknown): InputError {
  if (cause instanceof InputError) return cause
  const why = cause instanceof Error ? cause.message : String(cause)
  return new InputError(`${name} body is unreadable: ${shorten(why)}`, { cause })
}
