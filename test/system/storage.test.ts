// Tables at the bounds of `table`, on a real server: an accepted definition can be created and stores a full row.

import assert from 'node:assert/strict'
import test from 'node:test'

import fc from 'fast-check'

import { storageOf } from '../../core/game/storage.ts'
import type { TableDefinition } from '../../core/game/table.ts'
import type { SqlClient, SqlValue } from '../../core/sql/client.ts'
import { createTable, insertInto } from '../../core/sql/statements.ts'
import { DefinitionError } from '../../core/wire/errors.ts'
import type { Schema } from '../../core/wire/schema.ts'
import { t } from '../../core/wire/type.ts'
import { openTestDatabase, openClient, sql } from '../support/database.ts'
import { defineTable } from '../support/tables.ts'

const { url, skip } = await openTestDatabase()
type Columns = Record<string, Schema<unknown>>
const define = (columns: Columns, options: object): TableDefinition =>
  defineTable('full', columns as never, options as never)
const many = (count: number, type: Schema<unknown>, prefix = 'c'): Columns =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`${prefix}${at}`, type]))
const names = (columns: Columns): string[] => Object.keys(columns)
const own = { own: t.string(255) }

/** The longest value of a column; for TEXT and BLOB 40 bytes, which MySQL stores in the row. */
function largestValue(type: string): SqlValue {
  const [, name, length] = /^(\w+)(?:\((\d+)[),])?/.exec(type)!
  if (name === 'VARBINARY') return new Uint8Array(Number(length)).fill(255)
  if (name === 'VARCHAR') return (type.includes('ascii') ? 'x' : '🐉').repeat(Number(length))
  if (/TEXT|BLOB/.test(name!)) return '🐉'.repeat(10)
  return name === 'DATETIME' ? '2026-11-22 23:59:59.987' : 0
}

/** The longest value that MySQL stores in the row, for a column that it may otherwise store outside of the row. */
function smallestValue(type: string): SqlValue {
  const [, name, length] = /^(\w+)(?:\((\d+)[),])?/.exec(type)!
  if (name === 'VARCHAR' && Number(length) > 63 && !type.includes('ascii')) return '🐉'.repeat(10)
  if (name === 'VARBINARY' && Number(length) > 255) return new Uint8Array(40)
  return largestValue(type)
}

/** Shorter than the longest indexed column, so that MySQL moves indexed columns out of the row and not this one. */
function middleValue(type: string): SqlValue {
  const value = largestValue(type)
  return typeof value === 'string' && value.startsWith('🐉') ? value.slice(0, 380) : value
}

/** A different value of the same length; numbers are unchanged. */
function changedValue(value: SqlValue): SqlValue {
  if (value instanceof Uint8Array) return value.map((byte) => byte ^ 1)
  if (typeof value !== 'string') return 0
  return value.replaceAll('🐉', '🐲').replaceAll('x', 'y').replace('2026', '2027')
}

async function assertHoldsFullRow(client: SqlClient, definition: TableDefinition): Promise<void> {
  await client.query(sql('DROP TABLE IF EXISTS `full`'))
  for (const statement of createTable(definition)) await client.query(statement)
  const types = definition.columns.map(({ spec }) => storageOf(spec).type)
  const columns = definition.columns.map(({ name }) => name)
  const free = columns.filter((_, at) => !definition.key.includes(definition.columns[at]!))
  for (const valueOf of [largestValue, middleValue, smallestValue]) {
    const values = types.map(valueOf)
    for (const { statement } of insertInto('full', columns, [values])) await client.query(statement)
    const changed = free.map((name) => changedValue(values[columns.indexOf(name)]!))
    const set = free.map((name) => `\`${name}\` = ?`).join(', ')
    if (free.length > 0) await client.query(sql(`UPDATE \`full\` SET ${set}`, ...changed))
    await client.query(sql('DELETE FROM `full`'))
  }
}

