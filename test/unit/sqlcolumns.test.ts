// Columns in MySQL: the declaration of each kind of column, and the encoding of its values.

import assert from 'node:assert/strict'
import test from 'node:test'

import type { TableDefinition } from '../../core/game/table.ts'
import type { SqlStatement, SqlValue } from '../../core/sql/client.ts'
import { columnType, decodeColumn, decodeRows, encodeColumn, sqlLiteral } from '../../core/sql/columns.ts'
import { addColumn } from '../../core/sql/statements.ts'
import type { Schema, StandardSchema } from '../../core/wire/schema.ts'
import { t } from '../../core/wire/type.ts'
import { defineTable } from '../support/tables.ts'

/** A table with a column `c`. */
const tableOf = (type: Schema<unknown>, defaults: object = {}): TableDefinition =>
  defineTable('items', { id: t.id, c: type }, { key: 'id', defaults })
const columnOf = (type: Schema<unknown>) => tableOf(type).columnByName.get('c')!

const TEXT = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
const foreign: StandardSchema<unknown> = {
  '~standard': { version: 1, vendor: 'other', validate: (value) => ({ value }) },
}

// prettier-ignore
const DECLARATIONS: [name: string, type: Schema<unknown>, sql: string, defaults?: object][] = [
  ['u8', t.u8, 'TINYINT UNSIGNED NOT NULL DEFAULT 0'],
  ['i8', t.i8, 'TINYINT NOT NULL DEFAULT 0'],
  ['u16', t.u16, 'SMALLINT UNSIGNED NOT NULL DEFAULT 0'],
  ['i16', t.i16, 'SMALLINT NOT NULL DEFAULT 0'],
  ['u32', t.u32, 'INT UNSIGNED NOT NULL DEFAULT 0'],
  ['i32', t.i32, 'INT NOT NULL DEFAULT 0'],
  ['int up to 255', t.int(0, 255), 'TINYINT UNSIGNED NOT NULL DEFAULT 0'],
  ['int up to 256', t.int(0, 256), 'SMALLINT UNSIGNED NOT NULL DEFAULT 0'],
  ['int from -1 to 128', t.int(-1, 128), 'SMALLINT NOT NULL DEFAULT 0'],
  ['int from -129', t.int(-129, 0), 'SMALLINT NOT NULL DEFAULT 0'],
  ['int of 32 bits and one', t.int(0, 2 ** 32), 'BIGINT UNSIGNED NOT NULL DEFAULT 0'],
  ['int from -1 to 2^31', t.int(-1, 2 ** 31), 'BIGINT NOT NULL DEFAULT 0'],
  ['int without 0', t.int(5, 9), 'TINYINT UNSIGNED NOT NULL DEFAULT 5'],
  ['f32', t.f32, 'DOUBLE NOT NULL DEFAULT 0'],
  ['f64', t.f64, 'DOUBLE NOT NULL DEFAULT -1e-7', { c: -1e-7 }],
  ['bool', t.bool, 'TINYINT(1) NOT NULL DEFAULT 1', { c: true }],
  ['i64', t.i64, 'BIGINT NOT NULL DEFAULT -9223372036854775808', { c: -(2n ** 63n) }],
  ['u64', t.u64, 'BIGINT UNSIGNED NOT NULL DEFAULT 18446744073709551615', { c: 2n ** 64n - 1n }],
  ['decimal', t.decimal(65, 30), `DECIMAL(65, 30) NOT NULL DEFAULT '0.${'0'.repeat(30)}'`],
  ['id', t.id, "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT ''"],
  ['string', t.string(1_000), `VARCHAR(1000) ${TEXT} NOT NULL DEFAULT ''`],
  ['empty string', t.string(0), `VARCHAR(1) ${TEXT} NOT NULL DEFAULT ''`],
  ['long string', t.string(1_001), `MEDIUMTEXT ${TEXT} NULL`],
  ['longest MEDIUMTEXT', t.string(5_592_405), `MEDIUMTEXT ${TEXT} NULL`],
  ['longer string', t.string(5_592_406), `LONGTEXT ${TEXT} NULL`],
  ['oneOf', t.oneOf('red', 'green'), `VARCHAR(5) ${TEXT} NOT NULL DEFAULT 'red'`],
  ['bytes', t.bytes(4_000), "VARBINARY(4000) NOT NULL DEFAULT ''"],
  ['bytes with a default', t.bytes(9), "VARBINARY(9) NOT NULL DEFAULT x'0027ff'", { c: Uint8Array.of(0, 39, 255) }],
  ['long bytes', t.bytes(4_001), 'MEDIUMBLOB NULL'],
  ['longer bytes', t.bytes(16_777_216), 'LONGBLOB NULL'],
  ['array', t.array(t.u8, 9), `LONGTEXT ${TEXT} NULL`],
  ['record', t.record(t.u8, 9), `LONGTEXT ${TEXT} NULL`],
  ['object', t.object({ min: t.u8 }), `LONGTEXT ${TEXT} NULL`],
  ['foreign', foreign, `LONGTEXT ${TEXT} NULL`],
  ['date', t.date, "DATETIME(3) NOT NULL DEFAULT '1970-01-01 00:00:00.000'"],
  ['nullable', t.nullable(t.u8), 'TINYINT UNSIGNED NULL DEFAULT NULL'],
  ['nullable with a default', t.nullable(t.u8), 'TINYINT UNSIGNED NULL DEFAULT 7', { c: 7 }],
  ['text that needs escaping', t.string(9), `VARCHAR(9) ${TEXT} NOT NULL DEFAULT _utf8mb4 x'275c3f3b'`, { c: "'\\?;" }],
]
for (const [name, type, sql, defaults] of DECLARATIONS) {
  test(`declares a column of ${name} as ${sql.slice(0, 60)}`, () => {
    const definition = tableOf(type, defaults)
    const [{ sql: alter }] = addColumn(definition, definition.columnByName.get('c')!) as [SqlStatement]
    assert.equal(alter, `ALTER TABLE \`items\` ADD COLUMN \`c\` ${sql}`)
    assert.ok(sql.startsWith(columnType(definition.columnByName.get('c')!)))
  })
}

