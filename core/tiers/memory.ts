// A host's Store in memory, with an outbox for each owner: what SQLite holds elsewhere. It outlives the flushers and
// engines that are put on it, so a restart is a new one of those on the same store. Held commits are not in the outbox
// until they are released, as a disk that has not synced.

import { hexOf } from '../wire/bytes.ts'
import { MemoryStore } from '../run/memory.ts'
import type { Clock, Outcome, Remains, RowChange, ShardId, WriteSet } from '../run/ports.ts'
import { COMMITTED, shardName } from '../run/ports.ts'
import { encodeEntry } from './entry.ts'
import type { LocalStore, Outbox, OutboxEntry } from './local.ts'

export { MemoryDatabase, type Chaos, type Fault } from './memorydatabase.ts'

export interface MemoryLocalOptions {
  readonly clock: Clock
  /** Default: one owner of all. */
  readonly ownerOf?: (shard: ShardId) => string
  /** Default: 32 hex digits from the clock; given, this is a copy of another store. */
  readonly storeId?: string
}

interface Turn {
  readonly seq: number
  readonly shard: string
  readonly critical: boolean
  /** null: it can only be taken back. */
  readonly data: Uint8Array | null
  readonly undo: WriteSet | null
  durable: boolean
}

export class MemoryLocalStore extends MemoryStore implements LocalStore {
  readonly #outboxes = new Map<string, MemoryOutbox>()
  readonly #loaded = new Set<string>()
  readonly #options: MemoryLocalOptions
  readonly #storeId: string

  constructor(options: MemoryLocalOptions) {
    super()
    this.#options = options
    this.#storeId = options.storeId ?? hexOf(options.clock.id())
  }

  ownerOf(shard: ShardId): string {
    return this.#options.ownerOf?.(shard) ?? 'owner'
  }

  owners(): readonly string[] {
    return [...this.#outboxes]
      .filter(([, { turns }]) => turns.some(({ data }) => data))
      .map(([owner]) => owner)
  }

  outbox(owner: string): MemoryOutbox {
    let outbox = this.#outboxes.get(owner)
    if (!outbox)
      this.#outboxes.set(owner, (outbox = new MemoryOutbox(this.#storeId, () => this.#reset(owner))))
    return outbox
  }

  isLoaded(shard: ShardId): boolean {
    return this.#loaded.has(shardName(shard))
  }

  override commit(write: WriteSet): Outcome | Promise<Outcome> {
    const outbox = this.outbox(this.ownerOf(write.shard))
    const { seq } = outbox
    const outcome = super.commit(write)
    const turn = outbox.seq > seq ? outbox.turns.at(-1)! : null
    if (!turn || !(outcome instanceof Promise)) return outcome
    turn.durable = false
    outbox.syncing = outcome.then(() => (turn.durable = true))
    return outcome
  }

  fill(shard: ShardId, rows: readonly RowChange[], remains: Remains | null, done: boolean): Outcome {
    this.put(shard, { rows })
    const kept = this.kept(shard)
    for (const channel of remains?.channels ?? [])
      if (channel.mark > (kept.channels.get(channel.id)?.mark ?? -1)) kept.channels.set(channel.id, channel)
    for (const cast of remains?.casts ?? []) kept.casts.set(cast.sequence, cast)
    if (done) this.#loaded.add(shardName(shard))
    return COMMITTED
  }

  reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Outcome {
    const outbox = this.outbox(this.ownerOf(shard))
    for (const { undo } of outbox.takeOut(shardName(shard), seq)) if (undo) this.put(shard, undo)
    this.put(shard, { channel })
    const kept = this.kept(shard)
    kept.fenced = kept.activation
    return COMMITTED
  }

  protected override apply(write: WriteSet): Outcome {
    const outcome = super.apply(write)
    const data = encodeEntry(write)
    if (!data && !write.undo) return outcome
    const { shard, critical, undo } = write
    const seq = this.outbox(this.ownerOf(shard)).add(shardName(shard), critical, data, undo)
    return { kind: 'committed', seq }
  }

  #reset(owner: string): void {
    for (const kept of this.shards()) {
      const { shard } = kept
      if (this.ownerOf(shard) !== owner) continue
      kept.rows.clear()
      kept.casts.clear()
      kept.fenced = kept.activation
      this.#loaded.delete(shardName(shard))
    }
  }
}

export class MemoryOutbox implements Outbox {
  readonly storeId: string
  readonly #onReset: () => void
  /** Oldest first. */
  turns: Turn[] = []
  seq = 0
  #trusted: number | null = null
  /** The last commit that is held: what is asked of the store comes after it. */
  syncing: Promise<unknown> = Promise.resolve()
  /** How often it was read, and what came out: the bound of what a flusher keeps. */
  reads = 0
  entriesRead = 0

  constructor(storeId: string, onReset: () => void) {
    this.storeId = storeId
    this.#onReset = onReset
  }

  add(shard: string, critical: boolean, data: Uint8Array | null, undo: WriteSet | null): number {
    this.turns.push({ seq: ++this.seq, shard, critical, data, undo, durable: true })
    return this.seq
  }

  read(after: number, maxEntries: number, maxBytes: number): readonly OutboxEntry[] {
    this.reads++
    const found: OutboxEntry[] = []
    let bytes = 0
    for (const { seq, shard, critical, data, durable } of this.turns) {
      if (seq <= after || !data || !durable) continue
      bytes += data.length
      if (found.length > 0 && (found.length >= maxEntries || bytes > maxBytes)) break
      found.push({ seq, shard, critical, data })
    }
    this.entriesRead += found.length
    return found
  }

  get trusted(): number {
    return this.#trusted ?? this.seq
  }

  doubt(): Outcome {
    this.#trusted ??= this.seq
    return COMMITTED
  }

  trust(): Outcome {
    this.#trusted = null
    return COMMITTED
  }

  drop(upTo: number): Outcome {
    this.turns = this.turns.filter(({ seq, durable }) => seq > upTo || !durable)
    return COMMITTED
  }

  async raise(seq: number): Promise<Outcome> {
    this.seq = Math.max(this.seq, seq)
    await this.syncing
    return COMMITTED
  }

  last(shard: ShardId, critical: boolean): number {
    const name = shardName(shard)
    const found = this.turns.findLast(
      (turn) => turn.shard === name && turn.data && (turn.critical || !critical),
    )
    return found?.seq ?? 0
  }

  /** Turns of the shard from `seq` on, newest first; they are forgotten. */
  takeOut(shard: string, from: number): readonly Turn[] {
    const out = this.turns.filter((turn) => turn.shard === shard && turn.seq >= from)
    this.turns = this.turns.filter((turn) => !out.includes(turn))
    return out.toReversed()
  }

  async reset(): Promise<readonly OutboxEntry[]> {
    await this.syncing
    const entries = this.turns.filter(({ data }) => data).map((turn) => ({ ...turn, data: turn.data! }))
    this.turns = []
    this.#onReset()
    return entries
  }
}
