// The codecs: which values each represents, which bodies each rejects, and that decoding throws only InputError.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { bytesOfHex, hexOf, utf8Encoder } from '../../core/wire/bytes.ts'
import { CODECS, customCodec, json, msgpack, raw, type Codec } from '../../core/wire/codec.ts'
import { DefinitionError, InputError } from '../../core/wire/errors.ts'
import { Unserializable } from '../../core/wire/plainvalue.ts'

const bytes = (hex: string): Uint8Array => bytesOfHex(hex.replaceAll(' ', ''))
const utf8 = (text: string): Uint8Array => utf8Encoder.encode(text)

const packed: [value: unknown, hex: string][] = [
  [null, 'c0'],
  [true, 'c3'],
  [0, '00'],
  [127, '7f'],
  [-1, 'ff'],
  [255, 'ccff'],
  [-128, 'd080'],
  [65535, 'cdffff'],
  [4294967295, 'ceffffffff'],
  [1.5, 'cb3ff8000000000000'],
  ['é', 'a2c3a9'],
  [[], '90'],
  [{}, '80'],
  [{ a: 1, b: [true] }, '82a16101a16291c3'],
  [bytes('0102'), 'c4020102'],
  [new Date(5_000), 'd6ff00000005'],
]

for (const [value, hex] of packed) {
  test(`msgpack encodes ${JSON.stringify(value)} as ${hex}`, () => {
    assert.equal(hexOf(msgpack.encode(value)), hex)
    assert.deepEqual(msgpack.decode(bytes(hex)), value)
  })
}

test('msgpack rejects objects that are valid only in their turn, at any depth', () => {
  class Row extends Unserializable {}
  for (const value of [new Row(), [new Row()], { a: { b: new Row() } }])
    assert.throws(() => msgpack.encode(value), /valid only in its turn/)
})

test('an empty body is undefined for json and msgpack, and empty bytes for raw', () => {
  for (const codec of [json, msgpack]) {
    assert.equal(codec.encode(undefined).length, 0)
    assert.equal(codec.decode(new Uint8Array(0)), undefined)
  }
  assert.equal(raw.encode(undefined).length, 0)
  assert.deepEqual(raw.decode(new Uint8Array(0)), new Uint8Array(0))
})

test('raw returns the same bytes both ways and rejects other values', () => {
  const body = bytes('00ff')
  assert.equal(raw.encode(body), body)
  assert.equal(raw.decode(body), body)
  for (const value of ['a', 1, null, [1], {}]) assert.throws(() => raw.encode(value), TypeError)
})

