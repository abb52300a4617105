// One table of the game beside the table that is there: what can be added online, and what nobody but an operator may
// change. Invariant: nothing is ever dropped and no type changes; only columns and indexes that are missing are added.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { FoundColumn, FoundTable } from './catalog.ts'
import type { SqlStatement } from './client.ts'
import { columnClause, decode, encode } from './column.ts'
import { misfit } from './fit.ts'
import { createTable } from './mysql.ts'

/** Something that is not as wanted and that Firefly does not change. */
export interface Difference {
  readonly table: string
  /** Null when it is about the whole table. */
  readonly column: string | null
  readonly there: string
  readonly wanted: string
  /** For the operator. */
  readonly advice: string
}

export interface Comparison {
  readonly drift: readonly Difference[]
  readonly columns: readonly ColumnDefinition[]
  readonly indexes: readonly WantedIndex[]
}

export interface WantedIndex {
  readonly name: string
  readonly isUnique: boolean
  readonly columns: readonly string[]
  /** As in ALTER TABLE … ADD. */
  readonly clause: string
}

/** Columns of a table that Firefly made are `exact`; those of an adopted one must `fit` every value of the game. */
export function compare(table: TableDefinition, found: FoundTable, how: 'exact' | 'fit'): Comparison {
  const drift = [...tableDrift(table, found)]
  if (found.engine === null) return { drift, columns: [], indexes: [] }
  const missing: ColumnDefinition[] = []
  for (const column of table.columns) {
    const there = found.columns.get(column.name.toLowerCase())
    if (!there && !isVital(table, column)) missing.push(column)
    else drift.push(...columnDrift(table, column, there, how))
  }
  for (const there of found.columns.values()) drift.push(...extraDrift(table, there))
  const indexes = wantedIndexes(table).filter((wanted) => !isSatisfied(wanted, found))
  for (const wanted of indexes) drift.push(...nameDrift(table, wanted, found))
  drift.push(...uniqueDrift(table, found))
  const isMissing = (name: string): boolean => missing.some((column) => column.name === name)
  // The others come with their column.
  return { drift, columns: missing, indexes: indexes.filter(({ columns }) => !columns.some(isMissing)) }
}

export function addIndex({ name }: TableDefinition, { clause }: WantedIndex): SqlStatement {
  return { sql: `ALTER TABLE \`${name}\` ADD ${clause}`, params: [] }
}

