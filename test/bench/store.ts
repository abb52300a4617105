// `bench store`: acknowledged commits of the slot store, with the disk baseline of the same run (see disk.ts).
// `commitsPerSync` is the gain of group commit: commits that wait for a sync of the same file share it. `turn` excludes
// the disk: it is the CPU time of one write set, garbage collection included, in batches of 1,000.

import { fdatasync } from 'node:fs'
import { join } from 'node:path'

import { table } from '../../core/game/table.ts'
import { systemClock } from '../../core/node/clock.ts'
import { jsonLog } from '../../core/node/log.ts'
import { SlotStore } from '../../core/node/slotstore.ts'
import type { RowChange, WriteSet } from '../../core/ports/store.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import { contract } from '../../core/wire/contract.ts'
import { t } from '../../core/wire/type.ts'
import { createTemporaryFolder, printDiskBaseline } from './disk.ts'
import type { Profile } from './figure.ts'
import { measureLag, percentile } from './latency.ts'
import { median, printFigure, progress, roundFigure } from '../support/figure.ts'

/** Each turn writes a value of this size, and the mark of its channel with a short reply. */
const VALUE_BYTES = 100
/** Shards that commit together in `turn`. */
const BATCH_SHARDS = 1_000

const heroes = table(
  'heroes',
  { owner: t.id, id: t.id, name: t.string(32), level: t.u16, gold: t.u64, guild: t.string(32), seen: t.date },
  { key: ['owner', 'id'], owner: contract('bench', {}), by: ['owner', 'guild'] },
).definition

export async function run(profile: Profile): Promise<void> {
  const dir = createTemporaryFolder('store')
  const ms = profile.quick ? 300 : 3_000
  progress(`store: files in ${dir}`)
  const baseline = { bench: 'store', figure: 'fdatasync' }
  await printDiskBaseline(baseline, dir, ms)
  for (const shards of [1, 32, 1_000, 10_000]) {
    const figures = await measureCommits(join(dir, `with-${shards}`), shards, ms)
    printFigure({ bench: 'store', figure: 'commits', shards, ...figures })
  }
  await printDiskBaseline(baseline, dir, ms)
  for (const what of ['kv', 'row', 'row + outbox'] as const)
    printFigure({ bench: 'store', figure: 'turn', what, ...(await measureTurns(join(dir, what), what, ms)) })
}

/** Each shard has one commit in flight; the next one starts when it is acknowledged. */
async function measureCommits(dir: string, shards: number, ms: number): Promise<Record<string, number>> {
  let syncs = 0
  const store = await SlotStore.open({
    dir,
    clock: systemClock,
    log: jsonLog('warn'),
    onWake: () => {},
    fdatasync: (fd, done) => {
      syncs++
      fdatasync(fd, done)
    },
  })
  const latenciesMs: number[] = []
  const activations = await Promise.all(Array.from({ length: shards }, async (_, n) => open(n)))
  // Slots are created at their first use, which is not measured.
  await Promise.all(
    activations.map(async ({ shard, activation }) => store.commit(createWriteSet(shard.key, activation, 0))),
  )
  syncs = 0
  const startMs = performance.now()
  const [, lag] = await measureLag(() =>
    Promise.all(
      activations.map(async ({ shard, activation }) => {
        for (let n = 1; performance.now() - startMs < ms; n++) {
          const beforeMs = performance.now()
          const outcome = await store.commit(createWriteSet(shard.key, activation, n))
          if (outcome.kind !== 'committed') throw new Error('store: a commit failed', { cause: outcome.cause })
          latenciesMs.push(performance.now() - beforeMs)
        }
      }),
    ),
  )
  const seconds = (performance.now() - startMs) / 1_000
  const measuredSyncs = syncs
  await store.closeStore()
  return {
    perSecond: roundFigure(latenciesMs.length / seconds),
    p50Ms: roundFigure(median(latenciesMs)),
    p99Ms: roundFigure(percentile(latenciesMs, 0.99)),
    commitsPerSync: roundFigure(latenciesMs.length / measuredSyncs),
    ...lag,
  }

  async function open(n: number) {
    const shard = { contract: 'bench', key: `shard-${n}` }
    return { shard, activation: (await store.open(shard)).activation }
  }
}

/**
 * CPU microseconds of a write set with a mark and either a value or an updated row, without waiting for the disk. With
 * the outbox every batch is dropped, as the flusher does.
 */
async function measureTurns(
  dir: string,
  what: 'kv' | 'row' | 'row + outbox',
  ms: number,
): Promise<Record<string, number>> {
  const store = await SlotStore.open({
    dir,
    slots: 1,
    clock: systemClock,
    log: jsonLog('warn'),
    onWake: () => {},
    tables: [heroes],
    outbox: what === 'row + outbox',
    fdatasync: (_fd, done) => void setImmediate(done, null),
  })
  const shards = Array.from({ length: BATCH_SHARDS }, (_, n) => ({ contract: 'bench', key: `shard-${n}` }))
  const activations = await Promise.all(shards.map(async (shard) => (await store.open(shard)).activation))
  const outbox = store.outboxOf('slot/0-of-1')
  const rounds: number[] = []
  const end = performance.now() + ms
  for (let n = 0; performance.now() < end; n++) {
    const writes = shards.map((shard, at) => {
      const base = createWriteSet(shard.key, activations[at]!, n)
      return what === 'kv' ? base : { ...base, kv: null, rows: [heroChange(shard, n)] }
    })
    const before = process.cpuUsage()
    const outcomes = await Promise.all(writes.map(async (write) => store.commit(write)))
    await outbox.drop(outbox.lastSeq)
    const { user, system } = process.cpuUsage(before)
    rounds.push((user + system) / BATCH_SHARDS)
    const failed = outcomes.find(({ kind }) => kind !== 'committed')
    if (failed) throw new Error('store: a commit failed', { cause: failed })
  }
  await store.closeStore()
  return { p10Us: roundFigure(percentile(rounds, 0.1)), p50Us: roundFigure(median(rounds)) }
}

/** The first turn of a shard inserts the row. */
function heroChange({ key }: ShardId, n: number): RowChange {
  const change = { table: heroes, key: [key, 'first'] }
  const values = { level: n % 100, gold: BigInt(n) }
  if (n > 0) return { ...change, op: 'update', values }
  const rest = { owner: key, id: 'first', name: 'the first hero', guild: 'knights', seen: new Date(n) }
  return { ...change, op: 'insert', values: { ...rest, ...values } }
}

/** A new value each time, because some engines write nothing for an unchanged one. */
function createWriteSet(key: string, activation: number, n: number): WriteSet {
  return {
    shard: { contract: 'bench', key },
    activation,
    kv: new Map([['row', new Uint8Array(VALUE_BYTES).fill(n)]]),
    timers: null,
    channel: {
      id: '00112233445566778899aabbccddeeff:1',
      mark: n,
      replies: new Uint8Array(24).fill(n),
      nowMs: systemClock.now(),
      weight: 24,
    },
    snapshot: null,
    rows: null,
    casts: null,
    critical: false,
    undo: null,
    wakeMs: null,
  }
}
