#!/usr/bin/env node
// The `firefly` binary: `firefly serve [options]`. Prints one ready line when every listener stands. SIGTERM and
// SIGINT drain and exit 0, a second one exits at once; what cannot start says one line on stderr and exits 2.

import { Command, CommanderError } from 'commander'
import { AppError, loadApp } from '../core/node/app.ts'
import { critical, type Game } from '../core/game/game.ts'
import { StoreError } from '../core/node/fault.ts'
import { DatabaseError } from '../core/tiers/client.ts'
import { DriftError } from '../core/tiers/migrations.ts'
import { DefinitionError } from '../core/wire/errors.ts'
import { start, type RunningServer } from '../edge/server.ts'
import { migrateCommand } from './migrate.ts'
import { newCommand } from './new.ts'
import { OptionError, serveCommand, type ServeOptions } from './options.ts'

async function serve(options: ServeOptions): Promise<void> {
  const { game: asWritten, page } = await loadApp(options.app)
  const game = options.critical ? critical(asWritten) : asWritten
  const server = await start({
    game,
    page,
    dir: options.data,
    slots: options.slots,
    ...(options.mysql === '' ? {} : { mysql: options.mysql, mysqlPool: options.mysqlPool }),
    host: options.host,
    http: options.http,
    tcp: options.tcp,
    idleMs: options.idle,
    logLevel: options.log,
    limits: { maxBodyBytes: options.maxBody },
    identity: {
      head: options.head,
      protoVersion: options.protocolVersion,
      serverVersion: options.serverVersion,
    },
  })
  drainOnSignal(server)
  const { http, tcp } = server
  console.log(
    `firefly ready http=http://${http.host}:${http.port} tcp=${tcp.host}:${tcp.port} pid=${process.pid}`,
  )
  for (const line of lossWindow(game, options.mysql !== '')) console.log(line)
  if (page.has('/')) console.log(`open http://${http.host}:${http.port}/ in a browser`)
  if (options.host === '127.0.0.1')
    console.log('only this machine can reach it; --host 0.0.0.0 opens it to the local network')
}

/** What each class of table may lose, said before somebody finds out. */
function lossWindow(game: Game, hasMysql: boolean): string[] {
  const names = (wanted: string): string =>
    [...game.tables.values()]
      .filter((table) => table.class === wanted)
      .map(({ name }) => name)
      .join(', ')
  const lines: string[] = []
  const local = names('local')
  const behind = hasMysql
    ? 'a lost disk loses what MySQL has not heard yet, some 100 ms'
    : 'a lost disk loses all'
  if (local !== '') lines.push(`local: ${local} (a killed process loses nothing, ${behind})`)
  const safe = names('critical')
  if (safe !== '') lines.push(`critical: ${safe} (answered when MySQL has it, nothing is lost)`)
  return lines
}

function drainOnSignal(server: RunningServer): void {
  let draining = false
  const drain = (): void => {
    if (draining) process.exit(1)
    draining = true
    server.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(`firefly: the drain failed: ${String(error)}`)
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', drain)
  process.on('SIGINT', drain)
}

/** What an operator can mend is one line; anything else is a bug and keeps its stack. */
function refuse(error: unknown): never {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2)
  const known =
    error instanceof AppError ||
    error instanceof OptionError ||
    error instanceof StoreError ||
    error instanceof DatabaseError ||
    error instanceof DriftError ||
    error instanceof DefinitionError
  const code = (error as NodeJS.ErrnoException).code
  const { address, port } = error as { address?: string; port?: number }
  if (known) console.error(`firefly: ${error.message}`)
  else if (code === 'EADDRINUSE')
    console.error(`firefly: port ${port} on ${address} is in use; choose another with --http or --tcp`)
  else if (code === 'EACCES' || code === 'EADDRNOTAVAIL')
    console.error(`firefly: cannot listen on ${address}:${port} (${code})`)
  else console.error(error)
  process.exit(2)
}

try {
  const program = new Command('firefly')
    .description('Distributed real-time game server.')
    .addCommand(serveCommand(serve), { isDefault: true })
    .addCommand(newCommand())
    .addCommand(migrateCommand())
    .exitOverride()
  await program.parseAsync()
} catch (error) {
  refuse(error)
}
