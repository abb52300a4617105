// From what a database has to what a game wants: a plan of steps, or the differences that only an operator may settle.
// Invariant: every step can be repeated, so that an apply that was cut short, or two at the same time, end in the same
// place; and while anything is in doubt, nothing is done.

import { utf8Encoder, utf8Decoder } from '../wire/bytes.ts'
import type { TableDefinition } from '../game/table.ts'
import { readCatalog, type Catalog, type FoundTable } from '../sql/catalog.ts'
import { DatabaseError, type SqlClient, type SqlStatement, type SqlValue } from '../sql/client.ts'
import { columnClause } from '../sql/columns.ts'
import {
  addIndex,
  describeColumn,
  compareTable,
  type TableComparison,
  type SchemaDifference,
} from './compare.ts'
import { addColumn, createTable, splitStatements } from '../sql/statements.ts'

export type { SchemaDifference as Difference } from './compare.ts'

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
  /** Takes over tables that are there and that Firefly did not make. */
  readonly adopt: boolean
}

export interface MigrationStep {
  readonly kind: 'ours' | 'create' | 'add-column' | 'add-index' | 'adopt'
  readonly reason: string
  /** Of an adoption: each of the game's columns beside what is there. */
  readonly details: readonly string[]
  readonly statements: readonly SqlStatement[]
}

export interface TableState {
  readonly table: TableDefinition
  readonly state: 'in place' | 'missing' | 'incomplete' | 'adoptable' | 'drift'
  readonly isAdopted: boolean
  readonly missingColumns: number
  readonly missingIndexes: number
  /** The server's estimate; null when there is no such table. */
  readonly rows: number | null
}

export interface MigrationPlan {
  /** Empty while there is drift. */
  readonly steps: readonly MigrationStep[]
  readonly drift: readonly SchemaDifference[]
  readonly tables: readonly TableState[]
  /** Names of numbered files that were not run. */
  readonly pendingFiles: readonly string[]
  /** Tables of ours that are there. */
  readonly fireflyTables: ReadonlySet<string>
}

/** What was done before, as firefly_migration and firefly_table have it. */
export interface MigrationRecords {
  readonly files: ReadonlyMap<number, { readonly name: string; readonly checksum: string }>
  readonly tables: ReadonlyMap<string, { readonly isAdopted: boolean }>
}

/** The database is not as the game wants it, and Firefly will not change that; nothing was done. */
export class DriftError extends Error {
  override readonly name = 'DriftError'
  readonly drift: readonly SchemaDifference[]
  constructor(drift: readonly SchemaDifference[]) {
    super(drift.map(describeDifference).join('\n'))
    this.drift = drift
  }
}

/** The last of schemas/mysql without which this code cannot run. */
export const REQUIRED_FILE = 1
const FIREFLY_TABLES = ['firefly_migration', 'firefly_table', 'firefly_owner', 'firefly_parked']
const MAX_LISTED = 3
const ERRNO_LOCK_WAIT = 1205
const CREATE_TABLE = /^CREATE TABLE IF NOT EXISTS (\w+)/
const RECORD_FILE =
  'INSERT INTO firefly_migration (number, name, checksum, applied_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE number = number'
const RECORD_TABLE =
  'INSERT INTO firefly_table (name, columns, adopted, applied_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE columns = VALUES(columns), adopted = VALUES(adopted), applied_at = VALUES(applied_at)'

/** @param name such as `0001_firefly.sql` */
export async function parseMigrationFile(name: string, text: string): Promise<MigrationFile> {
  // A checkout on Windows may have other ends of lines.
  const bytes = utf8Encoder.encode(text.replaceAll('\r\n', '\n'))
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  const checksum = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return { number: Number.parseInt(name, 10), name, checksum, statements: splitStatements(text) }
}

