// The encoding of the game's own data: which values read back equal, and how the others are refused.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { msgpack } from '../../core/wire/codec.ts'
import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import type { Schema } from '../../core/wire/schema.ts'
import { testGame } from '../../edge/testing/index.ts'
import { Unserializable } from '../../core/wire/plainvalue.ts'
import { decodeStored, encodeStored } from '../../core/wire/stored.ts'

const roundTrip = (value: unknown): unknown => decodeStored(encodeStored(value, 'snapshot'))

const equal: readonly (readonly [name: string, value: unknown])[] = [
  ['null', null],
  ['undefined', undefined],
  ['NaN', NaN],
  ['-0', -0],
  ['Infinity', -Infinity],
  ['a large integer', Number.MAX_SAFE_INTEGER],
  ['a small bigint', 5n],
  ['a large bigint', -(2n ** 200n)],
  ['text', 'ü\u{1f600}\0'],
  ['5,000 numbers', Array.from({ length: 5_000 }, (_, i) => i)],
  ['20,000 objects', Array.from({ length: 20_000 }, (_, i) => ({ i }))],
  ['undefined fields and elements', { a: undefined, b: [undefined, null] }],
  [
    'a Map',
    new Map<unknown, unknown>([
      ['a', 1],
      [1, 'b'],
      [null, -0],
      [NaN, undefined],
    ]),
  ],
  ['a Map with a key __proto__', new Map([['__proto__', 1]])],
  ['a Map of Maps', new Map([['a', new Map([['b', new Set([1n, 'c'])]])]])],
  ['a Set', new Set([1, '1', undefined, new Date(5)])],
  ['a Date', { at: new Date(-1), last: new Date(8.64e15) }],
  ['bytes', new Uint8Array([0, 255])],
  ['a view of bytes', new Uint8Array([1, 2, 3, 4]).subarray(1, 3)],
  ['an ArrayBuffer', new Uint8Array([1, 2, 3]).buffer],
  ['Int8Array', new Int8Array([-1])],
  ['Uint8ClampedArray', new Uint8ClampedArray([300])],
  ['a view of a Float64Array', new Float64Array([1, -0, NaN, 4]).subarray(1, 3)],
  ['BigUint64Array', new BigUint64Array([2n ** 64n - 1n])],
  ['names of Object.prototype', { constructor: 1, hasOwnProperty: 2, toJSON: 3 }],
]

for (const [name, value] of equal)
  test(`stores ${name} and reads it back equal`, () => {
    assert.deepStrictEqual(roundTrip(value), value)
  })

test('reads an invalid date, an object without prototype and a Buffer back as date, object and bytes', () => {
  assert.ok(Number.isNaN((roundTrip(new Date(NaN)) as Date).getTime()))
  assert.deepStrictEqual(roundTrip(Object.assign(Object.create(null), { a: 1 })), { a: 1 })
  const bytes = roundTrip(Buffer.from([1, 2])) as Uint8Array
  assert.equal(bytes.constructor, Uint8Array)
  assert.deepEqual([...bytes], [1, 2])
})

test('reads any combination of such values back equal, and does not change the original', () => {
  const leaf = fc.oneof(
    fc.constantFrom(undefined, null, NaN, -0, true),
    fc.double(),
    fc.bigInt(),
    fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed()),
    fc.date(),
    fc.uint8Array(),
    fc.float32Array(),
  )
  const key = fc.string().filter((name) => name !== '__proto__')
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      leaf,
      fc.array(tie('tree'), { maxLength: 5 }),
      fc.dictionary(key, tie('tree'), { maxKeys: 5, noNullPrototype: true }),
      fc.array(fc.tuple(leaf, tie('tree')), { maxLength: 4 }).map((entries) => new Map(entries)),
      fc.array(tie('tree'), { maxLength: 4 }).map((members) => new Set(members)),
    ),
  }))
  fc.assert(
    fc.property(tree, (value) => {
      const before = structuredClone(value)
      assert.deepStrictEqual(roundTrip(value), value)
      assert.deepStrictEqual(value, before)
    }),
    { seed: 11, numRuns: 400 },
  )
})

test('reads what earlier versions stored as MessagePack', () => {
  const value = { a: [1, -1, 1.5, 'x', null, true], at: new Date(5_000), bytes: new Uint8Array([1]) }
  assert.deepStrictEqual(decodeStored(msgpack.encode(value)), value)
})

