// The plan of a migration: compares the catalog and the records of a database with the game's tables. Invariant: a plan
// with drift has no steps, and every step can be repeated.

import { bytesOfHex, utf8Decoder } from '../wire/bytes.ts'
import type { TableDefinition } from '../game/table.ts'
import type { Catalog, FoundTable } from '../sql/catalog.ts'
import type { SqlStatement, SqlValue } from '../sql/client.ts'
import { columnClause } from '../sql/columns.ts'
import { addColumn, createTable } from '../sql/statements.ts'
import { addIndex, compareTable, describeColumn, type SchemaDifference, type TableComparison } from './compare.ts'

/** A file of schemas/mysql. */
export interface MigrationFile {
  readonly number: number
  readonly name: string
  /** SHA-256 of its text, hexadecimal. */
  readonly checksum: string
  readonly statements: readonly string[]
}

export interface MigrationTarget {
  readonly tables: readonly TableDefinition[]
  readonly files: readonly MigrationFile[]
  /** True = adopts existing tables that Firefly did not create. */
  readonly adopt: boolean
}

export interface MigrationStep {
  /** 'ours': a numbered file of Firefly's own tables. */
  readonly kind: 'ours' | 'create' | 'add-column' | 'add-index' | 'adopt'
  /** Describes the step and identifies it: no two steps of a plan have the same reason. */
  readonly reason: string
  /** For an adoption: each column of the game next to the existing one. */
  readonly details: readonly string[]
  readonly statements: readonly SqlStatement[]
}

export interface TableState {
  readonly table: TableDefinition
  readonly state: 'in place' | 'missing' | 'incomplete' | 'adoptable' | 'drift'
  readonly isAdopted: boolean
  readonly missingColumns: number
  readonly missingIndexes: number
  /** Estimate of the server; null = the table does not exist. */
  readonly rows: number | null
}

export interface MigrationPlan {
  /** Empty while there is drift. */
  readonly steps: readonly MigrationStep[]
  readonly drift: readonly SchemaDifference[]
  readonly tables: readonly TableState[]
  /** Names of the numbered files that were not run. */
  readonly pendingFiles: readonly string[]
  /** Firefly's own tables that exist. */
  readonly fireflyTables: ReadonlySet<string>
}

/** Earlier migrations, as firefly_migration and firefly_table record them. */
export interface MigrationRecords {
  readonly files: ReadonlyMap<number, { readonly name: string; readonly checksum: string }>
  readonly tables: ReadonlyMap<string, { readonly isAdopted: boolean }>
}

const CREATE_TABLE = /^CREATE TABLE IF NOT EXISTS (\w+)/
const RECORD_FILE =
  'INSERT INTO firefly_migration (number, name, checksum, applied_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE number = number'
const RECORD_TABLE =
  'INSERT INTO firefly_table (name, columns, adopted, applied_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE columns = VALUES(columns), adopted = VALUES(adopted), applied_at = VALUES(applied_at)'

export function planFromCatalog(
  catalog: Catalog,
  records: MigrationRecords,
  { tables, files, adopt }: MigrationTarget,
): MigrationPlan {
  const pendingFiles = files.filter(({ number }) => !records.files.has(number))
  const steps: MigrationStep[] = pendingFiles.map((file) => fileStep(file, catalog))
  const drift: SchemaDifference[] = files.flatMap((file) => fileDrift(file, records))
  const states: TableState[] = []
  for (const table of tables) {
    const found = catalog.get(table.name)
    const planned = planTable(table, found, records.tables.get(table.name)?.isAdopted, adopt)
    steps.push(...planned.steps)
    drift.push(...planned.drift)
    const { state, isAdopted, comparison } = planned
    const missingColumns = comparison?.missingColumns.length ?? 0
    const missingIndexes = comparison?.missingIndexes.length ?? 0
    states.push({ table, state, isAdopted, missingColumns, missingIndexes, rows: found?.estimatedRows ?? null })
  }
  return {
    steps: drift.length > 0 ? [] : steps,
    drift,
    tables: states,
    pendingFiles: pendingFiles.map(({ name }) => name),
    fireflyTables: new Set([...catalog.keys()].filter((name) => name.startsWith('firefly_'))),
  }
}

/** The table that a statement creates; null = none. */
export function createdTable(statement: string): string | null {
  return CREATE_TABLE.exec(statement)?.[1] ?? null
}

interface PlannedTable {
  readonly state: TableState['state']
  readonly isAdopted: boolean
  readonly comparison: TableComparison | null
  readonly steps: readonly MigrationStep[]
  readonly drift: readonly SchemaDifference[]
}

