// From what a database has to what a game wants: a plan of steps, or the differences that only an operator may settle.
// Invariant: every step can be repeated, so that an apply that was cut short, or two at the same time, end in the same
// place; and while anything is in doubt, nothing is done.

import type { TableDefinition } from '../game/table.ts'
import { readCatalog, type Catalog, type FoundTable } from './catalog.ts'
import { DatabaseError, type SqlClient, type SqlStatement, type SqlValue } from './client.ts'
import { columnClause } from './column.ts'
import { addIndex, clauseOf, compare, type Comparison, type Difference } from './compare.ts'
import { addColumn, createTable, splitStatements } from './mysql.ts'

export type { Difference } from './compare.ts'

/** A file of schemas/mysql. */
export interface NumberedFile {
  readonly number: number
  readonly name: string
  /** SHA-256 of its text, hexadecimal. */
  readonly checksum: string
  readonly statements: readonly string[]
}

export interface Target {
  readonly tables: readonly TableDefinition[]
  readonly files: readonly NumberedFile[]
  /** Takes over tables that are there and that Firefly did not make. */
  readonly adopt: boolean
}

export interface Step {
  readonly kind: 'ours' | 'create' | 'add-column' | 'add-index' | 'adopt'
  readonly why: string
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

export interface Plan {
  /** Empty while there is drift. */
  readonly steps: readonly Step[]
  readonly drift: readonly Difference[]
  readonly tables: readonly TableState[]
  /** Names of numbered files that were not run. */
  readonly pending: readonly string[]
  /** Tables of ours that are there. */
  readonly ours: ReadonlySet<string>
}

/** What was done before, as firefly_migration and firefly_table have it. */
export interface Records {
  readonly files: ReadonlyMap<number, { readonly name: string; readonly checksum: string }>
  readonly tables: ReadonlyMap<string, { readonly isAdopted: boolean }>
}

/** The database is not as the game wants it, and Firefly will not change that; nothing was done. */
export class DriftError extends Error {
  override readonly name = 'DriftError'
  readonly drift: readonly Difference[]
  constructor(drift: readonly Difference[]) {
    super(drift.map(describe).join('\n'))
    this.drift = drift
  }
}

/** The last of schemas/mysql without which this code cannot run. */
export const NEEDED_FILE = 1
const OURS = ['firefly_migration', 'firefly_table', 'firefly_owner', 'firefly_parked']
const MAX_NAMED = 3
const LOCK_WAIT = 1205
const CREATES = /^CREATE TABLE IF NOT EXISTS (\w+)/
const RECORD_FILE =
  'INSERT INTO firefly_migration (number, name, checksum, applied_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE number = number'
const RECORD_TABLE =
  'INSERT INTO firefly_table (name, columns, adopted, applied_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE columns = VALUES(columns), adopted = VALUES(adopted), applied_at = VALUES(applied_at)'

/** @param name such as `0001_firefly.sql` */
export async function numberedFile(name: string, text: string): Promise<NumberedFile> {
  // A checkout on Windows may have other ends of lines.
  const bytes = new TextEncoder().encode(text.replaceAll('\r\n', '\n'))
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  const checksum = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return { number: Number.parseInt(name, 10), name, checksum, statements: splitStatements(text) }
}

/** Looks, and changes nothing. @throws DatabaseError */
export async function planMigration(client: SqlClient, target: Target): Promise<Plan> {
  const created = target.files.flatMap(({ statements }) => statements.map(createdBy))
  const names = [
    ...OURS,
    ...created.filter((name) => name !== null),
    ...target.tables.map(({ name }) => name),
  ]
  const catalog = await readCatalog(client, [...new Set(names)])
  return planOf(catalog, await readRecords(client, catalog), target)
}

/**
 * Does the plan. It looks again before each step and after one that failed, because another may be doing the same: only
 * what is still missing is done, or an error.
 * @param progress 'elsewhere' = begun here, and done by another
 * @throws DatabaseError; DriftError before anything is done
 */
export async function applyMigration(
  client: SqlClient,
  target: Target,
  progress: (step: Step, what: 'begin' | 'done' | 'elsewhere') => void,
): Promise<void> {
  const done = new Set<string>()
  for (;;) {
    const { steps, drift } = await planMigration(client, target)
    if (drift.length > 0) throw new DriftError(drift)
    const [step] = steps
    if (!step) return
    if (done.has(step.why)) throw new DatabaseError('schema', `${step.why}, although that was just mended`)
    progress(step, 'begin')
    try {
      for (const statement of step.statements) await client.query(statement)
    } catch (error) {
      if (await isWanted(client, target, step)) throw await failed(client, step, error)
      progress(step, 'elsewhere')
      continue
    }
    // Once more, because another whose CREATE failed meanwhile takes it back.
    if (step.kind === 'create') await client.query(step.statements[0]!)
    done.add(step.why)
    progress(step, 'done')
  }
}

/**
 * What a host asks before it serves: is everything there that these tables need?
 * @throws DatabaseError: 'schema' = no, and what to run; any other as it came
 */
export async function checkSchema(client: SqlClient, tables: readonly TableDefinition[]): Promise<void> {
  const catalog = await readCatalog(client, [...OURS, ...tables.map(({ name }) => name)])
  const records = await readRecords(client, catalog)
  const { steps, drift } = planOf(catalog, records, { tables, files: [], adopt: false })
  const isOld = Math.max(0, ...records.files.keys()) < NEEDED_FILE
  const all = [
    ...(isOld ? ["Firefly's own tables are missing"] : []),
    ...(drift.length > 0 ? drift.map(describe) : steps.map(({ why }) => why)),
  ]
  if (all.length === 0) return
  const more = all.length > MAX_NAMED ? `; and ${all.length - MAX_NAMED} more` : ''
  const named = all.slice(0, MAX_NAMED).join('; ')
  const cure = 'run: firefly migrate apply --app … --mysql …'
  throw new DatabaseError('schema', `the database is not ready for this game: ${named}${more}; ${cure}`)
}

/** One difference in one line. */
export function describe({ table, column, there, wanted, advice }: Difference): string {
  const what = column === null ? `table ${table}` : `table ${table}, column ${column}`
  return `${what}: ${there} is there, wanted is ${wanted}: ${advice}`
}

export function planOf(catalog: Catalog, records: Records, { tables, files, adopt }: Target): Plan {
  const steps: Step[] = []
  const drift: Difference[] = []
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
    const missingColumns = comparison?.columns.length ?? 0
    const missingIndexes = comparison?.indexes.length ?? 0
    states.push({ table, state, isAdopted, missingColumns, missingIndexes, rows: found?.rows ?? null })
  }
  return {
    steps: drift.length > 0 ? [] : steps,
    drift,
    tables: states,
    pending: pending.map(({ name }) => name),
    ours: new Set([...catalog.keys()].filter((name) => name.startsWith('firefly_'))),
  }
}

