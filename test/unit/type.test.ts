// The `t` descriptors: accepted values, rejected values with their messages, and inferred types.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { DefinitionError, InputError } from '../../core/wire/errors.ts'
import type { Schema, StandardSchema, Type } from '../../core/wire/schema.ts'
import { schemaOf, specOf, t, toParser, type Infer, type InferFields } from '../../core/wire/type.ts'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const assertTrueType = <_Claim extends true>(): void => undefined

const LONE_SURROGATE = '\ud800'
const bytes = (length: number): Uint8Array => new Uint8Array(length)

const accepted: [what: string, type: Type<unknown>, values: unknown[]][] = [
  ['u8', t.u8, [0, 255]],
  ['u16', t.u16, [0, 65_535]],
  ['u32', t.u32, [0, 4_294_967_295]],
  ['i8', t.i8, [-128, 127]],
  ['i16', t.i16, [-32_768, 32_767]],
  ['i32', t.i32, [-2_147_483_648, 2_147_483_647]],
  ['int', t.int(-3, 2 ** 53 - 1), [-3, 0, Number.MAX_SAFE_INTEGER]],
  ['f32', t.f32, [0.1, -1.5, 3.4028234663852886e38, 5e-324]],
  ['f64', t.f64, [0.1, Number.MAX_VALUE, -Number.MAX_VALUE]],
  ['bool', t.bool, [true, false]],
  ['id', t.id, ['a', 'Az09_-', 'x'.repeat(64)]],
  ['string', t.string(4, 1), ['a', 'äöü!', '😀😀']],
  ['empty string', t.string(4), ['']],
  ['bytes', t.bytes(4), [bytes(0), bytes(4)]],
  ['array', t.array(t.u8, 3), [[], [1, 2, 3]]],
  ['optional', t.optional(t.u8), [undefined, 1]],
  ['nullable', t.nullable(t.u8), [null, 1]],
  ['unknown', t.unknown, [undefined, null, 1, 'x', [1], { a: { b: 2 } }]],
  ['unknown field', t.object({ a: t.unknown }), [{}, { a: null }, { a: 'x' }]],
  ['oneOf', t.oneOf('red', 'blue'), ['red', 'blue']],
  ['object', t.object({ a: t.u8, b: t.object({ c: t.bool }) }), [{ a: 1, b: { c: true } }]],
  ['an object whose name is inherited', t.object({ constructor: t.u8 }), [{ constructor: 1 }]],
]
for (const [what, type, values] of accepted) {
  test(`${what} returns accepted values unchanged, by parse, parser and Standard Schema`, () => {
    for (const value of values) {
      assert.deepEqual(type.parse(value), value)
      assert.deepEqual(toParser(type)(value), value)
      assert.deepEqual(type['~standard'].validate(value), { value })
    }
  })
}

