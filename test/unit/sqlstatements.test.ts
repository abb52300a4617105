// SQL for MySQL: the exact statements for table definitions and row changes.

import assert from 'node:assert/strict'
import test from 'node:test'

import type { TableDefinition, TableOptions } from '../../core/game/table.ts'
import type { Row, RowChange, RowKey } from '../../core/ports/store.ts'
import type { SqlStatement, SqlValue } from '../../core/sql/client.ts'
import { selectPage, selectRow } from '../../core/sql/select.ts'
import {
  addColumn,
  clearUniqueValues,
  createTable,
  insertAutoIncrement,
  insertInto,
  rowWrites,
  splitStatements,
  type WriteStatement,
} from '../../core/sql/statements.ts'
import { assertField } from '../support/assertfield.ts'
import { t, type Fields } from '../../core/wire/type.ts'
import { defineTable } from '../support/tables.ts'

const TEXT = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
const define = <const C extends Fields>(columns: C, options: Omit<TableOptions<C>, 'owner'>) =>
  defineTable('items', columns, options)

const items = define(
  { id: t.id, uid: t.string(36), kind: t.u16, count: t.u32, gem: t.nullable(t.string(9)) },
  { key: 'id', by: ['uid'], unique: ['gem'] },
)
const bags = define({ uid: t.string(36), slot: t.u8, item: t.id }, { key: ['uid', 'slot'] })

const change = (op: RowChange['op'], table: TableDefinition, key: RowKey, values: Row = {}): RowChange => {
  return { table, op, key, values }
}
const writesOf = (...changes: RowChange[]): WriteStatement[] => rowWrites(changes, () => 0)

