// The servers under measurement, and every other child of a benchmark: started, pinned, stopped here.
// All sides run on the same Node binary with the same flags; no child outlives the benchmark.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'

/** Same flags for every server: the young generation that Firefly's gateways run with (DESIGN.md 7). */
const SERVER_NODE_FLAGS = ['--max-semi-space-size=2'] as const
const LOAD_CORE = 0
const SERVER_CORE = 1
/** Generous: the first start bundles the app. */
const READY_MS = 30_000
const STOP_MS = 5_000
const ERROR_TAIL_CHARS = 2_000

const root = path.resolve(import.meta.dirname, '../..')

export interface MeasuredServer {
  readonly side: string
  readonly host: string
  readonly port: number
  readonly pid: number
  /** SIGTERM, then SIGKILL; resolves when the process is gone. */
  stop(): Promise<void>
}

/** A child whose stdout comes line by line. `failure()` says how it ended, with the end of its stderr. */
export interface BenchProcess {
  readonly process: ChildProcess
  readonly failureText: () => string
}

/** Whether server and load get a core each. */
export function canPin(): boolean {
  return [LOAD_CORE, SERVER_CORE].every((core) => spawnSync('taskset', ['-c', `${core}`, 'true']).status === 0)
}

/** Moves this process, all its threads, to the load's core. */
export function pinSelf(): void {
  spawnSync('taskset', ['-acp', `${LOAD_CORE}`, `${process.pid}`])
}

export function startLoad(args: readonly string[], pinned: boolean, onLine: (line: string) => void): BenchProcess {
  return startNode(['test/bench/load.ts', ...args], pinned ? LOAD_CORE : null, onLine)
}

export function startRawEcho(pinned: boolean): Promise<MeasuredServer> {
  return startServer('raw', ['test/bench/rawecho.ts'], pinned)
}

/**
 * BENCH_SERVER puts another script in the place of ours (cli/firefly.ts of an older checkout, an experiment); its
 * figures then carry that script's name, so that nobody takes them for Firefly's.
 */
export function startFirefly(options: readonly string[], pinned: boolean): Promise<MeasuredServer> {
  const other = process.env['BENCH_SERVER']
  const script = other ?? 'test/bench/unlimitedserver.ts'
  const args = [script, 'serve', '--app', 'examples/echo', '--http', '0', '--tcp', '0', ...options]
  return startServer(other === undefined ? 'firefly' : path.basename(other), args, pinned)
}

async function startServer(side: string, args: readonly string[], pinned: boolean): Promise<MeasuredServer> {
  const ready = Promise.withResolvers<RegExpExecArray>()
  const child = startNode([...SERVER_NODE_FLAGS, ...args], pinned ? SERVER_CORE : null, (line) => {
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

function startNode(args: readonly string[], core: number | null, onLine: (line: string) => void): BenchProcess {
  const command = [process.execPath, ...args]
  if (core !== null) command.unshift('taskset', '-c', `${core}`)
  // An operator's FIREFLY_* settings would change what is measured.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FIREFLY_')))
  const child = spawn(command[0]!, command.slice(1), { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  let ended = 'still running'
  child.once('error', (error) => (ended = error.message))
  child.once('exit', (code, signal) => (ended = `exit ${code ?? signal}`))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-ERROR_TAIL_CHARS)
  })
  createInterface({ input: child.stdout }).on('line', onLine)
  const kill = (): boolean => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  return { process: child, failureText: () => `${ended} ${errors.trim()}`.trim() }
}