class Hero {
  hp = 1
}
class LimitedMap extends Map<string, number> {
  limit = 5
}
const cycle: Record<string, unknown> = { list: [] }
;(cycle['list'] as unknown[]).push({ back: cycle })
// oxlint-disable-next-line no-sparse-arrays
const sparse = [1, , 3]
const refused: readonly (readonly [name: string, value: unknown, message: RegExp])[] = [
  ['an instance of a class', { heroes: [new Hero()] }, /^snapshot\.heroes\[0\]: an instance of Hero /],
  ['a subclass of Map', new LimitedMap(), /^snapshot: an instance of LimitedMap /],
  ['a value of a Map', new Map([['ada', new Hero()]]), /^snapshot\.ada: an instance of Hero /],
  ['a member of a Set', new Set([0, new Hero()]), /^snapshot\[1\]: an instance of Hero /],
  ['a promise', { a: Promise.resolve() }, /^snapshot\.a: an instance of Promise /],
  ['an error', { a: new Error('no') }, /^snapshot\.a: an instance of Error /],
  ['a regular expression', { a: /x/ }, /^snapshot\.a: an instance of RegExp /],
  ['a function', { run: () => {} }, /^snapshot\.run: a function /],
  ['a symbol', [Symbol('x')], /^snapshot\[0\]: a symbol /],
  ['a field named by a symbol', { a: { [Symbol('x')]: 1 } }, /^snapshot\.a: a symbol cannot be the name/],
  ['a cycle', cycle, /^snapshot\.list\[0\]\.back: the value contains itself/],
  ['a sparse array', { a: sparse }, /^snapshot\.a: the array has holes/],
  ['an array with properties', 'abc'.match('b'), /^snapshot: the array has holes, or properties/],
  [
    'an array with a hole and a property',
    Object.assign(sparse.slice(), { x: 1 }),
    /^snapshot: the array has holes, or/,
  ],
  ['an array with a symbol', Object.assign([1], { [Symbol('x')]: 1 }), /^snapshot: the array has holes, or properties/],
  ['a Map with a property', { a: Object.assign(new Map(), { x: 1 }) }, /^snapshot\.a: has the property "x" of its own/],
  [
    'a Set with a property',
    { a: Object.assign(new Set([1]), { x: 1 }) },
    /^snapshot\.a: has the property "x" of its own/,
  ],
  [
    'a Date with a property',
    { a: Object.assign(new Date(5), { x: 1 }) },
    /^snapshot\.a: has the property "x" of its own/,
  ],
  [
    'bytes with a property',
    { a: Object.assign(new Uint8Array(64), { x: 1 }) },
    /^snapshot\.a: has the property "x" of/,
  ],
  [
    'a view with a property',
    [Object.assign(new Float32Array(2), { x: 1 })],
    /^snapshot\[0\]: has the property "x" of its/,
  ],
  [
    'a buffer with a property',
    [Object.assign(new ArrayBuffer(2), { x: 1 })],
    /^snapshot\[0\]: has the property "x" of its/,
  ],
  [
    'a Map with a symbol',
    Object.assign(new Map(), { [Symbol('x')]: 1 }),
    /^snapshot: has the property Symbol\(x\) of its own/,
  ],
  [
    'a field that is not enumerable',
    [Object.defineProperty({ b: 1 }, 'a', { value: 1 })],
    /^snapshot\[0\]\.a: the field is not/,
  ],
  ['a lone surrogate', { a: '\ud800' }, /^snapshot\.a: .* is not well-formed Unicode/],
  ['a key __proto__', JSON.parse('{"a":{"__proto__":1}}'), /^snapshot\.a: "__proto__" cannot be the name/],
  ['a row', { a: new (class extends Unserializable {})() }, /^snapshot\.a: a row is valid only in its turn/],
  ['a DataView', new DataView(new ArrayBuffer(1)), /^snapshot: an instance of DataView /],
  [
    'more than 256 levels',
    Array.from({ length: 300 }).reduce((inner) => [inner], 1 as unknown),
    /^snapshot(\[0\]){32}: is nested deeper than 256/,
  ],
]

for (const [name, value, message] of refused)
  test(`refuses ${name} with its path`, () => {
    assert.throws(() => encodeStored(value, 'snapshot'), { name: 'TypeError', message })
  })

test('the same object in two places is no cycle, and becomes two objects', () => {
  const shared = { n: 1 }
  assert.deepStrictEqual(roundTrip([shared, shared]), [{ n: 1 }, { n: 1 }])
})

/** A schema of another library, which accepts everything. */
const anything: Schema<unknown> = {
  '~standard': { version: 1, vendor: 'other', validate: (value) => ({ value }) },
}
const path = t.oneOf('kv', 'timer', 'cast', 'reply')
const Keeper = contract('keeper', {
  keep: command(1, { path }, { value: anything }),
  take: command(2, { value: anything }, {}, { durable: true }),
  mutate: command(3, {}, { size: t.u8 }),
})
const keeper = shard(Keeper)
  .public()
  .kv({ value: anything })
  .timer('keep', { value: anything }, () => {})
  .answer('taken', Keeper.entries.take, { value: anything }, () => {})
  .on('keep', (c, { path }) => {
    const value = { heroes: [new Hero()] }
    if (path === 'kv') c.kv.set('value', value)
    if (path === 'timer') c.schedule(1, 'keep', { value })
    if (path === 'cast') c.at(Keeper, 'other').cast.take({ value: 1 }, { answer: 'taken', data: { value } })
    return { value }
  })
  .on('take', () => ({}))
  .on('mutate', (c) => {
    c.kv.set('value', new Map([['a', new Set([1])]]))
    c.kv.set('value', c.kv.get('value'))
    const stored = c.kv.get('value') as Map<string, Set<number>>
    assert.throws(() => stored.set('b', new Set()), /cannot be changed/)
    assert.throws(() => stored.get('a')!.add(2), /cannot be changed/)
    return { size: stored.size }
  })

for (const [path, message] of [
  ['kv', /TypeError: kv\.value\.heroes\[0\]: an instance of Hero/],
  ['timer', /TypeError: timer keep\.value\.heroes\[0\]: an instance of Hero/],
  ['cast', /TypeError: data of answer taken\.value\.heroes\[0\]: an instance of Hero/],
  ['reply', /keeper\.keep: the reply violates its contract: msgpack: body\.value\.heroes\[0\]: an instance of Hero/],
] as const)
  test(`a value of a foreign schema that cannot be stored fails its turn with its path: ${path}`, async () => {
    await using game = await testGame(firefly({ keeper }))
    const shard = (await game.player('ada')).open(Keeper)
    const error = await shard.call.keep({ path }).catch((error: unknown) => error as Error)
    assert.match(String((error as Error).cause), message)
    assert.deepEqual(await shard.call.mutate(), { size: 1 })
  })
