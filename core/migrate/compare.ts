// Compares a table of the game with the existing table: which columns and indexes can be added online, and which
// differences only an operator may resolve. Invariant: nothing is dropped and no type is changed.

import { indexesOf } from '../game/storage.ts'
import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { FoundColumn, FoundTable } from '../sql/catalog.ts'
import type { SqlStatement } from '../sql/client.ts'
import { columnClause, columnDeclaration, decodeColumn, encodeColumn, isKeyColumn } from '../sql/columns.ts'
import { indexClause } from '../sql/statements.ts'
import { typeMismatch } from './compatibility.ts'

/** A difference that Firefly does not change. */
export interface SchemaDifference {
  readonly table: string
  /** null = the whole table. */
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
  /** The clause of ALTER TABLE … ADD. */
  readonly clause: string
}

/**
 * 'exact': a table that Firefly created must have the declared columns. 'compatible': the columns of an adopted table
 * must hold every value of the game.
 */
export type Strictness = 'exact' | 'compatible'

export function compareTable(table: TableDefinition, found: FoundTable, strictness: Strictness): TableComparison {
  const drift = [...tableDrift(table, found)]
  if (found.engine === null) return { drift, missingColumns: [], missingIndexes: [] }
  const missingColumns: ColumnDefinition[] = []
  for (const column of table.columns) {
    const foundColumn = found.columns.get(column.name.toLowerCase())
    if (!foundColumn && !isKeyColumn(table, column)) missingColumns.push(column)
    else drift.push(...columnDrift(table, column, foundColumn, strictness))
  }
  for (const foundColumn of found.columns.values()) drift.push(...unknownColumnDrift(table, foundColumn))
  const unmatchedIndexes = expectedIndexes(table).filter((expected) => !hasMatchingIndex(expected, found))
  for (const expected of unmatchedIndexes) drift.push(...indexNameDrift(table, expected, found))
  drift.push(...unknownUniqueDrift(table, found))
  const isMissing = (name: string): boolean => missingColumns.some((column) => column.name === name)
  // addColumn adds the indexes of a missing column.
  const missingIndexes = unmatchedIndexes.filter(({ columns }) => !columns.some(isMissing))
  return { drift, missingColumns, missingIndexes }
}

export function addIndex({ name }: TableDefinition, { clause }: ExpectedIndex): SqlStatement {
  return { sql: `ALTER TABLE \`${name}\` ADD ${clause}`, params: [] }
}

/** The existing column as text, such as `int unsigned NULL DEFAULT 5`. */
export function describeColumn(found: FoundColumn): string {
  const { type, collation, nullable, defaultText, isAutoIncrement, isGenerated, hasOnUpdate } = found
  return [
    // The values of an ENUM may contain a line end, which would end a SQL comment.
    type.replace(/\p{Cc}/gu, ' '),
    ...(collation === null ? [] : [`COLLATE ${collation}`]),
    nullable ? 'NULL' : 'NOT NULL',
    ...(defaultText === null ? [] : [`DEFAULT ${JSON.stringify(defaultText)}`]),
    ...(isAutoIncrement ? ['AUTO_INCREMENT'] : []),
    ...(isGenerated ? ['GENERATED'] : []),
    ...(hasOnUpdate ? ['ON UPDATE CURRENT_TIMESTAMP'] : []),
  ].join(' ')
}

function expectedIndexes(table: TableDefinition): ExpectedIndex[] {
  return indexesOf(table).map((index) => ({
    name: index.name,
    isUnique: index.isUnique,
    columns: index.columns.map(({ name }) => name),
    clause: indexClause(index),
  }))
}

function* tableDrift(
  { name, key }: TableDefinition,
  { engine, primaryKey: foundKey }: FoundTable,
): Iterable<SchemaDifference> {
  const about = { table: name, column: null }
  if (engine === null) {
    const advice = 'rename the table in the game, or replace the view by a table'
    yield { ...about, actual: 'a view', expected: 'a table', advice }
    return
  }
  if (engine.toLowerCase() !== 'innodb') {
    const advice = `${engine} has no transactions; by hand: ALTER TABLE \`${name}\` ENGINE=InnoDB`
    yield { ...about, actual: `ENGINE=${engine}`, expected: 'ENGINE=InnoDB', advice }
  }
  const expectedKey = key.map((column) => column.name)
  if (expectedKey.join().toLowerCase() !== foundKey.join().toLowerCase()) {
    const advice = 'a key cannot change: use the existing key in the game, or move the rows to a new table'
    const clause = (names: readonly string[]): string => `PRIMARY KEY (${names.join(', ')})`
    const actual = foundKey.length === 0 ? 'no primary key of whole columns' : clause(foundKey)
    yield { ...about, actual, expected: clause(expectedKey), advice }
  }
}

