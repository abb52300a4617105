// Acknowledged turns of class `local`, from call to reply within one process: a new value of one row, the mark of the
// channel with its retained reply, and with MySQL an outbox entry.

import { openHost, type Host } from '../../../core/node/host.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import type { TieredStore } from '../../../core/outbox/tieredstore.ts'
import { msgpack } from '../../../core/wire/codec.ts'
import { printRatio } from '../figure.ts'
import { median, printFigure, roundFigure } from '../../support/figure.ts'
import { LoadGenerator, type Call, type Sample } from './loadgenerator.ts'
import { measureFdatasync, type DiskBaseline } from '../disk.ts'
import { game, Hero } from './game.ts'
import { outboxDepth, waitUntilFlushed, type BenchEnvironment } from './environment.ts'

interface Load {
  readonly shards: number
  readonly inFlight: number
  /** Replies per second. */
  readonly targetPerSecond?: number
}
const SINGLE_SHARD: Load = { shards: 1, inFlight: 1 }
const LOADS: readonly Load[] = [
  { shards: 100, inFlight: 1 },
  { shards: 1_000, inFlight: 1 },
  { shards: 1_000, inFlight: 16, targetPerSecond: 50_000 },
]
/** The latency of a single turn, relative to one sync. */
const AIM = { kind: 'max', value: 1.5 } as const
const { put } = Hero.entries

export async function measureTurns(environment: BenchEnvironment, mysql: boolean): Promise<void> {
  const { quick } = environment.profile
  const where = mysql ? 'turns-mysql' : 'turns'
  const databaseOptions = mysql ? { mysql: await environment.createDatabase('turns', game) } : {}
  const host = await openHost({ game, dir: environment.folderOf(where), ...databaseOptions })
  try {
    await measureSingleShard(environment, host, quick ? { rounds: 3, ms: 200 } : { rounds: 9, ms: 500 })
    for (const load of LOADS) await measureLoad(environment, host, load, quick ? 400 : 3_000)
  } finally {
    await host.close()
  }
}

/** Turns and plain syncs alternate, because the rate of the disk varies. */
async function measureSingleShard(
  { profile, folderOf: folder }: BenchEnvironment,
  host: Host,
  { rounds, ms }: { readonly rounds: number; readonly ms: number },
): Promise<void> {
  const generator = createLoad(host, SINGLE_SHARD)
  await generator.sample({ ms, warmMs: ms })
  const samples: Sample[] = []
  const baselines: DiskBaseline[] = []
  for (let n = 0; n < rounds; n++) {
    baselines.push(await measureFdatasync(folder('.'), ms))
    samples.push(await generator.sample({ ms, warmMs: ms / 10 }))
  }
  generator.closeChannels()
  const of = (name: keyof Sample): number => median(samples.map((one) => one[name]))
  const labels = {
    ...labelsOf(host, SINGLE_SHARD),
    perSecond: roundFigure(of('perSecond')),
    p50Ms: roundFigure(of('p50Ms')),
    p99Ms: roundFigure(of('p99Ms')),
    cpuUsPerTurn: roundFigure(of('cpuUsPerTurn')),
    loopLagMaxMs: Math.max(...samples.map(({ loopLagMaxMs }) => loopLagMaxMs)),
    rounds,
    fdatasyncPerSecond: roundFigure(median(baselines.map(({ perSecond }) => perSecond))),
    fdatasyncP50Ms: roundFigure(median(baselines.map(({ p50Ms }) => p50Ms))),
  }
  const ratio = median(samples.map(({ p50Ms }, n) => p50Ms / baselines[n]!.p50Ms))
  // With MySQL on the same disk, its syncs add to the latency.
  if (host.tiers) printFigure({ ...labels, ratio: roundFigure(ratio), ...(await measureFlush(host.tiers)) })
  else printRatio(profile, labels, ratio, AIM)
}

async function measureLoad(
  { profile, folderOf: folder }: BenchEnvironment,
  host: Host,
  load: Load,
  ms: number,
): Promise<void> {
  const baseline = await measureFdatasync(folder('.'), ms / 10)
  const generator = createLoad(host, load)
  // Activates all shards before the measurement.
  await generator.runCalls(1)
  const { perSecond, p50Ms, p99Ms, cpuUsPerTurn, ...lag } = await generator.sample({ ms, warmMs: ms / 2 })
  const flush = host.tiers ? await measureFlush(host.tiers) : {}
  generator.closeChannels()
  const labels = {
    ...labelsOf(host, load),
    perSecond: roundFigure(perSecond),
    p50Ms: roundFigure(p50Ms),
    p99Ms: roundFigure(p99Ms),
    cpuUsPerTurn: roundFigure(cpuUsPerTurn),
    ...lag,
    fdatasyncPerSecond: roundFigure(baseline.perSecond),
    fdatasyncP50Ms: roundFigure(baseline.p50Ms),
    ...flush,
  }
  if (load.targetPerSecond === undefined) return printFigure(labels)
  printRatio(profile, { ...labels, wanted: load.targetPerSecond }, perSecond / load.targetPerSecond, {
    kind: 'min',
    value: 1,
  })
}

export function createLoad({ engine }: Host, { shards, inFlight }: Load): LoadGenerator {
  const ids = Array.from({ length: shards }, (_, i): ShardId => ({ contract: Hero.name, key: `hero-${i}` }))
  return new LoadGenerator({ engine, shards: ids, inFlight, call: () => putCall(0) })
}

let callCount = 0
/** A new value each time, because some engines write nothing for an unchanged one. */
export function putCall(n: number): Call {
  return { command: put.number, body: msgpack.encode({ n, count: ++callCount }) }
}

function labelsOf({ tiers }: Host, { shards, inFlight }: Load) {
  return { bench: 'state', figure: 'turns', mysql: tiers !== null, shards, inFlight }
}

/** The outbox entries that were not flushed at the last reply, and the time to flush them. */
async function measureFlush(tiers: TieredStore): Promise<Record<string, number>> {
  const outboxLeft = outboxDepth(tiers)
  return { outboxLeft, flushSeconds: roundFigure(await waitUntilFlushed(tiers)) }
}
