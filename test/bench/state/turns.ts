// Acknowledged turns of class local, from call to answer inside one process: a new value of one row, the mark of the
// channel with its kept reply, and with MySQL behind an entry of the outbox.

import { openHost, type Host } from '../../../core/node/host.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import type { TieredStore } from '../../../core/outbox/tieredstore.ts'
import { CODECS } from '../../../core/wire/codec.ts'
import { printRatio } from '../figure.ts'
import { median, printFigure, roundFigure } from '../../support/figure.ts'
import { LoadGenerator, type Call, type Sample } from './loadgenerator.ts'
import { measureFdatasync, type DiskBaseline } from './diskbaseline.ts'
import { game, Hero } from './game.ts'
import { outboxDepth, waitUntilFlushed, type BenchEnvironment } from './environment.ts'

interface Load {
  readonly shards: number
  readonly inFlight: number
  /** Of answers in a second. */
  readonly targetPerSecond?: number
}
const SINGLE_SHARD: Load = { shards: 1, inFlight: 1 }
const LOADS: readonly Load[] = [
  { shards: 100, inFlight: 1 },
  { shards: 1_000, inFlight: 1 },
  { shards: 1_000, inFlight: 16, targetPerSecond: 50_000 },
]
/** A lone turn is one sync, and what is before and behind it. */
const AIM = { kind: 'max', value: 1.5 } as const
const msgpack = CODECS.get('msgpack')!
const { put } = Hero.entries

export async function measureTurns(lab: BenchEnvironment, mysql: boolean): Promise<void> {
  const { quick } = lab.profile
  const where = mysql ? 'turns-mysql' : 'turns'
  const databaseOptions = mysql ? { mysql: await lab.createDatabase('turns', game) } : {}
  const host = await openHost({ game, dir: lab.folderOf(where), ...databaseOptions })
  try {
    await measureSingleShard(lab, host, quick ? { rounds: 3, ms: 200 } : { rounds: 9, ms: 500 })
    for (const load of LOADS) await measureLoad(lab, host, load, quick ? 400 : 3_000)
  } finally {
    await host.close()
  }
}

/** Turns and bare syncs by turns, because the disk changes its mind. */
async function measureSingleShard(
  { profile, folderOf: folder }: BenchEnvironment,
  host: Host,
  { rounds, ms }: { readonly rounds: number; readonly ms: number },
): Promise<void> {
  const crowd = createLoad(host, SINGLE_SHARD)
  await crowd.sample({ ms, warmMs: ms })
  const samples: Sample[] = []
  const floors: DiskBaseline[] = []
  for (let n = 0; n < rounds; n++) {
    floors.push(await measureFdatasync(folder('.'), ms))
    samples.push(await crowd.sample({ ms, warmMs: ms / 10 }))
  }
  crowd.closeChannels()
  const of = (name: keyof Sample): number => median(samples.map((one) => one[name]))
  const labels = {
    ...labelsOf(host, SINGLE_SHARD),
    perSecond: roundFigure(of('perSecond')),
    p50Ms: roundFigure(of('p50Ms')),
    p99Ms: roundFigure(of('p99Ms')),
    cpuUsPerTurn: roundFigure(of('cpuUsPerTurn')),
    loopLagMaxMs: Math.max(...samples.map(({ loopLagMaxMs }) => loopLagMaxMs)),
    rounds,
    fdatasyncPerSecond: roundFigure(median(floors.map(({ perSecond }) => perSecond))),
    fdatasyncP50Ms: roundFigure(median(floors.map(({ p50Ms }) => p50Ms))),
  }
  const ratio = median(samples.map(({ p50Ms }, n) => p50Ms / floors[n]!.p50Ms))
  // With MySQL on the same disk its own syncs stand in the way.
  if (host.tiers) printFigure({ ...labels, ratio: roundFigure(ratio), ...(await measureFlush(host.tiers)) })
  else printRatio(profile, labels, ratio, AIM)
}

async function measureLoad(
  { profile, folderOf: folder }: BenchEnvironment,
  host: Host,
  load: Load,
  ms: number,
): Promise<void> {
  const floor = await measureFdatasync(folder('.'), ms / 10)
  const crowd = createLoad(host, load)
  // All shards are awake before it counts.
  await crowd.runCalls(1)
  const { perSecond, p50Ms, p99Ms, cpuUsPerTurn, ...lag } = await crowd.sample({ ms, warmMs: ms / 2 })
  const left = host.tiers ? await measureFlush(host.tiers) : {}
  crowd.closeChannels()
  const labels = {
    ...labelsOf(host, load),
    perSecond: roundFigure(perSecond),
    p50Ms: roundFigure(p50Ms),
    p99Ms: roundFigure(p99Ms),
    cpuUsPerTurn: roundFigure(cpuUsPerTurn),
    ...lag,
    fdatasyncPerSecond: roundFigure(floor.perSecond),
    fdatasyncP50Ms: roundFigure(floor.p50Ms),
    ...left,
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

let made = 0
/** A value that no row had before: an engine may write nothing for an old one. */
export function putCall(n: number): Call {
  return { command: put.number, body: msgpack.encode({ n, count: ++made }) }
}

function labelsOf({ tiers }: Host, { shards, inFlight }: Load) {
  return { bench: 'state', figure: 'turns', mysql: tiers !== null, shards, inFlight }
}

/** What MySQL had not heard when the last turn was answered, and how long it took to hear it. */
async function measureFlush(tiers: TieredStore): Promise<Record<string, number>> {
  const outboxLeft = outboxDepth(tiers)
  return { outboxLeft, flushSeconds: roundFigure(await waitUntilFlushed(tiers)) }
}
