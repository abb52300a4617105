// One seed: runs it twice and compares the traces. Invariant: a run starts from the seed and its options alone.

import { Purse } from '../../../examples/market/contract.ts'
import { LegacyConnection, SdkConnection, type ConnectionOptions, type MarketConnection } from '../market/connection.ts'
import { SIM_MIX } from '../market/mix.ts'
import { MarketPlayer } from '../market/workload.ts'
import { FaultSchedule } from './faultschedule.ts'
import { SIM_MUTANTS, type SimMutantName } from './mutants.ts'
import { SimConnection, type GatewayHost } from './network.ts'
import { profileOf, type FaultName } from './profile.ts'
import { withoutRealTime } from './realtimeguard.ts'
import { checkSettled, unsettled } from './settled.ts'
import { Simulation, type BrokenInvariant } from './simulation.ts'

export interface SeedOptions {
  readonly mutant: SimMutantName | null
  /** Faults and other parts of the profile that are left out. */
  readonly without: readonly string[]
}

export interface SeedResult {
  readonly seed: number
  readonly virtualMs: number
  readonly operations: number
  readonly acked: number
  readonly crashes: number
  readonly faults: readonly (readonly [FaultName, number])[]
  readonly broken: BrokenInvariant | null
  /** Both runs have the same trace. */
  readonly isEqual: boolean
  /** The last lines of the trace of a failed run. */
  readonly last: readonly string[]
}
type RunResult = Omit<SeedResult, 'isEqual'> & { readonly hash: string }

const LAST_LINES = 40
const FAULTS_MS = 90_000
/** Time after the last fault until every request is answered. */
const ANSWER_MS = 60_000
/** Time after that until everything is settled; with poison longer, as parked rows are retried once a minute. */
const SETTLE_MS = 60_000
const POISON_SETTLE_MS = 150_000
const STEP_MS = 1_000
/** Purses without a player. */
const SINKS = ['sink0', 'sink1']

/** @param print receives every line of the trace of the first run */
export async function runTwice(
  seed: number,
  options: SeedOptions,
  print: ((line: string) => void) | null,
): Promise<SeedResult> {
  const { hash, ...result } = await run(seed, options, print ? LAST_LINES : 0, print)
  const second = await run(seed, options, 0, null)
  const isEqual = hash === second.hash
  if ((isEqual && !result.broken) || print) return { ...result, isEqual }
  const { last } = await run(seed, options, LAST_LINES, null)
  return { ...result, last, isEqual }
}

export function isFailed({ broken, isEqual }: SeedResult): boolean {
  return broken !== null || !isEqual
}

function run(
  seed: number,
  { mutant, without }: SeedOptions,
  maxLines: number,
  print: ((line: string) => void) | null,
): Promise<RunResult> {
  const profile = profileOf(seed, new Set(without))
  const simulation = new Simulation(profile, mutant && SIM_MUTANTS[mutant], { maxLines, print })
  const { log, trace, clock } = simulation
  const onRejection = (error: unknown): void =>
    log.violations.add('bug', `unhandled rejection: ${String((error as Error).stack ?? error)}`)
  return withoutRealTime(
    (what) => log.violations.add('platform', what),
    async () => {
      process.on('unhandledRejection', onRejection)
      try {
        await play(simulation)
      } finally {
        process.off('unhandledRejection', onRejection)
      }
      const { broken, crashes, faultCounts } = simulation
      if (broken) trace.add('broken', broken.invariant)
      return {
        seed,
        virtualMs: clock.mono(),
        operations: log.operations,
        acked: log.acked,
        crashes,
        faults: [...faultCounts],
        broken,
        hash: trace.digest(),
        last: trace.last,
      }
    },
  )
}

async function play(simulation: Simulation): Promise<void> {
  const { profile, log, clock, machines, trace } = simulation
  const { violations } = log
  trace.add('seed', JSON.stringify({ ...profile, faults: [...profile.faults] }))
  for (const machine of machines) simulation.boot(machine)
  if (profile.hasStandaloneGateway) simulation.bootStandaloneGateway()
  const players = makePlayers(simulation)
  new FaultSchedule(simulation, players, FAULTS_MS)
  for (const player of players)
    player.run().catch((error: unknown) => violations.add('bug', `${player.name}: ${String(error)}`))
  await clock.run(FAULTS_MS + 1, () => simulation.broken !== null)
  for (const player of players) player.stop()
  await runUntil(simulation, FAULTS_MS + ANSWER_MS, () => players.every(({ isDone }) => isDone))
  for (const { name, isDone, pending } of players)
    if (!isDone) violations.add('hang', `${name} awaits ${pending} ${ANSWER_MS} ms after the last fault`)
  // An old disk that returned is detected when one of its shards is opened.
  for (const key of SINKS) {
    const shard = { contract: Purse.name, key }
    simulation.hostOfShard(shard)?.engine.wake(shard, 0)
  }
  const settleMs = clock.mono() + (profile.poison ? POISON_SETTLE_MS : SETTLE_MS)
  await runUntil(simulation, settleMs, async () => (await unsettled(simulation)) === '')
  const what = await unsettled(simulation)
  if (what) violations.add('hang', `${what}, ${settleMs - FAULTS_MS} ms after the last fault`)
  if (!simulation.broken) await checkSettled(simulation)
  for (const { process } of machines) process?.lifetime.end()
}

async function runUntil(
  simulation: Simulation,
  untilMs: number,
  isDone: () => boolean | Promise<boolean>,
): Promise<void> {
  const { clock } = simulation
  while (!simulation.broken && !(await isDone()) && clock.mono() < untilMs)
    await clock.run(Math.min(untilMs, clock.mono() + STEP_MS), () => simulation.broken !== null)
}

/** Legacy clients and SDK clients alternate. */
function makePlayers(simulation: Simulation): MarketPlayer[] {
  const { profile, clock, log, random } = simulation
  const names = Array.from({ length: profile.players }, (_, i) => `p${i}`)
  return names.map(
    (name, i) =>
      new MarketPlayer({
        name,
        prefix: name,
        recipients: [...names.filter((other) => other !== name), ...SINKS],
        connection: connectionOf(simulation, name, i % 2 === 1),
        log,
        random: random.players.fork(),
        clock,
        mix: SIM_MIX,
        thinkMs: profile.thinkMs,
        isRich: profile.hasFullPurses,
        mayBeStale: profile.faults.has('back'),
        mayBeRejected: profile.poison,
      }),
  )
}

function connectionOf(simulation: Simulation, player: string, isLegacy: boolean): MarketConnection {
  const { clock, log, random, trace } = simulation
  const kind = isLegacy ? 'tcp' : 'ws'
  const host = (): GatewayHost | null => simulation.hostOf(player)
  const options: ConnectionOptions = {
    player,
    url: 'sim://',
    dial: (_, events) =>
      new SimConnection({ client: player, kind, clock, random: random.connections, trace, host }, events),
    clock,
    pipelinedLogins: true,
    onViolation: (violation, what) => log.violations.add(violation, what),
    hangMs: 1,
  }
  return isLegacy ? new LegacyConnection(options) : new SdkConnection(options)
}