interface PlannedTable {
  readonly state: TableState['state']
  readonly isAdopted: boolean
  readonly comparison: Comparison | null
  readonly steps: readonly Step[]
  readonly drift: readonly Difference[]
}

/** @param recorded was it adopted? undefined = Firefly knows nothing of it */
function planTable(
  table: TableDefinition,
  found: FoundTable | undefined,
  recorded: boolean | undefined,
  adopt: boolean,
): PlannedTable {
  if (!found) {
    // The record first: what is cut short between the two is a table that is missing, not one of unknown origin.
    const statements = [record(table, false), ...createTable(table)]
    const step = stepOf('create', `table ${table.name} is missing`, statements)
    return { state: 'missing', isAdopted: false, comparison: null, steps: [step], drift: [] }
  }
  const exact = compare(table, found, 'exact')
  const isAdopted = recorded ?? exact.drift.length > 0
  const comparison = isAdopted ? compare(table, found, 'fit') : exact
  const { columns, indexes, drift } = comparison
  if (drift.length > 0) return { state: 'drift', isAdopted, comparison, steps: [], drift }
  const additions = [
    ...columns.map((column) =>
      stepOf('add-column', `table ${table.name} lacks the column ${column.name}`, [
        record(table, isAdopted),
        ...addColumn(table, column),
      ]),
    ),
    ...indexes.map((index) =>
      stepOf('add-index', `table ${table.name} lacks ${index.clause.replaceAll('`', '')}`, [
        addIndex(table, index),
      ]),
    ),
  ]
  if (recorded !== undefined) {
    const state = additions.length > 0 ? 'incomplete' : 'in place'
    return { state, isAdopted, comparison, steps: additions, drift }
  }
  if (!adopt) return { state: 'adoptable', isAdopted, comparison, steps: [], drift: [stranger(table, found)] }
  const steps = [adoption(table, found, isAdopted), ...additions]
  return { state: 'adoptable', isAdopted, comparison, steps, drift }
}

function stranger({ name }: TableDefinition, { columns, rows }: FoundTable): Difference {
  return {
    table: name,
    column: null,
    there: `a table of ${columns.size} columns and about ${rows} rows that Firefly did not make`,
    wanted: 'a table of its own, or your word that it may write this one',
    advice: 'the game fits into it; compare with `firefly migrate plan --adopt`, then `… apply --adopt`',
  }
}