test('writes a literal as plain text only if it needs no escaping', () => {
  const cases: [value: SqlValue, sql: string][] = [
    ['', "''"],
    ['Ada_9 a.b,c:d+e-f', "'Ada_9 a.b,c:d+e-f'"],
    ["'", "_utf8mb4 x'27'"],
    ['\\', "_utf8mb4 x'5c'"],
    ['\0\n', "_utf8mb4 x'000a'"],
    ['?', "_utf8mb4 x'3f'"],
    ['/* # */', "_utf8mb4 x'2f2a2023202a2f'"],
    ['ü🐉', "_utf8mb4 x'c3bcf09f9089'"],
    ['a\n', "_utf8mb4 x'610a'"],
    [null, 'NULL'],
    [true, '1'],
    [1.5e300, '1.5e+300'],
    [-0, '0'],
    [-7n, '-7'],
    [Uint8Array.of(), "''"],
    [Uint8Array.of(0, 255), "x'00ff'"],
  ]
  for (const [value, sql] of cases) assert.equal(sqlLiteral(value), sql)
})

const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
// prettier-ignore
const VALUES: [name: string, type: Schema<unknown>, ...[value: unknown, sql: SqlValue, text?: string][]][] = [
  ['u8', t.u8, [0, 0, '0'], [255, 255, '255']],
  ['i32', t.i32, [-(2 ** 31), -(2 ** 31), '-2147483648']],
  ['int', t.int(-1, 2 ** 53 - 1), [2 ** 53 - 1, 2 ** 53 - 1, '9007199254740991']],
  ['f32', t.f32, [0.1, 0.1, '0.1']],
  ['f64', t.f64, [Number.MAX_VALUE, Number.MAX_VALUE, '1.7976931348623157e308'], [5e-324, 5e-324, '5e-324'], [-0.5, -0.5, '-0.5']],
  ['bool', t.bool, [true, 1, '1'], [false, 0, '0']],
  ['i64', t.i64, [-(2n ** 63n), -(2n ** 63n), '-9223372036854775808'], [2n ** 63n - 1n, 2n ** 63n - 1n, '9223372036854775807']],
  ['u64', t.u64, [2n ** 64n - 1n, 2n ** 64n - 1n, '18446744073709551615'], [0n, 0n, '0']],
  ['decimal', t.decimal(65, 30), [`-${'9'.repeat(35)}.${'9'.repeat(30)}`, `-${'9'.repeat(35)}.${'9'.repeat(30)}`]],
  ['id', t.id, ['a_-Z', 'a_-Z']],
  ['string', t.string(9), ['', ''], ["🐉'\\?\0", "🐉'\\?\0"]],
  ['oneOf', t.oneOf('', 'wild'), ['', ''], ['wild', 'wild']],
  ['bytes', t.bytes(256), [bytes, bytes], [new Uint8Array(0), new Uint8Array(0)]],
  ['array', t.array(t.string(9), 9), [[], '[]'], [["'", '"', '\\', '?'], String.raw`["'","\"","\\","?"]`]],
  ['object', t.object({ a: t.f64, b: t.optional(t.bool) }), [{ a: -0.5 }, '{"a":-0.5}'], [{ a: 1, b: true }, '{"a":1,"b":true}']],
  ['foreign', foreign, [null, 'null'], ['x', '"x"'], [7, '7']],
  ['date', t.date, [new Date('1000-01-01T00:00:00.001Z'), '1000-01-01 00:00:00.001'], [new Date('9999-12-31T23:59:59.999Z'), '9999-12-31 23:59:59.999']],
  ['nullable', t.nullable(t.u8), [null, null], [7, 7, '7']],
  ['nullable array', t.nullable(t.array(t.u8, 9)), [null, null], [[1], '[1]']],
]
for (const [name, type, ...pairs] of VALUES) {
  test(`encodes a ${name} as a parameter and decodes it`, () => {
    const definition = tableOf(type)
    const column = columnOf(type)
    for (const [value, sql, text] of pairs) {
      assert.deepEqual(encodeColumn(column, value), sql)
      assert.deepEqual(decodeColumn(definition, column, text ?? (sql as string | Uint8Array | null)), value)
    }
  })
}

