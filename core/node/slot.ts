// One slot: the shards of one file. It numbers their activations, reads what is committed, and hands what is to be
// written to its group commit. Invariant: nothing that was computed from a write set that failed, or was taken back,
// is ever stored.

import type { TableDefinition } from '../game/table.ts'
import type {
  Awaitable,
  Outcome,
  Remains,
  Row,
  RowChange,
  RowKey,
  RowQuery,
  ShardId,
  Stored,
  StoredChannel,
  WriteSet,
} from '../run/ports.ts'
import { COMMITTED, shardName } from '../run/ports.ts'
import type { Outbox, OutboxEntry } from '../tiers/local.ts'
import { TIMES } from '../wire/limits.ts'
import { explain, StoreError } from './fault.ts'
import { confirm, Group, type GroupOptions } from './group.ts'
import { SlotFile, type RowSetup } from './slotfile.ts'
import { weighRows, weighWrite } from './weight.ts'

/** Activation numbers reserved by one durable write, and how few are left when the next block is fetched. */
const NUMBERS = 1_000
const FEW_NUMBERS = 250
const LAST_NUMBER = 4_294_967_295

export interface SlotOptions extends Omit<GroupOptions, 'onSynced'>, RowSetup {
  readonly path: string
  /**
   * Shard to activation: its commits fail, because one before them did. The path stands for all shards of the slot.
   * Outlives a slot that must be reopened.
   */
  readonly fences: Map<string, number>
  /** What a shard must be awake for has changed, and that is durable. */
  readonly onWake: (shard: ShardId, wakeMs: number | null) => void
  /** New outbox entries are durable. */
  readonly onOutbox: () => void
}

export class Slot implements Outbox {
  readonly #options: SlotOptions
  readonly #file: SlotFile
  readonly #group: Group
  /** The last activation number handed out, and the last that may be. */
  #number: number
  #reserved: number
  #reserving: Promise<void> | null = null
  /** `onOutbox` was told up to here. */
  #told: number

  /** @throws StoreError */
  constructor(options: SlotOptions) {
    this.#options = options
    this.#file = new SlotFile(options.path, options)
    this.#group = new Group(this.#file, { ...options, onSynced: () => this.#tell() })
    this.#reserved = this.#number = this.#read(() => this.#file.reserved())
    this.#told = this.#group.durableSeq
  }

  /** The file was closed after an error of the disk and can be opened anew. */
  get over(): boolean {
    return this.#group.over !== null
  }

  /** Write sets that wait for their commit. */
  get backlog(): number {
    return this.#group.backlog
  }

  /** When each shard must be awake that has a durable cast, or a durable timer due within TIMES.wakeAheadMs. */
  wakes(): Map<string, number> {
    const now = this.#options.clock.now()
    return this.#read(() => this.#file.wakes(now, now + TIMES.wakeAheadMs))
  }

  /** The same for timers alone. */
  timersDue(): Map<string, number> {
    return this.#read(() => this.#file.timersDue(this.#options.clock.now() + TIMES.wakeAheadMs))
  }

  /** Waits for the commits of this shard only. @throws StoreError, at once or by its promise */
  open(shard: string): Awaitable<Stored> {
    if (this.#group.isUnsettled(shard)) return this.#group.barrier().then(() => this.open(shard))
    if (this.#number >= this.#reserved) return this.#reserve().then(() => this.open(shard))
    return this.#read(() => {
      const state = this.#file.load(shard)
      const activation = ++this.#number
      // The next block in good time; when that fails, the activation that finds none left says so.
      if (this.#reserved - activation < FEW_NUMBERS) this.#reserve().catch(() => {})
      this.#options.fences.delete(shard)
      return { activation, ...state }
    })
  }

  /** @throws StoreError, at once or by its promise */
  channel(shard: string, id: string): Awaitable<StoredChannel | null> {
    if (this.#group.isUnsettled(shard)) return this.#group.barrier().then(() => this.channel(shard, id))
    return this.#read(() => this.#file.channel(shard, id))
  }

  /** As it stands in SQLite, synced or not: nobody but its own shard is told. @throws StoreError */
  row(table: TableDefinition, shardKey: string, key: RowKey): Row | null {
    return this.#read(() => this.#file.rows.row(table, shardKey, key))
  }
  list(table: TableDefinition, shardKey: string, query: RowQuery): readonly Row[] {
    return this.#read(() => this.#file.rows.list(table, shardKey, query))
  }
  isLoaded(shard: string): boolean {
    return this.#read(() => this.#file.rows.isLoaded(shard))
  }

  commit(shard: string, write: WriteSet): Promise<Outcome> {
    return new Promise((resolve) => {
      let seq = 0
      this.#group.push({
        shard,
        bytes: weighWrite(write),
        apply: () => {
          seq = this.#apply(shard, write)
        },
        settle: (outcome) => {
          if (outcome.kind !== 'committed') this.#fence(shard, write.activation)
          resolve(seq === 0 || outcome.kind !== 'committed' ? outcome : { kind: 'committed', seq })
          if (outcome.kind === 'committed' && (write.timers || write.casts))
            this.#options.onWake(write.shard, write.wakeMs)
        },
      })
    })
  }

