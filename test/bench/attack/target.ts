// The machine under `bench attack` and `bench idle`: its cores, and where its memory is.

import { readFileSync } from 'node:fs'

import { startChild, type ChildProcessClient } from './child.ts'

export const SERVER_CORE = 1
export const LOAD_CORE = 0

const PAGE_BYTES = 4_096

export interface ServerMemory {
  /** Of the server's process. */
  readonly rss: number
  readonly heapUsed: number
  readonly external: number
  /** In the kernel's buffers of all TCP sockets of this machine. */
  readonly kernel: number
  readonly connections: number
}

/** The server under attack, with the flags of `npm start`; `core` null = whatever is free. */
export function startTargetServer(core: number | null): Promise<ChildProcessClient> {
  const flags = ['--max-semi-space-size=2', '--expose-gc']
  return startChild(new URL('server.ts', import.meta.url), { core, flags })
}

/** `collected`: once everything that can go has gone. @throws Error where there is no /proc (Linux only) */
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