/** Looks, and changes nothing. @throws DatabaseError */
export async function planMigration(client: SqlClient, target: MigrationTarget): Promise<MigrationPlan> {
  const created = target.files.flatMap(({ statements }) => statements.map(createdTable))
  const names = [
    ...FIREFLY_TABLES,
    ...created.filter((name) => name !== null),
    ...target.tables.map(({ name }) => name),
  ]
  const catalog = await readCatalog(client, [...new Set(names)])
  return planFromCatalog(catalog, await readRecords(client, catalog), target)
}

/**
 * Does the plan. It looks again before each step and after one that failed, because another may be doing the same: only
 * what is still missing is done, or an error.
 * @param progress 'elsewhere' = begun here, and done by another
 * @throws DatabaseError; DriftError before anything is done
 */
export async function applyMigration(
  client: SqlClient,
  target: MigrationTarget,
  progress: (step: MigrationStep, what: 'begin' | 'done' | 'elsewhere') => void,
): Promise<void> {
  const done = new Set<string>()
  for (;;) {
    const { steps, drift } = await planMigration(client, target)
    if (drift.length > 0) throw new DriftError(drift)
    const [step] = steps
    if (!step) return
    if (done.has(step.reason))
      throw new DatabaseError('schema', `${step.reason}, although that was just mended`)
    progress(step, 'begin')
    try {
      for (const statement of step.statements) await client.query(statement)
    } catch (error) {
      if (await isStillNeeded(client, target, step)) throw await stepFailure(client, step, error)
      progress(step, 'elsewhere')
      continue
    }
    // Once more, because another whose CREATE failed meanwhile takes it back.
    if (step.kind === 'create') await client.query(step.statements[0]!)
    done.add(step.reason)
    progress(step, 'done')
  }
}

/**
 * What a host asks before it serves: is everything there that these tables need?
 * @throws DatabaseError: 'schema' = no, and what to run; any other as it came
 */
export async function checkSchema(client: SqlClient, tables: readonly TableDefinition[]): Promise<void> {
  const catalog = await readCatalog(client, [...FIREFLY_TABLES, ...tables.map(({ name }) => name)])
  const records = await readRecords(client, catalog)
  const { steps, drift } = planFromCatalog(catalog, records, { tables, files: [], adopt: false })
  const isOld = Math.max(0, ...records.files.keys()) < REQUIRED_FILE
  const all = [
    ...(isOld ? ["Firefly's own tables are missing"] : []),
    ...(drift.length > 0 ? drift.map(describeDifference) : steps.map(({ reason: why }) => why)),
  ]
  if (all.length === 0) return
  const more = all.length > MAX_LISTED ? `; and ${all.length - MAX_LISTED} more` : ''
  const named = all.slice(0, MAX_LISTED).join('; ')
  const advice = 'run: firefly migrate apply --app … --mysql …'
  throw new DatabaseError('schema', `the database is not ready for this game: ${named}${more}; ${advice}`)
}

/** One difference in one line. */
export function describeDifference({
  table,
  column,
  actual: there,
  expected: wanted,
  advice,
}: SchemaDifference): string {
  const what = column === null ? `table ${table}` : `table ${table}, column ${column}`
  return `${what}: ${there} is there, wanted is ${wanted}: ${advice}`
}

export function planFromCatalog(
  catalog: Catalog,
  records: MigrationRecords,
  { tables, files, adopt }: MigrationTarget,
): MigrationPlan {
  const steps: MigrationStep[] = []
  const drift: SchemaDifference[] = []
  const pending = files.filter(({ number }) => !records.files.has(number))
  for (const file of files) drift.push(...fileDrift(file, records))
  for (const file of pending) steps.push(fileStep(file, catalog))
  const states: TableState[] = []
  for (const table of tables) {
    const found = catalog.get(table.name)
    const planned = planTable(table, found, records.tables.get(table.name)?.isAdopted, adopt)
    steps.push(...planned.steps)
    drift.push(...planned.drift)
    const { state, isAdopted, comparison } = planned
    const missingColumns = comparison?.missingColumns.length ?? 0
    const missingIndexes = comparison?.missingIndexes.length ?? 0
    states.push({
      table,
      state,
      isAdopted,
      missingColumns,
      missingIndexes,
      rows: found?.estimatedRows ?? null,
    })
  }
  return {
    steps: drift.length > 0 ? [] : steps,
    drift,
    tables: states,
    pendingFiles: pending.map(({ name }) => name),
    fireflyTables: new Set([...catalog.keys()].filter((name) => name.startsWith('firefly_'))),
  }
}