const rejected: [what: string, type: Type<unknown>, value: unknown, message: string][] = [
  ['a u8 of 256', t.u8, 256, 'input: 256 is outside 0..255'],
  ['a u8 of -1', t.u8, -1, 'input: -1 is outside 0..255'],
  ['a u16 of 1.5', t.u16, 1.5, 'input: 1.5 is not whole'],
  ['a u32 of NaN', t.u32, NaN, 'input: NaN is not a finite number'],
  ['an i8 of a string', t.i8, '1', 'input: expected i8, got "1"'],
  ['an i32 of a bigint', t.i32, 1n, 'input: expected i32, got 1'],
  ['an int above its bound', t.int(-3, 3), 4, 'input: 4 is outside -3..3'],
  ['an f32 of Infinity', t.f32, Infinity, 'input: Infinity is not a finite number'],
  ['an f32 beyond binary32', t.f32, 1e39, 'input: 1e+39 is outside -3.4028234663852886e+38..3.4028234663852886e+38'],
  ['an f64 of NaN', t.f64, NaN, 'input: NaN is not a finite number'],
  ['an f64 of -Infinity', t.f64, -Infinity, 'input: -Infinity is not a finite number'],
  ['a bool of 1', t.bool, 1, 'input: expected bool, got 1'],
  ['an empty id', t.id, '', 'input: id of 0 characters is outside 1..64: ""'],
  ['a long id', t.id, 'x'.repeat(65), `input: id of 65 characters is outside 1..64: "${'x'.repeat(38)}…`],
  ['an id with a space', t.id, 'a b', 'input: "a b" is not of A-Z a-z 0-9 _ -'],
  ['an id of other letters', t.id, 'é', 'input: "é" is not of A-Z a-z 0-9 _ -'],
  ['an id around the letters', t.id, '@', 'input: "@" is not of A-Z a-z 0-9 _ -'],
  ['an id of a brace', t.id, '{', 'input: "{" is not of A-Z a-z 0-9 _ -'],
  ['an id of nothing', t.id, null, 'input: expected id, got null'],
  ['a long string', t.string(16), 'x'.repeat(20), `input: string of 20 characters exceeds 16: "${'x'.repeat(20)}"`],
  ['a short string', t.string(16, 3), 'ab', 'input: string of 2 characters is below 3: "ab"'],
  ['a lone surrogate', t.string(16), LONE_SURROGATE, 'input: "\\ud800" is not well-formed Unicode'],
  ['a string of a number', t.string(16), 7, 'input: expected string, got 7'],
  ['long bytes', t.bytes(4), bytes(5), 'input: 5 bytes 0000000000 exceeds 4'],
  ['many bytes', t.bytes(8), bytes(9), 'input: 9 bytes 0000000000000000… exceeds 8'],
  ['no bytes', t.u8, bytes(0), 'input: expected u8, got 0 bytes'],
  ['a date', t.u8, new Date(0), 'input: expected u8, got 1970-01-01T00:00:00.000Z'],
  ['a bad date', t.u8, new Date(NaN), 'input: expected u8, got invalid date'],
  ['bytes of an array', t.bytes(4), [1], 'input: expected bytes, got array of 1'],
  ['a long array', t.array(t.u8, 2), [1, 2, 3], 'input: array of 3 items exceeds 2: [1, 2, 3]'],
  [
    'an array of anything',
    t.array(t.u8, 4),
    ['x'.repeat(99), {}, [1], 2, 3],
    `input: array of 5 items exceeds 4: ["${'x'.repeat(14)}…, object, array of 1, 2, …]`,
  ],
  ['an array of an object', t.array(t.u8, 2), { length: 1 }, 'input: expected array, got object'],
  ['a bad item', t.array(t.u8, 9), [1, 'x'], 'input[1]: expected u8, got "x"'],
  ['a hole in an array', t.array(t.u8, 9), Object.assign([1], { 2: 3 }), 'input[1]: expected u8, got undefined'],
  ['null for optional', t.optional(t.u8), null, 'input: expected u8, got null'],
  ['undefined for nullable', t.nullable(t.u8), undefined, 'input: expected u8, got undefined'],
  ['a value that is not listed', t.oneOf('a', 'b'), 'c', 'input: "c" is none of a|b'],
  ['a value of another type', t.oneOf('a', 'b'), 1, 'input: expected oneOf, got 1'],
  ['a record of an array', t.record(t.u8, 2), [], 'input: expected record, got array of 0'],
  ['a record with many keys', t.record(t.u8, 1), { a: 1, b: 2 }, 'input: record of 2 keys exceeds 1: ["a", "b"]'],
  ['a record value', t.record(t.u8, 2), { 'a b': 300 }, 'input["a b"]: 300 is outside 0..255'],
  ['a record key __proto__', t.record(t.u8, 2), JSON.parse('{"__proto__":1}'), 'input.__proto__: key is not allowed'],
  [
    'a record key with a lone surrogate',
    t.record(t.u8, 2),
    { [LONE_SURROGATE]: 1 },
    'input["\\ud800"]: key is not allowed',
  ],
  ['an object of null', t.object({}), null, 'input: expected object, got null'],
  ['an object of an array', t.object({}), [], 'input: expected object, got array of 0'],
  ['a missing field', t.object({ a: t.u8 }), {}, 'input.a: missing, expected u8'],
  ['an inherited field', t.object({ toString: t.u8 }), {}, 'input.toString: missing, expected u8'],
  [
    'a deep field',
    t.object({ a: t.array(t.object({ b: t.string(2) }), 3) }),
    { a: [{ b: '' }, { b: 'abc' }] },
    'input.a[1].b: string of 3 characters exceeds 2: "abc"',
  ],
]
for (const [what, type, value, message] of rejected) {
  test(`rejects ${what}`, () => {
    assert.throws(() => type.parse(value), { name: 'InputError', message })
    assert.throws(() => toParser(type)(value), { name: 'InputError', message })
  })
}

