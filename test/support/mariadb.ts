// A private MariaDB for tests, drills and development. As a command it runs until Ctrl-C.

import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { install, mariadb as program } from '../../scripts/install.mjs'
import {
  dataTemplate,
  ROOT_FLAGS,
  runStatement,
  startServer,
  type DatabaseServer,
  type ServerOptions,
} from './databaseserver.ts'

const run = promisify(execFile)

/** MariaDB is not installed; the message names the remedies. */
export class MariadbMissing extends Error {
  override readonly name = 'MariadbMissing'
}

/** Small, because the file is copied for every instance. */
const LOG_FLAG = '--innodb-log-file-size=16M'

/** @throws MariadbMissing; Error with the end of MariaDB's log when it does not start */
export async function startMariadb(options: ServerOptions = {}): Promise<DatabaseServer> {
  const binary = findBinary('mariadbd')
  const template = await dataTemplate([binary], async (data, tmpdir) => {
    const root = ['--auth-root-authentication-method=normal', '--skip-test-db', ...ROOT_FLAGS]
    const folders = [`--datadir=${data}`, `--tmpdir=${tmpdir}`]
    await run(findBinary('mariadb-install-db'), ['--no-defaults', '--force', ...folders, ...root, LOG_FLAG])
  })
  return startServer({ name: 'MariaDB', command: [binary], template, flags: [LOG_FLAG], initSql }, options)
}

export interface TestDatabase {
  readonly url: string
  /** null with FIREFLY_TEST_MYSQL, whose server must not be killed. */
  readonly mariadb: DatabaseServer | null
  [Symbol.asyncDispose](): Promise<void>
}

/** A new database on the server of FIREFLY_TEST_MYSQL, or else in a private instance. @throws MariadbMissing */
export async function testDatabase(): Promise<TestDatabase> {
  const server = process.env.FIREFLY_TEST_MYSQL
  if (!server) {
    const mariadb = await startMariadb()
    return { url: mariadb.url, mariadb, [Symbol.asyncDispose]: () => mariadb[Symbol.asyncDispose]() }
  }
  const name = `firefly_test_${process.pid}_${randomBytes(4).toString('hex')}`
  await runStatement(server, `CREATE DATABASE ${name}`)
  const url = new URL(server)
  url.pathname = name
  const drop = (): Promise<void> => runStatement(server, `DROP DATABASE ${name}`)
  return { url: url.href, mariadb: null, [Symbol.asyncDispose]: drop }
}

const initSql = (password: string): string => `CREATE DATABASE IF NOT EXISTS firefly;
CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '${password}';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
ALTER USER root@localhost IDENTIFIED BY '${password}';
`

function findBinary(name: string): string {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  const file = folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  if (file) return file
  const remedy = `apt-get install ${program.packages.join(' ')}, or FIREFLY_TEST_MYSQL=mysql://…`
  throw new MariadbMissing(`${name} is not installed (${remedy})`)
}

/** Installs MariaDB first if it is missing and the user may install it. */
async function startInstalled(options: ServerOptions): Promise<DatabaseServer> {
  try {
    return await startMariadb(options)
  } catch (error) {
    if (!(error instanceof MariadbMissing)) throw error
    if (!install([program], 'a private MariaDB')) {
      process.stderr.write(`firefly: ${error.message}\n`)
      process.exit(1)
    }
    return startMariadb(options)
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { port: { type: 'string' }, dir: { type: 'string' } } })
  await using mariadb = await startInstalled({ port: values.port ? Number(values.port) : undefined, dir: values.dir })
  const signalled = new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve))
  process.stdout.write(`${mariadb.url}\n`)
  process.stderr.write(`mariadb --defaults-file=${mariadb.dir}/client.cnf connects; Ctrl-C stops it\n`)
  await signalled
}
