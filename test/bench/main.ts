// `npm run bench -- NAME [--quick] [--strict]` runs one benchmark. Figures go to stdout, one JSON line each; progress
// and errors go to stderr. Exit code: 0, also when an aim is missed (1 with --strict); 1 when a measurement failed; 2
// for a wrong command line.

import { type Profile, UsageError, parseProfile } from './figure.ts'

interface Benchmark {
  readonly description: string
  readonly load: () => Promise<{ run: (profile: Profile) => Promise<void> }>
}

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  attack: {
    description: 'one flooder beside 100 players, and 500 clients that never read: CPU, replies and memory',
    load: () => import('./attack.ts'),
  },
  coldstart: {
    description:
      'seconds from a bare clone to the first answer of an own game, size of the package and its installation',
    load: () => import('./coldstart.ts'),
  },
  idle: {
    description: "the server's memory for each of 10,000 idle sessions, over TCP and over WebSocket",
    load: () => import('./idle.ts'),
  },
  path: {
    description: 'server CPU per echoed TCP message, beside a raw Node echo, 50 connections, 1 and 16 in flight',
    load: () => import('./path.ts'),
  },
  split: {
    description:
      'cost of a 4 MiB body in 1 KiB pieces relative to the same body in one piece, over TCP and in the decoder',
    load: () => import('./split.ts'),
  },
  state: {
    description: 'durable rows: acknowledged turns, flush, cached reads, memory, logins, beside fdatasync and MariaDB',
    load: () => import('./state.ts'),
  },
  store: {
    description: 'acknowledged commits of the slot store, beside fdatasyncs of the same disk in the same run',
    load: () => import('./store.ts'),
  },
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  if (name === undefined) {
    for (const [known, { description }] of Object.entries(BENCHMARKS)) console.log(`${known.padEnd(10)}${description}`)
    return 0
  }
  const benchmark = Object.hasOwn(BENCHMARKS, name) ? BENCHMARKS[name] : undefined
  if (!benchmark) throw new UsageError(`unknown benchmark ${name}; known: ${Object.keys(BENCHMARKS).join(', ')}`)
  const profile = parseProfile(rest)
  const { run } = await benchmark.load()
  await run(profile)
  return profile.strict && profile.missedAims > 0 ? 1 : 0
}

// On exit, handlers stop the servers and load generators that this process started.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

try {
  process.exit(await main(process.argv.slice(2)))
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`)
  process.exit(error instanceof UsageError ? 2 : 1)
}