test('the message of parse starts with the given path', () => {
  assert.throws(() => t.object({ nick: t.string(16) }).parse({ nick: 'x'.repeat(20) }, 'enter.input'), {
    message: `enter.input.nick: string of 20 characters exceeds 16: "${'x'.repeat(20)}"`,
  })
})

test('a message is short for any received value', () => {
  const key = 'k'.repeat(60_000)
  const type = t.record(t.record(t.u8, 9), 9)
  assert.throws(
    () => type.parse({ [key]: { [key]: 'v'.repeat(60_000) } }),
    (error) => error instanceof InputError && error.message.length < 300,
  )
})

test('-0 becomes 0 in every number', () => {
  for (const type of [t.u8, t.i32, t.int(-1, 1), t.f32, t.f64]) assert.ok(Object.is(type.parse(-0), 0))
})

test('an object is a new object in declared order, without unknown and absent keys', () => {
  const type = t.object({ b: t.u8, a: t.optional(t.u8), c: t.bool })
  const source = { c: true, extra: 1, b: 2, a: undefined }
  const got = type.parse(source)
  assert.notEqual(got, source)
  assert.deepEqual(Object.entries(got), [
    ['b', 2],
    ['c', true],
  ])
  assert.deepEqual(Object.keys(type.parse({ c: true, a: 1, b: 2 })), ['b', 'a', 'c'])
})

test('a record has no prototype, so any key is safe to look up', () => {
  const got = t.record(t.u8, 9).parse({ toString: 1 })
  assert.equal(got['constructor'], undefined)
  assert.equal(got['toString'], 1)
  assert.equal(Object.getPrototypeOf(got), null)
})

test('arrays and inner objects are copied and bytes are not', () => {
  const body = bytes(2)
  const source = { list: [{ n: 1 }], body }
  const got = t.object({ list: t.array(t.object({ n: t.u8 }), 4), body: t.bytes() }).parse(source)
  assert.notEqual(got.list, source.list)
  assert.notEqual(got.list[0], source.list[0])
  assert.equal(got.body, body)
})

test('a getter that returns another value later causes an InputError', () => {
  let reads = 0
  const changing = {
    get a() {
      return reads++ === 0 ? 'x' : 1
    },
  }
  assert.throws(() => t.object({ a: t.u8 }).parse(changing), { message: 'input: changed during validation' })
  reads = 0
  const list = new Proxy([0], {
    get: (list, key) => (key === '0' ? (reads++ === 0 ? 'x' : 1) : Reflect.get(list, key)),
  })
  assert.throws(() => t.array(t.u8, 2).parse(list), InputError)
})

test('rejects invalid definitions', () => {
  const mistakes: (() => unknown)[] = [
    () => t.int(2, 1),
    () => t.int(0, 2 ** 53),
    () => t.int(0.5, 2),
    () => t.string(-1),
    () => t.string(2, 3),
    () => t.bytes(1.5),
    () => t.array(t.u8, NaN),
    () => t.record(t.u8, Infinity),
    () => t.oneOf('a', 'a'),
    () => t.array(t.optional(t.u8), 3),
    () => t.nullable(t.optional(t.u8)),
    () => t.object({ a: 1 as never }),
    () => t.object({ 1: t.u8 }),
    () => t.object({ '': t.u8 }),
    () => t.object({ ['__proto__']: t.u8 }),
    () => toParser({} as Schema<unknown>),
  ]
  for (const mistake of mistakes) assert.throws(mistake, DefinitionError, String(mistake))
})

