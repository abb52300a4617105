// Comparison of a table of the game with a table of information_schema, in the notation of each server.

import assert from 'node:assert/strict'
import test from 'node:test'

import { describeColumn, compareTable } from '../../core/migrate/compare.ts'
import { describeDifference } from '../../core/migrate/migrations.ts'
import { t } from '../../core/wire/type.ts'
import {
  UTF8MB4_BIN,
  catalog,
  MARIA,
  MYSQL,
  pets,
  PETS,
  PETS_INDEXES,
  VITESS,
  type Column,
  type Index,
} from './informationschema.ts'
import { defineTable } from '../support/tables.ts'
import { assertField } from '../support/assertfield.ts'

for (const version of [MARIA, MYSQL, VITESS]) {
  const foundWith = (columns: readonly Column[], indexes = PETS_INDEXES) =>
    catalog('pets', columns, indexes, version).get('pets')!

  test(`${version}: finds no difference in a table that Firefly created`, () => {
    const { drift, missingColumns, missingIndexes } = compareTable(pets, foundWith(PETS[version]!), 'exact')
    assert.deepEqual([drift.map(describeDifference), missingColumns, missingIndexes], [[], [], []])
  })

  test(`${version}: reports a single changed property of a column as drift`, () => {
    const changes: readonly Column[] = [
      ['id', 'varchar(64)', 'NO', null, 'utf8mb4', 'utf8mb4_bin'],
      ['uid', 'varchar(20)', 'NO', null, 'utf8mb4', 'utf8mb4_general_ci'],
      ['level', 'smallint', 'NO', '1'],
      ['level', 'smallint unsigned', 'YES', '1'],
      ['level', 'smallint unsigned', 'NO', '2'],
      ['level', 'smallint unsigned', 'NO', null],
      ['xp', 'bigint(20)', 'NO', '0'],
      ['worth', 'decimal(10,3)', 'NO', '1.500'],
      ['worth', 'decimal(10,2)', 'NO', '1.51'],
      ['name', 'varchar(21)', 'YES', null, ...UTF8MB4_BIN],
      ['name', 'varchar(20)', 'NO', null, ...UTF8MB4_BIN],
      ['nick', 'varchar(20)', 'YES', "it's", ...UTF8MB4_BIN],
      ['tags', 'json', 'YES', null],
      ['seal', 'varbinary(5)', 'NO', '0x00FF'],
      ['born', 'datetime', 'NO', '1970-01-01 00:00:00'],
      ['born', 'datetime(3)', 'NO', 'current_timestamp(3)', null, null, 'DEFAULT_GENERATED'],
      ['wild', 'tinyint(1)', 'NO', '1'],
      ['speed', 'double', 'NO', '0'],
      ['speed', 'float', 'NO', '-0.00000015'],
      ['id', 'varchar(64)', 'NO', null, 'ascii', 'ascii_bin', 'auto_increment'],
      ['born', 'datetime(3)', 'NO', '1970-01-01 00:00:00.000', null, null, 'on update CURRENT_TIMESTAMP(3)'],
      ['level', 'smallint unsigned', 'NO', '1', null, null, 'STORED GENERATED'],
    ]
    for (const change of changes) {
      const columns = PETS[version]!.map((column) => (column[0] === change[0] ? change : column))
      const { drift } = compareTable(pets, foundWith(columns), 'exact')
      const driftColumns = drift.map(({ column }) => column)
      assert.deepEqual(driftColumns, [change[0]], change.join())
    }
  })
}

