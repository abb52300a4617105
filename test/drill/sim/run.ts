// One seed, from the first boot to the reckoning; and the same once more, which must leave the same trace.

import { Purse } from '../../../examples/market/contract.ts'
import { audit, unsettled } from './audit.ts'
import type { Broken } from './books.ts'
import { frozen } from './frozen.ts'
import { LegacyLine, SdkLine, type Line } from './line.ts'
import { Perils } from './perils.ts'
import { PLANTS, type PlantName } from './plants.ts'
import { Player } from './player.ts'
import { profileOf, type FaultName } from './profile.ts'
import { Cable, type CableEvents } from './wire.ts'
import { World } from './world.ts'

export interface Result {
  readonly seed: number
  readonly virtualMs: number
  readonly operations: number
  readonly acked: number
  readonly crashes: number
  readonly faults: readonly (readonly [FaultName, number])[]
  readonly broken: Broken | null
  readonly hash: string
  /** The last lines of the trace, if they were kept. */
  readonly last: readonly string[]
}

export interface RunOptions {
  readonly plant: PlantName | null
  /** Perils that are left out. */
  readonly without: readonly string[]
  /** Lines of the trace to be kept. */
  readonly keep: number
  readonly print: ((line: string) => void) | null
}

const PERILS_MS = 90_000
/** After the last fault, for every request to be answered. */
const ANSWER_MS = 60_000
/** And for everything to come to rest; parked rows are tried again once a minute. */
const REST_MS = 60_000
const HEAL_MS = 150_000
const STEP_MS = 1_000
/** Purses that nobody plays. */
const SINKS = ['sink0', 'sink1']

export function run(seed: number, options: RunOptions): Promise<Result> {
  const profile = profileOf(seed, new Set(options.without))
  const plant = options.plant === null ? null : PLANTS[options.plant]
  const world = new World(profile, plant, options)
  const { books, trace, clock } = world
  const rejected = (error: unknown): void =>
    books.break('bug', `a promise was rejected unheard: ${String((error as Error).stack ?? error)}`)
  return frozen(
    (what) => books.break('platform', what),
    async () => {
      process.on('unhandledRejection', rejected)
      try {
        await play(world)
      } finally {
        process.off('unhandledRejection', rejected)
      }
      if (books.broken) trace.add('broken', books.broken.invariant)
      return {
        seed,
        virtualMs: clock.mono(),
        operations: books.operations,
        acked: books.acked,
        crashes: books.crashes,
        faults: [...books.faults],
        broken: books.broken,
        hash: trace.digest(),
        last: trace.last,
      }
    },
  )
}

async function play(world: World): Promise<void> {
  const { profile, books, clock, machines, trace } = world
  const { perils, ...rest } = profile
  trace.add('seed', JSON.stringify({ ...rest, perils: [...perils] }))
  for (const machine of machines) world.boot(machine)
  if (profile.apart) world.bootFront()
  const players = makePlayers(world)
  new Perils(world, players, PERILS_MS)
  for (const player of players)
    player.run().catch((error: unknown) => books.break('bug', `${player.name}: ${String(error)}`))
  const isBroken = (): boolean => books.broken !== null
  await clock.run(PERILS_MS + 1, isBroken)
  for (const player of players) player.stop()
  await until(world, PERILS_MS + ANSWER_MS, () => players.every(({ isDone }) => isDone))
  for (const { name, isDone, waitsFor } of players)
    if (!isDone) books.break('hang', `${name} waits for ${waitsFor} ${ANSWER_MS} ms after the last fault`)
  // A disk that came back old is found out when one of its shards is opened.
  for (const key of SINKS) {
    const shard = { contract: Purse.name, key }
    world.machineOf(shard).process?.engine.wake(shard)
  }
  const restMs = clock.mono() + (profile.poison ? HEAL_MS : REST_MS)
  await until(world, restMs, () => unsettled(world) === '')
  const left = unsettled(world)
  if (left) books.break('hang', `${left}, ${restMs - PERILS_MS} ms after the last fault`)
  if (!isBroken()) audit(world)
  for (const { process } of machines) process?.life.end()
}

async function until(world: World, untilMs: number, isDone: () => boolean): Promise<void> {
  const { clock, books } = world
  while (!books.broken && !isDone() && clock.mono() < untilMs)
    await clock.run(Math.min(untilMs, clock.mono() + STEP_MS), () => books.broken !== null)
}

/** Legacy clients and SDK clients by turns; some purses have two. */
function makePlayers(world: World): Player[] {
  const { profile, clock, books, random, trace } = world
  const { thinkMs, rich } = profile
  const names = Array.from({ length: profile.players }, (_, i) => `p${i}`)
  const lineOf = (name: string, who: string, isLegacy: boolean): Line => {
    const dial = (kind: 'tcp' | 'ws', events: CableEvents): Cable =>
      new Cable({ who, kind, clock, random: random.net, trace, host: () => world.hostOf(name) }, events)
    const options = { player: name, clock, books, dial }
    return isLegacy ? new LegacyLine(options) : new SdkLine(options)
  }
  return names.flatMap((name, i) => {
    const others = [...names.filter((other) => other !== name), ...SINKS]
    const parts = { name, others, old: [], clock, books, thinkMs, rich }
    const mayBeStale = profile.perils.has('back')
    const player = (prefix: string, spends: boolean, isLegacy: boolean): Player =>
      new Player({
        ...parts,
        prefix,
        spends,
        mayBeStale,
        line: lineOf(name, prefix, isLegacy),
        random: random.players.fork(),
      })
    const first = player(name, true, i % 2 === 1)
    return random.players.chance(0.2) ? [first, player(`${name}b`, false, i % 2 === 0)] : [first]
  })
}
