// The child processes of a benchmark: started, pinned to a core, stopped. Invariant: all servers run on the same Node
// binary with the same flags, and no child outlives the benchmark.

import { type ChildProcess, spawn, spawnSync, type StdioOptions } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'

import { progress } from '../support/figure.ts'

/** Flags of every server: the young generation that Firefly's gateways run with (DESIGN.md 7). */
export const SERVER_NODE_FLAGS = ['--max-semi-space-size=2'] as const
export const LOAD_CORE = 0
export const SERVER_CORE = 1
/** The first start bundles the app. */
const READY_MS = 30_000
export const STOP_MS = 5_000
const ERROR_TAIL_CHARS = 2_000

const root = path.resolve(import.meta.dirname, '../..')

export interface MeasuredServer {
  readonly side: string
  readonly host: string
  readonly port: number
  readonly pid: number
  /** Sends SIGTERM, later SIGKILL; resolves when the process has ended. */
  stop(): Promise<void>
}

export interface BenchProcess {
  readonly process: ChildProcess
  /** How the process ended, with the end of its stderr. */
  readonly failureText: () => string
}

export interface SpawnOptions {
  /** null = any free core. */
  readonly core: number | null
  /** Other processes on its core have priority. */
  readonly lowPriority?: boolean
  readonly stdio: StdioOptions
}

/** Returns whether server and load generator can have a core each. */
export function canPin(): boolean {
  return [LOAD_CORE, SERVER_CORE].every((core) => spawnSync('taskset', ['-c', `${core}`, 'true']).status === 0)
}

/** Moves this process with all its threads to the core of the load generator. */
export function pinSelf(): void {
  spawnSync('taskset', ['-acp', `${LOAD_CORE}`, `${process.pid}`])
}

/** Prints which cores are used. */
export function progressOfPinning(pinned: boolean): void {
  progress(pinned ? 'server on core 1, load on core 0' : 'not pinned: taskset or a second core is missing')
}

/** Starts load.ts; `onLine` receives each line of its stdout. */
export function startLoad(args: readonly string[], pinned: boolean, onLine: (line: string) => void): BenchProcess {
  return spawnLines(['test/bench/load.ts', ...args], pinned ? LOAD_CORE : null, onLine)
}

export function startRawEcho(pinned: boolean): Promise<MeasuredServer> {
  return startServer('raw', ['test/bench/rawecho.ts'], pinned)
}

/**
 * BENCH_SERVER names another script to run instead (cli/firefly.ts of an older checkout, an experiment). Its figures
 * then have that script's name, so that they are not taken for Firefly's.
 */
export function startFirefly(options: readonly string[], pinned: boolean): Promise<MeasuredServer> {
  const other = process.env['BENCH_SERVER']
  const script = other ?? 'test/bench/unlimitedserver.ts'
  const args = [script, 'serve', '--app', 'examples/echo', '--http', '0', '--tcp', '0', ...options]
  return startServer(other === undefined ? 'firefly' : path.basename(other), args, pinned)
}

async function startServer(side: string, args: readonly string[], pinned: boolean): Promise<MeasuredServer> {
  const ready = Promise.withResolvers<RegExpExecArray>()
  const child = spawnLines([...SERVER_NODE_FLAGS, ...args], pinned ? SERVER_CORE : null, (line) => {
    const match = /^\S+ ready (?:.* )?tcp=(\S+):(\d+) pid=(\d+)/.exec(line)
    if (match) ready.resolve(match)
  })
  const exited = new Promise<void>((resolve) => child.process.once('exit', () => resolve()))
  void exited.then(() => ready.reject(new Error(`${side} server ended before it was ready: ${child.failureText()}`)))
  const timer = setTimeout(() => {
    ready.reject(new Error(`${side} server was not ready in ${READY_MS} ms: ${child.failureText()}`))
  }, READY_MS)
  try {
    const [, host, port, pid] = await ready.promise
    return { side, host: host!.replace(/^\[|\]$/g, ''), port: Number(port), pid: Number(pid), stop }
  } catch (error) {
    await stop()
    throw error
  } finally {
    clearTimeout(timer)
  }

  async function stop(): Promise<void> {
    child.process.kill('SIGTERM')
    const killer = setTimeout(() => child.process.kill('SIGKILL'), STOP_MS)
    if (child.process.exitCode === null && child.process.signalCode === null) await exited
    clearTimeout(killer)
  }
}

function spawnLines(args: readonly string[], core: number | null, onLine: (line: string) => void): BenchProcess {
  const child = spawnNode(args, { core, stdio: ['ignore', 'pipe', 'pipe'] })
  createInterface({ input: child.process.stdout! }).on('line', onLine)
  return child
}

/** Starts Node in the repository's root. `stdio` pipes stderr. */
export function spawnNode(args: readonly string[], { core, lowPriority = false, stdio }: SpawnOptions): BenchProcess {
  const command = [process.execPath, ...args]
  if (lowPriority) command.unshift('nice', '-n', '19')
  if (core !== null) command.unshift('taskset', '-c', `${core}`)
  // An operator's FIREFLY_* settings would change what is measured.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FIREFLY_')))
  const child = spawn(command[0]!, command.slice(1), { cwd: root, env, stdio })
  let stderr = ''
  let end = 'still running'
  child.once('error', (error) => (end = error.message))
  child.once('exit', (code, signal) => (end = `exit ${code ?? signal}`))
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-ERROR_TAIL_CHARS)
  })
  const kill = (): boolean => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  return { process: child, failureText: () => `${end} ${stderr.trim()}`.trim() }
}
