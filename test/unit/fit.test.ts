// Which columns of another program hold every value of ours, and what is said of those that do not.

import assert from 'node:assert/strict'
import test from 'node:test'

import type { TableDefinition } from '../../core/game/table.ts'
import { typeMismatch } from '../../core/migrate/compatibility.ts'
import { t, type Fields } from '../../core/wire/type.ts'
import { UTF8MB4_BIN, catalog, define } from './informationschema.ts'

const U = 'utf8mb4'
const CI = 'utf8mb4_general_ci'
/** Kind of column, what is there, why it does not fit (null: it does). */
const FITS: readonly (readonly [Fields[string], Partial<ColumnOf>, RegExp | null])[] = [
  [t.u8, { type: 'tinyint unsigned' }, null],
  [t.u8, { type: 'tinyint' }, /ends at 127, the game's column at 255/],
  [t.u8, { type: 'smallint(6)' }, null],
  [t.i8, { type: 'tinyint unsigned' }, /begins at 0, the game's column at -128/],
  [t.u16, { type: 'int unsigned' }, null],
  [t.u16, { type: 'int(11)' }, null],
  [t.u16, { type: 'mediumint' }, null],
  [t.u32, { type: 'smallint' }, /ends at 32767, the game's column at 4294967295/],
  [t.u32, { type: 'int(11)' }, /ends at 2147483647/],
  [t.u32, { type: 'bigint' }, null],
  [t.u32, { type: 'int(10) unsigned zerofill' }, null],
  [t.u32, { type: 'decimal(10,0)' }, null],
  [t.u32, { type: 'decimal(9,0)' }, /ends at 999999999/],
  [t.u32, { type: 'decimal(20,2)' }, /no whole number/],
  [t.u32, { type: 'double' }, /no whole number/],
  [t.u32, { type: 'varchar(20)', ...text(UTF8MB4_BIN) }, /no whole number/],
  [t.int(0, 99), { type: 'tinyint' }, null],
  [t.int(-1, 99), { type: 'tinyint unsigned' }, /begins at 0, the game's column at -1/],
  [t.i64, { type: 'bigint(20)' }, null],
  [t.i64, { type: 'bigint unsigned' }, /begins at 0/],
  [t.u64, { type: 'bigint' }, /ends at 9223372036854775807/],
  [t.u64, { type: 'bigint unsigned' }, null],
  [t.u64, { type: 'decimal(20,0)' }, null],
  [t.f64, { type: 'double' }, null],
  [t.f64, { type: 'double(10,2)' }, /only DOUBLE/],
  [t.f64, { type: 'double unsigned' }, /begins at 0/],
  [t.f32, { type: 'float' }, /only DOUBLE/],
  [t.bool, { type: 'tinyint(1)' }, null],
  [t.bool, { type: 'bit(1)' }, null],
  [t.bool, { type: 'bit(2)' }, /no whole number/],
  [t.bool, { type: 'int' }, null],
  [t.decimal(10, 2), { type: 'decimal(10,2)' }, null],
  [t.decimal(10, 2), { type: 'decimal(12,4)' }, null],
  [t.decimal(10, 2), { type: 'decimal(11,4)' }, /7 digits before the point, the game's column 8/],
  [t.decimal(10, 2), { type: 'decimal(12,1)' }, /1 digits behind the point/],
  [t.decimal(10, 2), { type: 'decimal(10,2) unsigned' }, /begins at 0/],
  [t.decimal(10, 2), { type: 'double' }, /only DECIMAL/],
  [t.string(20), { type: 'varchar(20)', ...text(UTF8MB4_BIN) }, null],
  [t.string(20), { type: 'varchar(255)', charset: U, collation: CI }, null],
  [
    t.string(20),
    { type: 'varchar(19)', ...text(UTF8MB4_BIN) },
    /ends at 19 characters, the game's column at 20/,
  ],
  [t.string(20), { type: 'varchar(20)', charset: 'latin1', collation: 'latin1_bin' }, /latin1 does not hold/],
  [t.string(20), { type: 'varchar(20)', charset: 'utf8mb3', collation: 'utf8mb3_bin' }, /utf8mb3 does not/],
  [t.string(20), { type: 'char(20)', ...text(UTF8MB4_BIN) }, /CHAR drops spaces/],
  [t.string(20), { type: 'text', ...text(UTF8MB4_BIN) }, null],
  [t.string(20), { type: 'tinytext', ...text(UTF8MB4_BIN) }, null],
  [t.string(90), { type: 'tinytext', ...text(UTF8MB4_BIN) }, /ends at 255 bytes/],
  [t.string(30_000), { type: 'text', ...text(UTF8MB4_BIN) }, /ends at 65535 bytes/],
  [t.string(30_000), { type: 'mediumtext', ...text(UTF8MB4_BIN) }, null],
  [t.string(20), { type: 'varbinary(80)' }, /needs VARCHAR or TEXT/],
  [t.id, { type: 'char(64)', charset: 'latin1', collation: 'latin1_swedish_ci' }, null],
  [t.id, { type: 'varchar(36)', charset: 'ascii', collation: 'ascii_bin' }, /ends at 36 characters/],
  [t.oneOf('a', 'b'), { type: "enum('b','a','c')", charset: 'latin1', collation: 'latin1_bin' }, null],
  [t.oneOf('a', "b'('"), { type: "enum('a','b''(''')", charset: U, collation: CI }, null],
  [t.oneOf('a', 'd'), { type: "enum('b','a','c')", charset: U, collation: CI }, /has no "d"/],
  [t.oneOf('a', 'd'), { type: "set('a','d')", charset: U, collation: CI }, /needs VARCHAR or TEXT/],
  [t.oneOf('a', 'bcd'), { type: 'char(3)', charset: 'latin1', collation: 'latin1_bin' }, null],
  [
    t.oneOf('a', 'ü'),
    { type: 'char(3)', charset: 'latin1', collation: 'latin1_bin' },
    /latin1 does not hold/,
  ],
  [t.oneOf('a', 'b '), { type: 'char(3)', charset: U, collation: CI }, /CHAR drops spaces/],
  [t.bytes(16), { type: 'varbinary(16)' }, null],
  [t.bytes(16), { type: 'varbinary(15)' }, /ends at 15 bytes, the game's column at 16/],
  [t.bytes(16), { type: 'binary(16)' }, /BINARY adds zeros/],
  [t.bytes(256), { type: 'tinyblob' }, /ends at 255 bytes/],
  [t.bytes(65_535), { type: 'blob' }, null],
  [t.bytes(16), { type: 'varchar(16)', ...text(UTF8MB4_BIN) }, /need VARBINARY or BLOB/],
  [t.array(t.u8, 3), { type: 'json' }, null],
  [t.array(t.u8, 3), { type: 'longtext', ...text(UTF8MB4_BIN) }, null],
  [
    t.array(t.u8, 3),
    { type: 'longtext', charset: 'latin1', collation: 'latin1_bin' },
    /latin1 does not hold/,
  ],
  [t.array(t.u8, 3), { type: 'text', ...text(UTF8MB4_BIN) }, /needs LONGTEXT or JSON/],
  [t.date, { type: 'datetime(3)' }, null],
  [t.date, { type: 'datetime(6)' }, null],
  [t.date, { type: 'datetime' }, /loses the milliseconds/],
  [t.date, { type: 'timestamp(3)' }, /need DATETIME\(3\)/],
  [t.date, { type: 'date' }, /need DATETIME\(3\)/],
  [t.date, { type: 'datetime(3)', extra: 'on update current_timestamp(3)' }, /changes it at every update/],
  [t.u8, { type: 'int', extra: 'VIRTUAL GENERATED' }, /MySQL computes it/],
  [t.u8, { type: 'int', extra: 'STORED GENERATED' }, /MySQL computes it/],
  [t.date, { type: 'datetime(3)', fallback: 'now(3)', extra: 'DEFAULT_GENERATED' }, null],
  [t.u8, { type: 'int', extra: 'auto_increment' }, /AUTO_INCREMENT replaces a 0/],
  [t.nullable(t.u8), { type: 'int', nullable: 'YES' }, null],
  [t.nullable(t.u8), { type: 'int', nullable: 'NO' }, /takes no NULL/],
  [t.u8, { type: 'int', nullable: 'YES' }, null],
]
interface ColumnOf {
  type: string
  nullable: 'YES' | 'NO'
  fallback: string | null
  charset: string
  collation: string
  extra: string
}
function text([charset, collation]: readonly [string, string]) {
  return { charset, collation }
}

function misfitOf(definition: TableDefinition, name: string, one: Partial<ColumnOf>): string | null {
  const { type = '', nullable = 'NO', fallback = null, charset = null, collation = null, extra = '' } = one
  const found = catalog('x', [[name, type, nullable, fallback, charset, collation, extra]], []).get('x')!
  return typeMismatch(definition, definition.columnByName.get(name)!, found.columns.get(name)!)
}

test('a column of another program fits when every value of ours has a place in it', () => {
  for (const [type, there, expected] of FITS) {
    const definition = define('x', { id: t.id, value: type }, { key: 'id' })
    const why = misfitOf(definition, 'value', there)
    const what = `${JSON.stringify(there)}: ${why}`
    if (expected === null) assert.equal(why, null, what)
    else assert.match(why ?? 'it fits', expected, what)
  }
})

test('in keys more is wanted: every text apart, and nothing that cannot be indexed whole', () => {
  const keyed = define('x', { uid: t.id, name: t.string(20) }, { key: ['uid', 'name'] })
  const unique = define('x', { uid: t.id, name: t.string(20) }, { key: 'uid', unique: ['name'] })
  const by = define('x', { uid: t.id, name: t.string(20) }, { key: 'uid', by: ['uid', 'name'] })
  const mood = define('x', { uid: t.id, name: t.oneOf('a', 'b') }, { key: ['uid', 'name'] })
  const seal = define('x', { uid: t.id, name: t.bytes(20) }, { key: ['uid', 'name'] })
  const collide = /by utf8mb4_general_ci different texts are equal, so that keys would collide/
  const table: [TableDefinition, Partial<ColumnOf>, RegExp | null][] = [
    [keyed, { type: 'varchar(20)', charset: U, collation: CI }, collide],
    [unique, { type: 'varchar(20)', charset: U, collation: CI }, collide],
    [by, { type: 'varchar(20)', charset: U, collation: CI }, null],
    [keyed, { type: 'varchar(20)', charset: U, collation: 'utf8mb4_0900_as_cs' }, /must end in _bin/],
    [keyed, { type: 'varchar(20)', charset: U, collation: 'utf8mb4_0900_bin' }, null],
    [unique, { type: 'varchar(20)', nullable: 'YES', ...text(UTF8MB4_BIN) }, null],
    [keyed, { type: 'text', ...text(UTF8MB4_BIN) }, /cannot index a whole TEXT/],
    [by, { type: 'text', ...text(UTF8MB4_BIN) }, /cannot index a whole TEXT/],
    [mood, { type: "enum('a','b')", ...text(UTF8MB4_BIN) }, /needs VARCHAR or TEXT/],
    [seal, { type: 'blob' }, /cannot index a whole BLOB/],
  ]
  for (const [definition, there, expected] of table) {
    const why = misfitOf(definition, 'name', there)
    if (expected === null) assert.equal(why, null)
    else assert.match(why ?? 'it fits', expected)
  }
  const given = define('x', { id: t.u32, uid: t.id }, { key: 'id', shardKey: 'uid' })
  const made = define('x', { id: t.u32, uid: t.id }, { key: 'id', shardKey: 'uid', ids: 'auto' })
  const there = { type: 'int unsigned', extra: 'auto_increment' }
  assert.equal(misfitOf(given, 'id', there), "AUTO_INCREMENT needs ids: 'auto'")
  assert.equal(misfitOf(made, 'id', there), null)
  assert.equal(misfitOf(made, 'id', { type: 'int unsigned' }), "ids: 'auto' need AUTO_INCREMENT")
})
