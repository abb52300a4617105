// Fixtures of the slot store tests: two shards, write sets, and a directory that is removed after its test.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { systemClock } from '../../core/node/clock.ts'
import { SlotStore, type SlotStoreOptions } from '../../core/node/slotstore.ts'
import { StoreError } from '../../core/node/storeerror.ts'
import { MemoryLog } from '../../core/testing/memory.ts'
import { shardName, type ShardId } from '../../core/wire/shardid.ts'
import type { WriteSet } from '../../core/ports/store.ts'

export const ada: ShardId = { contract: 'player', key: 'ada' }
export const bob: ShardId = { contract: 'player', key: 'bob/with a slash' }
export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
export const text = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString()

const EMPTY_WRITE_SET: Omit<WriteSet, 'shard' | 'activation'> = {
  kv: null,
  timers: null,
  channel: null,
  snapshot: null,
  rows: null,
  casts: null,
  critical: false,
  undo: null,
  wakeMs: null,
}

export function writeSet(shard: ShardId, activation: number, part: Partial<WriteSet>): WriteSet {
  return { ...EMPTY_WRITE_SET, shard, activation, ...part }
}
export function kvWriteSet(shard: ShardId, activation: number, name: string, value: string): WriteSet {
  return writeSet(shard, activation, { kv: new Map([[name, bytes(value)]]) })
}
export interface SlotFixture {
  readonly dir: string
  readonly log: MemoryLog
  readonly wakes: [string, number | null][]
  open(options?: Partial<SlotStoreOptions>): Promise<SlotStore>
  /** Opens a store, and activates `ada` in it. */
  openShard(options?: Partial<SlotStoreOptions>): Promise<{ store: SlotStore; activation: number }>
}

/** Runs a test with a new directory; closes the opened stores and removes the directory at its end. */
export function slotTest(name: string, body: (fixture: SlotFixture) => Promise<void>): void {
  test(name, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'firefly-slot-'))
    const stores: SlotStore[] = []
    const log = new MemoryLog()
    const wakes: [string, number | null][] = []
    const onWake = (shard: ShardId, dueMs: number | null): void => void wakes.push([shardName(shard), dueMs])
    const open = async (options: Partial<SlotStoreOptions> = {}): Promise<SlotStore> => {
      const store = await SlotStore.open({ dir, slots: 4, clock: systemClock, log, onWake, ...options })
      stores.push(store)
      return store
    }
    const openShard: SlotFixture['openShard'] = async (options) => {
      const store = await open(options)
      return { store, activation: (await store.open(ada)).activation }
    }
    try {
      await body({ dir, log, wakes, open, openShard })
    } finally {
      for (const store of stores) await store.closeStore()
      rmSync(dir, { recursive: true })
    }
  })
}

export function isStoreError(code: string, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert(error instanceof StoreError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, words)
    return true
  }
}
