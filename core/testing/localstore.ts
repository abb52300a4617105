// The LocalStore of a host in memory, with an outbox per owner. It outlives flushers and engines: a test restarts a
// process by creating new ones on the same store. Invariant: a commit enters the readable outbox when it has ended,
// like a write that the disk has synced.

import { hexOf } from '../wire/bytes.ts'
import { MemoryStore } from './memory.ts'
import type { Clock } from '../ports/clock.ts'
import { COMMITTED, type Outcome, type RowChange, type WriteSet } from '../ports/store.ts'
import type { CriticalState } from '../ports/database.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import { encodeEntry } from '../outbox/entry.ts'
import type { LocalStore, Outbox, OutboxEntry } from '../outbox/localstore.ts'

export interface MemoryLocalStoreOptions {
  readonly clock: Clock
  /** Default: one owner for all shards. */
  readonly ownerOf?: (shard: ShardId) => string
  /** Default: 32 hex digits from the clock. The id of another store makes this a copy of it. */
  readonly storeId?: string
}

interface MemoryOutboxTurn {
  readonly seq: number
  readonly shard: string
  readonly critical: boolean
  /** null = the turn has no rows, only an undo. */
  readonly data: Uint8Array | null
  readonly undo: WriteSet | null
  isDurable: boolean
}

export class MemoryLocalStore extends MemoryStore implements LocalStore {
  readonly #outboxes = new Map<string, MemoryOutbox>()
  readonly #loaded = new Set<string>()
  readonly #options: MemoryLocalStoreOptions
  readonly #storeId: string

  constructor(options: MemoryLocalStoreOptions) {
    super()
    this.#options = options
    this.#storeId = options.storeId ?? hexOf(options.clock.id())
  }

  ownerOf(shard: ShardId): string {
    return this.#options.ownerOf?.(shard) ?? 'owner'
  }

  ownersWithEntries(): readonly string[] {
    return [...this.#outboxes].filter(([, { turns }]) => turns.some(({ data }) => data)).map(([owner]) => owner)
  }

  outboxOf(owner: string): MemoryOutbox {
    let outbox = this.#outboxes.get(owner)
    if (!outbox) this.#outboxes.set(owner, (outbox = new MemoryOutbox(this.#storeId, () => this.#reset(owner))))
    return outbox
  }

  isLoaded(shard: ShardId): boolean {
    return this.#loaded.has(shardName(shard))
  }

  override commit(write: WriteSet): Outcome | Promise<Outcome> {
    const outbox = this.outboxOf(this.ownerOf(write.shard))
    const { lastSeq: seq } = outbox
    const outcome = super.commit(write)
    const turn = outbox.lastSeq > seq ? outbox.turns.at(-1)! : null
    if (!turn || !(outcome instanceof Promise)) return outcome
    turn.isDurable = false
    outbox.pendingSync = outcome.then(() => (turn.isDurable = true))
    return outcome
  }

  fill(shard: ShardId, rows: readonly RowChange[], remains: CriticalState | null, isLast: boolean): Outcome {
    this.put(shard, { rows })
    const state = this.shardOf(shard)
    for (const channel of remains?.channels ?? [])
      if (channel.mark > (state.channels.get(channel.id)?.mark ?? -1)) state.channels.set(channel.id, channel)
    for (const cast of remains?.casts ?? []) state.casts.set(cast.sequence, cast)
    if (isLast) this.#loaded.add(shardName(shard))
    return COMMITTED
  }

  reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Outcome {
    const outbox = this.outboxOf(this.ownerOf(shard))
    for (const { undo } of outbox.removeTurns(shardName(shard), seq)) if (undo) this.put(shard, undo)
    this.put(shard, { channel })
    const state = this.shardOf(shard)
    state.fenced = state.activation
    return COMMITTED
  }

  protected override apply(write: WriteSet): Outcome {
    const outcome = super.apply(write)
    const data = encodeEntry(write)
    if (!data && !write.undo) return outcome
    const { shard, critical, undo } = write
    const seq = this.outboxOf(this.ownerOf(shard)).appendTurn(shardName(shard), critical, data, undo)
    return { kind: 'committed', seq }
  }

  #reset(owner: string): void {
    for (const state of this.shards()) {
      const { shard } = state
      if (this.ownerOf(shard) !== owner) continue
      state.rows.clear()
      state.casts.clear()
      state.fenced = state.activation
      this.#loaded.delete(shardName(shard))
    }
  }
}

export class MemoryOutbox implements Outbox {
  readonly storeId: string
  readonly #onReset: () => void
  /** Oldest first. */
  turns: MemoryOutboxTurn[] = []
  lastSeq = 0
  #leasedSeq: number | null = null
  /** Settles when the last commit that is held has ended. */
  pendingSync: Promise<unknown> = Promise.resolve()
  /** Calls of `read`, and the entries that they returned. */
  reads = 0
  entriesRead = 0

  constructor(storeId: string, onReset: () => void) {
    this.storeId = storeId
    this.#onReset = onReset
  }

  appendTurn(shard: string, critical: boolean, data: Uint8Array | null, undo: WriteSet | null): number {
    this.turns.push({ seq: ++this.lastSeq, shard, critical, data, undo, isDurable: true })
    return this.lastSeq
  }

  read(after: number, maxEntries: number, maxBytes: number): readonly OutboxEntry[] {
    this.reads++
    const entries: OutboxEntry[] = []
    let bytes = 0
    for (const { seq, shard, critical, data, isDurable: durable } of this.turns) {
      if (seq <= after || !data || !durable) continue
      bytes += data.length
      if (entries.length > 0 && (entries.length >= maxEntries || bytes > maxBytes)) break
      entries.push({ seq, shard, critical, data })
    }
    this.entriesRead += entries.length
    return entries
  }

  get leasedSeq(): number {
    return this.#leasedSeq ?? this.lastSeq
  }

  markUnleased(): Outcome {
    this.#leasedSeq ??= this.lastSeq
    return COMMITTED
  }

  markLeased(): Outcome {
    this.#leasedSeq = null
    return COMMITTED
  }

  drop(upTo: number): Outcome {
    this.turns = this.turns.filter(({ seq, isDurable: durable }) => seq > upTo || !durable)
    return COMMITTED
  }

  async raiseSeq(seq: number): Promise<Outcome> {
    this.lastSeq = Math.max(this.lastSeq, seq)
    await this.pendingSync
    return COMMITTED
  }

  lastSeqOf(shard: ShardId, critical: boolean): number {
    const name = shardName(shard)
    const last = this.turns.findLast((turn) => turn.shard === name && turn.data && (turn.critical || !critical))
    return last?.seq ?? 0
  }

  /** Removes and returns the turns of the shard from sequence `from` on, newest first. */
  removeTurns(shard: string, from: number): readonly MemoryOutboxTurn[] {
    const removed = this.turns.filter((turn) => turn.shard === shard && turn.seq >= from)
    this.turns = this.turns.filter((turn) => !removed.includes(turn))
    return removed.toReversed()
  }

  async reset(): Promise<readonly OutboxEntry[]> {
    await this.pendingSync
    const entries = this.turns.filter(({ data }) => data).map((turn) => ({ ...turn, data: turn.data! }))
    this.turns = []
    this.#onReset()
    return entries
  }
}
