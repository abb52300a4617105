#!/usr/bin/env node
// The `firefly` binary: `firefly serve [options]`. Prints one ready line when every listener stands. SIGTERM and
// SIGINT drain and exit 0, a second one exits at once; SIGHUP reads the certificate again; what cannot start says one
// line on stderr and exits 2.

import { Command, CommanderError } from 'commander'
import { readFileSync } from 'node:fs'
import { AppError, loadApp } from '../core/node/app.ts'
import { critical, type Game } from '../core/game/game.ts'
import { StoreError } from '../core/node/storeerror.ts'
import { DatabaseError } from '../core/sql/client.ts'
import { DriftError } from '../core/migrate/migrations.ts'
import { DefinitionError } from '../core/wire/errors.ts'
import { start, type RunningServer } from '../edge/node/server.ts'
import { ticketOptionsOf, type TicketOptions } from '../edge/gateway/ticket.ts'
import { TlsError, type TlsFiles } from '../edge/node/tls.ts'
import { migrateCommand } from './migrate.ts'
import { newCommand } from './scaffold.ts'
import { OptionError, serveCommand, type ServeOptions } from './options.ts'

async function serve(options: ServeOptions): Promise<void> {
  const tls = tlsOf(options)
  const tickets = ticketsOf(options)
  const { game: asWritten, page, cipher } = await loadApp(options.app)
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
    times: { idleMs: options.idle, heartbeatMs: options.heartbeat },
    logLevel: options.log,
    limits: {
      maxBodyBytes: options.maxBody,
      maxConnections: options.maxConnections,
      maxPerAddress: options.maxPerAddress,
      // Behind a proxy of this machine all players come from here.
      maxPerLoopback: options.maxConnections,
      maxCostPerSecond: options.rate,
    },
    origins: options.origins,
    tickets,
    ...(tls && { tls }),
    ...(options.secret !== '' && { secret: options.secret }),
    ...(cipher && { cipher }),
    identity: {
      head: options.head,
      protoVersion: options.protocolVersion,
      serverVersion: options.serverVersion,
    },
  })
  drainOnSignal(server)
  if (tls) reloadOnSignal(server)
  const { http, tcp } = server
  const url = `${tls ? 'https' : 'http'}://${http.host}:${http.port}`
  console.log(`firefly ready http=${url} tcp=${tcp.host}:${tcp.port} pid=${process.pid}`)
  for (const line of durabilityLines(game, options.mysql !== '')) console.log(line)
  if (page.has('/')) console.log(`open ${url}/ in a browser`)
  if (options.host === '127.0.0.1')
    console.log('only this machine can reach it; --host 0.0.0.0 opens it to the local network')
}

/** @throws OptionError */
function tlsOf({ tlsCert, tlsKey }: ServeOptions): TlsFiles | null {
  if (tlsCert === '' && tlsKey === '') return null
  if (tlsCert !== '' && tlsKey !== '') return { certFile: tlsCert, keyFile: tlsKey }
  const missing = tlsCert === '' ? '--tls-cert' : '--tls-key'
  throw new OptionError(`--tls-cert and --tls-key go together: ${missing} is missing`)
}

/** @throws OptionError, DefinitionError */
function ticketsOf(options: ServeOptions): TicketOptions | null {
  return ticketOptionsOf({
    FIREFLY_TICKET_SECRET: options.ticketSecret,
    FIREFLY_TICKET_KEYS: options.ticketKeys === '' ? '' : keySet(options.ticketKeys),
    FIREFLY_TICKET_ISSUER: options.ticketIssuer,
    FIREFLY_TICKET_AUDIENCE: options.ticketAudience,
    FIREFLY_TICKET_ONCE: String(options.ticketOnce),
  })
}

function keySet(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new OptionError(`--ticket-keys ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** What each class of table may lose, said before somebody finds out. */
function durabilityLines(game: Game, hasMysql: boolean): string[] {
  const names = (wanted: string): string =>
    [...game.tables.values()]
      .filter((table) => table.class === wanted)
      .map(({ name }) => name)
      .join(', ')
  const lines: string[] = []
  const local = names('local')
  const diskLoss = hasMysql
    ? 'a lost disk loses what MySQL has not heard yet, some 100 ms'
    : 'a lost disk loses all'
  if (local !== '') lines.push(`local: ${local} (a killed process loses nothing, ${diskLoss})`)
  const criticalTables = names('critical')
  if (criticalTables !== '')
    lines.push(`critical: ${criticalTables} (answered when MySQL has it, nothing is lost)`)
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

/** SIGHUP: the certificate was renewed. */
function reloadOnSignal(server: RunningServer): void {
  const { log } = server.host
  process.on('SIGHUP', () => {
    try {
      server.reloadTls()
      log.info('certificate and key were read again')
    } catch (error) {
      log.error('certificate and key could not be read again; the old ones stay', {
        error: (error as Error).message,
      })
    }
  })
}

/** What an operator can mend is one line; anything else is a bug and keeps its stack. */
function exitWithError(error: unknown): never {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2)
  const known =
    error instanceof AppError ||
    error instanceof OptionError ||
    error instanceof TlsError ||
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
  exitWithError(error)
}
