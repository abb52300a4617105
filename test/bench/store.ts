// `bench store`: acknowledged commits of the slot store, beside what the same disk does with bare fdatasyncs in the
// same run. `commitsPerSync` is what group commit gains: each commit waits for a sync of its own file, and shares it.
// The disk's rate moves by ten times and more within minutes, so only figures of one run may be compared. `turn` leaves
// the disk out: CPU time of one write set, garbage collection included, in batches of 1,000.

import { closeSync, fdatasync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'

import { table } from '../../core/game/table.ts'
import { systemClock } from '../../core/node/clock.ts'
import { jsonLog } from '../../core/node/log.ts'
import { SlotStore } from '../../core/node/slotstore.ts'
import type { RowChange, WriteSet } from '../../core/ports/store.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import { contract } from '../../core/wire/contract.ts'
import { t } from '../../core/wire/type.ts'
import { diskFolder } from './disk.ts'
import type { Profile } from './figure.ts'
import { median, printFigure, progress, roundFigure } from '../support/figure.ts'

/** One store turn of a game: a row, and the mark of its channel with a short reply. */
const VALUE_BYTES = 100
const BLOCK_BYTES = 4_096
/** Shards that commit together in `turn`. */
const BATCH_SHARDS = 1_000

const heroes = table(
  'heroes',
  { owner: t.id, id: t.id, name: t.string(32), level: t.u16, gold: t.u64, guild: t.string(32), seen: t.date },
  { key: ['owner', 'id'], owner: contract('bench', {}), by: ['owner', 'guild'] },
).definition

export async function run(profile: Profile): Promise<void> {
  const dir = mkdtempSync(join(diskFolder(), 'firefly-bench-store-'))
  const ms = profile.quick ? 300 : 3_000
  progress(`store: files in ${dir}`)
  try {
    printFigure({ bench: 'store', figure: 'fdatasync', ...(await measureFdatasync(join(dir, 'bare'), ms)) })
    for (const shards of [1, 32, 1_000, 10_000]) {
      const figures = await measureCommits(join(dir, `with-${shards}`), shards, ms)
      printFigure({ bench: 'store', figure: 'commits', shards, ...figures })
    }
    printFigure({ bench: 'store', figure: 'fdatasync', ...(await measureFdatasync(join(dir, 'bare'), ms)) })
    for (const what of ['kv', 'row', 'row + outbox'] as const)
      printFigure({
        bench: 'store',
        figure: 'turn',
        what,
        ...(await measureTurns(join(dir, what), what, ms)),
      })
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** One 4 KiB block appended and synced after the other. */
async function measureFdatasync(path: string, ms: number): Promise<Record<string, number>> {
  const fd = openSync(path, 'w')
  const block = new Uint8Array(BLOCK_BYTES)
  const waits: number[] = []
  const end = performance.now() + ms
  while (performance.now() < end) {
    const before = performance.now()
    writeSync(fd, block)
    await new Promise<void>((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())))
    waits.push(performance.now() - before)
  }
  closeSync(fd)
  return { perSecond: roundFigure((waits.length / ms) * 1_000), p50Ms: roundFigure(median(waits)) }
}

/** Every shard has one commit on its way; the next one begins when it is acknowledged. */
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
  const waits: number[] = []
  const activations = await Promise.all(Array.from({ length: shards }, async (_, n) => open(n)))
  // Slots are made at their first use: what that costs is not counted.
  await Promise.all(
    activations.map(async ({ shard, activation }) => store.commit(createWriteSet(shard.key, activation, 0))),
  )
  syncs = 0
  const lag = monitorEventLoopDelay({ resolution: 1 })
  lag.enable()
  const start = performance.now()
  await Promise.all(
    activations.map(async ({ shard, activation }) => {
      for (let n = 1; performance.now() - start < ms; n++) {
        const before = performance.now()
        const outcome = await store.commit(createWriteSet(shard.key, activation, n))
        if (outcome.kind !== 'committed') throw new Error('store: a commit failed', { cause: outcome.cause })
        waits.push(performance.now() - before)
      }
    }),
  )
  const seconds = (performance.now() - start) / 1_000
  lag.disable()
  const counted = syncs
  await store.closeStore()
  return {
    perSecond: roundFigure(waits.length / seconds),
    p50Ms: roundFigure(median(waits)),
    p99Ms: roundFigure(waits.toSorted((a, b) => a - b)[Math.floor(waits.length * 0.99)] ?? 0),
    commitsPerSync: roundFigure(waits.length / counted),
    loopLagP50Ms: roundFigure(lag.percentile(50) / 1e6),
    loopLagP99Ms: roundFigure(lag.percentile(99) / 1e6),
    loopLagMaxMs: roundFigure(lag.max / 1e6),
  }

  async function open(n: number) {
    const shard = { contract: 'bench', key: `shard-${n}` }
    return { shard, activation: (await store.open(shard)).activation }
  }
}

/**
 * CPU microseconds of a write set with a mark and either a value or an updated row, nothing waiting for the disk; with the
 * outbox every batch is dropped again, as a flusher does.
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
  const numbers = await Promise.all(shards.map(async (shard) => (await store.open(shard)).activation))
  const outbox = store.outboxOf('slot/0-of-1')
  const rounds: number[] = []
  const end = performance.now() + ms
  for (let n = 0; performance.now() < end; n++) {
    const writes = shards.map((shard, at) => {
      const base = createWriteSet(shard.key, numbers[at]!, n)
      return what === 'kv' ? base : { ...base, kv: null, rows: [heroChange(shard, n)] }
    })
    const before = process.cpuUsage()
    const outcomes = await Promise.all(writes.map(async (one) => store.commit(one)))
    await outbox.drop(outbox.lastSeq)
    const { user, system } = process.cpuUsage(before)
    rounds.push((user + system) / BATCH_SHARDS)
    const failed = outcomes.find(({ kind }) => kind !== 'committed')
    if (failed) throw new Error('store: a commit failed', { cause: failed })
  }
  await store.closeStore()
  const sorted = rounds.toSorted((a, b) => a - b)
  return {
    p10Us: roundFigure(sorted[Math.floor(sorted.length / 10)] ?? 0),
    p50Us: roundFigure(median(rounds)),
  }
}

/** The first turn of a shard makes the row. */
function heroChange({ key }: ShardId, n: number): RowChange {
  const change = { table: heroes, key: [key, 'first'] }
  const values = { level: n % 100, gold: BigInt(n) }
  if (n > 0) return { ...change, op: 'update', values }
  const rest = { owner: key, id: 'first', name: 'the one and only', guild: 'knights', seen: new Date(n) }
  return { ...change, op: 'insert', values: { ...rest, ...values } }
}

/** A new value each time: some engines write nothing for an old one. */
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
