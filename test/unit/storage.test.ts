// The space of a table in MySQL: a definition that MySQL would refuse is rejected when the game is defined. The error
// names table, columns, sum and bound.

import assert from 'node:assert/strict'
import test from 'node:test'

import { storageOf } from '../../core/game/storage.ts'
import type { Schema, Type } from '../../core/wire/schema.ts'
import { t } from '../../core/wire/type.ts'
import { defineTable } from '../support/tables.ts'

type Columns = Record<string, Schema<unknown>>
const define = (columns: Columns, options: object): unknown => defineTable('items', columns as never, options as never)
const many = (count: number, type: Schema<unknown>, prefix = 'c'): Columns =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`${prefix}${at}`, type]))
const names = (columns: Columns): string[] => Object.keys(columns)
const own = { own: t.string(255) }
const keyed = { key: 'own' }

/** A table at a bound, a table just beyond it, and the error of that. */
const BOUNDS: readonly (readonly [string, [Columns, object], [Columns, object], string])[] = [
  [
    'strings of a row',
    [{ own: t.id, ...many(16, t.string(1_000)), last: t.string(350) }, keyed],
    [{ own: t.id, ...many(16, t.string(1_000)), last: t.string(351) }, keyed],
    'its columns take 65503 bytes of a row (c0 4002, c1 4002, c2 4002, c3 4002, 14 more), which exceeds 65500',
  ],
  [
    'bytes of a row',
    [{ own: t.id, ...many(16, t.nullable(t.bytes(4_000))), last: t.bytes(1_401) }, keyed],
    [{ own: t.id, ...many(16, t.nullable(t.bytes(4_000))), last: t.bytes(1_402) }, keyed],
    'its columns take 65501 bytes of a row (c0 4002, c1 4002, c2 4002, c3 4002, 14 more), which exceeds 65500',
  ],
  [
    'columns that MySQL stores in the page',
    [{ own: t.id, ...many(31, t.string(63)), last: t.bytes(171) }, keyed],
    [{ own: t.id, ...many(31, t.string(63)), last: t.bytes(172) }, keyed],
    'its columns take 8081 bytes of a page (c0 253, c1 253, c2 253, c3 253, 29 more), which exceeds 8080',
  ],
  [
    'a key and columns that MySQL stores in the page',
    [{ ...own, a: t.string(255), b: t.string(255), ...many(19, t.string(63)) }, { key: ['own', 'a', 'b'] }],
    [{ ...own, a: t.string(255), b: t.string(255), ...many(20, t.string(63)) }, { key: ['own', 'a', 'b'] }],
    'its columns take 8126 bytes of a page (own 1022, a 1022, b 1022, c0 253, 19 more), which exceeds 8080',
  ],
  [
    'bytes of a key',
    [{ ...own, a: t.string(255), b: t.string(255), c: t.bytes(12) }, { key: ['own', 'a', 'b', 'c'] }],
    [{ ...own, a: t.string(255), b: t.string(255), c: t.bytes(13) }, { key: ['own', 'a', 'b', 'c'] }],
    'the key takes 3073 bytes (own 1020, a 1020, b 1020, c 13), which exceeds 3072',
  ],
  [
    'columns of a key',
    [many(16, t.string(9)), { key: names(many(16, t.id)) }],
    [many(17, t.string(9)), { key: names(many(17, t.id)) }],
    '17 key columns exceed 16',
  ],
  [
    'indexes',
    [
      { ...own, ...many(63, t.u8) },
      { ...keyed, by: ['own', ...names(many(63, t.u8))] },
    ],
    [
      { ...own, ...many(64, t.u8) },
      { ...keyed, by: ['own', ...names(many(64, t.u8))] },
    ],
    '64 indexes exceed 63: by and unique list too many columns',
  ],
  [
    'indexes of all kinds',
    [
      { id: t.u32, ...own, ...many(61, t.u8) },
      { key: 'id', by: ['own'], unique: ['own', ...names(many(61, t.u8))] },
    ],
    [
      { id: t.u32, ...own, ...many(62, t.u8) },
      { key: 'id', by: ['own', 'c0'], unique: ['own', ...names(many(62, t.u8))] },
    ],
    '65 indexes exceed 63: by and unique list too many columns',
  ],
  [
    'columns',
    [many(90, t.string(64)), { key: 'c0' }],
    [many(91, t.string(64)), { key: 'c0' }],
    '91 columns are not 1..90',
  ],
  [
    'characters of a key',
    [{ ...own, a: t.oneOf('b', 'x'.repeat(255)) }, { key: ['own', 'a'] }],
    [{ ...own, a: t.oneOf('b', 'x'.repeat(256)) }, { key: ['own', 'a'] }],
    'key column a: 256 characters exceed 255',
  ],
  [
    'undo record of a row',
    [
      { own: t.id, ...many(7, t.string(255)), last: t.string(190) },
      { key: 'own', by: ['own', ...names(many(7, t.u8)), 'last'] },
    ],
    [
      { own: t.id, ...many(7, t.string(255)), last: t.string(191) },
      { key: 'own', by: ['own', ...names(many(7, t.u8)), 'last'] },
    ],
    "a changed row's undo record takes 16008 bytes (key and indexes: c0 1020, c1 1020, c2 1020, c3 1020, 5 more), which exceeds 16000",
  ],
  [
    'names of indexes',
    [
      { ...own, [`${'a'.repeat(60)}bc`]: t.u8 },
      { ...keyed, by: ['own', `${'a'.repeat(60)}bc`] },
    ],
    [
      { ...own, [`${'a'.repeat(61)}b`]: t.u8, [`${'a'.repeat(61)}c`]: t.u8 },
      { ...keyed, by: ['own', `${'a'.repeat(61)}b`, `${'a'.repeat(61)}c`] },
    ],
    `by or unique needs the index by_${'a'.repeat(61)} twice`,
  ],
  [
    'one index per column',
    [
      { ...own, a: t.u8 },
      { ...keyed, by: ['own', 'a'], unique: ['a'] },
    ],
    [
      { ...own, a: t.u8 },
      { ...keyed, by: ['own', 'a', 'a'] },
    ],
    'by or unique needs the index by_a twice',
  ],
  [
    'names of columns',
    [{ ...own, rowId: t.u8 }, keyed],
    [{ ...own, db_Row_id: t.u8 }, keyed],
    'column "db_Row_id": the name is reserved by MySQL',
  ],
]
for (const [what, within, beyond, message] of BOUNDS)
  test(`accepts a table at the bound and rejects one beyond it: ${what}`, () => {
    define(...within)
    assert.throws(
      () => define(...beyond),
      (error: Error) =>
        error.name === 'DefinitionError' &&
        error.message.replace(/^table "?items"?: /, '').split(';')[0] === message &&
        error.message.startsWith('table '),
      message,
    )
  })

