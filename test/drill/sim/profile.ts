// What kind of run a seed is: how many processes, of which class, with which dangers. A seed has only some of them, so
// that what is broken by few is found among few.

import { Random } from '../../support/random.ts'

const PERILS = [
  'crash', // processes end at any moment and come back on their disk
  'point', // the same, in the middle of a commit, a flush, an answer
  'cut', // connections of clients break
  'evict', // shards leave memory
  'abort', // activations end
  'away', // MySQL does not answer at all for a while
  'chaos', // requests to MySQL get lost, answers get lost, batches arrive late
  'disk', // commits of the local store fail, are unknown, are slow
  'unreadable', // it cannot be read for a while
  'jump', // wall clocks go back
  'mesh', // what shards say to each other gets lost, late or doubled
  'restart', // a process drains and comes back
  'loss', // a disk is lost; class critical only
  'back', // and another time an old one comes back
] as const
export type Peril = (typeof PERILS)[number]

/** What a run has met, by kind. */
const FAULTS = [...PERILS, 'poison', 'zombie', 'lateBatches', 'diskFaults', 'lostAnswers'] as const
export type FaultName = (typeof FAULTS)[number]

export interface Profile {
  readonly seed: number
  readonly critical: boolean
  readonly machines: number
  /** The gateway is a process of its own, and engines come and go behind it. */
  readonly apart: boolean
  /** MySQL refuses some rows for a while. */
  readonly poison: boolean
  /** Commits go to disk in groups, as in a slot file; else at once, as in a Durable Object. */
  readonly grouped: boolean
  /** Purses so full that what is sent does not fit. */
  readonly rich: boolean
  readonly players: number
  /** Between two requests of a player. */
  readonly thinkMs: number
  /** Between two dangers. */
  readonly gapMs: number
  readonly flushMs: number
  readonly evictMs: number
  readonly rowCacheBytes: number
  readonly maxHeld: number
  readonly maxMailbox: number
  /** After which a request to MySQL is given up. */
  readonly timeoutMs: number
  readonly perils: ReadonlySet<Peril>
}

/** @param without what the run shall not have, though its seed says so */
export function profileOf(seed: number, without: ReadonlySet<string> = new Set()): Profile {
  const random = new Random(seed)
  random.next()
  const one = <T>(...of: readonly T[]): T => of[random.below(of.length)]!
  const critical = random.chance(0.5)
  const drawn = new Set<Peril>(PERILS.filter(() => random.chance(0.55)))
  if (!critical) drawn.delete('loss')
  if (!drawn.has('loss')) drawn.delete('back')
  return {
    seed,
    critical,
    machines: without.has('machines') ? one(1, 1, 1) : one(1, 1, 2),
    apart: random.chance(0.35) && !without.has('apart'),
    poison: random.chance(0.15) && !without.has('poison'),
    grouped: random.chance(0.7),
    rich: random.chance(0.3),
    players: 3 + random.below(4),
    thinkMs: one(50, 200, 600),
    gapMs: one(500, 1_500, 4_000),
    flushMs: one(10, 100, 1_000),
    evictMs: one(2_000, 10_000, 60_000),
    rowCacheBytes: one(1_000, 20_000, 268_435_456),
    maxHeld: one(4, 512, 512),
    maxMailbox: one(4, 10_000, 10_000),
    timeoutMs: one(50, 500, 3_000),
    perils: new Set([...drawn].filter((peril) => !without.has(peril))),
  }
}
