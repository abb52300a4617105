// A server whose outputs go where an operator's shell, container or service manager sends them: real pipes that a test
// reads, stops reading, closes and opens again; files; a terminal. Invariant: the server ends with the test.

import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { temporaryFolder } from './program.ts'
import { waitFor } from './wait.ts'

export interface RedirectedServer {
  readonly child: ChildProcess
  readonly http: string
  readonly pid: number
  /** Resolves with exit code or signal. */
  readonly ended: Promise<number | string>
}

const LAUNCHER = join(import.meta.dirname, '../../cli/firefly.ts')

/**
 * Starts `firefly serve` under `sh` with redirections, such as `>out 2>err`. What is not redirected goes to sockets, as
 * under systemd; the test reads that of standard output until the ready line, and then none.
 * @param readOutput returns what the server printed so far, if standard output is redirected
 */
export async function serveRedirected(
  t: TestContext,
  app: string,
  redirections: string,
  readOutput?: () => string,
): Promise<RedirectedServer> {
  const options = ['serve', '--app', app, '--http', '0', '--tcp', '0', '--data', temporaryFolder()]
  const child = spawn('sh', ['-c', `exec "$0" "$@" ${redirections}`, process.execPath, LAUNCHER, ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const printed = readOutput ?? (() => output)
  t.after(() => child.kill('SIGKILL'))
  const ended = new Promise<number | string>((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal!)))
  const ready = /firefly ready http=(\S+) tcp=\S+ pid=(\d+)/
  await waitFor(() => ready.test(printed()) || child.exitCode !== null, 'the ready line')
  const [, http, pid] = ready.exec(printed()) ?? []
  if (!http) throw new Error(`the server ended with ${child.exitCode}: ${printed()}`)
  child.stdout.pause()
  return { child, http, pid: Number(pid), ended }
}
