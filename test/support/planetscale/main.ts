// `npm run planetscale -- --mysql URL`: a local PlanetScale for development. Prints one ready line with the URL for
// DATABASE_URL. SIGTERM and SIGINT exit with 0, a second one exits immediately; a start that fails prints one line and
// exits 2.

import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { EndpointError } from './backend.ts'
import { startPlanetscale, type Endpoint } from './server.ts'

interface EndpointArguments {
  readonly mysql: string
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password?: string
}

async function run({ password, ...options }: EndpointArguments): Promise<void> {
  const endpoint = await startPlanetscale({ ...options, ...(password !== undefined && { password }) })
  endOnSignal(endpoint)
  console.log(`planetscale ready url=${endpoint.url} pid=${process.pid}`)
}

function endOnSignal(endpoint: Endpoint): void {
  let isEnding = false
  const end = (): void => {
    if (isEnding) process.exit(1)
    isEnding = true
    endpoint.close().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(`planetscale: ${String(error)}`)
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
}

function port(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > 65_535) throw new InvalidArgumentError('Not a port from 0 to 65535.')
  return value
}

function exitWithError(error: unknown, options: Partial<EndpointArguments>): never {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2)
  const { code } = error as NodeJS.ErrnoException
  if (error instanceof EndpointError) console.error(`planetscale: ${error.message}`)
  else if (code === 'EADDRINUSE') {
    console.error(`planetscale: port ${options.port} on ${options.host} is in use; choose another with --port`)
  } else if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    console.error(`planetscale: cannot listen on ${options.host}:${options.port} (${code})`)
  } else console.error(error)
  process.exit(2)
}

const program = new Command('planetscale')
  .description("PlanetScale's HTTP API in front of a MySQL or MariaDB, for development and tests.")
  .requiredOption('--mysql <url>', 'mysql://user:password@host:port/database')
  .option('--host <address>', 'address to listen on', '127.0.0.1')
  .option('--port <port>', 'port to listen on, 0 picks a free one', port, 3_900)
  .option('--user <name>', 'user of the API', 'firefly')
  .option('--password <text>', 'password of the API (default: a random one)')
  .action(run)
  .exitOverride()

try {
  await program.parseAsync()
} catch (error) {
  exitWithError(error, program.opts<EndpointArguments>())
}