test('the error names a type that takes less space', () => {
  assert.throws(() => define({ own: t.id, ...many(33, t.string(63)) }, keyed), {
    message:
      /^table "items": .* exceeds 8080; outside the key an object or a t\.string of 64 or more takes 41 bytes of it$/,
  })
  define({ own: t.id, ...many(80, t.string(64)) }, keyed)
  assert.throws(() => define({ own: t.id, ...many(17, t.string(1_000)) }, keyed), {
    message: / exceeds 65500; a t\.string above 1000, t\.bytes above 4000 or an object is stored outside the row$/,
  })
  define({ own: t.id, ...many(80, t.string(1_001)) }, keyed)
})

// prettier-ignore
const SIZES: readonly (readonly [type: Type<unknown>, bytes: number, inlineBytes: number, keyBytes: number])[] = [
  [t.u8, 1, 1, 1], [t.i16, 2, 2, 2], [t.u32, 4, 4, 4], [t.int(0, 2 ** 40), 8, 8, 8], [t.f32, 8, 8, 8],
  [t.bool, 1, 1, 1], [t.i64, 8, 8, 8], [t.u64, 8, 8, 8], [t.date, 7, 7, 7],
  [t.decimal(65, 30), 30, 30, 30], [t.decimal(10, 3), 6, 6, 6], [t.decimal(9, 0), 4, 4, 4],
  [t.id, 65, 65, 64], [t.string(0), 5, 5, 4], [t.string(63), 253, 253, 252], [t.string(64), 258, 41, 256],
  [t.string(1_000), 4_002, 41, 4_000], [t.string(1_001), 11, 41, Infinity], [t.string(6_000_000), 12, 41, Infinity],
  [t.bytes(0), 2, 2, 1], [t.bytes(255), 256, 256, 255], [t.bytes(256), 258, 41, 256], [t.bytes(4_001), 11, 41, Infinity],
  [t.oneOf('a', 'abc'), 13, 13, 12], [t.array(t.u8, 9), 12, 41, Infinity],
]
test('computes the bytes of every kind of column', () => {
  for (const [{ spec }, ...expected] of SIZES) {
    const { type, bytes, inlineBytes, keyBytes } = storageOf(spec)
    assert.deepEqual([bytes, inlineBytes, keyBytes], expected, type)
  }
})
