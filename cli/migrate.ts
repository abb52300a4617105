// `firefly migrate plan|apply|status`: brings a database to what a game needs, or says why it does not. Exits 0 when
// all is well, 1 when the database is not as the game wants it and only a person may change that, 2 for anything else.

import { Argument, Command } from 'commander'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadApp } from '../core/node/app.ts'
import { mysqlClient } from '../core/node/mysqlpool.ts'
import { DatabaseError, type SqlClient, type SqlStatement, type SqlValue } from '../core/sql/client.ts'
import {
  applyMigration,
  DriftError,
  parseMigrationFile,
  planMigration,
  type Difference,
  type MigrationFile,
  type MigrationPlan,
  type MigrationTarget,
} from '../core/migrate/migrations.ts'
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

/** An index of a large table takes its time; PlanetScale's own limit is shorter. */
const APPLY_MS = 3_600_000
/** Behind an ALTER TABLE that waits for a forgotten transaction, all others wait as well, the game among them. */
const LOCK_WAIT_S = 5

const HELP = `
plan    prints the SQL that apply would run, to read it or to paste it into a PlanetScale branch
apply   runs it; to run it again is safe, also after it was interrupted
status  one line for each table, and who writes them

The URL is mysql://user:password@host/database, or https://user:password@host/database for PlanetScale;
as FIREFLY_MYSQL or in firefly.json no list of processes shows its password.`

/** The `migrate` command. */
export function migrateCommand(): Command {
  const command = new Command('migrate')
    .description('bring the tables of a database to what a game needs')
    .addArgument(new Argument('<plan|apply|status>').choices(['plan', 'apply', 'status']))
    .option('--adopt', 'take over tables that are there already, if every value of the game fits', false)
    .option('--json', 'print JSON', false)
    .addHelpText('after', HELP)
  for (const option of sharedOptions('--app', '--mysql')) command.addOption(option)
  return command.action(migrate).exitOverride()
}

async function migrate(action: MigrateAction, { app, mysql, adopt, json }: MigrateOptions): Promise<void> {
  if (!app) throw new OptionError('which game? give --app PATH, FIREFLY_APP, or app in firefly.json')
  if (!mysql)
    throw new OptionError('which database? give --mysql URL, FIREFLY_MYSQL, or mysql in firefly.json')
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

/** What Firefly itself keeps in MySQL, from the package. */
async function numberedFiles(): Promise<MigrationFile[]> {
  const folder = join(packageRoot(), 'schemas', 'mysql')
  const names = readdirSync(folder).filter((name) => /^\d+_\w+\.sql$/.test(name))
  const read = (name: string): Promise<MigrationFile> =>
    parseMigrationFile(name, readFileSync(join(folder, name), 'utf8'))
  return Promise.all(names.sort().map(read))
}

function clientOf(url: string, action: MigrateAction): SqlClient {
  const isApply = action === 'apply'
  return isHttp(url)
    ? planetscaleClient({ url, ...(isApply && { timeoutMs: APPLY_MS }) })
    : mysqlClient({ url, poolSize: 1, ...(isApply && { statementTimeoutMs: APPLY_MS }) })
}

function isHttp(url: string): boolean {
  return /^https?:/i.test(url)
}

/** Without user and password. */
function databaseLabel(url: string): string {
  const { host, pathname } = new URL(url)
  return host + pathname
}

async function printPlan(
  client: SqlClient,
  target: MigrationTarget,
  place: string,
  json: boolean,
): Promise<void> {
  const { steps, drift } = await planMigration(client, target)
  if (json) {
    const shown = steps.map(({ statements, ...rest }) => ({ ...rest, sql: statements.map(sqlTextOf) }))
    printJson({ steps: shown, drift })
  }
  if (drift.length > 0) return reportDrift(drift)
  if (json) return
  if (steps.length === 0) return print(`-- nothing to do: ${countOf(target)} in place at ${place}`)
  print(`-- What \`firefly migrate apply\` would run at ${place}, in ${count(steps.length, 'step')}.`)
  for (const [index, { reason: why, details, statements }] of steps.entries()) {
    print(`\n-- ${index + 1}. ${[why, ...details].join('\n--    ')}`)
    for (const statement of statements) print(`${sqlTextOf(statement)};`)
  }
}

async function applyAndPrint(
  client: SqlClient,
  target: MigrationTarget,
  isHttp: boolean,
  json: boolean,
): Promise<void> {
  // Of the only connection. Vitess has its own ways of changing a table, and no sessions.
  if (!isHttp) await client.query({ sql: 'SET SESSION lock_wait_timeout = ?', params: [LOCK_WAIT_S] })
  const done: { readonly kind: string; readonly why: string; readonly ms: number }[] = []
  const report = (text: string): boolean => json || process.stdout.write(text)
  let startedMs = 0
  let isStepRunning = false
  try {
    await applyMigration(client, target, ({ kind, reason: why, details }, what) => {
      isStepRunning = what === 'begin'
      const ms = Math.round(performance.now() - startedMs)
      if (what === 'begin') {
        startedMs = performance.now()
        for (const detail of details) report(`  ${detail}\n`)
        report(`${kind === 'ours' ? 'run' : kind}: ${why} … `)
      } else {
        report(what === 'done' ? `done in ${ms} ms\n` : 'another process has done it\n')
        if (what === 'done') done.push({ kind, why, ms })
      }
    })
    if (json) printJson({ done, drift: [] })
    else print(`${done.length > 0 ? '' : 'nothing to do: '}${countOf(target)} in place`)
  } catch (error) {
    if (isStepRunning) report('failed\n')
    if (!(error instanceof DriftError)) throw error
    if (json) printJson({ done, drift: error.drift })
    reportDrift(error.drift, done.length > 0 ? 'nothing more was changed' : 'nothing was changed')
  }
}

async function printStatus(client: SqlClient, target: MigrationTarget, json: boolean): Promise<void> {
  const plan: MigrationPlan = await planMigration(client, { ...target, adopt: true })
  const state = await readMigrationStatus(client, plan)
  if (json) printJson({ ...state, drift: plan.drift })
  else print(statusText(state))
  if (plan.drift.length > 0) reportDrift(plan.drift)
}

function reportDrift(drift: readonly Difference[], outcome = 'nothing was changed'): void {
  const lines = drift.map(({ table, column, actual: there, expected: wanted, advice }) =>
    [
      `table ${table}${column === null ? '' : `, column ${column}`}`,
      `  there:  ${there}`,
      `  wanted: ${wanted}`,
      `  advice: ${advice}`,
    ].join('\n'),
  )
  const what = count(drift.length, 'difference')
  const head = `firefly: ${outcome}, because of ${what} that Firefly does not settle by itself:`
  process.stderr.write(`${[head, ...lines].join('\n')}\n`)
  process.exitCode = 1
}

/** As it would be typed. */
function sqlTextOf({ sql, params }: SqlStatement): string {
  let next = 0
  return sql.replaceAll('?', () => sqlLiteral(params[next++]!))
}

function sqlLiteral(value: SqlValue): string {
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString('hex')}'`
  if (typeof value !== 'string') return String(value).toUpperCase()
  // Control characters do not survive every clipboard.
  if (/\p{Cc}/u.test(value)) return `_utf8mb4 x'${Buffer.from(value).toString('hex')}'`
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

function countOf({ tables, files }: MigrationTarget): string {
  return `${count(tables.length, 'table')} and ${count(files.length, 'numbered file')} are`
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2))
}
