// `firefly migrate plan|apply|status`: changes a database to the schema that a game needs, or reports the differences.
// Exits 0 on success, 1 for a difference that must be resolved by hand, 2 for any other error.

import { Argument, Command } from 'commander'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadApp } from '../core/node/app.ts'
import { mysqlClient } from '../core/node/mysqlpool.ts'
import { DatabaseError, type SqlClient, type SqlStatement, type SqlValue } from '../core/sql/client.ts'
import type { SchemaDifference as Difference } from '../core/migrate/compare.ts'
import { applyMigration, DriftError, parseMigrationFile, planMigration } from '../core/migrate/migrations.ts'
import type { MigrationFile, MigrationPlan, MigrationTarget } from '../core/migrate/plan.ts'
import { planetscaleClient } from '../core/sql/planetscale.ts'
import { packageRoot } from './scaffold.ts'
import { OptionError, sharedOptions } from './options.ts'
import { readMigrationStatus, statusText } from './status.ts'

interface MigrateOptions {
  readonly app?: string
  readonly mysql?: string
  readonly adopt: boolean
  readonly json: boolean
}
type MigrateAction = 'plan' | 'apply' | 'status'

/** Creating an index of a large table is slow; PlanetScale's own limit is shorter. */
const APPLY_MS = 3_600_000
/** While an ALTER TABLE waits for the lock of an open transaction, every later statement waits too, also the game's. */
const LOCK_WAIT_S = 5

const HELP = `
plan    prints the SQL that apply would run, for review or for a PlanetScale branch
apply   runs it; running it again is safe, also after an interruption
status  prints one line for each table, and the writers

The URL is mysql://user:password@host/database, or https://user:password@host/database for PlanetScale.
In FIREFLY_MYSQL or firefly.json its password does not appear in the list of processes.`

/** The `migrate` command. */
export function migrateCommand(): Command {
  const command = new Command('migrate')
    .description('change the tables of a database to the schema that a game needs')
    .addArgument(new Argument('<plan|apply|status>').choices(['plan', 'apply', 'status']))
    .option('--adopt', 'adopt existing tables whose columns fit every value of the game', false)
    .option('--json', 'print JSON', false)
    .addHelpText('after', HELP)
  for (const option of sharedOptions('--app', '--mysql')) command.addOption(option)
  return command.action(migrate).exitOverride()
}

async function migrate(action: MigrateAction, { app, mysql, adopt, json }: MigrateOptions): Promise<void> {
  if (!app) throw new OptionError('no game: give --app PATH, FIREFLY_APP, or app in firefly.json')
  if (!mysql) throw new OptionError('no database: give --mysql URL, FIREFLY_MYSQL, or mysql in firefly.json')
  try {
    const client = clientOf(mysql, action)
    try {
      const { game } = await loadApp(app)
      const target = { tables: [...game.tables.values()], files: await numberedFiles(), adopt }
      if (action === 'plan') await printPlan(client, target, databaseLabel(mysql), json)
      else if (action === 'apply') await applyAndPrint(client, target, isHttp(mysql), json)
      else await printStatus(client, target, json)
    } finally {
      await client.close()
    }
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    process.stderr.write(`firefly: ${error.message}\n`)
    process.exitCode = 2
  }
}

/** The SQL files of Firefly's own tables, from the package. */
async function numberedFiles(): Promise<MigrationFile[]> {
  const folder = join(packageRoot(), 'schemas', 'mysql')
  const names = readdirSync(folder).filter((name) => /^\d+_\w+\.sql$/.test(name))
  return Promise.all(names.sort().map((name) => parseMigrationFile(name, readFileSync(join(folder, name), 'utf8'))))
}

function clientOf(url: string, action: MigrateAction): SqlClient {
  const isApply = action === 'apply'
  return isHttp(url)
    ? planetscaleClient({ url, ...(isApply && { timeoutMs: APPLY_MS }) })
    : mysqlClient({ url, poolSize: 1, ...(isApply && { statementTimeoutMs: APPLY_MS, lockWaitSeconds: Infinity }) })
}

function isHttp(url: string): boolean {
  return /^https?:/i.test(url)
}

/** Without user and password. */
function databaseLabel(url: string): string {
  const { host, pathname } = new URL(url)
  return host + pathname
}

