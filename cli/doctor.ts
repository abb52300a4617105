// `firefly doctor`: checks what `firefly serve` with the same options needs, prints one line for each check, and says what to do.
// Invariant: it changes nothing, and waits for nothing longer than its deadlines. Exits 1 if `serve` would fail.

import type { Command } from 'commander'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { DirectoryLock } from '../core/node/lock.ts'
import { mysqlClient } from '../core/node/mysqlpool.ts'
import { planetscaleClient } from '../core/sql/planetscale.ts'
import { findWrangler } from './dev.ts'
import { commandWithServeOptions, type ServeOptions } from './options.ts'
import { packageManifest } from './scaffold.ts'

interface Check {
  readonly name: string
  /** 'fail': `serve` would not start; 'warn': something will not work; 'skip': not checked. */
  readonly result: 'ok' | 'warn' | 'fail' | 'skip'
  readonly text: string
}
type CheckResult = Omit<Check, 'name'>

const COMMAND_MS = 15_000
const MIN_FREE_BYTES = 1_073_741_824
/** Login tickets tolerate less. */
const MAX_CLOCK_DIFFERENCE_MS = 2_000
/** Files of the process besides its connections: slot files, listeners, connections to MySQL. */
const OWN_FILES = 256

const exec = promisify(execFile)
const ok = (text: string): CheckResult => ({ result: 'ok', text })
const warn = (text: string): CheckResult => ({ result: 'warn', text })
const fail = (text: string): CheckResult => ({ result: 'fail', text })
const skip = (text: string): CheckResult => ({ result: 'skip', text })

/** The `doctor` command. */
export function doctorCommand(): Command {
  return commandWithServeOptions('doctor', 'check what `serve` with the same options needs, and say what to do', doctor)
}

async function doctor(options: ServeOptions): Promise<void> {
  const { host, http, tcp, metricsHost, metricsPort, data, maxConnections, mysql } = options
  /** Stay open until the end, so that the same port twice is found. */
  const ports: Server[] = []
  const checkMetricsPort = (port: number): Promise<CheckResult> =>
    checkPort(ports, metricsHost, port, '--metrics-port', '--metrics-host')
  const checks: readonly (readonly [string, () => CheckResult | Promise<CheckResult>])[] = [
    ['node', checkNode],
    ['http port', () => checkPort(ports, host, http, '--http')],
    ['tcp port', () => checkPort(ports, host, tcp, '--tcp')],
    ['metrics port', () => (metricsPort === null ? skip('on the HTTP port') : checkMetricsPort(metricsPort))],
    ['data folder', () => checkDataFolder(data)],
    ['open files', () => checkOpenFiles(maxConnections)],
    ['clock', checkClock],
    ['mysql', () => checkMysql(mysql)],
    ['wrangler', checkWrangler],
  ]
  let hasFailed = false
  for (const [name, check] of checks) {
    const { result, text } = await check()
    hasFailed ||= result === 'fail'
    console.log(`${result.padEnd(5)} ${name.padEnd(12)} ${text}`)
  }
  for (const server of ports) server.close()
  if (hasFailed) process.exitCode = 1
}

function checkNode(): CheckResult {
  return ok(`${process.versions.node} at ${process.execPath}; firefly-game ${packageManifest().version}`)
}

async function checkPort(
  ports: Server[],
  host: string,
  port: number,
  flag: string,
  hostFlag = '--host',
): Promise<CheckResult> {
  const server = createServer()
  ports.push(server)
  try {
    await new Promise<void>((done, failed) => server.once('error', failed).listen(port, host, done))
    return ok(port === 0 ? 'any free one' : `${port} on ${host} is free`)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE')
      return fail(`${port} on ${host} is in use; stop that program, or choose another with ${flag}`)
    if (code === 'EACCES') return fail(`${port} needs more rights; choose one from 1024 with ${flag}, behind a proxy`)
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      return fail(`${host} is no address of this machine; choose another with ${hostFlag}`)
    return fail(`cannot listen on ${host}, port ${port} (${code ?? String(error)})`)
  }
}

