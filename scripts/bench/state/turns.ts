// Acknowledged turns of class local, from call to answer inside one process: a new value of one row, the mark of the
// channel with its kept reply, and with MySQL behind an entry of the outbox.

import { openHost, type Host } from '../../../core/node/host.ts'
import type { ShardId } from '../../../core/run/ports.ts'
import type { Tiers } from '../../../core/tiers/tiers.ts'
import { CODECS } from '../../../core/wire/codec.ts'
import { median, print, printRatio, round } from '../figure.ts'
import { Crowd, type Call, type Sample } from './crowd.ts'
import { fdatasyncs, type Floor } from './floor.ts'
import { game, Hero } from './game.ts'
import { depthOf, flushed, type Lab } from './lab.ts'

interface Load {
  readonly shards: number
  readonly inFlight: number
  /** Of answers in a second. */
  readonly wanted?: number
}
const ALONE: Load = { shards: 1, inFlight: 1 }
const LOADS: readonly Load[] = [
  { shards: 100, inFlight: 1 },
  { shards: 1_000, inFlight: 1 },
  { shards: 1_000, inFlight: 16, wanted: 50_000 },
]
/** A lone turn is one sync, and what is before and behind it. */
const AIM = { kind: 'max', value: 1.5 } as const
const msgpack = CODECS.get('msgpack')!
const { put } = Hero.entries

export async function turns(lab: Lab, mysql: boolean): Promise<void> {
  const { quick } = lab.profile
  const where = mysql ? 'turns-mysql' : 'turns'
  const behind = mysql ? { mysql: await lab.database('turns', game) } : {}
  const host = await openHost({ game, dir: lab.folder(where), ...behind })
  try {
    await alone(lab, host, quick ? { rounds: 3, ms: 200 } : { rounds: 9, ms: 500 })
    for (const load of LOADS) await busy(lab, host, load, quick ? 400 : 3_000)
  } finally {
    await host.close()
  }
}

/** Turns and bare syncs by turns, because the disk changes its mind. */
async function alone(
  { profile, folder }: Lab,
  host: Host,
  { rounds, ms }: { readonly rounds: number; readonly ms: number },
): Promise<void> {
  const crowd = crowdOf(host, ALONE)
  await crowd.sample({ ms, warmMs: ms })
  const samples: Sample[] = []
  const floors: Floor[] = []
  for (let n = 0; n < rounds; n++) {
    floors.push(await fdatasyncs(folder('.'), ms))
    samples.push(await crowd.sample({ ms, warmMs: ms / 10 }))
  }
  crowd.close()
  const of = (name: keyof Sample): number => median(samples.map((one) => one[name]))
  const labels = {
    ...labelsOf(host, ALONE),
    perSecond: round(of('perSecond')),
    p50Ms: round(of('p50Ms')),
    p99Ms: round(of('p99Ms')),
    cpuUsPerTurn: round(of('cpuUsPerTurn')),
    loopLagMaxMs: Math.max(...samples.map(({ loopLagMaxMs }) => loopLagMaxMs)),
    rounds,
    fdatasyncPerSecond: round(median(floors.map(({ perSecond }) => perSecond))),
    fdatasyncP50Ms: round(median(floors.map(({ p50Ms }) => p50Ms))),
  }
  const ratio = median(samples.map(({ p50Ms }, n) => p50Ms / floors[n]!.p50Ms))
  // With MySQL on the same disk its own syncs stand in the way.
  if (host.tiers) print({ ...labels, ratio: round(ratio), ...(await outbox(host.tiers)) })
  else printRatio(profile, labels, ratio, AIM)
}

async function busy({ profile, folder }: Lab, host: Host, load: Load, ms: number): Promise<void> {
  const floor = await fdatasyncs(folder('.'), ms / 10)
  const crowd = crowdOf(host, load)
  // All shards are awake before it counts.
  await crowd.play(1)
  const { perSecond, p50Ms, p99Ms, cpuUsPerTurn, ...lag } = await crowd.sample({ ms, warmMs: ms / 2 })
  const left = host.tiers ? await outbox(host.tiers) : {}
  crowd.close()
  const labels = {
    ...labelsOf(host, load),
    perSecond: round(perSecond),
    p50Ms: round(p50Ms),
    p99Ms: round(p99Ms),
    cpuUsPerTurn: round(cpuUsPerTurn),
    ...lag,
    fdatasyncPerSecond: round(floor.perSecond),
    fdatasyncP50Ms: round(floor.p50Ms),
    ...left,
  }
  if (load.wanted === undefined) return print(labels)
  printRatio(profile, { ...labels, wanted: load.wanted }, perSecond / load.wanted, { kind: 'min', value: 1 })
}

export function crowdOf({ engine }: Host, { shards, inFlight }: Load): Crowd {
  const ids = Array.from({ length: shards }, (_, i): ShardId => ({ contract: Hero.name, key: `hero-${i}` }))
  return new Crowd({ engine, shards: ids, inFlight, call: () => putOf(0) })
}

let made = 0
/** A value that no row had before: an engine may write nothing for an old one. */
export function putOf(n: number): Call {
  return { command: put.number, body: msgpack.encode({ n, count: ++made }) }
}

function labelsOf({ tiers }: Host, { shards, inFlight }: Load) {
  return { bench: 'state', figure: 'turns', mysql: tiers !== null, shards, inFlight }
}

/** What MySQL had not heard when the last turn was answered, and how long it took to hear it. */
async function outbox(tiers: Tiers): Promise<Record<string, number>> {
  const outboxLeft = depthOf(tiers)
  return { outboxLeft, flushSeconds: round(await flushed(tiers)) }
}
