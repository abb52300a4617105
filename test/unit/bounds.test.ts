// The bounds of bodies follow from their types: what a type accepts can be sent, and what a peer sends beyond it is refused.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { boundsOf } from '../../core/wire/bounds.ts'
import { json, msgpack } from '../../core/wire/codec.ts'
import { command, contract, event } from '../../core/wire/contract.ts'
import { DefinitionError, InputError } from '../../core/wire/errors.ts'
import type { Schema } from '../../core/wire/schema.ts'
import { specOf, t, type Shape } from '../../core/wire/type.ts'

/** A schema of another library that accepts everything. */
const anything: Schema<unknown> = {
  '~standard': { version: 1, vendor: 'other', validate: (value) => ({ value }) },
}

function nested(levels: number): Schema<unknown> {
  let type: Schema<unknown> = t.u8
  for (let i = 0; i < levels; i++) type = t.array(type, 1)
  return type
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
const inputBounds = (shape: Shape, maxItems?: number) =>
  command(1, shape, null, maxItems === undefined ? {} : { maxItems }).inputBounds

test('a body may hold what its type accepts, and the default otherwise', () => {
  const cases: readonly (readonly [Shape, items: number, depth: number])[] = [
    [{}, 4_096, 32],
    [{ a: t.u8, b: t.array(t.u32, 10) }, 4_096, 32],
    [{ a: t.array(t.u32, 20_000) }, 20_001, 32],
    [t.array(t.object({ x: t.f32, y: t.optional(t.array(t.u8, 2)) }), 10_000), 10_000 + 10_000 * 4, 32],
    [t.record(t.nullable(t.u8), 5_000), 5_000, 32],
    [nested(40), 4_096, 40],
  ]
  for (const [shape, items, depth] of cases) {
    const bounds = inputBounds(shape)
    assert.deepEqual([bounds.items, bounds.depth, bounds.isForeign], [items, depth, false])
  }
})

for (const codec of [msgpack, json])
  test(`${codec.name} sends the largest value of a type, and refuses a body beyond it`, () => {
    const deep = boundsOf('body', specOf(nested(200)))
    const value = JSON.parse(`${'['.repeat(200)}1${']'.repeat(200)}`) as unknown
    assert.deepEqual(codec.decode(codec.encode(value, deep), deep), value)
    assert.throws(() => codec.decode(codec.encode([value], { ...deep, depth: 201 }), deep), InputError)
    const { inputBounds: long } = command(1, { list: t.array(t.u32, 20_000) })
    const list = { list: numbers(20_000) }
    assert.deepEqual(codec.decode(codec.encode(list, long), long), list)
  })

test('msgpack refuses a peer that sends more items than the type allows', () => {
  const { inputBounds: bounds } = command(1, { list: t.array(t.u32, 5_000) })
  const body = msgpack.encode({ list: numbers(5_001) }, inputBounds(t.array(t.u32, 6_000)))
  assert.throws(() => msgpack.decode(body, bounds), /more than 5001 items/)
})

test('a type that is nested too deep is refused where it is defined', () => {
  assert.equal(event(1, nested(256)).bounds.depth, 256)
  const message = 'output of command 7: the type is nested 257 levels deep, which exceeds 256'
  assert.throws(() => command(7, {}, nested(257)), { name: 'DefinitionError', message })
})

test('maxItems bounds what a schema of another library describes', () => {
  assert.deepEqual(inputBounds({ a: anything }), { items: 4_097, depth: 32, isForeign: true })
  assert.equal(inputBounds({ a: anything, b: anything }, 10_000).items, 20_002)
  assert.deepEqual(inputBounds({ a: t.unknown }), inputBounds({ a: anything }))
  for (const maxItems of [0, -1, 1.5, NaN]) assert.throws(() => inputBounds({}, maxItems), DefinitionError)
})

test('a value of a foreign schema that its codec would change is refused with its path', () => {
  const refused: readonly (readonly [value: unknown, message: RegExp])[] = [
    [new Map([['b', 1]]), /body\.a: an instance of Map /],
    [{ b: [new Set()] }, /body\.a\.b\[0\]: an instance of Set /],
    [{ b: () => 1 }, /body\.a\.b: a function /],
  ]
  for (const type of [anything, t.unknown])
    for (const [a, message] of refused)
      for (const codec of [msgpack, json])
        assert.throws(() => codec.encode({ a }, event(1, { a: type }).bounds), { name: 'TypeError', message })
  const { bounds } = event(1, { a: anything })
  assert.throws(() => json.encode({ a: NaN }, bounds), /json: body\.a: NaN has no form in JSON/)
  assert.throws(() => msgpack.encode({ a: 2n ** 64n }, bounds), /msgpack: body\.a: exceeds 64 bits/)
  const date = new Date(5)
  assert.deepEqual(msgpack.decode(msgpack.encode({ a: date }, bounds), bounds), { a: date })
  assert.equal(
    contract('foreign', { e: event(1, { a: anything }, { codec: 'json' }) }).entries.e.bounds.isForeign,
    true,
  )
})