interface PlannedTable {
  readonly state: TableState['state']
  readonly isAdopted: boolean
  readonly comparison: TableComparison | null
  readonly steps: readonly MigrationStep[]
  readonly drift: readonly SchemaDifference[]
}

/** @param recordedAdoption was it adopted? undefined = Firefly knows nothing of it */
function planTable(
  table: TableDefinition,
  found: FoundTable | undefined,
  recordedAdoption: boolean | undefined,
  adopt: boolean,
): PlannedTable {
  if (!found) {
    // The record first: what is cut short between the two is a table that is missing, not one of unknown origin.
    const statements = [recordTable(table, false), ...createTable(table)]
    const step = makeStep('create', `table ${table.name} is missing`, statements)
    return { state: 'missing', isAdopted: false, comparison: null, steps: [step], drift: [] }
  }
  const exact = compareTable(table, found, 'exact')
  const isAdopted = recordedAdoption ?? exact.drift.length > 0
  const comparison = isAdopted ? compareTable(table, found, 'fit') : exact
  const { missingColumns: columns, missingIndexes: indexes, drift } = comparison
  if (drift.length > 0) return { state: 'drift', isAdopted, comparison, steps: [], drift }
  const additions = [
    ...columns.map((column) =>
      makeStep('add-column', `table ${table.name} lacks the column ${column.name}`, [
        recordTable(table, isAdopted),
        ...addColumn(table, column),
      ]),
    ),
    ...indexes.map((index) =>
      makeStep('add-index', `table ${table.name} lacks ${index.clause.replaceAll('`', '')}`, [
        addIndex(table, index),
      ]),
    ),
  ]
  if (recordedAdoption !== undefined) {
    const state = additions.length > 0 ? 'incomplete' : 'in place'
    return { state, isAdopted, comparison, steps: additions, drift }
  }
  if (!adopt)
    return {
      state: 'adoptable',
      isAdopted,
      comparison,
      steps: [],
      drift: [unownedTableDifference(table, found)],
    }
  const steps = [adoptionStep(table, found, isAdopted), ...additions]
  return { state: 'adoptable', isAdopted, comparison, steps, drift }
}

function unownedTableDifference(
  { name }: TableDefinition,
  { columns, estimatedRows: rows }: FoundTable,
): SchemaDifference {
  return {
    table: name,
    column: null,
    actual: `a table of ${columns.size} columns and about ${rows} rows that Firefly did not make`,
    expected: 'a table of its own, or your word that it may write this one',
    advice: 'the game fits into it; compare with `firefly migrate plan --adopt`, then `… apply --adopt`',
  }
}

function adoptionStep(table: TableDefinition, found: FoundTable, isAdopted: boolean): MigrationStep {
  const details = table.columns.map((column) => {
    const foundColumn = found.columns.get(column.name.toLowerCase())
    const fits = isAdopted ? 'holds' : 'is'
    const clause = columnClause(table, column)
    return `${column.name}: ${foundColumn ? `${describeColumn(foundColumn)} ${fits} ${clause}` : `added as ${clause}`}`
  })
  const how = isAdopted ? 'every value of the game fits into it' : 'it is as Firefly would have made it'
  const why = `table ${table.name} is there already, and ${how}`
  return { ...makeStep('adopt', why, [recordTable(table, isAdopted)]), details }
}

function recordTable(table: TableDefinition, isAdopted: boolean): SqlStatement {
  const columns = Object.fromEntries(
    table.columns.map((column) => [column.name, columnClause(table, column)]),
  )
  return { sql: RECORD_TABLE, params: [table.name, JSON.stringify(columns), isAdopted ? 1 : 0] }
}