test('a spec is plain JSON data with all bounds', () => {
  const type = t.object({
    id: t.id,
    kind: t.oneOf('a', 'b'),
    tags: t.array(t.string(8, 1), 4),
    more: t.optional(t.record(t.nullable(t.int(1, 9)), 3)),
    blob: t.bytes(),
  })
  const spec = {
    kind: 'object',
    fields: {
      id: { kind: 'id', min: 1, max: 64 },
      kind: { kind: 'oneOf', values: ['a', 'b'] },
      tags: { kind: 'array', item: { kind: 'string', min: 1, max: 8 }, max: 4 },
      more: {
        kind: 'optional',
        item: { kind: 'record', item: { kind: 'nullable', item: { kind: 'int', min: 1, max: 9 } }, max: 3 },
      },
      blob: { kind: 'bytes', max: 65_536 },
    },
  }
  assert.deepEqual(type.spec, spec)
  assert.deepEqual(JSON.parse(JSON.stringify(type.spec)), spec)
  assert.deepEqual(specOf(type), spec)
  assert.equal(type.kind, 'object')
})

test('infers the types of the descriptors', () => {
  const foreign: StandardSchema<number> = t.u8
  const fields = {
    id: t.id,
    n: t.u16,
    kind: t.oneOf('red', 'blue'),
    note: t.optional(t.string(8)),
    maybe: t.nullable(t.bool),
    list: t.array(t.object({ x: t.f32, y: t.optional(t.f32) }), 4),
    map: t.record(t.u8, 4),
    blob: t.bytes(),
    other: foreign,
    any: t.unknown,
  }
  interface Expected {
    id: string
    n: number
    kind: 'red' | 'blue'
    maybe: boolean | null
    list: { x: number; y?: number | undefined }[]
    map: Record<string, number>
    blob: Uint8Array
    other: number
    note?: string | undefined
    any?: unknown
  }
  type Flat<T> = { [K in keyof T]: T[K] }
  const type = t.object(fields)
  assertTrueType<Equal<InferFields<typeof fields>, Flat<Expected>>>()
  assertTrueType<Equal<Infer<typeof fields>, Flat<Expected>>>()
  assertTrueType<Equal<Infer<typeof type>, Flat<Expected>>>()
  assertTrueType<Equal<ReturnType<typeof type.parse>, Flat<Expected>>>()
  assertTrueType<Equal<Infer<typeof foreign>, number>>()
  assertTrueType<Equal<Infer<Record<never, never>>, {}>>()
  const parse = toParser(schemaOf({ a: t.u8, b: t.optional(t.bool) }))
  assertTrueType<Equal<ReturnType<typeof parse>, { a: number; b?: boolean | undefined }>>()
  const parseNumber = toParser(foreign)
  assertTrueType<Equal<ReturnType<typeof parseNumber>, number>>()
  const wide: Type<unknown> = t.u8
  // @ts-expect-error a Type<unknown> is not a Type<number>
  const narrow: Type<number> = wide
  assert.equal(narrow, wide)
})

test('for any value a parser returns a value of its type or throws InputError', () => {
  const type = t.object({
    a: t.optional(t.array(t.record(t.oneOf('x', 'y'), 3), 3)),
    b: t.nullable(t.id),
    c: t.int(-5, 5),
  })
  const near = fc.record(
    { a: fc.anything(), b: fc.option(fc.string()), c: fc.oneof(fc.integer({ min: -6, max: 6 }), fc.anything()) },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(
      fc.oneof(near, fc.anything({ withNullPrototype: true, withBigInt: true, withTypedArray: true })),
      (value) => {
        try {
          const got = type.parse(value)
          assert.ok(Number.isInteger(got.c) && (got.b === null || /^[\w-]{1,64}$/.test(got.b)))
        } catch (error) {
          if (!(error instanceof InputError)) throw error
        }
      },
    ),
    { seed: 5, numRuns: 5_000 },
  )
})
