// Which columns of another program hold every value of the game's column, and the reason for those that do not.

import assert from 'node:assert/strict'
import test from 'node:test'

import type { TableDefinition } from '../../core/game/table.ts'
import { typeMismatch } from '../../core/migrate/compatibility.ts'
import { t, type Fields } from '../../core/wire/type.ts'
import { UTF8MB4_BIN, catalog } from './informationschema.ts'
import { defineTable } from '../support/tables.ts'

const U = 'utf8mb4'
const CI = 'utf8mb4_general_ci'
/** The game's type, the existing column, and the mismatch (null = compatible). */
const CASES: readonly (readonly [Fields[string], Partial<ExistingColumn>, RegExp | null])[] = [
  [t.u8, { type: 'tinyint unsigned' }, null],
  [t.u8, { type: 'tinyint' }, /maximum is 127, that of the game's column 255/],
  [t.u8, { type: 'smallint(6)' }, null],
  [t.i8, { type: 'tinyint unsigned' }, /minimum is 0, that of the game's column -128/],
  [t.u16, { type: 'int unsigned' }, null],
  [t.u16, { type: 'int(11)' }, null],
  [t.u16, { type: 'mediumint' }, null],
  [t.u32, { type: 'smallint' }, /maximum is 32767, that of the game's column 4294967295/],
  [t.u32, { type: 'int(11)' }, /maximum is 2147483647/],
  [t.u32, { type: 'bigint' }, null],
  [t.u32, { type: 'int(10) unsigned zerofill' }, null],
  [t.u32, { type: 'decimal(10,0)' }, null],
  [t.u32, { type: 'decimal(9,0)' }, /maximum is 999999999/],
  [t.u32, { type: 'decimal(20,2)' }, /not an integer type/],
  [t.u32, { type: 'double' }, /not an integer type/],
  [t.u32, { type: 'varchar(20)', ...text(UTF8MB4_BIN) }, /not an integer type/],
  [t.int(0, 99), { type: 'tinyint' }, null],
  [t.int(-1, 99), { type: 'tinyint unsigned' }, /minimum is 0, that of the game's column -1/],
  [t.i64, { type: 'bigint(20)' }, null],
  [t.i64, { type: 'bigint unsigned' }, /minimum is 0/],
  [t.u64, { type: 'bigint' }, /maximum is 9223372036854775807/],
  [t.u64, { type: 'bigint unsigned' }, null],
  [t.u64, { type: 'decimal(20,0)' }, null],
  [t.f64, { type: 'double' }, null],
  [t.f64, { type: 'double(10,2)' }, /only DOUBLE/],
  [t.f64, { type: 'double unsigned' }, /minimum is 0/],
  [t.f32, { type: 'float' }, /only DOUBLE/],
  [t.bool, { type: 'tinyint(1)' }, null],
  [t.bool, { type: 'bit(1)' }, null],
  [t.bool, { type: 'bit(2)' }, /not an integer type/],
  [t.bool, { type: 'int' }, null],
  [t.decimal(10, 2), { type: 'decimal(10,2)' }, null],
  [t.decimal(10, 2), { type: 'decimal(12,4)' }, null],
  [t.decimal(10, 2), { type: 'decimal(11,4)' }, /7 digits before the point, the game's column 8/],
  [t.decimal(10, 2), { type: 'decimal(12,1)' }, /1 digits after the point/],
  [t.decimal(10, 2), { type: 'decimal(10,2) unsigned' }, /minimum is 0/],
  [t.decimal(10, 2), { type: 'double' }, /only DECIMAL/],
  [t.string(20), { type: 'varchar(20)', ...text(UTF8MB4_BIN) }, null],
  [t.string(20), { type: 'varchar(255)', charset: U, collation: CI }, null],
  [
    t.string(20),
    { type: 'varchar(19)', ...text(UTF8MB4_BIN) },
    /maximum is 19 characters, that of the game's column 20/,
  ],
  [t.string(20), { type: 'varchar(20)', charset: 'latin1', collation: 'latin1_bin' }, /latin1 lacks some characters/],
  [t.string(20), { type: 'varchar(20)', charset: 'utf8mb3', collation: 'utf8mb3_bin' }, /utf8mb3 lacks some/],
  [t.string(20), { type: 'char(20)', ...text(UTF8MB4_BIN) }, /CHAR removes trailing spaces/],
  [t.string(20), { type: 'text', ...text(UTF8MB4_BIN) }, null],
  [t.string(20), { type: 'tinytext', ...text(UTF8MB4_BIN) }, null],
  [t.string(90), { type: 'tinytext', ...text(UTF8MB4_BIN) }, /maximum is 255 bytes/],
  [t.string(30_000), { type: 'text', ...text(UTF8MB4_BIN) }, /maximum is 65535 bytes/],
  [t.string(30_000), { type: 'mediumtext', ...text(UTF8MB4_BIN) }, null],
  [t.string(20), { type: 'varbinary(80)' }, /needs VARCHAR or TEXT/],
  [t.id, { type: 'char(64)', charset: 'latin1', collation: 'latin1_swedish_ci' }, null],
  [t.id, { type: 'varchar(36)', charset: 'ascii', collation: 'ascii_bin' }, /maximum is 36 characters/],
  [t.oneOf('a', 'b'), { type: "enum('b','a','c')", charset: 'latin1', collation: 'latin1_bin' }, null],
  [t.oneOf('a', "b'('"), { type: "enum('a','b''(''')", charset: U, collation: CI }, null],
  [t.oneOf('a', 'd'), { type: "enum('b','a','c')", charset: U, collation: CI }, /lacks "d"/],
  [t.oneOf('a', 'd'), { type: "set('a','d')", charset: U, collation: CI }, /needs VARCHAR or TEXT/],
  [t.oneOf('a', 'bcd'), { type: 'char(3)', charset: 'latin1', collation: 'latin1_bin' }, null],
  [t.oneOf('a', 'ü'), { type: 'char(3)', charset: 'latin1', collation: 'latin1_bin' }, /latin1 lacks some characters/],
  [t.oneOf('a', 'b '), { type: 'char(3)', charset: U, collation: CI }, /CHAR removes trailing spaces/],
  [t.bytes(16), { type: 'varbinary(16)' }, null],
  [t.bytes(16), { type: 'varbinary(15)' }, /maximum is 15 bytes, that of the game's column 16/],
  [t.bytes(16), { type: 'binary(16)' }, /BINARY adds zeros/],
  [t.bytes(256), { type: 'tinyblob' }, /maximum is 255 bytes/],
  [t.bytes(65_535), { type: 'blob' }, null],
  [t.bytes(16), { type: 'varchar(16)', ...text(UTF8MB4_BIN) }, /need VARBINARY or BLOB/],
  [t.array(t.u8, 3), { type: 'json' }, null],
  [t.array(t.u8, 3), { type: 'longtext', ...text(UTF8MB4_BIN) }, null],
  [t.array(t.u8, 3), { type: 'longtext', charset: 'latin1', collation: 'latin1_bin' }, /latin1 lacks some characters/],
  [t.array(t.u8, 3), { type: 'text', ...text(UTF8MB4_BIN) }, /needs LONGTEXT or JSON/],
  [t.date, { type: 'datetime(3)' }, null],
  [t.date, { type: 'datetime(6)' }, null],
  [t.date, { type: 'datetime' }, /drops the milliseconds/],
  [t.date, { type: 'timestamp(3)' }, /need DATETIME\(3\)/],
  [t.date, { type: 'date' }, /need DATETIME\(3\)/],
  [t.date, { type: 'datetime(3)', extra: 'on update current_timestamp(3)' }, /changes it at every update/],
  [t.u8, { type: 'int', extra: 'VIRTUAL GENERATED' }, /MySQL computes it/],
  [t.u8, { type: 'int', extra: 'STORED GENERATED' }, /MySQL computes it/],
  [t.date, { type: 'datetime(3)', defaultText: 'now(3)', extra: 'DEFAULT_GENERATED' }, null],
  [t.u8, { type: 'int', extra: 'auto_increment' }, /AUTO_INCREMENT replaces a 0/],
  [t.nullable(t.u8), { type: 'int', nullable: 'YES' }, null],
  [t.nullable(t.u8), { type: 'int', nullable: 'NO' }, /does not allow NULL/],
  [t.u8, { type: 'int', nullable: 'YES' }, null],
]
interface ExistingColumn {
  type: string
  nullable: 'YES' | 'NO'
  defaultText: string | null
  charset: string
  collation: string
  extra: string
}
function text([charset, collation]: readonly [string, string]) {
  return { charset, collation }
}

function mismatchOf(definition: TableDefinition, name: string, existing: Partial<ExistingColumn>): string | null {
  const { type = '', nullable = 'NO', defaultText = null, charset = null, collation = null } = existing
  const cells = [name, type, nullable, defaultText, charset, collation, existing.extra ?? ''] as const
  const found = catalog('x', [cells], []).get('x')!
  return typeMismatch(definition, definition.columnByName.get(name)!, found.columns.get(name)!)
}

test('accepts a column of another program if it holds every value of the game', () => {
  for (const [type, existing, expected] of CASES) {
    const definition = defineTable('x', { id: t.id, value: type }, { key: 'id' })
    const mismatch = mismatchOf(definition, 'value', existing)
    const context = `${JSON.stringify(existing)}: ${mismatch}`
    if (expected === null) assert.equal(mismatch, null, context)
    else assert.match(mismatch ?? 'compatible', expected, context)
  }
})

test('requires of a key column that it distinguishes every text and can be indexed completely', () => {
  const keyed = defineTable('x', { uid: t.id, name: t.string(20) }, { key: ['uid', 'name'] })
  const unique = defineTable('x', { uid: t.id, name: t.string(20) }, { key: 'uid', unique: ['name'] })
  const by = defineTable('x', { uid: t.id, name: t.string(20) }, { key: 'uid', by: ['uid', 'name'] })
  const mood = defineTable('x', { uid: t.id, name: t.oneOf('a', 'b') }, { key: ['uid', 'name'] })
  const seal = defineTable('x', { uid: t.id, name: t.bytes(20) }, { key: ['uid', 'name'] })
  const collide = /utf8mb4_general_ci treats different keys as equal/
  const table: [TableDefinition, Partial<ExistingColumn>, RegExp | null][] = [
    [keyed, { type: 'varchar(20)', charset: U, collation: CI }, collide],
    [unique, { type: 'varchar(20)', charset: U, collation: CI }, collide],
    [by, { type: 'varchar(20)', charset: U, collation: CI }, null],
    [keyed, { type: 'varchar(20)', charset: U, collation: 'utf8mb4_0900_as_cs' }, /with _bin is needed/],
    [keyed, { type: 'varchar(20)', charset: U, collation: 'utf8mb4_0900_bin' }, null],
    [unique, { type: 'varchar(20)', nullable: 'YES', ...text(UTF8MB4_BIN) }, null],
    [keyed, { type: 'text', ...text(UTF8MB4_BIN) }, /cannot index a whole TEXT/],
    [by, { type: 'text', ...text(UTF8MB4_BIN) }, /cannot index a whole TEXT/],
    [mood, { type: "enum('a','b')", ...text(UTF8MB4_BIN) }, /needs VARCHAR or TEXT/],
    [seal, { type: 'blob' }, /cannot index a whole BLOB/],
  ]
  for (const [definition, existing, expected] of table) {
    const mismatch = mismatchOf(definition, 'name', existing)
    if (expected === null) assert.equal(mismatch, null)
    else assert.match(mismatch ?? 'compatible', expected)
  }
  const given = defineTable('x', { id: t.u32, uid: t.id }, { key: 'id', shardKey: 'uid' })
  const auto = defineTable('x', { id: t.u32, uid: t.id }, { key: 'id', shardKey: 'uid', ids: 'auto' })
  const existing = { type: 'int unsigned', extra: 'auto_increment' }
  assert.equal(mismatchOf(given, 'id', existing), "AUTO_INCREMENT needs ids: 'auto'")
  assert.equal(mismatchOf(auto, 'id', existing), null)
  assert.equal(mismatchOf(auto, 'id', { type: 'int unsigned' }), "ids: 'auto' needs AUTO_INCREMENT")
})
