// Drill `soak`: faults that need hours of play, provoked within minutes on real sockets. `sessions`: connections are
// cut at random bytes and during logins; no event may be missed, doubled or reordered, and no player may lose its uid.
// `logins`: two clients race for one uid, some of them are cut, and exactly one gets it.

import { printFigure, progress } from '../../support/figure.ts'
import { DEADLINE_MS } from '../../support/wait.ts'
import { choice, flag, parseDrill, positional, positive, whole } from '../options.ts'
import { startNode, startWorkerd } from './hosts.ts'
import { soakLogins } from './loginraces.ts'
import { measureFactor, soakSessions } from './sessions.ts'

/**
 * `accounts`: share of the players that log in. The objects of one workerd share one core. A thousand of them with one
 * event per second each fill it, and a player that has logged in uses four.
 */
const FULL = {
  connections: 1_000,
  seconds: 60,
  hz: { node: 5, workerd: 0.5 },
  accounts: { node: 0.5, workerd: 0.2 },
  cutBounds: { towardsPlayer: 24_000, towardsServer: 3_000 },
  timeoutMs: DEADLINE_MS,
  races: 10_000,
}
const QUICK: typeof FULL = {
  connections: 40,
  seconds: 5,
  hz: { node: 10, workerd: 10 },
  accounts: { node: 1, workerd: 1 },
  cutBounds: { towardsPlayer: 12_000, towardsServer: 3_000 },
  timeoutMs: DEADLINE_MS,
  races: 300,
}
/** A half-open connection is detected within 2.5 of them. The default of 15 s would outlast most cuts. */
const HEARTBEAT_MS = 1_000

const OPTIONS = {
  what: positional(['sessions', 'logins']),
  connections: whole(undefined, { min: 1 }),
  seconds: whole(undefined, { min: 1 }),
  /** Events of a lane per second. */
  hz: positive(120),
  /** Share of the players that log in. */
  accounts: positive(1),
  seed: whole(1, { min: 1 }),
  host: choice(['both', 'node', 'workerd'], 'both'),
  races: whole(undefined, { min: 1 }),
  quick: flag,
}
type SoakArguments = ReturnType<typeof parseDrill<typeof OPTIONS>>

export async function run(args: readonly string[]): Promise<void> {
  const options = parseDrill('soak', OPTIONS, args)
  for await (const figure of options.what === 'sessions' ? sessions(options) : logins(options)) {
    printFigure(figure)
    if (figure.faults.length > 0) process.exitCode = 1
  }
}

async function* sessions(options: SoakArguments) {
  const { connections, seconds, hz, accounts, cutBounds, timeoutMs } = options.quick ? QUICK : FULL
  // Loads of the command line and of the quick profile are not scaled.
  const isScaled = options.connections === undefined && !options.quick
  for (const name of options.host === 'both' ? (['node', 'workerd'] as const) : [options.host]) {
    await using host = await (name === 'node' ? startNode({ login: null, heartbeatMs: HEARTBEAT_MS }) : startWorkerd())
    const full = {
      connections: options.connections ?? connections,
      seconds: options.seconds ?? seconds,
      hz: options.hz ?? hz[name],
      accounts: options.accounts ?? accounts[name],
      seed: options.seed,
      cutBounds,
      timeoutMs,
    }
    const factor = isScaled ? await measureFactor(host, full) : 1
    if (isScaled) progress(`${name}: this machine carries ${factor} of the full load`)
    yield soakSessions(host, { ...full, factor, connections: Math.max(1, Math.floor(factor * full.connections)) })
  }
}

async function* logins({ races, seed, quick }: SoakArguments) {
  for (const mode of ['takeover', 'refuse'] as const) {
    await using host = await startNode({ login: mode, heartbeatMs: HEARTBEAT_MS })
    for (const by of ['command', 'ticket'] as const) {
      const figure = await soakLogins(host, { races: races ?? (quick ? QUICK : FULL).races, mode, by, seed })
      if (figure.bothAlive + figure.bothDead > 0) process.exitCode = 1
      yield figure
    }
  }
}
