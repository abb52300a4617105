// A child of memory.ts: `node --expose-gc heap.ts DIR ROWS` prints the heap use of ROWS cached rows, first written by
// turns, then read from the Store.

import { setTimeout as sleep } from 'node:timers/promises'

import { openHost, type Host } from '../../../core/node/host.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { rowBytes } from '../../../core/rows/rowcache.ts'
import { msgpack } from '../../../core/wire/codec.ts'
import { LoadGenerator } from './loadgenerator.ts'
import { game, Hero, items } from './game.ts'
import { putCall } from './turns.ts'

export interface HeapMeasurement {
  readonly origin: 'written' | 'read'
  readonly heapBytes: number
  /** `RowCache.bytes`. */
  readonly estimatedBytes: number
  /** The values alone. */
  readonly weightBytes: number
}

const SHARDS = 100
const IN_FLIGHT = 16
const COLLECTIONS = 3

const [dir, count] = process.argv.slice(2)
const perShard = Number(count) / SHARDS
const shards = Array.from({ length: SHARDS }, (_, i): ShardId => ({ contract: Hero.name, key: `hero-${i}` }))
console.log(JSON.stringify([await measureHeap('written'), await measureHeap('read')]))

async function measureHeap(origin: HeapMeasurement['origin']): Promise<HeapMeasurement> {
  const host = await openHost({ game, dir: dir! })
  const { engine } = host
  // Each shard is active and has a channel and a first call, so that its own memory is not counted.
  const body = msgpack.encode({ rows: 1, times: 0 })
  const call = { command: Hero.entries.read.number, body }
  await new LoadGenerator({ engine, shards, inFlight: 1, call: () => call }).runCalls(1)
  const before = await collectedHeapBytes()
  await (origin === 'written' ? write(host) : read(host))
  const heapBytes = (await collectedHeapBytes()) - before
  const { rows, bytes } = engine.rowCache
  if (rows !== Number(count)) throw new Error(`heap: ${rows} of ${count} rows are cached`)
  let weightBytes = 0
  for (const shard of shards)
    for (const row of engine.store.list(shard, items.definition, { by: {}, descending: false, limit: 0 }))
      weightBytes += rowBytes(row)
  await host.close()
  return { origin, heapBytes, estimatedBytes: bytes, weightBytes }
}

async function write({ engine }: Host): Promise<void> {
  const rowCounts = shards.map(() => 0)
  const call = (player: number) => putCall(rowCounts[player]!++)
  const generator = new LoadGenerator({ engine, shards, inFlight: IN_FLIGHT, call })
  await generator.runCalls(perShard)
  generator.closeChannels()
}

async function read({ engine }: Host): Promise<void> {
  const body = msgpack.encode({ rows: perShard, times: perShard })
  const call = { command: Hero.entries.read.number, body }
  const generator = new LoadGenerator({ engine, shards, inFlight: 1, call: () => call })
  await generator.runCalls(1)
  generator.closeChannels()
}

/** Bytes in use after garbage collections. */
async function collectedHeapBytes(): Promise<number> {
  for (let i = 0; i < COLLECTIONS; i++) {
    await sleep(100)
    globalThis.gc!()
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
