#!/usr/bin/env node
// The `firefly` binary: `firefly serve [options]`. Prints one ready line when every listener stands. SIGTERM and
// SIGINT drain and exit 0, a second one exits at once; what cannot start says one line on stderr and exits 2.

import { Command, CommanderError } from 'commander'
import { AppError, loadApp } from '../core/node/app.ts'
import { StoreError } from '../core/node/fault.ts'
import { DefinitionError } from '../core/wire/errors.ts'
import { start, type RunningServer } from '../edge/server.ts'
import { newCommand } from './new.ts'
import { OptionError, serveCommand, type ServeOptions } from './options.ts'

async function serve(options: ServeOptions): Promise<void> {
  const { game, page } = await loadApp(options.app)
  const server = await start({
    game,
    page,
    dir: options.data,
    slots: options.slots,
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
  if (page.has('/')) console.log(`open http://${http.host}:${http.port}/ in a browser`)
  if (options.host === '127.0.0.1')
    console.log('only this machine can reach it; --host 0.0.0.0 opens it to the local network')
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
    .exitOverride()
  await program.parseAsync()
} catch (error) {
  refuse(error)
}