/** @param recordedAdoption whether the table was adopted; undefined = the table has no record */
function planTable(
  table: TableDefinition,
  found: FoundTable | undefined,
  recordedAdoption: boolean | undefined,
  adopt: boolean,
): PlannedTable {
  if (!found) {
    // The record comes first: after an interruption between the two, the table is missing and not of unknown origin.
    const statements = [recordTable(table, false), ...createTable(table)]
    const step = makeStep('create', `table ${table.name} is missing`, statements)
    return { state: 'missing', isAdopted: false, comparison: null, steps: [step], drift: [] }
  }
  const exact = compareTable(table, found, 'exact')
  const isAdopted = recordedAdoption ?? exact.drift.length > 0
  const comparison = isAdopted ? compareTable(table, found, 'compatible') : exact
  const { missingColumns, missingIndexes, drift } = comparison
  if (drift.length > 0) return { state: 'drift', isAdopted, comparison, steps: [], drift }
  const additions = [
    ...missingColumns.map((column) => {
      const statements = [recordTable(table, isAdopted), ...addColumn(table, column)]
      return makeStep('add-column', `table ${table.name} lacks the column ${column.name}`, statements)
    }),
    ...missingIndexes.map((index) =>
      makeStep('add-index', `table ${table.name} lacks ${index.clause.replaceAll('`', '')}`, [addIndex(table, index)]),
    ),
  ]
  if (recordedAdoption !== undefined) {
    const state = additions.length > 0 ? 'incomplete' : 'in place'
    return { state, isAdopted, comparison, steps: additions, drift }
  }
  if (!adopt)
    return { state: 'adoptable', isAdopted, comparison, steps: [], drift: [unownedTableDifference(table, found)] }
  const steps = [adoptionStep(table, found, isAdopted), ...additions]
  return { state: 'adoptable', isAdopted, comparison, steps, drift }
}

function unownedTableDifference({ name }: TableDefinition, { columns, estimatedRows }: FoundTable): SchemaDifference {
  return {
    table: name,
    column: null,
    actual: `a table of ${columns.size} columns and about ${estimatedRows} rows that Firefly did not create`,
    expected: 'a table that Firefly created, or the option --adopt',
    advice: 'the game fits into it; compare with `firefly migrate plan --adopt`, then run `… apply --adopt`',
  }
}

function adoptionStep(table: TableDefinition, found: FoundTable, isAdopted: boolean): MigrationStep {
  const details = table.columns.map((column) => {
    const foundColumn = found.columns.get(column.name.toLowerCase())
    const relation = isAdopted ? 'holds' : 'is'
    const clause = columnClause(table, column)
    return `${column.name}: ${foundColumn ? `${describeColumn(foundColumn)} ${relation} ${clause}` : `added as ${clause}`}`
  })
  const finding = isAdopted ? 'every value of the game fits into it' : 'it is as Firefly would have created it'
  const reason = `table ${table.name} exists already, and ${finding}`
  return { ...makeStep('adopt', reason, [recordTable(table, isAdopted)]), details }
}

function recordTable(table: TableDefinition, isAdopted: boolean): SqlStatement {
  const columns = Object.fromEntries(table.columns.map((column) => [column.name, columnClause(table, column)]))
  return { sql: RECORD_TABLE, params: [table.name, JSON.stringify(columns), isAdopted ? 1 : 0] }
}

function fileDrift({ number, name, checksum }: MigrationFile, { files }: MigrationRecords): SchemaDifference[] {
  const recorded = files.get(number)
  if (!recorded || (recorded.checksum === checksum && recorded.name === name)) return []
  const actual = `${recorded.name} with the checksum ${recorded.checksum}`
  const expected = `${name} with the checksum ${checksum}`
  const advice = 'the file was changed after it was run: restore it, and put the change into a file with a new number'
  return [{ table: 'firefly_migration', column: null, actual, expected, advice }]
}

function fileStep({ number, name, checksum, statements }: MigrationFile, catalog: Catalog): MigrationStep {
  // Databases that change by deploy requests refuse every DDL statement, even one without effect.
  const missingStatements = statements.filter((statement) => !catalog.has(createdTable(statement) ?? ''))
  return makeStep('ours', `${name} was not run yet (Firefly's own tables)`, [
    ...missingStatements.map((sql) => ({ sql, params: [] })),
    { sql: RECORD_FILE, params: [number, name, checksum] },
  ])
}

function makeStep(kind: MigrationStep['kind'], reason: string, statements: readonly SqlStatement[]): MigrationStep {
  return { kind, reason, details: [], statements: statements.map(literalsToParams) }
}

/** Clients reject literals in a statement; MySQL accepts parameters everywhere that the plan has literals. */
function literalsToParams({ sql, params }: SqlStatement): SqlStatement {
  if (params.length > 0) return { sql, params }
  const values: SqlValue[] = []
  const toParam = (_: string, charset: string | undefined, hex: string, content: string): string => {
    const bytes = hex ? bytesOfHex(content) : null
    values.push(bytes === null ? content : charset ? utf8Decoder.decode(bytes) : bytes)
    return '?'
  }
  return { sql: sql.replace(/(_utf8mb4 )?(x?)'([^']*)'/g, toParam), params: values }
}
