// The two hosts of the soak. Invariant: neither outlives the drill.

import { once } from 'node:events'

import { ServerProcess } from '../../support/serverprocess.ts'
import { serveWorkerd } from '../../support/workerd.ts'
import { temporaryFolder } from '../options.ts'
import type { SoakOrder } from './server.ts'

export type HostName = 'node' | 'workerd'
export interface SoakHost extends AsyncDisposable {
  readonly name: HostName
  readonly pid: number
  /** The port for WebSocket. */
  readonly webSocket: number
  /** The port for TCP, null = the host has none. */
  readonly tcp: number | null
  /** Errors inside the host, one line each. */
  errorLines(): readonly string[]
}

const WORKER = new URL('./fixtures/worker.ts', import.meta.url).pathname
/** A log line of a bug, or the line that Node prints when an error ends it. */
const ERROR = /"level":"(?:error|fatal)"|^[^{]*Error/

/** @throws Error when the server ends before it listens */
export async function startNode(order: Omit<SoakOrder, 'dir'>): Promise<SoakHost> {
  const errorLines: string[] = []
  const server = new ServerProcess({
    program: new URL('server.ts', import.meta.url),
    order: { ...order, dir: temporaryFolder('soak').path } satisfies SoakOrder,
    log: (line) => {
      if (ERROR.test(line)) errorLines.push(line)
    },
  })
  void server.ended.then(({ code, signal }) => {
    if (code !== 0) errorLines.push(`the server ended with ${code ?? signal}`)
  })
  const { http, tcp } = await server.ready.catch((error: unknown) => {
    throw new Error(`${String(error)}: ${errorLines.join('; ')}`, { cause: error })
  })
  return {
    name: 'node',
    pid: server.pid,
    webSocket: http,
    tcp,
    errorLines: () => errorLines,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Raw workerd on wrangler's build: behind wrangler's development server, that server would be what is tested. */
export async function startWorkerd(): Promise<SoakHost> {
  const { port, child, lines } = await serveWorkerd(WORKER, temporaryFolder('soak').path)
  process.once('exit', () => child.kill('SIGKILL'))
  return {
    name: 'workerd',
    pid: child.pid!,
    webSocket: port,
    tcp: null,
    errorLines: () => lines.filter((line) => /error|exception/i.test(line)),
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'close')
      child.kill('SIGKILL')
      await ended
    },
  }
}
