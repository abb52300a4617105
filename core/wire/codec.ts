// Codecs convert between a body's bytes and a plain value. Invariants: for any bytes `decode` returns a value or throws an
// InputError, in time proportional to the body; `encode` returns bytes that nothing else writes to, and throws a TypeError
// for values it cannot represent, which is a bug of the game.

// An ambient declaration cannot be imported; the reference makes the types available in any consumer's program.
// oxlint-disable-next-line typescript/triple-slash-reference
/// <reference path="./msgpackr.d.ts" preserve="true" />

import { addExtension, Packr, RESET_BUFFER_MODE, Unpackr } from 'msgpackr/index-no-eval'

import { DEFAULT_BOUNDS, type BodyBounds } from './bounds.ts'
import { EMPTY_BYTES, utf8Encoder } from './bytes.ts'
import { DefinitionError, InputError, shorten, thrownText } from './errors.ts'
import { JSON_RULES, NOT_HANDLED, refuseAs, Unserializable, walkValue, type ValueRules } from './plainvalue.ts'
import { checkOptions, FUNCTION } from './options.ts'
import { scanMsgpack } from './scan.ts'

/** Converts between a body and its value. Use `customCodec` for your own. */
export interface Codec {
  /** Unique among the codecs of a game. */
  readonly name: string
  /** Returns the body of a value, empty for undefined. The caller owns the result. */
  encode(value: unknown, bounds?: BodyBounds): Uint8Array
  /** Returns the value of a body. Only the value of `raw` shares memory with the body. @throws InputError */
  decode(body: Uint8Array, bounds?: BodyBounds): unknown
}

/** Opaque bytes, unchanged. */
export const raw: Codec = {
  name: 'raw',
  encode(value) {
    if (value === undefined) return EMPTY_BYTES
    if (value instanceof Uint8Array) return value
    throw new TypeError(`raw: a body must be a Uint8Array, got ${shorten(value)}`)
  },
  decode: (body) => body,
}

/** UTF-8 JSON. It cannot represent bytes, NaN or Infinity. */
export const json: Codec = {
  name: 'json',
  encode(value, bounds = DEFAULT_BOUNDS) {
    if (value === undefined) return EMPTY_BYTES
    if (bounds.isForeign) walkValue(value, JSON_BODY_RULES, refuseAs('json: body'))
    const text: string | undefined = JSON.stringify(value)
    if (text === undefined) throw new TypeError(`json: cannot encode ${shorten(value)}`)
    return utf8Encoder.encode(text)
  },
  decode(body, bounds = DEFAULT_BOUNDS) {
    if (body.length === 0) return undefined
    checkJsonDepth(body, bounds.depth)
    try {
      const text = jsonDecoder.decode(body)
      // JSON.parse creates an own property for a key `__proto__`, which pollutes prototypes when it is copied later.
      // The text contains the key literally, or with at least one letter escaped as \u00xx.
      const suspect = text.includes('__proto__') || text.includes('\\u00')
      return suspect ? JSON.parse(text, refuseProto) : JSON.parse(text)
    } catch (cause) {
      throw decodeError('json', cause)
    }
  },
}

/** MessagePack; timestamp is the only extension; undefined is omitted from maps and is nil in arrays. */
export const msgpack: Codec = {
  name: 'msgpack',
  encode(value, bounds = DEFAULT_BOUNDS) {
    if (value === undefined) return EMPTY_BYTES
    if (bounds.isForeign) walkValue(value, MSGPACK_BODY_RULES, refuseAs('msgpack: body'))
    try {
      // The packer returns a view of a buffer that it reuses: copy it before anything else runs.
      const body = new Uint8Array(packr.pack(value, RESET_BUFFER_MODE))
      scanMsgpack(body, bounds) // the peer would reject it; here the stack still shows the caller
      return body
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : shorten(cause)
      throw new TypeError(`msgpack: cannot encode ${shorten(value)}: ${why}`, { cause })
    }
  },
  decode(body, bounds = DEFAULT_BOUNDS) {
    if (body.length === 0) return undefined
    scanMsgpack(body, bounds)
    try {
      // A new view: msgpackr adds a property to its input, and would return Buffers for a Buffer.
      return unpackr.unpack(new Uint8Array(body.buffer, body.byteOffset, body.byteLength))
    } catch (cause) {
      throw decodeError('msgpack', cause)
    }
  },
}