async function printPlan(client: SqlClient, target: MigrationTarget, place: string, json: boolean): Promise<void> {
  const { steps, drift } = await planMigration(client, target)
  if (json) {
    const jsonSteps = steps.map(({ kind, reason, details, statements }) => {
      return { kind, why: reason, details, sql: statements.map(sqlTextOf) }
    })
    printJson({ steps: jsonSteps, drift: drift.map(jsonDifference) })
  }
  if (drift.length > 0) return reportDrift(drift)
  if (json) return
  if (steps.length === 0) return print(`-- nothing to do: ${countOf(target)} in place at ${place}`)
  print(`-- What \`firefly migrate apply\` would run at ${place}, in ${count(steps.length, 'step')}.`)
  for (const [index, { reason, details, statements }] of steps.entries()) {
    print(`\n-- ${index + 1}. ${[reason, ...details].join('\n--    ')}`)
    for (const statement of statements) print(`${sqlTextOf(statement)};`)
  }
}

async function applyAndPrint(
  client: SqlClient,
  target: MigrationTarget,
  isHttp: boolean,
  json: boolean,
): Promise<void> {
  // The client has one connection. Vitess changes tables online and has no sessions.
  if (!isHttp) await client.query({ sql: 'SET SESSION lock_wait_timeout = ?', params: [LOCK_WAIT_S] })
  const done: { readonly kind: string; readonly why: string; readonly ms: number }[] = []
  const report = (text: string): boolean => json || process.stdout.write(text)
  let startedMs = 0
  let isStepRunning = false
  try {
    await applyMigration(client, target, ({ kind, reason, details }, progress) => {
      isStepRunning = progress === 'begin'
      const ms = Math.round(performance.now() - startedMs)
      if (progress === 'begin') {
        startedMs = performance.now()
        for (const detail of details) report(`  ${detail}\n`)
        report(`${kind === 'ours' ? 'run' : kind}: ${reason} … `)
      } else {
        report(progress === 'done' ? `done in ${ms} ms\n` : 'another process has done it\n')
        if (progress === 'done') done.push({ kind, why: reason, ms })
      }
    })
    if (json) printJson({ done, drift: [] })
    else print(`${done.length > 0 ? '' : 'nothing to do: '}${countOf(target)} in place`)
  } catch (error) {
    if (isStepRunning) report('failed\n')
    if (!(error instanceof DriftError)) throw error
    if (json) printJson({ done, drift: error.drift.map(jsonDifference) })
    reportDrift(error.drift, done.length > 0 ? 'nothing more was changed' : 'nothing was changed')
  }
}

async function printStatus(client: SqlClient, target: MigrationTarget, json: boolean): Promise<void> {
  const plan: MigrationPlan = await planMigration(client, { ...target, adopt: true })
  const status = await readMigrationStatus(client, plan)
  if (json) printJson({ ...status, drift: plan.drift.map(jsonDifference) })
  else print(statusText(status))
  if (plan.drift.length > 0) reportDrift(plan.drift)
}

function reportDrift(drift: readonly Difference[], outcome = 'nothing was changed'): void {
  const lines = drift.map(({ table, column, actual, expected, advice }) =>
    [
      `table ${table}${column === null ? '' : `, column ${column}`}`,
      `  there:  ${actual}`,
      `  wanted: ${expected}`,
      `  advice: ${advice}`,
    ].join('\n'),
  )
  const differences = count(drift.length, 'difference')
  const head = `firefly: ${outcome}, because of ${differences} that Firefly does not resolve by itself:`
  process.stderr.write(`${[head, ...lines].join('\n')}\n`)
  process.exitCode = 1
}

/** The keys of the JSON output. */
function jsonDifference({ actual, expected, ...rest }: Difference): object {
  return { ...rest, there: actual, wanted: expected }
}

/** The statement with its parameters as literals. */
function sqlTextOf({ sql, params }: SqlStatement): string {
  let next = 0
  return sql.replaceAll('?', () => sqlLiteral(params[next++]!))
}

function sqlLiteral(value: SqlValue): string {
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString('hex')}'`
  if (typeof value !== 'string') return String(value).toUpperCase()
  // Some clipboards drop control characters.
  if (/\p{Cc}/u.test(value)) return `_utf8mb4 x'${Buffer.from(value).toString('hex')}'`
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

function countOf({ tables, files }: MigrationTarget): string {
  return `${count(tables.length, 'table')} and ${count(files.length, 'numbered file')} are`
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2))
}
