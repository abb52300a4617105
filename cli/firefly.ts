#!/usr/bin/env node
// The `firefly` command with its subcommands. `serve` prints one ready line when every listener is open. A start that
// fails prints one line on stderr and exits 2. Invariant: what the server prints never blocks or ends it.

import { Command, CommanderError } from 'commander'
import { readFileSync } from 'node:fs'
import { critical, type Game } from '../core/game/game.ts'
import { DriftError } from '../core/migrate/migrations.ts'
import { AppError, loadApp } from '../core/node/app.ts'
import { jsonLog } from '../core/node/log.ts'
import type { Sources } from '../core/node/sources.ts'
import { bufferStandardStreams, standardError } from '../core/node/stdio.ts'
import { StoreError } from '../core/node/storeerror.ts'
import { DatabaseError } from '../core/sql/client.ts'
import { DefinitionError } from '../core/wire/errors.ts'
import { ticketOptionsOf, type TicketOptions } from '../edge/gateway/ticket.ts'
import { addressKey, hostAndPort, LOOPBACK } from '../edge/gateway/address.ts'
import { limitsOf, timesOf } from '../edge/gateway/limitoptions.ts'
import { start } from '../edge/node/server.ts'
import { systemErrorText, TlsError, type TlsFiles } from '../edge/node/tls.ts'
import { contractCommand } from './contract.ts'
import { devCommand } from './dev.ts'
import { migrateCommand } from './migrate.ts'
import { doctorCommand } from './doctor.ts'
import { commandWithServeOptions, OptionError, type ServeOptions } from './options.ts'
import { pageCommand } from './page.ts'
import { newCommand, packageManifest } from './scaffold.ts'
import { SignalHandler } from './signals.ts'
import { watchAndServe } from './watch.ts'

async function serve(options: ServeOptions): Promise<void> {
  if (options.watch) return watchAndServe(options.app)
  bufferStandardStreams()
  const nameSources = exitOnUncaughtError()
  const signals = new SignalHandler()
  const tls = tlsOf(options)
  const tickets = ticketsOf(options)
  const app = await loadApp(options.app)
  const { page, cipher, sources } = app
  nameSources(sources)
  const game = options.critical ? critical(app.game) : app.game
  const server = await start({
    game,
    page,
    sources,
    dir: options.data,
    slots: options.slots,
    ...(options.mysql === '' ? {} : { mysql: options.mysql, mysqlPool: options.mysqlPool }),
    host: options.host,
    http: options.http,
    tcp: options.tcp,
    times: timesOf(options),
    logLevel: options.log,
    limits: limitsOf(options),
    origins: options.origins,
    trustProxy: options.trustProxy,
    basePath: options.basePath,
    wsPath: options.wsPath,
    metrics: { port: options.metricsPort, host: options.metricsHost, token: options.metricsToken },
    tickets,
    ...(tls && { tls }),
    ...(options.secret !== '' && { secret: options.secret }),
    ...(cipher && { cipher }),
    identity: { head: options.head, protoVersion: options.protocolVersion, serverVersion: options.serverVersion },
  })
  signals.attach(server)
  const { http, tcp } = server
  const url = `${tls ? 'https' : 'http'}://${hostAndPort(http.host, http.port)}`
  console.log(`firefly ready http=${url} tcp=${hostAndPort(tcp.host, tcp.port)} pid=${process.pid}`)
  if (server.metrics) console.log(`metrics at http://${hostAndPort(server.metrics.host, server.metrics.port)}/metrics`)
  for (const line of durabilityLines(game, options.mysql !== '')) console.log(line)
  if (page.has('/')) console.log(`open ${url}/ in a browser`)
  if (addressKey(options.host) === LOOPBACK)
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
    FIREFLY_TICKET_CLOCK_TOLERANCE: String(options.ticketClockTolerance),
  })
}

function keySet(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new OptionError(`--ticket-keys ${file} cannot be read (${systemErrorText(error)})`)
  }
}

/** One line per class of table: its tables, and what a crash can lose. */
function durabilityLines(game: Game, hasMysql: boolean): string[] {
  const tables = [...game.tables.values()]
  const namesOf = (tableClass: string): string =>
    tables.flatMap((table) => (table.class === tableClass ? table.name : [])).join(', ')
  const lines: string[] = []
  const local = namesOf('local')
  const diskLoss = hasMysql
    ? 'a lost disk loses what is not in MySQL yet, about 100 ms'
    : 'a lost disk loses everything'
  if (local !== '') lines.push(`local: ${local} (a killed process loses nothing, ${diskLoss})`)
  const criticalTables = namesOf('critical')
  if (criticalTables !== '')
    lines.push(`critical: ${criticalTables} (answered after the commit in MySQL, nothing is lost)`)
  return lines
}

/**
 * Node would print the error by a write that can block, and the dead server would keep its ports. Returns a function that
 * takes the sources of the game, once it is loaded: the line of an error then names its place.
 */
function exitOnUncaughtError(): (sources: Sources) => void {
  let log = jsonLog('error')
  process.on('uncaughtException', (error, origin) => {
    log.error('an error that nothing caught ends the process', { error, origin })
    process.exit(1)
  })
  return (sources) => (log = jsonLog('error', standardError(), sources))
}

/** Appears in the help; launch.mjs runs it. */
function nodeCommand(): Command {
  return new Command('node').description("run a script under the framework's Node").argument('[args...]')
}

const OPERATOR_ERRORS = [AppError, OptionError, TlsError, StoreError, DatabaseError, DriftError, DefinitionError]

/** An error of the operating system, such as EACCES; only one of listen has address and port. */
type SystemError = NodeJS.ErrnoException & { readonly address?: string; readonly port?: number }

function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && 'syscall' in error && 'code' in error
}

function startErrorText(error: SystemError): string {
  const { code, syscall, message, address, port } = error
  if (syscall === 'getaddrinfo')
    return `${message}; --host and --metrics-host must be addresses or names of this machine`
  // The message contains the file, if there is one.
  if (syscall !== 'listen' || address === undefined || port === undefined) return message
  if (code === 'EADDRINUSE')
    return `port ${port} on ${address} is in use; choose another with --http, --tcp or --metrics-port`
  return `cannot listen on ${hostAndPort(address, port)} (${systemErrorText(error)})`
}

/** An error that an operator can correct is one line; any other is a bug and is printed with its stack. */
function exitWithError(error: unknown): never {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2)
  if (OPERATOR_ERRORS.some((type) => error instanceof type)) console.error(`firefly: ${(error as Error).message}`)
  else if (isSystemError(error)) console.error(`firefly: ${startErrorText(error)}`)
  else console.error(error)
  process.exit(2)
}

try {
  const program = new Command('firefly')
    .description('Distributed real-time game server.')
    .version(packageManifest().version, '-v, --version')
    .addCommand(commandWithServeOptions('serve', 'serve a game', serve))
    .addCommand(newCommand())
    .addCommand(devCommand())
    .addCommand(pageCommand())
    .addCommand(migrateCommand())
    .addCommand(contractCommand())
    .addCommand(doctorCommand())
    .addCommand(nodeCommand())
    .exitOverride()
  const [, , first, topic] = process.argv
  if (first === 'version') process.argv[2] = '--version'
  // Commander would print the general help for `help` with an unknown command.
  if (first === 'help' && topic && program.commands.every((command) => command.name() !== topic))
    process.argv.splice(2, 1)
  if (process.argv.length > 2) await program.parseAsync()
  else program.outputHelp()
} catch (error) {
  exitWithError(error)
}
