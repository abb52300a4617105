// A private MySQL or MariaDB with its own folder, port and password. Invariants: it ends with the process that started it
// (on Linux also with a killed one); it is stopped only by its own process id; the machine's own database is never used.

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
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { mysqlClient } from '../../core/node/mysqlpool.ts'
import { FOLDER_PREFIX, removeOrphans, scratchRoot, temporaryFolder, USER_ID } from './scratch.ts'

export interface DatabaseServer {
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

export interface ServerOptions {
  readonly port?: number | undefined
  /** Not removed at the end; existing data is used. By default a temporary folder in memory. */
  readonly dir?: string | undefined
  readonly flags?: readonly string[]
}

/** The program of a server. */
export interface ServerEngine {
  readonly name: string
  /** Words before its options. */
  readonly command: readonly string[]
  /** An empty data folder, which is copied. */
  readonly template: string
  readonly flags: readonly string[]
  readonly initSql: (password: string) => string
}

const START_MS = 60_000
const POLL_MS = 5
const PORT_TRIES = 3
const LOG_TAIL = 2_000
const SETPRIV = '/usr/bin/setpriv'
export const ROOT_FLAGS = USER_ID === 0 ? ['--user=root'] : []
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

/** @throws Error with the end of the server's log when it does not start */
export async function startServer(
  engine: ServerEngine,
  { port, dir, flags = [] }: ServerOptions = {},
): Promise<DatabaseServer> {
  removeOrphans()
  const folder = dir ?? temporaryFolder()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const data = join(folder, 'data')
  if (!existsSync(data)) {
    await cp(engine.template, `${data}.new`, { recursive: true, mode: constants.COPYFILE_FICLONE })
    await rename(`${data}.new`, data)
  }
  for (let tries = 1; ; tries++) {
    const instance = new PrivateServer(engine, folder, port ?? (await freePort()), flags, dir !== undefined)
    try {
      await instance.start()
      return instance
    } catch (error) {
      // Another process may bind the free port before the server does.
      if (port === undefined && tries < PORT_TRIES && /already in use/.test((error as Error).message)) continue
      await instance[Symbol.asyncDispose]()
      throw error
    }
  }
}

class PrivateServer implements DatabaseServer {
  readonly url: string
  readonly port: number
  readonly socket: string
  readonly dir: string
  readonly #command: readonly string[]
  readonly #log: string
  readonly #name: string
  readonly #keepsFolder: boolean
  #child: ChildProcess | null = null
  #exited: Promise<unknown> = Promise.resolve()
  readonly #onExit = (): void => {
    this.#child?.kill('SIGKILL')
    this.#remove()
  }

  constructor(engine: ServerEngine, dir: string, port: number, flags: readonly string[], keep: boolean) {
    const password = randomBytes(16).toString('hex')
    this.url = `mysql://root:${password}@127.0.0.1:${port}/firefly`
    this.port = port
    this.#name = engine.name
    this.dir = dir
    this.socket = join(dir, 'sock')
    this.#log = join(dir, 'error.log')
    this.#keepsFolder = keep
    const client = `[client]\nuser=root\npassword=${password}\nsocket=${this.socket}\n[mysql]\ndatabase=firefly\n`
    writeFileSync(join(dir, 'client.cnf'), client, { mode: 0o600 })
    writeFileSync(join(dir, 'init.sql'), engine.initSql(password), { mode: 0o600 })
    this.#command = [
      // The kernel kills the child, because a killed parent cannot.
      ...(existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL'] : []),
      ...engine.command,
      '--no-defaults',
      ...ROOT_FLAGS,
      `--datadir=${join(dir, 'data')}`,
      `--tmpdir=${dir}`,
      `--socket=${this.socket}`,
      `--pid-file=${join(dir, 'pid')}`,
      `--port=${port}`,
      `--init-file=${join(dir, 'init.sql')}`,
      ...FLAGS,
      ...engine.flags,
      ...flags,
    ]
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  async start(): Promise<void> {
    if (this.#child) throw new Error(`${this.#name} already runs as process ${this.pid}`)
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
          throw new Error(`${this.#name} did not start on port ${this.port}; its log:\n${log}`, { cause })
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

export async function runStatement(url: string, sql: string): Promise<void> {
  const client = mysqlClient({ url, poolSize: 1 })
  try {
    await client.query({ sql, params: [] })
  } finally {
    await client.close()
  }
}

async function freePort(): Promise<number> {
  await using server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/**
 * Returns an empty data folder, created once per version of the server by the first process that needs it.
 * `initialize` creates the folder; a starting server deletes the temporary files of others, so it gets its own folder.
 */
export async function dataTemplate(
  command: readonly string[],
  initialize: (data: string, tmpdir: string) => Promise<void>,
): Promise<string> {
  const [program, ...args] = command
  const { stdout } = await promisify(execFile)(program!, [...args, '--no-defaults', '--version'])
  const version = /Ver (\S+)/.exec(stdout)?.[1] ?? 'unknown'
  const path = join(scratchRoot(), `${FOLDER_PREFIX}-template-${USER_ID}-${version}`)
  if (!existsSync(path)) {
    const fresh = temporaryFolder()
    const data = join(fresh, 'data')
    try {
      await initialize(data, fresh)
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
