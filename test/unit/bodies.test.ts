// schemas/vectors/bodies.json: the bodies of every `t` type, as SDKs in other languages read and write them.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOfHex, hexOf, utf8Encoder } from '../../core/wire/bytes.ts'
import { json, msgpack } from '../../core/wire/codec.ts'
import { InputError } from '../../core/wire/errors.ts'
import type { Schema } from '../../core/wire/schema.ts'
import { specOf, toParser } from '../../core/wire/type.ts'
import { everyType } from '../../examples/conformance/contract.ts'
import { readVectors } from '../support/vectors.ts'

const { types, refusedBodies } = readVectors('bodies')

/** The value that the vectors' notation stands for. */
function valueOf(noted: unknown): unknown {
  if (Array.isArray(noted)) return noted.map(valueOf)
  if (typeof noted !== 'object' || noted === null) return noted
  const entries = Object.entries(noted)
  const [tag, content] = entries[0] ?? []
  if (tag === '$i64') return BigInt(content as string)
  if (tag === '$bytes') return bytesOfHex(content as string)
  if (tag === '$date') return new Date(content as number)
  return Object.fromEntries(entries.map(([key, value]) => [key, valueOf(value)]))
}

/** Objects with and without a prototype are equal. */
function assertEqualValue(actual: unknown, expected: unknown): void {
  const plain = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null ? { ...value } : value
  assert.deepEqual(plain(actual), expected)
}

test('the vectors cover every type', () => {
  assert.deepEqual(
    types.map(({ type }) => type),
    Object.keys(everyType),
  )
})

for (const { type, spec, vectors, alsoAccepted, refused } of types) {
  test(`bodies of t.${type}`, () => {
    const schema = (everyType as Record<string, Schema<unknown>>)[type]!
    assert.deepEqual(specOf(schema), spec)
    const parse = toParser(schema)
    for (const { value, msgpackHex, json: text } of vectors) {
      assert.equal(hexOf(msgpack.encode(valueOf(value))), msgpackHex)
      assertEqualValue(parse(msgpack.decode(bytesOfHex(msgpackHex))), valueOf(value))
      if (text === undefined) continue
      assert.deepEqual(json.encode(valueOf(value)), utf8Encoder.encode(text))
      assertEqualValue(parse(json.decode(utf8Encoder.encode(text))), valueOf(value))
    }
    for (const { value, msgpackHex, form } of alsoAccepted)
      assert.doesNotThrow(() => assertEqualValue(parse(msgpack.decode(bytesOfHex(msgpackHex))), valueOf(value)), form)
    for (const { msgpackHex, why } of refused)
      assert.throws(() => parse(msgpack.decode(bytesOfHex(msgpackHex))), InputError, why)
  })
}

test('bodies that no type accepts', () => {
  for (const { msgpackHex, why } of refusedBodies)
    assert.throws(() => msgpack.decode(bytesOfHex(msgpackHex)), InputError, why)
})
