// Servers of examples/echo in the test's own process. Invariant: they stop after the tests of the file.

import { after } from 'node:test'

import { loadApp } from '../../core/node/app.ts'
import { start, type RunningServer, type ServerOptions } from '../../edge/node/server.ts'
import { temporaryFolder } from './program.ts'

const running = new Set<RunningServer>()
after(() => Promise.all([...running].map((server) => server.stop())))

/** Starts a server on free ports, with a new data folder. */
export async function startEcho(options: Partial<ServerOptions> = {}): Promise<RunningServer> {
  const { game } = await loadApp('examples/echo')
  const server = await start({ game, dir: temporaryFolder(), http: 0, tcp: 0, logLevel: 'silent', ...options })
  running.add(server)
  return server
}
