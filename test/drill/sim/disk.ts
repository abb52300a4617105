// A disk: the store of a host, which outlives its processes. Invariant: as a slot file, it holds the wake times of its shards,
// and it reports every write set that it stores.

import type { TableDefinition } from '../../../core/game/table.ts'
import type { Outcome, Row, RowQuery, StoredCast, WriteSet } from '../../../core/ports/store.ts'
import { compareKeys } from '../../../core/rows/rowkey.ts'
import { MemoryLocalStore, type MemoryLocalStoreOptions } from '../../../core/testing/localstore.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { shardName } from '../../../core/wire/shardid.ts'

export interface DiskOptions extends MemoryLocalStoreOptions {
  readonly name: string
  /** All owners of shards of this disk. */
  readonly owners: readonly string[]
  readonly onApply: (disk: Disk, write: WriteSet) => void
  readonly onReject: (disk: Disk, shard: ShardId) => void
}

export class Disk extends MemoryLocalStore {
  readonly name: string
  readonly owners: readonly string[]
  readonly #options: DiskOptions

  constructor(options: DiskOptions) {
    super(options)
    this.#options = options
    this.name = options.name
    this.owners = options.owners
  }

  /** Shards with durable casts that are not answered yet. */
  shardsWithPendingCasts(): { readonly shard: ShardId; readonly casts: readonly StoredCast[] }[] {
    return this.shards()
      .filter(({ casts }) => casts.size > 0)
      .map(({ shard, casts }) => ({ shard, casts: [...casts.values()] }))
  }

  all(table: TableDefinition): Row[] {
    return this.shards().flatMap(({ rows }) => [...(rows.get(table.name)?.values() ?? [])])
  }

  /** Same result as the parent's method, but fast for one text column: most queries of the market. */
  override list(shard: ShardId, table: TableDefinition, query: RowQuery): readonly Row[] {
    const [name, ...others] = Object.keys(query.by)
    const value = name === undefined ? undefined : query.by[name]
    if (name === undefined || others.length > 0 || typeof value !== 'string') return super.list(shard, table, query)
    const matches: Row[] = []
    for (const row of this.shardOf(shard).rows.get(table.name)?.values() ?? [])
      if (row[name] === value) matches.push(row)
    const keyOf = (row: Row): unknown[] => table.key.map((column) => row[column.name])
    const sign = query.descending ? -1 : 1
    if (matches.length > 1) matches.sort((a, b) => compareKeys(keyOf(a), keyOf(b)) * sign)
    return query.limit === 0 ? matches : matches.slice(0, query.limit)
  }

  /** Refuses write sets of this and older activations from now on. */
  fence(shard: ShardId, activation: number): void {
    const state = this.shardOf(shard)
    state.fenced = Math.max(state.fenced, activation)
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
