// The server process of `bench attack` and `bench idle`, and its memory.

import { readFileSync } from 'node:fs'

import { SERVER_NODE_FLAGS } from '../server.ts'
import { startChild, type ChildProcessClient } from './child.ts'

const PAGE_BYTES = 4_096

export interface ServerMemory {
  /** Of the server process. */
  readonly rss: number
  readonly heapUsed: number
  readonly external: number
  /** In the kernel's buffers of all TCP sockets on this machine. */
  readonly kernel: number
  readonly connections: number
}

/** Starts the server with the flags of `npm start`; `core` null = any free core. */
export function startTargetServer(core: number | null): Promise<ChildProcessClient> {
  const flags = [...SERVER_NODE_FLAGS, '--expose-gc']
  return startChild(new URL('server.ts', import.meta.url), { core, flags })
}

/** `collected`: after garbage collections. @throws Error without /proc (Linux only) */
export async function readMemory(server: ChildProcessClient, mode: 'now' | 'collected'): Promise<ServerMemory> {
  const answer = await server.request('memory', mode === 'collected' ? 1 : 0)
  const of = (name: string): number => answer[name] ?? NaN
  const stat = /^TCP: .*\bmem (\d+)/m.exec(readFileSync('/proc/net/sockstat', 'latin1'))
  if (!stat) throw new Error('no TCP memory in /proc/net/sockstat')
  return {
    rss: of('rss'),
    heapUsed: of('heapUsed'),
    external: of('external'),
    kernel: Number(stat[1]) * PAGE_BYTES,
    connections: of('connections'),
  }
}
