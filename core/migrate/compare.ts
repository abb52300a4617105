// One table of the game beside the table that is there: what can be added online, and what nobody but an operator may
// change. Invariant: nothing is ever dropped and no type changes; only columns and indexes that are missing are added.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { FoundColumn, FoundTable } from '../sql/catalog.ts'
import type { SqlStatement } from '../sql/client.ts'
import { columnClause, decodeColumn, encodeColumn } from '../sql/columns.ts'
import { typeMismatch } from './compatibility.ts'
import { createTable } from '../sql/statements.ts'

/** Something that is not as wanted and that Firefly does not change. */
export interface SchemaDifference {
  readonly table: string
  /** Null when it is about the whole table. */
  readonly column: string | null
  readonly actual: string
  readonly expected: string
  /** For the operator. */
  readonly advice: string
}

export interface TableComparison {
  readonly drift: readonly SchemaDifference[]
  readonly missingColumns: readonly ColumnDefinition[]
  readonly missingIndexes: readonly ExpectedIndex[]
}

export interface ExpectedIndex {
  readonly name: string
  readonly isUnique: boolean
  readonly columns: readonly string[]
  /** As in ALTER TABLE … ADD. */
  readonly clause: string
}

/** Columns of a table that Firefly made are `exact`; those of an adopted one must `fit` every value of the game. */
export function compareTable(
  table: TableDefinition,
  found: FoundTable,
  strictness: 'exact' | 'fit',
): TableComparison {
  const drift = [...tableDrift(table, found)]
  if (found.engine === null) return { drift, missingColumns: [], missingIndexes: [] }
  const missing: ColumnDefinition[] = []
  for (const column of table.columns) {
    const foundColumn = found.columns.get(column.name.toLowerCase())
    if (!foundColumn && !isKeyColumn(table, column)) missing.push(column)
    else drift.push(...columnDrift(table, column, foundColumn, strictness))
  }
  for (const foundColumn of found.columns.values()) drift.push(...unknownColumnDrift(table, foundColumn))
  const indexes = expectedIndexes(table).filter((expected) => !hasMatchingIndex(expected, found))
  for (const expected of indexes) drift.push(...indexNameDrift(table, expected, found))
  drift.push(...unknownUniqueDrift(table, found))
  const isMissing = (name: string): boolean => missing.some((column) => column.name === name)
  // The others come with their column.
  return {
    drift,
    missingColumns: missing,
    missingIndexes: indexes.filter(({ columns }) => !columns.some(isMissing)),
  }
}

export function addIndex({ name }: TableDefinition, { clause }: ExpectedIndex): SqlStatement {
  return { sql: `ALTER TABLE \`${name}\` ADD ${clause}`, params: [] }
}

/** In words, such as `int unsigned NULL DEFAULT 5`. */
export function describeColumn(found: FoundColumn): string {
  const {
    type,
    collation,
    nullable,
    defaultText: fallback,
    isAutoIncrement: isAuto,
    isGenerated,
    hasOnUpdate: isTouched,
  } = found
  return [
    // The values of an ENUM may hold a new line, which would end a comment.
    type.replace(/\p{Cc}/gu, ' '),
    ...(collation === null ? [] : [`COLLATE ${collation}`]),
    nullable ? 'NULL' : 'NOT NULL',
    ...(fallback === null ? [] : [`DEFAULT ${JSON.stringify(fallback)}`]),
    ...(isAuto ? ['AUTO_INCREMENT'] : []),
    ...(isGenerated ? ['GENERATED'] : []),
    ...(isTouched ? ['ON UPDATE CURRENT_TIMESTAMP'] : []),
  ].join(' ')
}

/** What CREATE TABLE says of them is what is wanted. */
function expectedIndexes(table: TableDefinition): ExpectedIndex[] {
  const [create] = createTable(table)
  return [...create!.sql.matchAll(/^ +((UNIQUE )?KEY `(\w+)` \((.*)\)),?$/gm)].map(
    ([, clause, unique, name, columns]) => ({
      name: name!,
      isUnique: unique !== undefined,
      columns: columns!.split(', ').map((column) => column.slice(1, -1)),
      clause: clause!,
    }),
  )
}

