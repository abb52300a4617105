// The two hosts that are soaked, each as the drill reaches it: one port for WebSocket, and on Node one for TCP.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { serveWorkerd } from '../../support/workerd.ts'
import type { ServerOrder, Told } from './server.ts'

export type HostName = 'node' | 'workerd'
export interface SoakHost extends AsyncDisposable {
  readonly name: HostName
  readonly webSocket: number
  readonly tcp: number | null
  /** What went wrong inside, one line each. */
  complaints(): readonly string[]
}

const PROGRAM = new URL('server.ts', import.meta.url)
const WORKER = new URL('./fixtures/worker.ts', import.meta.url).pathname
/** A log line of a bug, or what Node says when it dies. */
const BAD = /"level":"(?:error|fatal)"|^[^{]*Error/
const STOP_MS = 10_000

/** A server in a process of its own, as `npm start` runs it. Rejects when it ends before it listens. */
export async function startNode(order: Omit<ServerOrder, 'dir'>): Promise<SoakHost> {
  const dir = folder()
  const child = fork(PROGRAM, [JSON.stringify({ ...order, dir } satisfies ServerOrder)], {
    execArgv: ['--max-semi-space-size=2'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const complaints: string[] = []
  for (const input of [child.stdout!, child.stderr!])
    createInterface({ input }).on('line', (line) => {
      if (BAD.test(line)) complaints.push(line)
    })
  const ready = Promise.withResolvers<Told>()
  const ended = new Promise<void>((resolve) => {
    child.once('close', (code, signal) => {
      ready.reject(new Error(`the server ended with ${code ?? signal}: ${complaints.join('; ')}`))
      if (code !== 0) complaints.push(`the server ended with ${code ?? signal}`)
      resolve()
    })
  })
  child.once('message', (told: Told) => ready.resolve(told))
  const { http, tcp } = await ready.promise
  return {
    name: 'node',
    webSocket: http,
    tcp,
    complaints: () => complaints,
    [Symbol.asyncDispose]: async () => {
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      child.kill('SIGTERM')
      await ended
      clearTimeout(timer)
    },
  }
}

/** Raw workerd on what wrangler builds: its development server, or its test harness, would be what is soaked. */
export async function startWorkerd(): Promise<SoakHost> {
  const dir = folder()
  const { port, child, lines } = await serveWorkerd(WORKER, dir)
  process.once('exit', () => child.kill('SIGKILL'))
  return {
    name: 'workerd',
    webSocket: port,
    tcp: null,
    complaints: () => lines.filter((line) => /error|exception/i.test(line)),
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'close')
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Gone with this process, however that ends by itself. */
function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'firefly-soak-'))
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
  return dir
}
