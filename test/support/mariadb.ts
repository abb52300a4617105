// A private MariaDB for tests, drills and development, with its own folder, port and password. As a command it runs until
// Ctrl-C. Invariants: it ends with the process that started it (on Linux also with a killed one); it is stopped only by
// its own process id; the machine's own database is never used.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { cp, rename, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs, promisify } from 'node:util'
import { mysqlClient } from '../../core/node/mysqlpool.ts'
import { install, mariadb as program } from '../../scripts/install.mjs'
import { scratchRoot, FOLDER_PREFIX, removeOrphans, temporaryFolder, USER_ID } from './scratch.ts'

export interface Mariadb {
  /** `mysql://root:password@127.0.0.1:port/firefly` */
  readonly url: string
  readonly port: number
  readonly socket: string
  readonly dir: string
  /** 0 while it is not running. */
  readonly pid: number
  /** Sends SIGKILL and waits for the exit. */
  kill(): Promise<void>
  /** Restarts with the same data and port. */
  start(): Promise<void>
  /** Sends SIGTERM and waits for the exit. */
  stop(): Promise<void>
  /** Sends SIGSTOP, which takes effect asynchronously. */
  pause(): void
  resume(): void
  /** Kills it, and removes its folder unless the caller provided the folder. */
  [Symbol.asyncDispose](): Promise<void>
}

export interface MariadbOptions {
  readonly port?: number | undefined
  /** Not removed at the end; existing data is used. By default a temporary folder in memory. */
  readonly dir?: string | undefined
  readonly flags?: readonly string[]
}

/** MariaDB is not installed; the message names the remedies. */
export class MariadbMissing extends Error {
  override readonly name = 'MariadbMissing'
}

const START_MS = 30_000
const POLL_MS = 5
const PORT_TRIES = 3
const LOG_TAIL = 2_000
const SETPRIV = '/usr/bin/setpriv'
const FLAGS = [
  '--bind-address=127.0.0.1',
  '--skip-name-resolve',
  // The server's default collation, so that tests detect a table without an explicit collation.
  '--character-set-server=utf8mb4',
  '--innodb-flush-log-at-trx-commit=1',
  '--innodb-buffer-pool-size=64M',
  '--innodb-buffer-pool-dump-at-shutdown=0',
  '--innodb-buffer-pool-load-at-startup=0',
  '--performance-schema=0',
]
/** Small, because the file is copied for every instance. */
const LOG_FLAG = '--innodb-log-file-size=16M'
const ROOT_FLAGS = USER_ID === 0 ? ['--user=root'] : []

/** @throws MariadbMissing; Error with the end of MariaDB's log when it does not start */
export async function startMariadb({ port, dir, flags = [] }: MariadbOptions = {}): Promise<Mariadb> {
  const binary = findBinary('mariadbd')
  const template = await dataTemplate(binary)
  removeOrphans()
  const folder = dir ?? temporaryFolder()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const data = join(folder, 'data')
  if (!existsSync(data)) {
    await cp(template, `${data}.new`, { recursive: true, mode: constants.COPYFILE_FICLONE })
    await rename(`${data}.new`, data)
  }
  for (let tries = 1; ; tries++) {
    const instance = new PrivateMariadb(binary, folder, port ?? (await freePort()), flags, dir !== undefined)
    try {
      await instance.start()
      return instance
    } catch (error) {
      // Another process may bind the free port before MariaDB does.
      if (port === undefined && tries < PORT_TRIES && /already in use/.test((error as Error).message)) continue
      await instance[Symbol.asyncDispose]()
      throw error
    }
  }
}

export interface TestDatabase {
  readonly url: string
  /** null with FIREFLY_TEST_MYSQL, whose server must not be killed. */
  readonly mariadb: Mariadb | null
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

class PrivateMariadb implements Mariadb {
  readonly url: string
  readonly port: number
  readonly socket: string
  readonly dir: string
  readonly #command: readonly string[]
  readonly #log: string
  readonly #keepsFolder: boolean
  #child: ChildProcess | null = null
  #exited: Promise<unknown> = Promise.resolve()
  readonly #onExit = (): void => {
    this.#child?.kill('SIGKILL')
    this.#remove()
  }