function* columnDrift(
  table: TableDefinition,
  column: ColumnDefinition,
  found: FoundColumn | undefined,
  strictness: Strictness,
): Iterable<SchemaDifference> {
  const { name } = column
  const clause = columnClause(table, column)
  const about = { table: table.name, column: name, expected: clause }
  if (!found) {
    const advice = 'existing rows have no value for it: add and fill it by hand, or use another table'
    yield { ...about, actual: 'no such column', advice }
    return
  }
  const actual = describeColumn(found)
  const modify = `by hand: ALTER TABLE \`${table.name}\` MODIFY COLUMN \`${name}\` ${clause}`
  if (found.name !== name) {
    yield { ...about, actual: `${found.name} ${actual}`, advice: `rename the game's column to ${found.name}` }
  } else if (strictness === 'compatible') {
    const reason = typeMismatch(table, column, found)
    if (reason !== null) yield { ...about, actual, advice: `${reason}; change the game's column, or ${modify}` }
  } else if (!matchesExactly(table, column, found)) {
    const advice = `use the existing declaration in the game, or check the values and change it ${modify}`
    yield { ...about, actual, advice }
  }
}

function matchesExactly(table: TableDefinition, column: ColumnDefinition, found: FoundColumn): boolean {
  const declaration = columnDeclaration(table, column)
  const [, type, charset, collation] = TYPE_WITH_CHARSET.exec(declaration.type)!
  if (found.isGenerated || found.hasOnUpdate || found.isAutoIncrement !== declaration.isAutoIncrement) return false
  if (found.type !== type!.toLowerCase().replace('tinyint(1)', 'tinyint').replace(', ', ',')) return false
  if (found.nullable !== declaration.nullable) return false
  if (charset !== undefined && (found.charset !== charset || found.collation !== collation)) return false
  if ((declaration.defaultValue ?? null) === null) return found.defaultText === null
  return found.defaultText !== null && isSameDefault(table, column, found.defaultText)
}

const TYPE_WITH_CHARSET = /^(.+?)(?: CHARACTER SET (\w+) COLLATE (\w+))?$/s

/** Compares the column's default with a default of information_schema. */
function isSameDefault(table: TableDefinition, column: ColumnDefinition, text: string): boolean {
  const expected = encodeColumn(column, column.defaultValue)
  // Servers show bytes in different notations, MariaDB not completely. Firefly's own inserts set every column anyway.
  if (column.kind === 'bytes') return true
  // information_schema stores at most three bytes per character.
  if (column.kind === 'text') return String(expected).replace(/[\u{10000}-\u{10ffff}]/gu, '?') === text
  try {
    // Decodes both, because `1.5`, `1.50` and `15e-1` are equal.
    const canonical = (raw: string): unknown => encodeColumn(column, decodeColumn(table, column, raw))
    return canonical(text) === canonical(String(expected))
  } catch {
    return false
  }
}

/** A column of another program that Firefly's inserts would have to set. */
function* unknownColumnDrift(table: TableDefinition, found: FoundColumn): Iterable<SchemaDifference> {
  const { name, nullable, defaultText, isAutoIncrement, isGenerated } = found
  if (nullable || defaultText !== null || isAutoIncrement || isGenerated) return
  if (table.columns.some((column) => column.name.toLowerCase() === name.toLowerCase())) return
  yield {
    table: table.name,
    column: name,
    actual: describeColumn(found),
    expected: 'no such column, or one that an INSERT may omit',
    advice: 'the game does not declare it: declare it, or make it NULL or give it a DEFAULT',
  }
}

/** A UNIQUE that the game does not declare would refuse rows that the game has acknowledged. */
function* unknownUniqueDrift(table: TableDefinition, found: FoundTable): Iterable<SchemaDifference> {
  const knownUniques = [table.key, ...table.unique.map((column) => [column])]
  for (const { name, isUnique, isPlainBtree, columns } of found.indexes) {
    const isImplied = knownUniques.some((unique) => unique.every((column) => columns.includes(column.name)))
    if (!isUnique || (isImplied && isPlainBtree)) continue
    if (columns.some((column) => isAlwaysNull(table, found, column))) continue
    const declare = columns.length === 1 && isPlainBtree ? `declare unique: ['${columns[0]}'] in the game, or ` : ''
    yield {
      table: table.name,
      column: null,
      actual: `UNIQUE KEY ${name} (${columns.map((column) => column || 'an expression').join(', ')})`,
      expected: 'no such index',
      advice: `${declare}by hand: ALTER TABLE \`${table.name}\` DROP INDEX \`${name}\``,
    }
  }
}

/** True for the unique column of a later version: this version writes NULL there, and NULLs are never duplicates. */
function isAlwaysNull(table: TableDefinition, found: FoundTable, name: string): boolean {
  const column = found.columns.get(name.toLowerCase())
  if (!column || table.columnByName.has(column.name)) return false
  return column.nullable && column.defaultText === null && !column.isGenerated && !column.isAutoIncrement
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
    advice: `another index has this name; by hand: ALTER TABLE \`${table.name}\` DROP INDEX \`${other.name}\``,
  }
}

/** Any index that begins with the expected columns matches, whatever its name. */
function hasMatchingIndex(expected: ExpectedIndex, { primaryKey, indexes }: FoundTable): boolean {
  const all = [...indexes, { columns: primaryKey, isUnique: true, isPlainBtree: true }]
  return all.some(({ columns, isUnique, isPlainBtree }) => {
    if (!isPlainBtree || !expected.columns.every((column, i) => column === columns[i])) return false
    return !expected.isUnique || (isUnique && columns.length === expected.columns.length)
  })
}