test('reads defaults of any text from both dialects', () => {
  const texts = ['', "'", "''", '\\', '\\n', '\n\r\t\0\b\u001a', 'NULL', '5', "x'41'", 'ü', '?', '"`;-- ', ' ']
  const mariadb = (text: string): string => `'${Array.from(text, (c) => ESCAPED[c] ?? c).join('')}'`
  const ESCAPED: Readonly<Record<string, string>> = {
    "'": "''",
    '\\': '\\\\',
    '\n': '\\n',
    '\r': '\\r',
    '\t': '\\t',
    '\0': '\\0',
    '\b': '\\b',
    '\u001a': '\\Z',
  }
  for (const text of texts) {
    for (const [version, shown] of [
      [MARIA, mariadb(text)],
      [MYSQL, text],
    ] as const) {
      const found = catalog('x', [['a', 'varchar(20)', 'NO', shown, ...UTF8MB4_BIN]], [], version).get('x')!
      assert.equal(found.columns.get('a')!.defaultText, text)
    }
  }
})

test('classifies foreign keys, indexes and columns as drift, missing or acceptable', () => {
  const definition = defineTable(
    'x',
    { uid: t.id, n: t.u8, name: t.string(9) },
    { key: ['uid', 'n'], by: ['uid', 'name'], unique: ['name'] },
  )
  const columns: readonly Column[] = [
    ['uid', 'varchar(64)', 'NO', null, 'ascii', 'ascii_bin'],
    ['n', 'tinyint unsigned', 'NO', null],
    ['name', 'varchar(9)', 'YES', 'NULL', ...UTF8MB4_BIN],
  ]
  const key: readonly Index[] = [
    ['PRIMARY', '0', 'uid'],
    ['PRIMARY', '0', 'n'],
  ]
  const both: readonly Index[] = [
    ['by_name', '1', 'uid'],
    ['by_name', '1', 'name'],
    ['unique_name', '0', 'name'],
  ]
  const table: [
    name: string,
    columns: readonly Column[],
    indexes: readonly Index[],
    drift: RegExp[],
    missing: string[],
  ][] = [
    ['all', [], [...key, ...both], [], []],
    ['no indexes', [], key, [], ['by_name', 'unique_name']],
    [
      'other names, and more columns',
      [],
      [...key, ['a', '1', 'uid'], ['a', '1', 'name'], ['a', '1', 'n'], ['b', '0', 'name']],
      [],
      [],
    ],
    ['a prefix', [], [...key, ['a', '1', 'uid'], ['a', '1', 'name', '3'], ['b', '0', 'name']], [], ['by_name']],
    [
      'not unique',
      [],
      [...key, ['by_name', '1', 'uid'], ['by_name', '1', 'name'], ['b', '1', 'name']],
      [],
      ['unique_name'],
    ],
    [
      'a name that is taken',
      [],
      [...key, ['by_name', '1', 'n'], ['b', '0', 'name']],
      [/found KEY by_name \(n\)/],
      ['by_name'],
    ],
    [
      'another key',
      [],
      [['PRIMARY', '0', 'n'], ...both],
      [/found PRIMARY KEY \(n\), expected PRIMARY KEY \(uid, n\)/],
      [],
    ],
    [
      'a key of a prefix',
      [],
      [['PRIMARY', '0', 'uid', '9'], ['PRIMARY', '0', 'n'], ...both],
      [/no primary key of whole/],
      [],
    ],
    [
      'the key in reverse order',
      [],
      [['PRIMARY', '0', 'n'], ['PRIMARY', '0', 'uid'], ...both],
      [/PRIMARY KEY \(n, uid\)/],
      [],
    ],
    [
      'a unique of another program',
      [],
      [...key, ...both, ['u', '0', 'n']],
      [/found UNIQUE KEY u \(n\),.*declare unique: \['n'\]/],
      [],
    ],
    ['a unique expression', [], [...key, ...both, ['u', '0', null]], [/UNIQUE KEY u \(an expression\)/], []],
    ['a unique that follows from the key', [], [...key, ...both, ['u', '0', 'n'], ['u', '0', 'uid']], [], []],
    ['a unique that follows from the game', [], [...key, ...both, ['u', '0', 'n'], ['u', '0', 'name']], [], []],
    [
      'a unique of a later version, in which this version writes NULL',
      [['later', 'int(11)', 'YES', 'NULL']],
      [...key, ...both, ['u', '0', 'n'], ['u', '0', 'later']],
      [],
      [],
    ],
    [
      'a generated unique column',
      [['later', 'int(11)', 'YES', 'NULL', null, null, 'STORED GENERATED']],
      [...key, ...both, ['u', '0', 'later']],
      [/UNIQUE KEY u \(later\)/],
      [],
    ],
    [
      'a unique column with a default, which fits one row only',
      [['later', 'int(11)', 'YES', '5']],
      [...key, ...both, ['u', '0', 'later']],
      [/UNIQUE KEY u \(later\)/],
      [],
    ],
    [
      'a unique prefix that does not follow from the key',
      [],
      [...key, ...both, ['u', '0', 'n'], ['u', '0', 'uid', '2']],
      [/UNIQUE KEY u/],
      [],
    ],
    ['an additional column', [['more', 'int', 'YES', 'NULL']], [...key, ...both], [], []],
    ['an additional column with a default', [['more', 'int', 'NO', '5']], [...key, ...both], [], []],
    [
      'an additional generated column',
      [['more', 'int', 'NO', null, null, null, 'STORED GENERATED']],
      [...key, ...both],
      [],
      [],
    ],
    [
      'an additional column that inserts would have to set',
      [['more', 'int(11)', 'NO', null]],
      [...key, ...both],
      [/column more: found int NOT NULL/],
      [],
    ],
  ]
  for (const strictness of ['exact', 'compatible'] as const)
    for (const [name, more, indexes, drift, missing] of table) {
      const found = catalog('x', [...columns, ...more], indexes).get('x')!
      const comparison = compareTable(definition, found, strictness)
      const described = comparison.drift.map(describeDifference)
      assert.equal(described.length, drift.length, `${name}: ${described.join()}`)
      for (const [i, line] of described.entries()) assert.match(line, drift[i]!, name)
      const names = comparison.missingIndexes.map((index) => index.name)
      assert.deepEqual(names, missing, name)
    }
  const view = compareTable(definition, catalog('x', columns, [], MARIA, null).get('x')!, 'compatible')
  assertField(view.drift, 'actual', ['a view'])
  const isam = compareTable(
    definition,
    catalog('x', columns, [...key, ...both], MARIA, 'MyISAM').get('x')!,
    'compatible',
  )
  assertField(isam.drift, 'actual', ['ENGINE=MyISAM'])
  const otherCase = columns.map((column): Column =>
    column[0] === 'name' ? ['Name', 'varchar(9)', 'YES', 'NULL', ...UTF8MB4_BIN] : column,
  )
  const { drift } = compareTable(definition, catalog('x', otherCase, [...key, ...both]).get('x')!, 'compatible')
  assert.match(
    drift.map(describeDifference).join(),
    /column name: found Name varchar\(9\).*rename the game's column to Name/,
  )
})

test('describes the existing columns of every server in one form', () => {
  const found = catalog(
    'x',
    [
      ['a', 'int(10) unsigned', 'NO', null, null, null, 'auto_increment'],
      ['b', 'varchar(9)', 'YES', "'it''s'", ...UTF8MB4_BIN],
      ['c', "enum('A','b')", 'NO', 'NULL', 'latin1', 'latin1_bin'],
      ['d', 'timestamp', 'NO', 'current_timestamp()', null, null, 'on update current_timestamp()'],
      ['e', 'int(11)', 'YES', 'NULL', null, null, 'VIRTUAL GENERATED'],
    ],
    [],
  ).get('x')!
  assert.deepEqual([...found.columns.values()].map(describeColumn), [
    'int unsigned NOT NULL AUTO_INCREMENT',
    'varchar(9) COLLATE utf8mb4_bin NULL DEFAULT "it\'s"',
    "enum('A','b') COLLATE latin1_bin NOT NULL",
    'timestamp NOT NULL DEFAULT "current_timestamp()" ON UPDATE CURRENT_TIMESTAMP',
    'int NULL GENERATED',
  ])
})