/**
 * A custom codec, for example protobuf. Anything that its `decode` throws is treated as invalid input of the peer.
 * @throws DefinitionError for a name that is in use or not [a-z][a-z0-9-]{0,31}, and for what is no function
 */
export function customCodec(
  name: string,
  functions: { encode: (value: unknown) => Uint8Array; decode: (body: Uint8Array) => unknown },
): Codec {
  if (CODECS.has(name) || !/^[a-z][a-z0-9-]{0,31}$/.test(name))
    throw new DefinitionError(`codec name ${shorten(name)} is in use or does not match [a-z][a-z0-9-]{0,31}`)
  checkOptions(`codec ${name}`, functions, { encode: FUNCTION, decode: FUNCTION }, ['encode', 'decode'])
  const { encode, decode } = functions
  return {
    name,
    encode(value) {
      const body: unknown = encode(value)
      if (body instanceof Uint8Array) return body
      throw new TypeError(`codec ${name}: encode must return a Uint8Array, returned ${shorten(body)}`)
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

/** The built-in codecs by name. */
export const CODECS: ReadonlyMap<string, Codec> = new Map([raw, json, msgpack].map((codec) => [codec.name, codec]))

// A schema of another library may accept what msgpackr and JSON would silently change: a Map becomes an object.
const MSGPACK_BODY_RULES: ValueRules = {
  number: (value) => value,
  bigint: (value, fail) =>
    BigInt.asIntN(64, value) === value || BigInt.asUintN(64, value) === value ? value : fail('exceeds 64 bits'),
  undefined: (value) => value,
  object(value, _walk, fail) {
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? fail('is an invalid date') : value
    return value instanceof Uint8Array ? value : NOT_HANDLED
  },
}
/** JSON has a form for dates: their ISO text. */
const JSON_BODY_RULES: ValueRules = {
  ...JSON_RULES,
  undefined: (value) => value,
  object: (value, _walk, fail) => {
    if (!(value instanceof Date)) return NOT_HANDLED
    return Number.isNaN(value.getTime()) ? fail('is an invalid date') : value
  },
}

// Unlike the text of a message, JSON may start with a byte order mark, which is removed (RFC 8259 section 8.1).
const jsonDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

// DESIGN section 9. In addition: 'auto' decodes 64-bit integers as numbers where that is exact (other languages encode
// them so) and as BigInt otherwise; undefined would be encoded as an extension, which the scan rejects; the packer must not
// call a key `toJSON` of a player's record.
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

// msgpackr 2.1.3 encodes a typed array of wider elements with its byte length but fills only the first bytes. The rest are
// bytes of an earlier message, possibly another player's.
function createPackr(): Packr {
  const write = (value: unknown): never => {
    if (value instanceof Unserializable)
      throw new TypeError('a row cannot be encoded: it is valid only in its turn; use its values')
    throw new TypeError(`${Object.prototype.toString.call(value)} cannot be encoded; use a Uint8Array or an array`)
  }
  const wide = [Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array]
  for (const Class of [...wide, BigInt64Array, BigUint64Array, DataView, Unserializable]) addExtension({ Class, write })
  return new Packr({ ...options })
}

// JSON.parse is recursive, and so is code that walks its result. Brackets inside strings do not count.
function checkJsonDepth(body: Uint8Array, maxDepth: number): void {
  let depth = 0
  let inString = false
  for (let at = 0; at < body.length; at++) {
    const byte = body[at]
    if (byte === 0x22) inString = !inString
    else if (inString) {
      if (byte === 0x5c) at++ // skip the escaped byte
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > maxDepth) throw new InputError(`json body is nested deeper than ${maxDepth}, at byte ${at}`)
    } else if (byte === 0x5d || byte === 0x7d) depth--
  }
}

function refuseProto(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new InputError('json body has a key __proto__')
  return value
}

function decodeError(name: string, cause: unknown): InputError {
  if (cause instanceof InputError) return cause
  const why = cause instanceof Error ? cause.message : thrownText(cause)
  return new InputError(`${name} body cannot be decoded: ${shorten(why)}`, { cause })
}
