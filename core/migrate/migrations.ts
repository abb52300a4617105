// Runs migrations: reads the state of a database, plans the steps, and applies them. Invariant: every step can be
// repeated, so an interrupted migration, or two concurrent ones, reach the same state; and while there is drift,
// nothing is changed.

import { hexOf, utf8Encoder } from '../wire/bytes.ts'
import type { TableDefinition } from '../game/table.ts'
import { readCatalog, type Catalog } from '../sql/catalog.ts'
import { DatabaseError, type SqlClient } from '../sql/client.ts'
import { splitStatements } from '../sql/statements.ts'
import type { SchemaDifference } from './compare.ts'
import {
  createdTable,
  planFromCatalog,
  type MigrationFile,
  type MigrationPlan,
  type MigrationRecords,
  type MigrationStep,
  type MigrationTarget,
} from './plan.ts'

/** The database differs from the game in a way that Firefly does not change; nothing was done. */
export class DriftError extends Error {
  override readonly name = 'DriftError'
  readonly drift: readonly SchemaDifference[]
  constructor(drift: readonly SchemaDifference[]) {
    super(drift.map(describeDifference).join('\n'))
    this.drift = drift
  }
}

/** The last file of schemas/mysql that this code needs. */
export const REQUIRED_FILE = 1
const FIREFLY_TABLES = ['firefly_migration', 'firefly_table', 'firefly_owner', 'firefly_parked']
/** Maximum number of differences in one message. */
const MAX_LISTED = 3
const ERRNO_LOCK_WAIT = 1205

/** @param name such as `0001_firefly.sql` */
export async function parseMigrationFile(name: string, text: string): Promise<MigrationFile> {
  // A checkout on Windows may have other line ends.
  const bytes = utf8Encoder.encode(text.replaceAll('\r\n', '\n'))
  const checksum = hexOf(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
  return { number: Number.parseInt(name, 10), name, checksum, statements: splitStatements(text) }
}

/** Reads the database, and changes nothing. @throws DatabaseError */
export async function planMigration(client: SqlClient, target: MigrationTarget): Promise<MigrationPlan> {
  const created = target.files.flatMap(({ statements }) => statements.map(createdTable))
  const names = [...FIREFLY_TABLES, ...created, ...target.tables.map(({ name }) => name)]
  const catalog = await readCatalog(client, [...new Set(names.filter((name) => name !== null))])
  return planFromCatalog(catalog, await readRecords(client, catalog), target)
}

/**
 * Applies the plan. It plans again before each step and after a failed one, because another process may apply the same
 * plan: only steps that are still missing are run.
 * @param progress 'done-by-other' = the step failed here, and another process has done it
 * @throws DatabaseError; DriftError before anything is done
 */
export async function applyMigration(
  client: SqlClient,
  target: MigrationTarget,
  progress: (step: MigrationStep, event: 'begin' | 'done' | 'done-by-other') => void,
): Promise<void> {
  const done = new Set<string>()
  for (;;) {
    const { steps, drift } = await planMigration(client, target)
    if (drift.length > 0) throw new DriftError(drift)
    const [step] = steps
    if (!step) return
    if (done.has(step.reason))
      throw new DatabaseError('schema', `${step.reason}, although this migration has just fixed it`)
    progress(step, 'begin')
    try {
      for (const statement of step.statements) await client.query(statement)
    } catch (error) {
      if (await isStillNeeded(client, target, step)) throw await stepFailure(client, step, error)
      progress(step, 'done-by-other')
      continue
    }
    // Writes the record again, because another process whose CREATE failed deletes it.
    if (step.kind === 'create') await client.query(step.statements[0]!)
    done.add(step.reason)
    progress(step, 'done')
  }
}

/**
 * Called by a host before it serves. @throws DatabaseError 'schema' when the database lacks something that these tables
 * need, with the command to run; any other DatabaseError unchanged
 */
export async function checkSchema(client: SqlClient, tables: readonly TableDefinition[]): Promise<void> {
  const catalog = await readCatalog(client, [...FIREFLY_TABLES, ...tables.map(({ name }) => name)])
  const records = await readRecords(client, catalog)
  const { steps, drift } = planFromCatalog(catalog, records, { tables, files: [], adopt: false })
  const isOld = Math.max(0, ...records.files.keys()) < REQUIRED_FILE
  const problems = [
    ...(isOld ? ["Firefly's own tables are missing"] : []),
    ...(drift.length > 0 ? drift.map(describeDifference) : steps.map(({ reason }) => reason)),
  ]
  if (problems.length === 0) return
  const more = problems.length > MAX_LISTED ? `; and ${problems.length - MAX_LISTED} more` : ''
  const listed = problems.slice(0, MAX_LISTED).join('; ')
  const advice = 'run: firefly migrate apply --app … --mysql …'
  throw new DatabaseError('schema', `the database is not ready for this game: ${listed}${more}; ${advice}`)
}

/** One difference in one line. */
export function describeDifference({ table, column, actual, expected, advice }: SchemaDifference): string {
  const name = column === null ? `table ${table}` : `table ${table}, column ${column}`
  return `${name}: found ${actual}, expected ${expected}: ${advice}`
}

/** Checks after a failed step whether another process did it, or whether only the answer was lost. */
async function isStillNeeded(client: SqlClient, target: MigrationTarget, step: MigrationStep): Promise<boolean> {
  const plan = await planMigration(client, target).catch(() => null)
  return !plan || plan.drift.length > 0 || plan.steps.some(({ reason }) => reason === step.reason)
}

/** Deletes the record of a table that was not created: a table that others create with its name is not Firefly's. */
async function stepFailure(
  client: SqlClient,
  { kind, reason, statements }: MigrationStep,
  cause: unknown,
): Promise<unknown> {
  if (!(cause instanceof DatabaseError)) return cause
  const { message, errno } = cause
  const deleteRecord = { sql: 'DELETE FROM firefly_table WHERE name = ?', params: statements[0]!.params.slice(0, 1) }
  if (kind === 'create' && errno !== 0) await client.query(deleteRecord).catch(() => {})
  const hint = errno === ERRNO_LOCK_WAIT ? '; a transaction that has used the table is still open' : ''
  return new DatabaseError(cause.kind, `${reason}; the migration failed: ${message}${hint}`, { errno, cause })
}

async function readRecords(client: SqlClient, catalog: Catalog): Promise<MigrationRecords> {
  const query = async (table: string, columns: string): Promise<string[][]> => {
    if (!catalog.has(table)) return []
    const { rows } = await client.query({ sql: `SELECT ${columns} FROM ${table}`, params: [] })
    return rows.map((row) => row.map(String))
  }
  const files = await query('firefly_migration', 'number, name, checksum')
  const tables = await query('firefly_table', 'name, adopted')
  return {
    files: new Map(files.map(([number, name, checksum]) => [Number(number), { name: name!, checksum: checksum! }])),
    tables: new Map(tables.map(([name, adopted]) => [name!, { isAdopted: adopted !== '0' }])),
  }
}