function checkDataFolder(data: string): CheckResult {
  const folder = resolve(data)
  // A missing folder is created by `serve`, in the nearest one that exists.
  let existing = folder
  while (!existsSync(existing)) existing = dirname(existing)
  try {
    rmSync(mkdtempSync(join(existing, '.doctor-')), { recursive: true })
    if (existsSync(join(folder, 'store.lock'))) new DirectoryLock(folder).release()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'LOCKED') return fail(message)
    return fail(`${existing} is not writable (${code ?? message}); change its owner, or choose another with --data`)
  }
  const { bavail, bsize } = statfsSync(existing)
  const freeBytes = bavail * bsize
  const free = `${(freeBytes / 1_073_741_824).toFixed(1)} GiB free`
  const state = existing === folder ? 'is writable' : 'will be created'
  if (freeBytes < MIN_FREE_BYTES)
    return warn(`${folder} ${state}, but has only ${free}; the server stops at a full disk`)
  return ok(`${folder} ${state}, ${free}`)
}

/** Node raises the soft limit to the hard limit by itself. */
function checkOpenFiles(maxConnections: number): CheckResult {
  const path = '/proc/self/limits'
  if (!existsSync(path)) return skip('only on Linux')
  const hard = /^Max open files +\S+ +(\S+)/m.exec(readFileSync(path, 'utf8'))?.[1] ?? 'unlimited'
  const needed = maxConnections + OWN_FILES
  if (hard === 'unlimited' || Number(hard) >= needed) return ok(`${hard}, enough for ${maxConnections} connections`)
  return warn(
    `${hard} for ${maxConnections} connections; allow ${needed} (ulimit -Hn, LimitNOFILE of systemd), or lower --max-connections`,
  )
}

async function checkClock(): Promise<CheckResult> {
  try {
    const { stdout } = await exec('timedatectl', ['show', '-p', 'NTPSynchronized', '--value'], { timeout: COMMAND_MS })
    if (stdout.trim() === 'yes') return ok('synchronized')
    return warn('not synchronized; login tickets expire by it: install systemd-timesyncd or chrony')
  } catch {
    return skip(`${new Date().toISOString()}; no timedatectl to ask whether it is synchronized`)
  }
}

async function checkMysql(url: string): Promise<CheckResult> {
  if (url === '') return skip('not configured; rows are in the data folder alone (--mysql URL)')
  try {
    const client = /^https?:/i.test(url) ? planetscaleClient({ url }) : mysqlClient({ url, poolSize: 1 })
    try {
      const { rows } = await client.query({ sql: 'SELECT VERSION(), UNIX_TIMESTAMP(NOW(3)) * 1000', params: [] })
      const [version, nowMs] = rows[0]!
      const differenceMs = Math.round(Date.now() - Number(nowMs))
      if (Math.abs(differenceMs) > MAX_CLOCK_DIFFERENCE_MS)
        return warn(
          `${String(version)} answers, but this machine's clock differs by ${differenceMs} ms: synchronize both`,
        )
      return ok(`${String(version)} answers; \`firefly migrate status\` shows the tables`)
    } finally {
      await client.close()
    }
  } catch (error) {
    return fail(`${(error as Error).message}; check --mysql, the user's rights and the network`)
  }
}

async function checkWrangler(): Promise<CheckResult> {
  const wrangler = findWrangler()
  if (wrangler === null) return skip('not installed in this folder; only Cloudflare needs it (npm install wrangler)')
  try {
    const env = { ...process.env, WRANGLER_SEND_METRICS: 'false' }
    const { stdout } = await exec(process.execPath, [wrangler, 'whoami', '--json'], { timeout: COMMAND_MS, env })
    const { loggedIn, email } = JSON.parse(stdout) as { loggedIn?: boolean; email?: string }
    if (loggedIn) return ok(`logged in${email ? ` as ${email}` : ''}`)
  } catch {
    // It exits with an error also when nobody is logged in or the network is down.
  }
  return warn('not logged in, or Cloudflare is not reachable; before a deploy run: npx wrangler login')
}