function* fileDrift(
  { number, name, checksum }: MigrationFile,
  { files }: MigrationRecords,
): Iterable<SchemaDifference> {
  const recorded = files.get(number)
  if (!recorded || (recorded.checksum === checksum && recorded.name === name)) return
  yield {
    table: 'firefly_migration',
    column: null,
    actual: `${recorded.name} with the checksum ${recorded.checksum}`,
    expected: `${name} with the checksum ${checksum}`,
    advice:
      'the file was changed after it was run: put it back, and make the change in a file of a new number',
  }
}

function fileStep({ number, name, checksum, statements }: MigrationFile, catalog: Catalog): MigrationStep {
  // Where DDL goes by deploy requests even one that would do nothing is refused.
  const missingStatements = statements.filter((statement) => !catalog.has(createdTable(statement) ?? ''))
  return makeStep('ours', `${name} was not run yet (Firefly's own tables)`, [
    ...missingStatements.map((sql) => ({ sql, params: [] })),
    { sql: RECORD_FILE, params: [number, name, checksum] },
  ])
}

function createdTable(statement: string): string | null {
  return CREATE_TABLE.exec(statement)?.[1] ?? null
}

function makeStep(
  kind: MigrationStep['kind'],
  why: string,
  statements: readonly SqlStatement[],
): MigrationStep {
  return { kind, reason: why, details: [], statements: statements.map(literalsToParams) }
}

/** Clients take literals for a mistake, but as parameters they may stand wherever they may stand in SQL. */
function literalsToParams({ sql, params }: SqlStatement): SqlStatement {
  if (params.length > 0) return { sql, params }
  const found: SqlValue[] = []
  const text = sql.replace(
    /(_utf8mb4 )?(x?)'([^']*)'/g,
    (_, charset: string | undefined, hex: string, content: string) => {
      const bytes = Uint8Array.from(content.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
      found.push(charset ? utf8Decoder.decode(bytes) : hex ? bytes : content)
      return '?'
    },
  )
  return { sql: text, params: found }
}

/** Or did another do it, or the answer get lost? */
async function isStillNeeded(
  client: SqlClient,
  target: MigrationTarget,
  step: MigrationStep,
): Promise<boolean> {
  const plan = await planMigration(client, target).catch(() => null)
  return !plan || plan.drift.length > 0 || plan.steps.some(({ reason: why }) => why === step.reason)
}

/** Takes the record of a table that was not made back: what others make in its place is not Firefly's. */
async function stepFailure(
  client: SqlClient,
  { kind, reason: why, statements }: MigrationStep,
  cause: unknown,
): Promise<unknown> {
  if (!(cause instanceof DatabaseError)) return cause
  const { message, errno } = cause
  const forgetRecord = {
    sql: 'DELETE FROM firefly_table WHERE name = ?',
    params: statements[0]!.params.slice(0, 1),
  }
  if (kind === 'create' && errno !== 0) await client.query(forgetRecord).catch(() => {})
  const hint = errno === ERRNO_LOCK_WAIT ? '; a transaction that has used the table is still open' : ''
  return new DatabaseError(cause.kind, `${why}; mending it failed: ${message}${hint}`, { errno, cause })
}

async function readRecords(client: SqlClient, catalog: Catalog): Promise<MigrationRecords> {
  const query = async (table: string, columns: string): Promise<string[][]> => {
    if (!catalog.has(table)) return []
    return (await client.query({ sql: `SELECT ${columns} FROM ${table}`, params: [] })).rows.map((row) =>
      row.map(String),
    )
  }
  const files = await query('firefly_migration', 'number, name, checksum')
  const tables = await query('firefly_table', 'name, adopted')
  return {
    files: new Map(
      files.map(([number, name, checksum]) => [Number(number), { name: name!, checksum: checksum! }]),
    ),
    tables: new Map(tables.map(([name, adopted]) => [name!, { isAdopted: adopted !== '0' }])),
  }
}
