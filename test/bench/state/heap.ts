// A child of memory.ts: `node --expose-gc heap.ts DIR ROWS` prints what ROWS cached rows take, once as they were written
// by turns, once as they were read from the Store.

import { openHost, type Host } from '../../../core/node/host.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { rowBytes } from '../../../core/rows/rowcache.ts'
import { CODECS } from '../../../core/wire/codec.ts'
import { LoadGenerator } from './loadgenerator.ts'
import { game, Hero, items } from './game.ts'
import { putCall } from './turns.ts'

export interface HeapMeasurement {
  readonly origin: 'written' | 'read'
  readonly heapBytes: number
  /** RowCache.bytes */
  readonly estimatedBytes: number
  /** The values alone. */
  readonly weightBytes: number
}

const SHARDS = 100
const IN_FLIGHT = 16
const COLLECTIONS = 3
const msgpack = CODECS.get('msgpack')!

const [dir, count] = process.argv.slice(2)
const perShard = Number(count) / SHARDS
const shards = Array.from({ length: SHARDS }, (_, i): ShardId => ({ contract: Hero.name, key: `hero-${i}` }))
console.log(JSON.stringify([await measureHeap('written'), await measureHeap('read')]))

async function measureHeap(how: HeapMeasurement['origin']): Promise<HeapMeasurement> {
  const host = await openHost({ game, dir: dir! })
  const { engine } = host
  // Every shard is awake, with a channel and a first call behind it: what it takes itself is not counted.
  const body = msgpack.encode({ rows: 1, times: 0 })
  const call = { command: Hero.entries.read.number, body }
  await new LoadGenerator({ engine, shards, inFlight: 1, call: () => call }).runCalls(1)
  const before = await collectedHeapBytes()
  await (how === 'written' ? write(host) : read(host))
  const heapBytes = (await collectedHeapBytes()) - before
  const { rows, bytes } = engine.rowCache
  if (rows !== Number(count)) throw new Error(`heap: ${rows} of ${count} rows are cached`)
  let weightBytes = 0
  for (const shard of shards)
    for (const row of engine.store.list(shard, items.definition, { by: {}, descending: false, limit: 0 }))
      weightBytes += rowBytes(row)
  await host.close()
  return { origin: how, heapBytes, estimatedBytes: bytes, weightBytes }
}

async function write({ engine }: Host): Promise<void> {
  const made = shards.map(() => 0)
  const call = (player: number) => putCall(made[player]!++)
  const crowd = new LoadGenerator({ engine, shards, inFlight: IN_FLIGHT, call })
  await crowd.runCalls(perShard)
  crowd.closeChannels()
}

async function read({ engine }: Host): Promise<void> {
  const body = msgpack.encode({ rows: perShard, times: perShard })
  const call = { command: Hero.entries.read.number, body }
  const crowd = new LoadGenerator({ engine, shards, inFlight: 1, call: () => call })
  await crowd.runCalls(1)
  crowd.closeChannels()
}

/** Bytes in use once everything that can go has gone. */
async function collectedHeapBytes(): Promise<number> {
  for (let i = 0; i < COLLECTIONS; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    globalThis.gc!()
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