test('rejects a value outside of the column type, with column, value and bound', () => {
  const cases: [type: Schema<unknown>, text: string | Uint8Array | null, message: string][] = [
    [t.u8, '256', 'holds "256": 256 is outside 0..255'],
    [t.u8, '1.5', 'holds "1.5": expected u8, got "1.5"'],
    [t.u8, '', 'holds "": expected u8, got ""'],
    [
      t.int(0, 2 ** 53 - 1),
      '9007199254740992',
      'holds "9007199254740992": 9007199254740992 is outside 0..9007199254740991',
    ],
    [t.f64, 'NaN', 'holds "NaN": expected f64, got "NaN"'],
    [t.f32, '3.5e38', 'holds "3.5e38": 3.5e+38 is outside -3.4028234663852886e+38..3.4028234663852886e+38'],
    [t.bool, '2', 'holds "2": expected bool, got "2"'],
    [t.bool, Uint8Array.of(2), 'holds 1 bytes 02: expected bool, got 1 bytes 02'],
    [
      t.i64,
      '9223372036854775808',
      'holds "9223372036854775808": "9223372036854775808" is outside -9223372036854775808..9223372036854775807',
    ],
    [t.decimal(5, 2), '1000.00', 'holds "1000.00": "1000.00" is not a decimal of 5 digits, 2 after the point'],
    [t.id, 'a b', 'holds "a b": "a b" is not of A-Z a-z 0-9 _ -'],
    [t.string(2), Uint8Array.of(65), 'holds 1 bytes 41: expected string, got 1 bytes 41'],
    [
      t.string(99),
      'x'.repeat(100),
      `holds "${'x'.repeat(78)}…: string of 100 characters exceeds 99: "${'x'.repeat(38)}…`,
    ],
    [t.bytes(2), Uint8Array.of(1, 2, 3), 'holds 3 bytes 010203: 3 bytes 010203 exceeds 2'],
    [t.date, '0000-00-00 00:00:00', 'holds "0000-00-00 00:00:00": expected date, got "0000-00-00 00:00:00"'],
    [
      t.date,
      '0999-12-31 23:59:59.999',
      'holds "0999-12-31 23:59:59.999": 0999-12-31T23:59:59.999Z is outside the years 1000..9999',
    ],
    [t.array(t.u8, 2), '{', 'holds "{": not JSON'],
    [foreign, '{', 'holds "{": not JSON'],
    [t.array(t.object({ a: t.u8 }), 9), '[{"a":256}]', '0.a holds "[{\\"a\\":256}]": 256 is outside 0..255'],
  ]
  for (const [type, text, message] of cases) {
    const column = columnOf(type)
    assert.throws(() => decodeColumn(tableOf(type), column, text), {
      kind: 'refused',
      message: `table items: column c${message.startsWith('0.') ? '.' : ' '}${message}`,
    })
  }
  const items = tableOf(t.u8)
  assert.throws(() => decodeColumn(items, items.key[0]!, null), {
    message: 'table items: column id holds null: expected id, got null',
  })
})

test('decodes the values of adopted columns with another type', () => {
  const read = (type: Schema<unknown>, text: string | Uint8Array) => decodeColumn(tableOf(type), columnOf(type), text)
  assert.equal(read(t.bool, Uint8Array.of(1)), true)
  assert.equal(read(t.bool, Uint8Array.of(0)), false)
  assert.deepEqual(read(t.date, '2026-11-22'), new Date('2026-11-22T00:00:00Z'))
  assert.deepEqual(read(t.date, '2026-11-22 01:02:03'), new Date('2026-11-22T01:02:03Z'))
  assert.deepEqual(read(t.date, '2026-11-22 01:02:03.987654'), new Date('2026-11-22T01:02:03.987Z'))
  assert.equal(read(t.decimal(9, 2), '7'), '7.00')
  assert.equal(read(t.f64, '-12.50'), -12.5)
})

test('decodes rows as frozen, complete and in declared order, with defaults for missing columns', () => {
  const definition = defineTable(
    'items',
    { id: t.id, nick: t.id, tags: t.array(t.object({ n: t.u8 }), 9), motto: t.nullable(t.string(9)), level: t.u8 },
    { key: 'id', defaults: { level: 3 } },
  )
  const found = decodeRows(definition, {
    columns: ['tags', 'id', 'unknown', 'nick', 'motto'],
    rows: [
      ['[{"n":1}]', 'a', 'x', 'b', 'm'],
      [null, 'b', null, '', null],
    ],
    affected: 0,
    insertId: 0n,
  })
  assert.deepEqual(found, [
    { id: 'a', nick: 'b', tags: [{ n: 1 }], motto: 'm', level: 3 },
    { id: 'b', nick: '', tags: [], motto: null, level: 3 },
  ])
  assert.deepEqual(Object.keys(found[1]!), ['id', 'nick', 'tags', 'motto', 'level'])
  assert.ok(Object.isFrozen(found[0]) && Object.isFrozen((found[0]!.tags as object[])[0]))
})