  fill(shard: ShardId, rows: readonly RowChange[], remains: Remains | null, done: boolean): Promise<Outcome> {
    const nowMs = this.#options.clock.now()
    return this.#group.run(shardName(shard), weighRows(rows), () =>
      this.#file.fill(shard, rows, remains, done, nowMs),
    )
  }

  async reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Promise<Outcome> {
    const name = shardName(shard)
    let wakeMs: number | null | undefined
    const outcome = await this.#group.run(name, 0, () => {
      wakeMs = this.#file.reject(shard, seq, channel)
      this.#fence(name, this.#number)
    })
    if (outcome.kind === 'committed' && wakeMs !== undefined) this.#options.onWake(shard, wakeMs)
    return outcome
  }

  get storeId(): string {
    return this.#file.rows.storeId
  }
  get seq(): number {
    return this.#file.rows.outbox.seq
  }
  /** Something waits for MySQL. */
  get holds(): boolean {
    return this.#read(() => this.#file.rows.outbox.holds())
  }

  /** Only what is synced: MySQL must not have what a power cut could take back here. */
  read(after: number, maxEntries: number, maxBytes: number): readonly OutboxEntry[] {
    const { durableSeq } = this.#group
    return this.#read(() => this.#file.rows.outbox.read(after, durableSeq, maxEntries, maxBytes))
  }

  /** What waits for its commit has no sequence yet. */
  last(shard: ShardId, critical: boolean): number {
    return this.#read(() => this.#file.rows.outbox.last(shardName(shard), critical))
  }

  /** Not synced: what a crash brings back is dropped once more. */
  drop(upTo: number): Outcome {
    this.#file.rows.outbox.drop(Math.min(upTo, this.#group.durableSeq))
    this.#group.clearLater()
    return COMMITTED
  }

  get trusted(): number {
    return this.#file.rows.outbox.trusted
  }

  doubt(): Awaitable<Outcome> {
    return this.#group.run('', 0, () => this.#file.rows.outbox.doubt())
  }

  trust(): Awaitable<Outcome> {
    return this.#group.run('', 0, () => this.#file.rows.outbox.trust())
  }

  raise(seq: number): Promise<Outcome> {
    return this.#group.run('', 0, () => this.#file.rows.outbox.raise(seq))
  }

  /** No activation of any shard of this slot commits any more: each was computed from rows that are gone. */
  async reset(): Promise<readonly OutboxEntry[]> {
    let entries: readonly OutboxEntry[] = []
    const outcome = await this.#group.run('', 0, () => {
      entries = this.#file.rows.reset()
      this.#fence(this.#options.path, this.#number)
    })
    confirm(outcome)
    return entries
  }

  /** Waits for everything that was asked before, then closes the file. */
  close(): Promise<void> {
    return this.#group.close()
  }

  #read<T>(run: () => T): T {
    if (this.#group.over) throw this.#group.over
    try {
      return run()
    } catch (cause) {
      throw explain(cause, this.#options.path)
    }
  }

  /** The next block of activation numbers. */
  #reserve(): Promise<void> {
    this.#reserving ??= this.#fetchNumbers().finally(() => (this.#reserving = null))
    return this.#reserving
  }

  async #fetchNumbers(): Promise<void> {
    const { path } = this.#options
    if (this.#reserved >= LAST_NUMBER)
      throw new StoreError('NUMBERS', `${path} has used all ${LAST_NUMBER} activation numbers`)
    const upTo = Math.min(this.#reserved + NUMBERS, LAST_NUMBER)
    confirm(await this.#group.run('', 0, () => this.#file.reserve(upTo)))
    this.#reserved = upTo
  }

  #apply(shard: string, write: WriteSet): number {
    const { fences, path } = this.#options
    const isFenced =
      fences.size > 0 && write.activation <= Math.max(fences.get(shard) ?? 0, fences.get(path) ?? 0)
    if (isFenced) {
      const why = `an earlier commit of activation ${write.activation} failed, or was taken back`
      throw new StoreError('SUPERSEDED', `${shard}: ${why}`)
    }
    return this.#file.apply(shard, write)
  }

  /** Write sets of activations up to this one fail. */
  #fence(name: string, activation: number): void {
    const { fences } = this.#options
    fences.set(name, Math.max(fences.get(name) ?? 0, activation))
  }

  #tell(): void {
    const { durableSeq } = this.#group
    if (durableSeq === this.#told) return
    this.#told = durableSeq
    this.#options.onOutbox()
  }
}