  constructor(binary: string, dir: string, port: number, flags: readonly string[], keep: boolean) {
    const password = randomBytes(16).toString('hex')
    this.url = `mysql://root:${password}@127.0.0.1:${port}/firefly`
    this.port = port
    this.dir = dir
    this.socket = join(dir, 'sock')
    this.#log = join(dir, 'error.log')
    this.#keepsFolder = keep
    const client = `[client]\nuser=root\npassword=${password}\nsocket=${this.socket}\n[mysql]\ndatabase=firefly\n`
    writeFileSync(join(dir, 'client.cnf'), client, { mode: 0o600 })
    writeFileSync(join(dir, 'init.sql'), initSql(password), { mode: 0o600 })
    this.#command = [
      // The kernel kills the child, because a killed parent cannot.
      ...(existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL'] : []),
      binary,
      '--no-defaults',
      ...ROOT_FLAGS,
      `--datadir=${join(dir, 'data')}`,
      `--tmpdir=${dir}`,
      `--socket=${this.socket}`,
      `--pid-file=${join(dir, 'pid')}`,
      `--port=${port}`,
      `--init-file=${join(dir, 'init.sql')}`,
      ...FLAGS,
      LOG_FLAG,
      ...flags,
    ]
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  async start(): Promise<void> {
    if (this.#child) throw new Error(`MariaDB already runs as process ${this.pid}`)
    const log = openSync(this.#log, 'a', 0o600)
    const [command, ...args] = this.#command
    const child = spawn(command!, args, { cwd: this.dir, stdio: ['ignore', log, log] })
    closeSync(log)
    this.#child = child
    process.once('exit', this.#onExit)
    this.#exited = new Promise((resolve) => {
      child.once('exit', resolve).once('error', resolve)
    }).then(() => {
      this.#child = null
      process.off('exit', this.#onExit)
    })
    try {
      await this.#waitUntilReady()
    } catch (error) {
      await this.kill()
      throw error
    }
  }

  /** The password is unique to this instance, so another server on the port is not mistaken for it. */
  async #waitUntilReady(): Promise<void> {
    const untilMs = performance.now() + START_MS
    for (;;) {
      try {
        await runStatement(this.url, 'SELECT 1')
        return
      } catch (cause) {
        if (this.#child && performance.now() < untilMs) await sleep(POLL_MS)
        else {
          const log = readFileSync(this.#log, 'utf8').slice(-LOG_TAIL)
          throw new Error(`MariaDB did not start on port ${this.port}; its log:\n${log}`, { cause })
        }
      }
    }
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exited
  }

  async stop(): Promise<void> {
    this.#child?.kill('SIGTERM')
    this.resume()
    await this.#exited
  }

  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    this.#remove()
  }

  #remove(): void {
    if (!this.#keepsFolder) rmSync(this.dir, { recursive: true, force: true })
  }
}

const initSql = (password: string): string => `CREATE DATABASE IF NOT EXISTS firefly;
CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '${password}';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
ALTER USER root@localhost IDENTIFIED BY '${password}';
`

async function runStatement(url: string, sql: string): Promise<void> {
  const client = mysqlClient({ url, poolSize: 1 })
  try {
    await client.query({ sql, params: [] })
  } finally {
    await client.close()
  }
}

/** Returns an empty data folder, created once per version of MariaDB by the first process that needs it. */
async function dataTemplate(binary: string): Promise<string> {
  const run = promisify(execFile)
  const { stdout } = await run(binary, ['--no-defaults', '--version'])
  const version = /Ver (\S+)/.exec(stdout)?.[1] ?? 'unknown'
  const path = join(scratchRoot(), `${FOLDER_PREFIX}-template-${USER_ID}-${version}`)
  if (!existsSync(path)) {
    const fresh = temporaryFolder()
    const data = join(fresh, 'data')
    try {
      // A separate folder for temporary files, because a starting MariaDB deletes those of others.
      const folders = [`--datadir=${data}`, `--tmpdir=${fresh}`]
      const root = ['--auth-root-authentication-method=normal', '--skip-test-db', ...ROOT_FLAGS]
      await run(findBinary('mariadb-install-db'), ['--no-defaults', '--force', ...folders, ...root, LOG_FLAG])
      // Fails if another process was faster, because rename never replaces a folder that is not empty.
      await rename(data, path).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
      })
    } finally {
      await rm(fresh, { recursive: true, force: true })
    }
  }
  if (process.getuid && statSync(path).uid !== USER_ID) throw new Error(`${path} belongs to another user`)
  return path
}

function findBinary(name: string): string {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  const file = folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  if (file) return file
  const remedy = `apt-get install ${program.packages.join(' ')}, or FIREFLY_TEST_MYSQL=mysql://…`
  throw new MariadbMissing(`${name} is not installed (${remedy})`)
}

async function freePort(): Promise<number> {
  await using server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Installs MariaDB first if it is missing and the user may install it. */
async function startInstalled(options: MariadbOptions): Promise<Mariadb> {
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