function adoption(table: TableDefinition, found: FoundTable, isAdopted: boolean): Step {
  const details = table.columns.map((column) => {
    const there = found.columns.get(column.name.toLowerCase())
    const fits = isAdopted ? 'holds' : 'is'
    const clause = columnClause(table, column)
    return `${column.name}: ${there ? `${clauseOf(there)} ${fits} ${clause}` : `added as ${clause}`}`
  })
  const how = isAdopted ? 'every value of the game fits into it' : 'it is as Firefly would have made it'
  const why = `table ${table.name} is there already, and ${how}`
  return { ...stepOf('adopt', why, [record(table, isAdopted)]), details }
}

function record(table: TableDefinition, isAdopted: boolean): SqlStatement {
  const columns = Object.fromEntries(
    table.columns.map((column) => [column.name, columnClause(table, column)]),
  )
  return { sql: RECORD_TABLE, params: [table.name, JSON.stringify(columns), isAdopted ? 1 : 0] }
}

function* fileDrift({ number, name, checksum }: NumberedFile, { files }: Records): Iterable<Difference> {
  const recorded = files.get(number)
  if (!recorded || (recorded.checksum === checksum && recorded.name === name)) return
  yield {
    table: 'firefly_migration',
    column: null,
    there: `${recorded.name} with the checksum ${recorded.checksum}`,
    wanted: `${name} with the checksum ${checksum}`,
    advice:
      'the file was changed after it was run: put it back, and make the change in a file of a new number',
  }
}

function fileStep({ number, name, checksum, statements }: NumberedFile, catalog: Catalog): Step {
  // Where DDL goes by deploy requests even one that would do nothing is refused.
  const left = statements.filter((statement) => !catalog.has(createdBy(statement) ?? ''))
  return stepOf('ours', `${name} was not run yet (Firefly's own tables)`, [
    ...left.map((sql) => ({ sql, params: [] })),
    { sql: RECORD_FILE, params: [number, name, checksum] },
  ])
}

function createdBy(statement: string): string | null {
  return CREATES.exec(statement)?.[1] ?? null
}

function stepOf(kind: Step['kind'], why: string, statements: readonly SqlStatement[]): Step {
  return { kind, why, details: [], statements: statements.map(withoutLiterals) }
}

/** Clients take literals for a mistake, but as parameters they may stand wherever they may stand in SQL. */
function withoutLiterals({ sql, params }: SqlStatement): SqlStatement {
  if (params.length > 0) return { sql, params }
  const found: SqlValue[] = []
  const text = sql.replace(
    /(_utf8mb4 )?(x?)'([^']*)'/g,
    (_, charset: string | undefined, hex: string, content: string) => {
      const bytes = Uint8Array.from(content.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
      found.push(charset ? new TextDecoder().decode(bytes) : hex ? bytes : content)
      return '?'
    },
  )
  return { sql: text, params: found }
}

/** Or did another do it, or the answer get lost? */
async function isWanted(client: SqlClient, target: Target, step: Step): Promise<boolean> {
  const plan = await planMigration(client, target).catch(() => null)
  return !plan || plan.drift.length > 0 || plan.steps.some(({ why }) => why === step.why)
}

/** Takes the record of a table that was not made back: what others make in its place is not Firefly's. */
async function failed(client: SqlClient, { kind, why, statements }: Step, cause: unknown): Promise<unknown> {
  if (!(cause instanceof DatabaseError)) return cause
  const { message, errno } = cause
  const forget = {
    sql: 'DELETE FROM firefly_table WHERE name = ?',
    params: statements[0]!.params.slice(0, 1),
  }
  if (kind === 'create' && errno !== 0) await client.query(forget).catch(() => {})
  const hint = errno === LOCK_WAIT ? '; a transaction that has used the table is still open' : ''
  return new DatabaseError(cause.kind, `${why}; mending it failed: ${message}${hint}`, { errno, cause })
}

async function readRecords(client: SqlClient, catalog: Catalog): Promise<Records> {
  const ask = async (table: string, columns: string): Promise<string[][]> => {
    if (!catalog.has(table)) return []
    return (await client.query({ sql: `SELECT ${columns} FROM ${table}`, params: [] })).rows.map((row) =>
      row.map(String),
    )
  }
  const files = await ask('firefly_migration', 'number, name, checksum')
  const tables = await ask('firefly_table', 'name, adopted')
  return {
    files: new Map(
      files.map(([number, name, checksum]) => [Number(number), { name: name!, checksum: checksum! }]),
    ),
    tables: new Map(tables.map(([name, adopted]) => [name!, { isAdopted: adopted !== '0' }])),
  }
}