test('json and msgpack preserve every JSON value', () => {
  const values = fc.jsonValue({ maxDepth: 6 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown)
  fc.assert(
    fc.property(values, (value) => {
      const text = JSON.stringify(value)
      if (text.includes('__proto__')) return
      assert.equal(JSON.stringify(json.decode(json.encode(value))), text)
      assert.equal(JSON.stringify(msgpack.decode(msgpack.encode(value))), text)
    }),
    { seed: 2, numRuns: 500 },
  )
})

test('json and msgpack omit undefined fields and encode undefined elements as null', () => {
  for (const codec of [json, msgpack])
    assert.deepEqual(codec.decode(codec.encode({ a: undefined, b: [undefined] })), { b: [null] })
})

test('an encoded body owns its buffer, so later encodes do not change it', () => {
  const first = msgpack.encode({ a: 'first' })
  const copy = hexOf(first)
  for (let i = 0; i < 5_000; i++) msgpack.encode({ a: 'other', i, text: 'x'.repeat(i) })
  assert.equal(hexOf(first), copy)
  assert.equal(first.buffer.byteLength, first.byteLength)
  assert.equal(first.constructor, Uint8Array)
})

test('msgpack encodes correctly when a getter of the value encodes another value', () => {
  const inner: Uint8Array[] = []
  // msgpackr reads a getter twice: to decide whether to omit it, and for its value.
  const reentrant = {
    get n() {
      inner.push(msgpack.encode({ inside: inner.length }))
      return 1
    },
  }
  const outer = msgpack.encode({ a: reentrant, b: 2 })
  assert.deepEqual(msgpack.decode(outer), { a: { n: 1 }, b: 2 })
  const decoded = inner.map((body) => msgpack.decode(body))
  assert.deepEqual(decoded, [{ inside: 0 }, { inside: 1 }])
})

test('msgpack treats toJSON as a plain key', () => {
  const value = { a: { toJSON: 5, b: 1 }, c: { toJSON: 'text' } }
  assert.deepEqual(msgpack.decode(msgpack.encode(value)), value)
  assert.deepEqual(json.decode(json.encode(value)), value)
})

test('msgpack copies decoded bytes and does not modify the body, a Buffer included', () => {
  for (const body of [bytes('81a162c4020102'), Buffer.from('81a162c4020102', 'hex')]) {
    const { b } = msgpack.decode(body) as { b: Uint8Array }
    assert.equal(b.constructor, Uint8Array)
    body.fill(0)
    assert.deepEqual(b, bytes('0102'))
    assert.equal(Object.hasOwn(body, 'dataView'), false)
  }
})

test('msgpack decodes 64-bit integers as numbers where that is exact, otherwise as BigInt', () => {
  assert.equal(msgpack.decode(bytes('cf001fffffffffffff')), Number.MAX_SAFE_INTEGER)
  assert.equal(msgpack.decode(bytes('d3ffe0000000000001')), Number.MIN_SAFE_INTEGER)
  assert.equal(msgpack.decode(bytes('cfffffffffffffffff')), 2n ** 64n - 1n)
  assert.equal(msgpack.decode(bytes('cb7ff8000000000000')), NaN)
})

test('msgpack replaces invalid UTF-8 by U+FFFD, json rejects it', () => {
  assert.equal(msgpack.decode(bytes('a1ff')), '�')
  assert.throws(() => json.decode(bytes('22ff22')), InputError)
})

test('msgpack throws a TypeError for values that a peer would reject, and encodes the next value', () => {
  const circular: unknown[] = []
  circular.push(circular)
  const values = [
    new Map([[1, 1]]), // a key that is not a string
    { ['__proto__']: 1 }, // an own key of that name
    new Date(NaN),
    Symbol('s'),
    2n ** 70n,
    circular,
    Array.from({ length: 4_097 }, () => 0),
    { list: new Float32Array([1, 2]) }, // would contain old bytes of the packer's buffer
    new DataView(new ArrayBuffer(4)),
  ]
  for (const value of values) {
    assert.throws(() => msgpack.encode(value), { name: 'TypeError', message: /^msgpack: cannot encode / })
    assert.deepEqual(msgpack.decode(msgpack.encode({ ok: 1 })), { ok: 1 })
  }
  assert.throws(() => json.encode(() => 1), TypeError)
  assert.throws(() => json.encode(1n), TypeError)
})

const hostileMsgpack: [what: string, hex: string][] = [
  ['an array of 2^32-1', 'ddffffffff'],
  ['8000 nested arrays', '91'.repeat(8_000)],
  ['a key __proto__', '81a95f5f70726f746f5f5f81a16101'],
  ['a number as key', '8101c0'],
  ['two references to one array and a trailing byte', '92d66900000001920000d6700000000100'],
  ['a trailing byte', '8000'],
  ['a record', 'd4724091a16101'],
  ['a RegExp', 'd4780092a161a0'],
  ['an Error', 'd4650093a545 72726f72a0c0'],
  ['a Set', 'd4730090'],
  ['a typed array', 'd5740000'],
  ['a BigInt', 'd7420102030405060708'],
  ['0xc1', 'c1'],
  ['a timestamp that is not a date', 'c70cff000000007fffffffffffffff'],
  ['4097 empty maps', `dc1001${'80'.repeat(4_097)}`],
]
for (const [what, hex] of hostileMsgpack) {
  test(`msgpack rejects ${what}`, () => assert.throws(() => msgpack.decode(bytes(hex)), InputError))
}

test('msgpack treats constructor and toString as plain keys', () => {
  const value = msgpack.decode(bytes('82ab636f6e7374727563746f7201a8746f537472696e6702')) as object
  assert.deepEqual(Object.entries(value), [
    ['constructor', 1],
    ['toString', 2],
  ])
})

const hostileJson: [what: string, text: string][] = [
  ['a truncated text', '{"a":'],
  ['two texts', '{}{}'],
  ['NaN', 'NaN'],
  ['33 nested arrays', '['.repeat(33) + ']'.repeat(33)],
  ['a million open brackets', '['.repeat(1_000_000)],
  ['33 nested objects', '{"a":'.repeat(33) + '1' + '}'.repeat(33)],
  ['depth after a string that ends in a backslash', `["\\\\",${'['.repeat(32)}${']'.repeat(32)}]`],
  ['a key __proto__', '{"__proto__":{"admin":true}}'],
  ['a nested key __proto__', '[{"a":{"__proto__":1}}]'],
  ['an escaped key __proto__', '{"\\u005f_pr\\u006Fto__":1}'],
]
for (const [what, text] of hostileJson) {
  test(`json rejects ${what}`, () => {
    assert.throws(
      () => json.decode(utf8(text)),
      (error) => error instanceof InputError && error.message.length < 140,
    )
  })
}

test('json accepts depth 32, brackets inside strings and the text __proto__ as a value', () => {
  json.decode(utf8('['.repeat(32) + ']'.repeat(32)))
  assert.deepEqual(json.decode(utf8(`["${'['.repeat(99)}\\"${'{'.repeat(99)}"]`)), [
    '['.repeat(99) + '"' + '{'.repeat(99),
  ])
  assert.deepEqual(json.decode(utf8('{"a":"__proto__","b":"\\u00e9"}')), { a: '__proto__', b: 'é' })
  assert.equal(({} as { admin?: unknown }).admin, undefined)
})

test('json sets the cause of its InputError', () => {
  assert.throws(
    () => json.decode(utf8('{')),
    (error) => error instanceof InputError && error.cause instanceof SyntaxError,
  )
})

test('json and msgpack reject every truncated body', () => {
  const value = { name: 'Ada', at: [1.5, -2, 300, 70_000], deep: { on: true, blob: null } }
  const packedBody = msgpack.encode(value)
  for (let end = 1; end < packedBody.length; end++)
    assert.throws(() => msgpack.decode(packedBody.subarray(0, end)), InputError)
  const text = json.encode(value)
  for (let end = 1; end < text.length; end++) assert.throws(() => json.decode(text.subarray(0, end)), InputError)
})

test('random and flipped bytes give a value or an InputError', () => {
  const custom = customCodec('strict', {
    encode: json.encode,
    decode: (body) => {
      if (body[0] === 0x7b) throw new RangeError('no braces')
      return body.length
    },
  })
  const decodeOrReject = (codec: Codec, body: Uint8Array): void => {
    try {
      codec.decode(body)
    } catch (error) {
      if (!(error instanceof InputError)) throw error
    }
  }
  const codecs = [...CODECS.values(), custom]
  const seedBody = fc.jsonValue({ maxDepth: 4 }).map((value) => {
    const clean = JSON.parse(JSON.stringify(value).replaceAll('__proto__', 'proto')) as unknown
    return [json.encode(clean), msgpack.encode(clean)] as const
  })
  fc.assert(
    fc.property(seedBody, fc.nat(), fc.integer({ min: 1, max: 255 }), (bodies, at, mask) => {
      for (const body of bodies) {
        const flipped = body.slice()
        if (body.length > 0) flipped[at % body.length] = (body[at % body.length] as number) ^ mask
        for (const codec of codecs) decodeOrReject(codec, flipped)
      }
    }),
    { seed: 3, numRuns: 3_000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 48 }), (body) => {
      for (const codec of codecs) decodeOrReject(codec, body)
    }),
    { seed: 4, numRuns: 5_000 },
  )
})

test('a custom codec converts errors of its decode to InputError with the cause', () => {
  const broken = new Error('bad field 3')
  const codec = customCodec('proto', {
    encode: (value) => utf8(String(value)),
    decode: () => {
      throw broken
    },
  })
  assert.equal(codec.name, 'proto')
  assert.deepEqual(codec.encode('x'), utf8('x'))
  assert.throws(
    () => codec.decode(utf8('x')),
    (error) =>
      error instanceof InputError &&
      error.cause === broken &&
      error.message === 'proto body cannot be decoded: "bad field 3"',
  )
})

test('a custom codec must return bytes and have a valid, unused name', () => {
  const decode = (body: Uint8Array): unknown => body
  const codec = customCodec('text', { encode: () => 'text' as never, decode })
  assert.throws(() => codec.encode(1), TypeError)
  for (const name of ['', 'json', 'A', 'a b', 'x'.repeat(33)])
    assert.throws(() => customCodec(name, { encode: () => new Uint8Array(0), decode }), DefinitionError)
})

test('the built-in codecs are indexed by name', () => {
  assert.deepEqual([...CODECS.keys()], ['raw', 'json', 'msgpack'])
  for (const [name, codec] of CODECS) assert.equal(codec.name, name)
})
