// The profile of a seed: number of processes, class, limits and kinds of faults. A seed has only some of the faults, so a bug
// that few of them cause is found among few.

import { Random } from '../../support/random.ts'

const FAULT_KINDS = [
  'crash', // a process ends at any moment; the next one starts on its disk
  'point', // the same, in the middle of a commit, a flush or an answer
  'cut', // connections of clients break
  'evict', // shards are evicted from memory
  'abort', // activations end
  'away', // MySQL is unavailable for a while
  'chaos', // requests to MySQL and answers are lost, batches arrive late
  'disk', // commits of the local store fail, have an unknown outcome, or are slow
  'unreadable', // the local store cannot be read for a while
  'jump', // wall clocks are set back
  'mesh', // messages between shards are lost, late or duplicated
  'restart', // a process drains and starts again
  'loss', // a disk is lost; class critical only
  'back', // and later an old disk returns
] as const
export type FaultKind = (typeof FAULT_KINDS)[number]

/** Faults that are counted in the figure. */
export type FaultName = FaultKind | 'poison' | 'zombie' | 'diskFaults'

/** Names that `--without` accepts. */
export const OPTIONAL = [...FAULT_KINDS, 'poison', 'machines', 'apart'] as const

export interface Profile {
  readonly seed: number
  readonly critical: boolean
  readonly machines: number
  /** The gateway is a process of its own; engines restart behind it. */
  readonly hasStandaloneGateway: boolean
  /** MySQL rejects some rows for a while. */
  readonly poison: boolean
  /** Commits are written in groups, as in a slot file; else each at once, as in a Durable Object. */
  readonly grouped: boolean
  /** Purses are so full that a transfer can exceed their capacity. */
  readonly hasFullPurses: boolean
  readonly players: number
  /** Mean pause between two requests of a player. */
  readonly thinkMs: number
  /** Mean time between two faults. */
  readonly gapMs: number
  readonly flushMs: number
  readonly evictMs: number
  readonly rowCacheBytes: number
  readonly maxHeld: number
  readonly maxMailbox: number
  /** Timeout of a request to MySQL. */
  readonly timeoutMs: number
  readonly faults: ReadonlySet<FaultKind>
}

/** @param without names of `OPTIONAL` that the run must not have, even if its seed draws them */
export function profileOf(seed: number, without: ReadonlySet<string> = new Set()): Profile {
  const random = new Random(seed)
  random.next()
  const pick = <T>(...items: readonly T[]): T => random.pick(items)
  const critical = random.chance(0.5)
  const drawn = new Set<FaultKind>(FAULT_KINDS.filter(() => random.chance(0.55)))
  if (!critical) drawn.delete('loss')
  if (!drawn.has('loss')) drawn.delete('back')
  return {
    seed,
    critical,
    machines: without.has('machines') ? pick(1, 1, 1) : pick(1, 1, 2),
    hasStandaloneGateway: random.chance(0.35) && !without.has('apart'),
    poison: random.chance(0.15) && !without.has('poison'),
    grouped: random.chance(0.7),
    hasFullPurses: random.chance(0.3),
    players: 3 + random.below(4),
    thinkMs: pick(50, 200, 600),
    gapMs: pick(500, 1_500, 4_000),
    flushMs: pick(10, 100, 1_000),
    evictMs: pick(2_000, 10_000, 60_000),
    rowCacheBytes: pick(1_000, 20_000, 268_435_456),
    maxHeld: pick(4, 512, 512),
    maxMailbox: pick(4, 10_000, 10_000),
    timeoutMs: pick(50, 500, 3_000),
    faults: new Set([...drawn].filter((kind) => !without.has(kind))),
  }
}
