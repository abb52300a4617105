// Starts the `firefly` command as an operator does, and waits for its ready line.

import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'

export interface Program {
  readonly child: ChildProcess
  /** The data folder. */
  readonly data: string
  readonly http: string
  readonly tcp: { readonly host: string; readonly port: number }
  readonly pid: number
  /** Milliseconds from the start of the process to its ready line. */
  readonly readyMs: number
  readonly lines: readonly string[]
  /** Sends SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>
}

export interface ExitResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Creates a folder that is removed when the process exits. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'firefly-test-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const started = new Set<ChildProcess>()
after(() => {
  for (const child of started) child.kill('SIGKILL')
})

function spawnProgram(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd = process.cwd(),
  through: readonly string[] = [],
): ChildProcess {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FIREFLY_')))
  const script = join(import.meta.dirname, '../../cli/firefly.ts')
  const [command, ...rest] = [...through, process.execPath, script, ...args]
  const child = spawn(command!, rest, { cwd, env: { ...clean, ...env } })
  started.add(child)
  child.on('exit', () => started.delete(child))
  return child
}

/** Runs a program that is expected to exit by itself. */
export function runToEnd(args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd?: string): Promise<ExitResult> {
  const child = spawnProgram(args, env, cwd)
  let stdout = ''
  let stderr = ''
  child.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })))
}

/**
 * Starts `firefly serve` on free ports, with a new data folder by default.
 * @param through a command that runs its arguments as a command, such as `unshare`
 */
export function serve(
  app: string,
  args: readonly string[] = [],
  data = temporaryFolder(),
  through: readonly string[] = [],
): Promise<Program> {
  const startedMs = performance.now()
  const options = ['serve', '--app', app, '--http', '0', '--tcp', '0', '--data', data, ...args]
  const child = spawnProgram(options, {}, process.cwd(), through)
  const lines: string[] = []
  let output = ''
  let errors = ''
  child.stderr!.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const exited = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)))
  return new Promise((resolve, reject) => {
    void exited.then((code) => reject(new Error(`firefly exited with ${code} before it was ready: ${errors}`)))
    child.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      lines.splice(0, lines.length, ...output.split('\n').filter((line) => line !== ''))
      const ready = lines.find((line) => line.startsWith('firefly ready '))
      const match = /http=(\S+) tcp=(\S+):(\d+) pid=(\d+)$/.exec(ready ?? '')
      if (!match) return
      resolve({
        child,
        data,
        http: match[1]!,
        tcp: { host: match[2]!, port: Number(match[3]) },
        pid: Number(match[4]),
        readyMs: performance.now() - startedMs,
        lines,
        stop: () => {
          child.kill('SIGTERM')
          return exited
        },
      })
    })
  })
}