const TABLES_AT_BOUNDS: readonly (readonly [string, Columns, object])[] = [
  ['strings', { own: t.id, ...many(16, t.string(1_000)), last: t.string(350) }, { key: 'own' }],
  ['bytes', { own: t.id, ...many(16, t.nullable(t.bytes(4_000))), last: t.bytes(1_401) }, { key: 'own' }],
  ['short strings', { own: t.id, ...many(31, t.string(63)), last: t.bytes(171) }, { key: 'own' }],
  ['short strings that may be null', { own: t.id, ...many(31, t.nullable(t.string(63))) }, { key: 'own' }],
  [
    'shortest strings that MySQL may store outside of the row',
    { own: t.id, ...many(89, t.string(64)) },
    { key: 'own' },
  ],
  ['ids', { own: t.id, ...many(89, t.nullable(t.id)) }, { key: 'own' }],
  ['objects', { own: t.id, ...many(89, t.object({ a: t.u8 })) }, { key: 'own' }],
  ['decimals', { own: t.id, ...many(89, t.decimal(65, 30)) }, { key: 'own' }],
  [
    'a wide key',
    { ...own, a: t.string(255), b: t.string(255), c: t.bytes(12), ...many(18, t.string(63), 'd') },
    { key: ['own', 'a', 'b', 'c'] },
  ],
  [
    'a wide key beside wide indexes',
    {
      ...own,
      a: t.string(255),
      b: t.string(255),
      c: t.bytes(12),
      ...many(4, t.string(255), 'd'),
      e: t.string(203),
    },
    { key: ['own', 'a', 'b', 'c'], shardKey: 'own', by: names(many(4, t.u8, 'd')), unique: ['d0', 'e'] },
  ],
  [
    'wide indexes',
    { own: t.id, ...many(7, t.string(255)), last: t.string(190) },
    { key: 'own', by: ['own', ...names(many(7, t.u8)), 'last'] },
  ],
  [
    'wide indexes beside a full page',
    { own: t.id, ...many(3, t.string(255)), last: t.string(184), ...many(20, t.string(200), 'f') },
    { key: 'own', by: ['own', ...names(many(3, t.u8)), 'last'] },
  ],
  ['a key of many columns', many(16, t.string(48)), { key: names(many(16, t.u8)) }],
  [
    'a key of all types',
    {
      ...own,
      a: t.decimal(65, 30),
      b: t.date,
      c: t.u64,
      d: t.id,
      e: t.bool,
      f: t.bytes(255),
      g: t.string(255),
      h: t.string(166),
    },
    { key: ['own', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] },
  ],
  ['63 indexes', { ...own, ...many(63, t.u8) }, { key: 'own', by: ['own', ...names(many(63, t.u8))] }],
  [
    '63 indexes of all kinds',
    { ...own, id: t.u64, ...many(61, t.u8) },
    { key: ['own', 'id'], ids: 'auto', by: ['own', ...names(many(31, t.u8))], unique: names(many(31, t.u8)) },
  ],
]

test('the server accepts tables at the bounds and full rows', { skip }, async (context) => {
  await using client = openClient(url, { poolSize: 1 })
  for (const [what, columns, options] of TABLES_AT_BOUNDS)
    await context.test(what, () => assertHoldsFullRow(client, define(columns, { key: 'c0', ...options })))
})

const type = fc.oneof(
  fc.integer({ min: 0, max: 1_100 }).map((max) => t.string(max)),
  fc.integer({ min: 0, max: 80 }).map((max) => t.string(max)),
  fc.integer({ min: 0, max: 4_100 }).map((max) => t.bytes(max)),
  fc
    .integer({ min: 1, max: 65 })
    .chain((p) => fc.integer({ min: 0, max: Math.min(p, 30) }).map((s) => t.decimal(p, s))),
  fc.constantFrom<Schema<unknown>>(t.u8, t.i16, t.u32, t.f64, t.i64, t.date, t.bool, t.id, t.array(t.u8, 9)),
)
const arbitraryTable = fc
  .record({
    types: fc.array(fc.tuple(type, fc.boolean(), fc.integer({ min: 1, max: 8 })), { minLength: 1, maxLength: 20 }),
    key: fc.array(fc.nat(30), { maxLength: 8 }),
    by: fc.array(fc.nat(90), { maxLength: 20 }),
    unique: fc.array(fc.nat(90), { maxLength: 10 }),
  })
  .map(({ types, key, by, unique }): [Columns, object] => {
    const columns: Columns = { own: t.string(64) }
    for (const [columnType, isNullable, times] of types)
      for (let i = 0; i < times; i++)
        columns[`c${names(columns).length}`] = isNullable ? t.nullable(columnType) : columnType
    const pick = (places: number[]): string[] =>
      [...new Set(places.map((at) => `c${at + 1}`))].filter((c) => c in columns)
    return [columns, { key: ['own', ...pick(key)], by: ['own', ...pick(by)], unique: pick(unique) }]
  })

test('the server accepts every table that `table` accepts', { skip }, async () => {
  await using client = openClient(url, { poolSize: 1 })
  let accepted = 0
  const property = fc.asyncProperty(arbitraryTable, async ([columns, options]) => {
    let definition: TableDefinition
    try {
      definition = define(columns, options)
    } catch (error) {
      assert.ok(error instanceof DefinitionError)
      return fc.pre(false)
    }
    await assertHoldsFullRow(client, definition)
    accepted++
  })
  await fc.assert(property, { numRuns: 60, maxSkipsPerRun: 200 })
  assert.ok(accepted >= 60)
})