test('creates a table with the indexes for loading rows and for unique columns', () => {
  assert.deepEqual(createTable(items), [
    {
      sql: `CREATE TABLE \`items\` (
  \`id\` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  \`uid\` VARCHAR(36) ${TEXT} NOT NULL,
  \`kind\` SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  \`count\` INT UNSIGNED NOT NULL DEFAULT 0,
  \`gem\` VARCHAR(9) ${TEXT} NULL,
  PRIMARY KEY (\`id\`),
  KEY \`shard_uid\` (\`uid\`),
  UNIQUE KEY \`unique_gem\` (\`gem\`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
      params: [],
    },
  ])
  const columns = { uid: t.string(36), id: t.u64, guild: t.u32, name: t.string(20), from: t.string(20) }
  const options = { key: ['uid', 'id'], shardKey: 'uid', by: ['guild', 'from'], unique: ['name'], ids: 'auto' } as const
  const [{ sql }] = createTable(define(columns, options)) as [SqlStatement]
  assert.deepEqual(sql.split('\n').slice(1, -1), [
    `  \`uid\` VARCHAR(36) ${TEXT} NOT NULL,`,
    '  `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,',
    '  `guild` INT UNSIGNED NOT NULL DEFAULT 0,',
    `  \`name\` VARCHAR(20) ${TEXT} NULL,`,
    `  \`from\` VARCHAR(20) ${TEXT} NOT NULL DEFAULT '',`,
    '  PRIMARY KEY (`uid`, `id`),',
    '  KEY `auto_id` (`id`),',
    '  KEY `by_guild` (`uid`, `guild`),',
    '  KEY `by_from` (`uid`, `from`),',
    '  UNIQUE KEY `unique_name` (`name`)',
  ])
  const added = define(columns, options)
  assert.deepEqual(addColumn(added, added.columnByName.get('from')!), [
    {
      sql: `ALTER TABLE \`items\` ADD COLUMN \`from\` VARCHAR(20) ${TEXT} NOT NULL DEFAULT '', ADD KEY \`by_from\` (\`uid\`, \`from\`)`,
      params: [],
    },
  ])
})

const row = (id: string, gem: string | null = null): Row => ({ id, uid: 'u', kind: 1, count: 2, gem })
const INSERT = 'INSERT INTO `items` (`id`, `uid`, `kind`, `count`, `gem`) VALUES'
const CASES: [name: string, changes: RowChange[], ...[sql: string, params: SqlValue[], rows: number][]][] = [
  [
    'one insert',
    [change('insert', items, ['a'], row('a', '?'))],
    [`${INSERT} (?, ?, ?, ?, ?)`, ['a', 'u', 1, 2, '?'], 1],
  ],
  [
    'inserts, one of them by a version without two columns',
    [change('insert', items, ['a'], { id: 'a', uid: 'u', kind: 1 }), change('insert', items, ['b'], row('b'))],
    [`${INSERT} (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)`, ['a', 'u', 1, 0, null, 'b', 'u', 1, 2, null], 2],
  ],
  [
    'one update',
    [change('update', items, ['a'], { gem: null, count: 7 })],
    ['UPDATE `items` SET `count` = ?, `gem` = ? WHERE `id` = ?', [7, null, 'a'], 1],
  ],
  [
    'updates, grouped by their columns',
    [
      change('update', items, ['a'], { count: 1, kind: 2 }),
      change('update', items, ['b'], { count: 3 }),
      change('update', items, ['c'], { kind: 4, count: 5 }),
      change('update', items, ['d'], {}),
    ],
    [
      'UPDATE `items` SET `kind` = CASE WHEN `id` = ? THEN ? WHEN `id` = ? THEN ? ELSE `kind` END, ' +
        '`count` = CASE WHEN `id` = ? THEN ? WHEN `id` = ? THEN ? ELSE `count` END WHERE `id` IN (?, ?)',
      ['a', 2, 'c', 4, 'a', 1, 'c', 5, 'a', 'c'],
      2,
    ],
    ['UPDATE `items` SET `count` = ? WHERE `id` = ?', [3, 'b'], 1],
  ],
  [
    'updates by a composite key',
    [change('update', bags, ['u', 1], { item: 'x' }), change('update', bags, ['u', 2], { item: 'y' })],
    [
      'UPDATE `items` SET `item` = CASE WHEN `uid` = ? AND `slot` = ? THEN ? WHEN `uid` = ? AND `slot` = ? THEN ? ' +
        'ELSE `item` END WHERE (`uid` = ? AND `slot` = ?) OR (`uid` = ? AND `slot` = ?)',
      ['u', 1, 'x', 'u', 2, 'y', 'u', 1, 'u', 2],
      2,
    ],
  ],
  [
    'deletes before inserts, whatever the order',
    [change('insert', items, ['b'], row('b')), change('delete', items, ['b']), change('delete', items, ['a'])],
    ['DELETE FROM `items` WHERE `id` IN (?, ?)', ['b', 'a'], 2],
    [`${INSERT} (?, ?, ?, ?, ?)`, ['b', 'u', 1, 2, null], 1],
  ],
  [
    'deletes by a composite key',
    [change('delete', bags, ['u', 1]), change('delete', bags, ['u', 2])],
    ['DELETE FROM `items` WHERE (`uid` = ? AND `slot` = ?) OR (`uid` = ? AND `slot` = ?)', ['u', 1, 'u', 2], 2],
  ],
  ['changes of the Store alone', [change('store-put', items, ['a'], row('a')), change('store-delete', items, ['b'])]],
]
for (const [name, changes, ...expected] of CASES) {
  test(`builds the statements of ${name}`, () => {
    const writes = writesOf(...changes)
    const statements = writes.map(({ statement: { sql, params }, rows }) => [sql, params, rows])
    assert.deepEqual(statements, expected)
    for (const { statement, table, verb, mustFindAll } of writes) {
      assert.equal(table, 'items')
      assert.equal(mustFindAll, verb === 'update')
      assert.ok(statement.sql.toLowerCase().startsWith(verb))
      assert.equal(statement.sql.split('?').length - 1, statement.params.length)
      assert.doesNotMatch(statement.sql, /['"]/)
    }
  })
}

test('clears the unique values of rows whose unique values change', () => {
  const writes = clearUniqueValues([
    change('update', items, ['a'], { gem: 'y', count: 1 }),
    change('update', items, ['b'], { gem: null }),
    change('update', items, ['c'], { count: 1 }),
    change('insert', items, ['d'], row('d', 'x')),
    change('delete', items, ['e']),
  ])
  assert.deepEqual(writes, [
    {
      statement: {
        sql: 'UPDATE `items` SET `gem` = CASE WHEN `id` = ? THEN ? WHEN `id` = ? THEN ? ELSE `gem` END WHERE `id` IN (?, ?)',
        params: ['a', null, 'b', null, 'a', 'b'],
      },
      table: 'items',
      verb: 'update',
      rows: 2,
      mustFindAll: true,
    },
  ])
})

test('bounds statements in rows, in cells of an UPDATE, and in bytes', () => {
  const sizes = (op: 'insert' | 'update' | 'delete', count: number, values: Row): number[] =>
    writesOf(...Array.from({ length: count }, (_, i) => change(op, items, [`k${i}`], values))).map(({ rows }) => rows)
  assert.deepEqual(sizes('insert', 500, row('x')), [200, 200, 100])
  assert.deepEqual(sizes('delete', 200, {}), [200])
  assert.deepEqual(sizes('delete', 201, {}), [200, 1])
  assert.deepEqual(sizes('update', 500, { count: 1 }), [200, 200, 100])
  const names = Array.from({ length: 40 }, (_, i) => `c${i}`)
  const wide = define({ id: t.id, ...Object.fromEntries(names.map((name) => [name, t.u8])) }, { key: 'id' })
  const all = Object.fromEntries(names.map((name) => [name, 1]))
  const updates = Array.from({ length: 60 }, (_, i) => change('update', wide, [`k${i}`], all))
  assertField(writesOf(...updates), 'rows', [25, 25, 10])
  const blobs = define({ id: t.id, blob: t.bytes(2_000_000) }, { key: 'id' })
  const large = [100_000, 400_000, 20_000, 2_000_000, 1, 524_000].map((size, i) => {
    const id = `k${i}`
    return change('insert', blobs, [id], { id, blob: new Uint8Array(size) })
  })
  assertField(writesOf(...large), 'rows', [3, 1, 2])
})

test('inserts parents first and deletes them last', () => {
  const named = (name: string) => defineTable(name, { id: t.id }, { key: 'id' })
  const [guilds, members] = [named('guilds'), named('members')]
  const changes = [members, guilds].flatMap((table) => [
    change('insert', table, ['a'], { id: 'a' }),
    change('delete', table, ['b']),
  ])
  const writes = rowWrites(changes, (table) => [guilds, members].indexOf(table))
  const verbs = writes.map(({ verb, table }) => `${verb} ${table}`)
  assert.deepEqual(verbs, ['delete members', 'delete guilds', 'insert guilds', 'insert members'])
})

test('selects a page after a key, column by column', () => {
  const page = (table: TableDefinition, after: RowKey | null) => {
    const { sql, params } = selectPage(table, 'u', after, 50)
    return [sql.replace(/^SELECT .* WHERE /, ''), params]
  }
  const places = define(
    { place: t.u8, uid: t.id, x: t.u8, worth: t.decimal(9, 2) },
    { key: ['place', 'uid', 'x', 'worth'], shardKey: 'uid' },
  )
  assert.deepEqual(page(items, null), ['`uid` = ? ORDER BY `id` LIMIT ?', ['u', 50]])
  assert.deepEqual(page(items, ['a']), ['`uid` = ? AND ((`id` > ?)) ORDER BY `id` LIMIT ?', ['u', 'a', 50]])
  assert.deepEqual(page(bags, ['u', 7]), ['`uid` = ? AND ((`slot` > ?)) ORDER BY `slot` LIMIT ?', ['u', 7, 50]])
  assert.deepEqual(page(places, [1, 'u', 2, '3.00']), [
    '`uid` = ? AND ((`place` > ?) OR (`place` = ? AND `x` > ?) OR ' +
      '(`place` = ? AND `x` = ? AND `worth` > CAST(? AS DECIMAL(9, 2)))) ORDER BY `place`, `x`, `worth` LIMIT ?',
    ['u', 1, 1, 2, 1, 2, '3.00', 50],
  ])
  assert.deepEqual(selectRow(bags, ['u', 7]), {
    sql: 'SELECT `uid`, `slot`, `item` FROM `items` WHERE `uid` = ? AND `slot` = ?',
    params: ['u', 7],
  })
})

test('omits the AUTO_INCREMENT column of an insert that reserves an id', () => {
  const auto = define({ uid: t.id, id: t.u32, text: t.string(9) }, { key: ['uid', 'id'], ids: 'auto' })
  const { statement } = insertAutoIncrement(auto, { uid: 'u', id: 0, text: 'x' })
  assert.deepEqual(statement, { sql: 'INSERT INTO `items` (`uid`, `text`) VALUES (?, ?)', params: ['u', 'x'] })
})

test('rejects a key that ends in a space, and an invalid identifier', () => {
  const refused = { kind: 'refused', message: /^table items: uid: the key "bob " ends in a space/ }
  const bob = { uid: 'bob ', slot: 1, item: 'x' }
  for (const op of ['insert', 'update', 'delete'] as const)
    assert.throws(() => writesOf(change(op, bags, ['bob ', 1], bob)), refused)
  assert.throws(() => writesOf(change('insert', items, ['a'], { ...row('a'), uid: 'bob ' })), refused)
  assert.throws(() => selectRow(bags, ['bob ', 1]), refused)
  assert.throws(() => selectPage(items, 'bob ', null, 1), refused)
  assert.throws(() => insertInto('a`b', ['c'], [[1]]), RangeError)
})

test('splits a SQL file at semicolons at the end of a line', () => {
  const file = '-- one; two\nCREATE TABLE a (\n  b INT -- not; here\n);\r\n  -- more\n\nSELECT 1;  \nSELECT 2\n;\n'
  assert.deepEqual(splitStatements(file), ['CREATE TABLE a (\n  b INT -- not; here\n)', 'SELECT 1', 'SELECT 2'])
  assert.deepEqual(splitStatements('SELECT 1'), ['SELECT 1'])
  assert.deepEqual(splitStatements('-- nothing\n'), [])
})
