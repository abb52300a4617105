// Rows of information_schema for the tests of migrations: written by hand, and those of one table on each server.

import { catalogOf, type Catalog, type CatalogRow } from '../../core/sql/catalog.ts'
import { t } from '../../core/wire/type.ts'
import { defineTable } from '../support/tables.ts'

export const MARIA = '10.11.19-MariaDB-0+deb12u1'
export const MYSQL = '8.0.40'
export const VITESS = '8.0.34-Vitess'

/** A column: name, type, nullable, default, charset, collation, extra. */
export type Column = readonly [
  string,
  string,
  'YES' | 'NO',
  (string | null)?,
  (string | null)?,
  (string | null)?,
  string?,
]
/** An index: name, non_unique, column, sub_part. */
export type Index = readonly [string, '0' | '1', string | null, (string | null)?]
export function catalog(
  name: string,
  columns: readonly Column[],
  indexes: readonly Index[],
  version = MARIA,
  engine: string | null = 'InnoDB',
): Catalog {
  return catalogOf(
    [[name, engine, '7', version]],
    columns.map(([column, type, nullable, defaultText, charset, collation, extra]): CatalogRow => [
      name,
      column,
      type,
      nullable,
      defaultText ?? null,
      charset ?? null,
      collation ?? null,
      extra ?? '',
    ]),
    indexes.map(([index, nonUnique, column, prefix]): CatalogRow => [
      name,
      index,
      nonUnique,
      column,
      prefix ?? null,
      'BTREE',
    ]),
  )
}

export const UTF8MB4_BIN = ['utf8mb4', 'utf8mb4_bin'] as const
export const pets = defineTable(
  'pets',
  {
    id: t.id,
    uid: t.string(20),
    level: t.u16,
    xp: t.u64,
    worth: t.decimal(10, 2),
    name: t.string(20),
    nick: t.nullable(t.string(20)),
    tags: t.array(t.u8, 3),
    seal: t.bytes(4),
    born: t.date,
    wild: t.bool,
    speed: t.f64,
  },
  {
    key: 'id',
    by: ['uid', 'level'],
    unique: ['name'],
    defaults: { level: 1, worth: '1.5', nick: "it's\n😀", seal: Uint8Array.of(0, 255), speed: -1.5e-7 },
  },
)
export const PETS_INDEXES: readonly Index[] = [
  ['PRIMARY', '0', 'id'],
  ['shard_uid', '1', 'uid'],
  ['by_level', '1', 'uid'],
  ['by_level', '1', 'level'],
  ['unique_name', '0', 'name'],
]
const PETS_ON_MYSQL: readonly Column[] = [
  ['id', 'varchar(64)', 'NO', null, 'ascii', 'ascii_bin'],
  ['uid', 'varchar(20)', 'NO', null, ...UTF8MB4_BIN],
  ['level', 'smallint unsigned', 'NO', '1'],
  ['xp', 'bigint unsigned', 'NO', '0'],
  ['worth', 'decimal(10,2)', 'NO', '1.50'],
  ['name', 'varchar(20)', 'YES', null, ...UTF8MB4_BIN],
  ['nick', 'varchar(20)', 'YES', "it's\n?", ...UTF8MB4_BIN],
  ['tags', 'longtext', 'YES', null, ...UTF8MB4_BIN],
  ['seal', 'varbinary(4)', 'NO', '0x00FF'],
  ['born', 'datetime(3)', 'NO', '1970-01-01 00:00:00.000'],
  ['wild', 'tinyint(1)', 'NO', '0'],
  ['speed', 'double', 'NO', '-0.00000015'],
]
/** The columns of the table that createTable creates, as each server shows them. */
export const PETS: Readonly<Record<string, readonly Column[]>> = {
  [MARIA]: [
    ['id', 'varchar(64)', 'NO', null, 'ascii', 'ascii_bin'],
    ['uid', 'varchar(20)', 'NO', null, ...UTF8MB4_BIN],
    ['level', 'smallint(5) unsigned', 'NO', '1'],
    ['xp', 'bigint(20) unsigned', 'NO', '0'],
    ['worth', 'decimal(10,2)', 'NO', '1.50'],
    ['name', 'varchar(20)', 'YES', 'NULL', ...UTF8MB4_BIN],
    ['nick', 'varchar(20)', 'YES', "'it''s\\n?'", ...UTF8MB4_BIN],
    ['tags', 'longtext', 'YES', 'NULL', ...UTF8MB4_BIN],
    ['seal', 'varbinary(4)', 'NO', "'\\0?'"],
    ['born', 'datetime(3)', 'NO', "'1970-01-01 00:00:00.000'"],
    ['wild', 'tinyint(1)', 'NO', '0'],
    ['speed', 'double', 'NO', '-0.00000015'],
  ],
  [MYSQL]: PETS_ON_MYSQL,
  [VITESS]: PETS_ON_MYSQL,
}
