// A disk: a host's Store that outlives the processes on it. It remembers what must be awake, as a slot file does, and
// shows each write set that it takes to whoever watches.

import type { TableDefinition } from '../../../core/game/table.ts'
import type { Outcome, Row, RowQuery, StoredCast, WriteSet } from '../../../core/ports/store.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import { compareKeys } from '../../../core/rows/rowkey.ts'
import { MemoryLocalStore, type MemoryLocalStoreOptions } from '../../../core/testing/localstore.ts'

export interface DiskOptions extends MemoryLocalStoreOptions {
  readonly name: string
  /** Owners that shards of this disk may have. */
  readonly owners: readonly string[]
  readonly onApply: (disk: Disk, write: WriteSet) => void
  readonly onReject: (disk: Disk, shard: ShardId) => void
}

export class Disk extends MemoryLocalStore {
  readonly name: string
  readonly slots: readonly string[]
  readonly #options: DiskOptions

  constructor(options: DiskOptions) {
    super(options)
    this.#options = options
    this.name = options.name
    this.slots = options.owners
  }

  /** Shards with durable casts that have no answer yet. */
  casting(): { readonly shard: ShardId; readonly casts: readonly StoredCast[] }[] {
    return this.shards()
      .filter(({ casts }) => casts.size > 0)
      .map(({ shard, casts }) => ({ shard, casts: [...casts.values()] }))
  }

  all(table: TableDefinition): Row[] {
    return this.shards().flatMap(({ rows }) => [...(rows.get(table.name)?.values() ?? [])])
  }

  /** The same as its parent's, for lists by a text; these are most of what a market asks. */
  override list(shard: ShardId, table: TableDefinition, query: RowQuery): readonly Row[] {
    const [name, ...others] = Object.keys(query.by)
    const value = name === undefined ? undefined : query.by[name]
    if (name === undefined || others.length > 0 || typeof value !== 'string')
      return super.list(shard, table, query)
    const found: Row[] = []
    for (const row of this.shardOf(shard).rows.get(table.name)?.values() ?? [])
      if (row[name] === value) found.push(row)
    const keyOf = (row: Row): unknown[] => table.key.map((column) => row[column.name])
    if (found.length > 1) found.sort((a, b) => compareKeys(keyOf(a), keyOf(b)) * (query.descending ? -1 : 1))
    return query.limit === 0 ? found : found.slice(0, query.limit)
  }

  /** Write sets of activations up to this one are refused. */
  fence(shard: ShardId, activation: number): void {
    const kept = this.shardOf(shard)
    kept.fenced = Math.max(kept.fenced, activation)
  }

  override reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Outcome {
    const name = shardName(shard)
    const { turns } = this.outboxOf(this.ownerOf(shard))
    const oldest = turns.find((turn) => turn.shard === name && turn.seq >= seq && turn.undo)
    const outcome = super.reject(shard, seq, channel)
    this.#options.onReject(this, shard)
    if (oldest?.undo) this.onWake(shard, oldest.undo.wakeMs)
    return outcome
  }

  protected override apply(write: WriteSet): Outcome {
    const outcome = super.apply(write)
    this.#options.onApply(this, write)
    if (write.casts && !write.timers) this.onWake(write.shard, write.wakeMs)
    return outcome
  }
}