/** In words, such as `int unsigned NULL DEFAULT 5`. */
export function clauseOf(found: FoundColumn): string {
  const { type, collation, nullable, fallback, isAuto, isGenerated, isTouched } = found
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
function wantedIndexes(table: TableDefinition): WantedIndex[] {
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
  { engine, key: there }: FoundTable,
): Iterable<Difference> {
  const about = { table: name, column: null }
  if (engine === null) {
    const advice = 'rename the table in the game, or put a table in the place of the view'
    yield { ...about, there: 'a view', wanted: 'a table', advice }
    return
  }
  if (engine.toLowerCase() !== 'innodb') {
    const advice = `${engine} has no transactions; by hand: ALTER TABLE \`${name}\` ENGINE=InnoDB`
    yield { ...about, there: `ENGINE=${engine}`, wanted: 'ENGINE=InnoDB', advice }
  }
  const wanted = key.map((column) => column.name)
  if (wanted.join().toLowerCase() !== there.join().toLowerCase()) {
    const advice = 'a key never changes: give the game the key that is there, or move the rows to a new table'
    yield {
      ...about,
      there: there.length === 0 ? 'no primary key of whole columns' : `PRIMARY KEY (${there.join(', ')})`,
      wanted: `PRIMARY KEY (${wanted.join(', ')})`,
      advice,
    }
  }
}

function* columnDrift(
  table: TableDefinition,
  column: ColumnDefinition,
  found: FoundColumn | undefined,
  how: 'exact' | 'fit',
): Iterable<Difference> {
  const { name } = column
  const clause = columnClause(table, column)
  const about = { table: table.name, column: name, wanted: clause }
  if (!found) {
    const advice =
      'the rows that are there have no value for it: add and fill it by hand, or use another table'
    yield { ...about, there: 'no such column', advice }
    return
  }
  const there = clauseOf(found)
  const modify = `by hand: ALTER TABLE \`${table.name}\` MODIFY COLUMN \`${name}\` ${clause}`
  if (found.name !== name) {
    const advice = `give the game's column the name ${found.name}`
    yield { ...about, there: `${found.name} ${there}`, advice }
  } else if (how === 'fit') {
    const why = misfit(table, column, found)
    if (why !== null) yield { ...about, there, advice: `${why}; change the game's column, or ${modify}` }
  } else if (!isExact(table, column, found, clause)) {
    const advice = `give the game's column back what is there, or look at the values and do it ${modify}`
    yield { ...about, there, advice }
  }
}

const CLAUSE =
  /^(.+?)(?: CHARACTER SET (\w+) COLLATE (\w+))? (NOT NULL|NULL)( AUTO_INCREMENT)?(?: DEFAULT (.+))?$/s

function isExact(
  table: TableDefinition,
  column: ColumnDefinition,
  found: FoundColumn,
  clause: string,
): boolean {
  const [, type, charset, collation, nullable, auto, fallback] = CLAUSE.exec(clause)!
  if (found.isGenerated || found.isTouched || found.isAuto !== (auto !== undefined)) return false
  if (found.type !== type!.toLowerCase().replace('tinyint(1)', 'tinyint').replace(', ', ',')) return false
  if (found.nullable !== (nullable === 'NULL')) return false
  // JSON of MySQL has neither, but it is not our type.
  if (charset !== undefined && (found.charset !== charset || found.collation !== collation)) return false
  if (fallback === undefined || fallback === 'NULL') return found.fallback === null
  return found.fallback !== null && isDefault(table, column, found.fallback)
}

/** Is this text of information_schema the column's default? */
function isDefault(table: TableDefinition, column: ColumnDefinition, text: string): boolean {
  const wanted = encode(column, column.fallback)
  // Each server writes bytes in its own way, and MariaDB not all of them; our own inserts name every column anyway.
  if (column.kind === 'bytes') return true
  if (column.kind === 'text') return asCatalog(String(wanted)) === text
  try {
    // Through the column's type, because `1.5`, `1.50` and `15e-1` are one.
    const canonical = (raw: string): unknown => encode(column, decode(table, column, raw))
    return canonical(text) === canonical(String(wanted))
  } catch {
    return false
  }
}

/** information_schema has three bytes for a character. */
function asCatalog(text: string): string {
  return text.replace(/[\u{10000}-\u{10ffff}]/gu, '?')
}

/** A column of another program in the way of our inserts. */
function* extraDrift(table: TableDefinition, found: FoundColumn): Iterable<Difference> {
  const { name, nullable, fallback, isAuto, isGenerated } = found
  if (nullable || fallback !== null || isAuto || isGenerated) return
  if (table.columns.some((column) => column.name.toLowerCase() === name.toLowerCase())) return
  yield {
    table: table.name,
    column: name,
    there: clauseOf(found),
    wanted: 'no such column, or one that an INSERT may leave out',
    advice: 'the game does not know it: declare it there, or let it be NULL or have a DEFAULT',
  }
}

/** A UNIQUE of which the game knows nothing would refuse rows that the game has acknowledged. */
function* uniqueDrift(table: TableDefinition, found: FoundTable): Iterable<Difference> {
  const known = [table.key, ...table.unique.map((column) => [column])]
  for (const { name, isUnique, isWhole, columns } of found.indexes) {
    const isImplied = known.some((list) => list.every((column) => columns.includes(column.name)))
    if (!isUnique || (isImplied && isWhole) || columns.some((column) => isLeftNull(table, found, column)))
      continue
    const declare =
      columns.length === 1 && isWhole ? `declare unique: ['${columns[0]}'] in the game, or ` : ''
    yield {
      table: table.name,
      column: null,
      there: `UNIQUE KEY ${name} (${columns.map((column) => column || 'an expression').join(', ')})`,
      wanted: 'no such rule',
      advice: `${declare}by hand: ALTER TABLE \`${table.name}\` DROP INDEX \`${name}\``,
    }
  }
}

/** Such as the unique column of a later version: our rows have NULL in it, and NULLs are never duplicates. */
function isLeftNull(table: TableDefinition, found: FoundTable, name: string): boolean {
  const there = found.columns.get(name.toLowerCase())
  if (!there || table.column.has(there.name)) return false
  return there.nullable && there.fallback === null && !there.isGenerated && !there.isAuto
}

function* nameDrift(table: TableDefinition, wanted: WantedIndex, found: FoundTable): Iterable<Difference> {
  const other = found.indexes.find(({ name }) => name.toLowerCase() === wanted.name.toLowerCase())
  if (!other) return
  yield {
    table: table.name,
    column: null,
    there: `${other.isUnique ? 'UNIQUE ' : ''}KEY ${other.name} (${other.columns.join(', ')})`,
    wanted: wanted.clause,
    advice: `another index has its name; by hand: ALTER TABLE \`${table.name}\` DROP INDEX \`${other.name}\``,
  }
}

/** Whatever its name: an index that begins with the wanted columns finds them. */
function isSatisfied(wanted: WantedIndex, { key, indexes }: FoundTable): boolean {
  const all = [...indexes, { columns: key, isUnique: true, isWhole: true }]
  return all.some(({ columns, isUnique, isWhole }) => {
    if (!isWhole || !wanted.columns.every((column, i) => column === columns[i])) return false
    return !wanted.isUnique || (isUnique && columns.length === wanted.columns.length)
  })
}

/** Rows cannot be without it. */
function isVital({ key, shardKey }: TableDefinition, column: ColumnDefinition): boolean {
  return key.includes(column) || column === shardKey
}