function* tableDrift(
  { name, key }: TableDefinition,
  { engine, primaryKey: foundKey }: FoundTable,
): Iterable<SchemaDifference> {
  const about = { table: name, column: null }
  if (engine === null) {
    const advice = 'rename the table in the game, or put a table in the place of the view'
    yield { ...about, actual: 'a view', expected: 'a table', advice }
    return
  }
  if (engine.toLowerCase() !== 'innodb') {
    const advice = `${engine} has no transactions; by hand: ALTER TABLE \`${name}\` ENGINE=InnoDB`
    yield { ...about, actual: `ENGINE=${engine}`, expected: 'ENGINE=InnoDB', advice }
  }
  const expectedKey = key.map((column) => column.name)
  if (expectedKey.join().toLowerCase() !== foundKey.join().toLowerCase()) {
    const advice = 'a key never changes: give the game the key that is there, or move the rows to a new table'
    yield {
      ...about,
      actual:
        foundKey.length === 0 ? 'no primary key of whole columns' : `PRIMARY KEY (${foundKey.join(', ')})`,
      expected: `PRIMARY KEY (${expectedKey.join(', ')})`,
      advice,
    }
  }
}

function* columnDrift(
  table: TableDefinition,
  column: ColumnDefinition,
  found: FoundColumn | undefined,
  strictness: 'exact' | 'fit',
): Iterable<SchemaDifference> {
  const { name } = column
  const clause = columnClause(table, column)
  const about = { table: table.name, column: name, expected: clause }
  if (!found) {
    const advice =
      'the rows that are there have no value for it: add and fill it by hand, or use another table'
    yield { ...about, actual: 'no such column', advice }
    return
  }
  const actual = describeColumn(found)
  const modify = `by hand: ALTER TABLE \`${table.name}\` MODIFY COLUMN \`${name}\` ${clause}`
  if (found.name !== name) {
    const advice = `give the game's column the name ${found.name}`
    yield { ...about, actual: `${found.name} ${actual}`, advice }
  } else if (strictness === 'fit') {
    const why = typeMismatch(table, column, found)
    if (why !== null) yield { ...about, actual, advice: `${why}; change the game's column, or ${modify}` }
  } else if (!matchesExactly(table, column, found, clause)) {
    const advice = `give the game's column back what is there, or look at the values and do it ${modify}`
    yield { ...about, actual, advice }
  }
}

const COLUMN_CLAUSE =
  /^(.+?)(?: CHARACTER SET (\w+) COLLATE (\w+))? (NOT NULL|NULL)( AUTO_INCREMENT)?(?: DEFAULT (.+))?$/s

function matchesExactly(
  table: TableDefinition,
  column: ColumnDefinition,
  found: FoundColumn,
  clause: string,
): boolean {
  const [, type, charset, collation, nullable, auto, fallback] = COLUMN_CLAUSE.exec(clause)!
  if (found.isGenerated || found.hasOnUpdate || found.isAutoIncrement !== (auto !== undefined)) return false
  if (found.type !== type!.toLowerCase().replace('tinyint(1)', 'tinyint').replace(', ', ',')) return false
  if (found.nullable !== (nullable === 'NULL')) return false
  // JSON of MySQL has neither, but it is not our type.
  if (charset !== undefined && (found.charset !== charset || found.collation !== collation)) return false
  if (fallback === undefined || fallback === 'NULL') return found.defaultText === null
  return found.defaultText !== null && isSameDefault(table, column, found.defaultText)
}

/** Is this text of information_schema the column's default? */
function isSameDefault(table: TableDefinition, column: ColumnDefinition, text: string): boolean {
  const expected = encodeColumn(column, column.defaultValue)
  // Each server writes bytes in its own way, and MariaDB not all of them; our own inserts name every column anyway.
  if (column.kind === 'bytes') return true
  if (column.kind === 'text') return asCatalogText(String(expected)) === text
  try {
    // Through the column's type, because `1.5`, `1.50` and `15e-1` are one.
    const canonical = (raw: string): unknown => encodeColumn(column, decodeColumn(table, column, raw))
    return canonical(text) === canonical(String(expected))
  } catch {
    return false
  }
}

