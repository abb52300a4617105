// Standard Schema both ways: a `t` type as a Standard Schema, and a foreign schema in place of a `t` type.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { DefinitionError, InputError } from '../../core/wire/errors.ts'
import type { StandardResult, StandardSchema } from '../../core/wire/schema.ts'
import { schemaOf, specOf, t, toParser } from '../../core/wire/type.ts'

test('an issue of Standard Schema has the message and the path as a list', () => {
  const props = t.object({ a: t.array(t.u8, 2) })['~standard']
  assert.equal(props.version, 1)
  assert.equal(props.vendor, 'firefly')
  assert.deepEqual(props.validate({ a: [1, -1] }), { issues: [{ message: '-1 is outside 0..255', path: ['a', 1] }] })
})

// Represents valibot, zod or arktype: only `Out` is visible.
function foreign<Out>(
  validate: (value: unknown) => StandardResult<Out> | Promise<StandardResult<Out>>,
): StandardSchema<Out> {
  return { '~standard': { version: 1, vendor: 'other', validate } }
}
const even = foreign<number>((value) =>
  typeof value === 'number' && value % 2 === 0
    ? { value: value * 10 }
    : {
        issues: [
          { message: 'not even', path: ['deep', { key: 0 }] },
          { message: 'a "quote"\n' },
          { message: 'c' },
          { message: 'd' },
        ],
      },
)

test('uses the output of a foreign schema, alone and as a field', () => {
  assert.equal(toParser(even)(4), 40)
  assert.deepEqual(t.object({ n: even, list: t.array(even, 2) }).parse({ n: 2, list: [4] }), { n: 20, list: [40] })
  assert.deepEqual(specOf(even), { kind: 'foreign', vendor: 'other' })
})

test('converts the first foreign issues to one InputError, escaped and truncated', () => {
  assert.throws(() => toParser(even)(3), {
    name: 'InputError',
    message: 'input.deep[0]: not even; a \\"quote\\"\\n; c',
  })
  assert.throws(() => t.object({ n: even }).parse({}), { message: /^input\.n\.deep\[0\]: not even/ })
  const loud = foreign((): StandardResult<number> => ({ issues: [{ message: 'x'.repeat(60_000) }] }))
  assert.throws(
    () => toParser(loud)(1),
    (error) => error instanceof InputError && error.message.length < 100,
  )
  assert.throws(() => toParser(foreign(() => ({ issues: [] })))(1), { message: 'input: rejected' })
})

test('rejects a foreign schema that returns a promise', () => {
  const slow = foreign(async (): Promise<StandardResult<number>> => Promise.reject(new Error('late')))
  assert.throws(() => toParser(slow)(1), DefinitionError)
  assert.throws(() => schemaOf({ slow }), DefinitionError)
})

test('accepts a function with the property ~standard as a schema', () => {
  const callable = Object.assign(() => 'called', even)
  assert.equal(toParser(callable)(2), 20)
  assert.equal(schemaOf(callable), callable)
})

test('schemaOf converts plain fields to an object and returns schemas unchanged', () => {
  assert.equal(schemaOf(t.u8), t.u8)
  assert.equal(schemaOf(even), even)
  assert.deepEqual(toParser(schemaOf({ a: t.u8 }))({ a: 1, b: 2 }), { a: 1 })
  assert.equal(specOf(schemaOf({ a: t.u8 })).kind, 'object')
})

test('plain fields without required field accept undefined, the value of an empty body', () => {
  assert.deepEqual(toParser(schemaOf({}))(undefined), {})
  assert.deepEqual(toParser(schemaOf({ a: t.optional(t.u8) }))(undefined), {})
  assert.throws(() => toParser(schemaOf({ a: t.u8 }))(undefined), { message: 'input: expected object, got undefined' })
})