/** information_schema has three bytes for a character. */
function asCatalogText(text: string): string {
  return text.replace(/[\u{10000}-\u{10ffff}]/gu, '?')
}

/** A column of another program in the way of our inserts. */
function* unknownColumnDrift(table: TableDefinition, found: FoundColumn): Iterable<SchemaDifference> {
  const { name, nullable, defaultText: fallback, isAutoIncrement: isAuto, isGenerated } = found
  if (nullable || fallback !== null || isAuto || isGenerated) return
  if (table.columns.some((column) => column.name.toLowerCase() === name.toLowerCase())) return
  yield {
    table: table.name,
    column: name,
    actual: describeColumn(found),
    expected: 'no such column, or one that an INSERT may leave out',
    advice: 'the game does not know it: declare it there, or let it be NULL or have a DEFAULT',
  }
}

/** A UNIQUE of which the game knows nothing would refuse rows that the game has acknowledged. */
function* unknownUniqueDrift(table: TableDefinition, found: FoundTable): Iterable<SchemaDifference> {
  const known = [table.key, ...table.unique.map((column) => [column])]
  for (const { name, isUnique, isPlainBtree: isWhole, columns } of found.indexes) {
    const isImplied = known.some((list) => list.every((column) => columns.includes(column.name)))
    if (!isUnique || (isImplied && isWhole) || columns.some((column) => isAlwaysNull(table, found, column)))
      continue
    const declare =
      columns.length === 1 && isWhole ? `declare unique: ['${columns[0]}'] in the game, or ` : ''
    yield {
      table: table.name,
      column: null,
      actual: `UNIQUE KEY ${name} (${columns.map((column) => column || 'an expression').join(', ')})`,
      expected: 'no such rule',
      advice: `${declare}by hand: ALTER TABLE \`${table.name}\` DROP INDEX \`${name}\``,
    }
  }
}

/** Such as the unique column of a later version: our rows have NULL in it, and NULLs are never duplicates. */
function isAlwaysNull(table: TableDefinition, found: FoundTable, name: string): boolean {
  const foundColumn = found.columns.get(name.toLowerCase())
  if (!foundColumn || table.columnByName.has(foundColumn.name)) return false
  return (
    foundColumn.nullable &&
    foundColumn.defaultText === null &&
    !foundColumn.isGenerated &&
    !foundColumn.isAutoIncrement
  )
}

function* indexNameDrift(
  table: TableDefinition,
  expected: ExpectedIndex,
  found: FoundTable,
): Iterable<SchemaDifference> {
  const other = found.indexes.find(({ name }) => name.toLowerCase() === expected.name.toLowerCase())
  if (!other) return
  yield {
    table: table.name,
    column: null,
    actual: `${other.isUnique ? 'UNIQUE ' : ''}KEY ${other.name} (${other.columns.join(', ')})`,
    expected: expected.clause,
    advice: `another index has its name; by hand: ALTER TABLE \`${table.name}\` DROP INDEX \`${other.name}\``,
  }
}

/** Whatever its name: an index that begins with the wanted columns finds them. */
function hasMatchingIndex(expected: ExpectedIndex, { primaryKey: key, indexes }: FoundTable): boolean {
  const all = [...indexes, { columns: key, isUnique: true, isPlainBtree: true }]
  return all.some(({ columns, isUnique, isPlainBtree }) => {
    if (!isPlainBtree || !expected.columns.every((column, i) => column === columns[i])) return false
    return !expected.isUnique || (isUnique && columns.length === expected.columns.length)
  })
}

/** Rows cannot be without it. */
function isKeyColumn({ key, shardKey }: TableDefinition, column: ColumnDefinition): boolean {
  return key.includes(column) || column === shardKey
}
