// One slot: the shards of one file. It numbers their activations, reads what is committed, and hands what is to be
// written to its group commit. Invariant: nothing that was computed from a write set that failed, or was taken back,
// is ever stored.

import type { TableDefinition } from '../game/table.ts'
import type { Awaitable } from '../game/shard.ts'
import type {
  Outcome,
  Row,
  RowChange,
  RowKey,
  RowQuery,
  StoredShard,
  StoredChannel,
  WriteSet,
} from '../ports/store.ts'
import type { CriticalState } from '../ports/database.ts'
import type { ShardId } from '../wire/shardid.ts'
import { COMMITTED } from '../ports/store.ts'
import { shardName } from '../wire/shardid.ts'
import type { Outbox, OutboxEntry } from '../outbox/localstore.ts'
import { TIMES } from '../wire/limits.ts'
import { toStoreError, StoreError } from './storeerror.ts'
import { assertCommitted, GroupCommit, type GroupCommitOptions } from './groupcommit.ts'
import { SlotFile, type RowTablesOptions } from './slotfile.ts'
import { rowChangesBytes, writeSetBytes } from './weight.ts'

/** Activation numbers reserved by one durable write, and how few are left when the next block is fetched. */
const NUMBER_BLOCK = 1_000
const REFILL_NUMBERS = 250
const MAX_ACTIVATION = 4_294_967_295

export interface SlotOptions extends Omit<GroupCommitOptions, 'onSynced'>, RowTablesOptions {
  readonly path: string
  /**
   * Shard to activation: its commits fail, because one before them did. The path stands for all shards of the slot.
   * Outlives a slot that must be reopened.
   */
  readonly fencedActivations: Map<string, number>
  /** What a shard must be awake for has changed, and that is durable. */
  readonly onWake: (shard: ShardId, wakeMs: number | null) => void
  /** New outbox entries are durable. */
  readonly onOutboxDurable: () => void
}

export class Slot implements Outbox {
  readonly #options: SlotOptions
  readonly #file: SlotFile
  readonly #groupCommit: GroupCommit
  /** The last activation number handed out, and the last that may be. */
  #lastActivation: number
  #reservedUpTo: number
  #reserving: Promise<void> | null = null
  /** `onOutbox` was told up to here. */
  #notifiedSeq: number

  /** @throws StoreError */
  constructor(options: SlotOptions) {
    this.#options = options
    this.#file = new SlotFile(options.path, options)
    this.#groupCommit = new GroupCommit(this.#file, { ...options, onSynced: () => this.#notifyOutbox() })
    this.#reservedUpTo = this.#lastActivation = this.#guarded(() => this.#file.reservedNumbers())
    this.#notifiedSeq = this.#groupCommit.durableSeq
  }

  /** The file was closed after an error of the disk and can be opened anew. */
  get needsReopen(): boolean {
    return this.#groupCommit.closedError !== null
  }

  /** Write sets that wait for their commit. */
  get pendingJobs(): number {
    return this.#groupCommit.pendingJobs
  }

  /** When each shard must be awake that has a durable cast, or a durable timer due within TIMES.wakeAheadMs. */
  wakeTimes(): Map<string, number> {
    const now = this.#options.clock.now()
    return this.#guarded(() => this.#file.wakeTimes(now, now + TIMES.wakeAheadMs))
  }

  /** The same for timers alone. */
  timerDueTimes(): Map<string, number> {
    return this.#guarded(() => this.#file.timerDueTimes(this.#options.clock.now() + TIMES.wakeAheadMs))
  }

  /** Waits for the commits of this shard only. @throws StoreError, at once or by its promise */
  openShard(shard: string): Awaitable<StoredShard> {
    if (this.#groupCommit.hasPendingCommits(shard))
      return this.#groupCommit.barrier().then(() => this.openShard(shard))
    if (this.#lastActivation >= this.#reservedUpTo) return this.#reserve().then(() => this.openShard(shard))
    return this.#guarded(() => {
      const state = this.#file.loadShard(shard)
      const activation = ++this.#lastActivation
      // The next block in good time; when that fails, the activation that finds none left says so.
      if (this.#reservedUpTo - activation < REFILL_NUMBERS) this.#reserve().catch(() => {})
      this.#options.fencedActivations.delete(shard)
      return { activation, ...state }
    })
  }

  /** @throws StoreError, at once or by its promise */
  readChannel(shard: string, id: string): Awaitable<StoredChannel | null> {
    if (this.#groupCommit.hasPendingCommits(shard))
      return this.#groupCommit.barrier().then(() => this.readChannel(shard, id))
    return this.#guarded(() => this.#file.readChannel(shard, id))
  }

  /** As it stands in SQLite, synced or not: nobody but its own shard is told. @throws StoreError */
  row(table: TableDefinition, shardKey: string, key: RowKey): Row | null {
    return this.#guarded(() => this.#file.rows.row(table, shardKey, key))
  }
  list(table: TableDefinition, shardKey: string, query: RowQuery): readonly Row[] {
    return this.#guarded(() => this.#file.rows.list(table, shardKey, query))
  }
  isLoaded(shard: string): boolean {
    return this.#guarded(() => this.#file.rows.isLoaded(shard))
  }

  commit(shard: string, write: WriteSet): Promise<Outcome> {
    return new Promise((resolve) => {
      let seq = 0
      this.#groupCommit.enqueue({
        shard,
        bytes: writeSetBytes(write),
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

  fill(
    shard: ShardId,
    rows: readonly RowChange[],
    remains: CriticalState | null,
    isLast: boolean,
  ): Promise<Outcome> {
    const nowMs = this.#options.clock.now()
    return this.#groupCommit.enqueueChange(shardName(shard), rowChangesBytes(rows), () =>
      this.#file.fill(shard, rows, remains, isLast, nowMs),
    )
  }

  async reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Promise<Outcome> {
    const name = shardName(shard)
    let wakeMs: number | null | undefined
    const outcome = await this.#groupCommit.enqueueChange(name, 0, () => {
      wakeMs = this.#file.reject(shard, seq, channel)
      this.#fence(name, this.#lastActivation)
    })
    if (outcome.kind === 'committed' && wakeMs !== undefined) this.#options.onWake(shard, wakeMs)
    return outcome
  }

  get storeId(): string {
    return this.#file.rows.storeId
  }
  get lastSeq(): number {
    return this.#file.rows.outbox.lastSeq
  }
  /** Something waits for MySQL. */
  get hasOutboxEntries(): boolean {
    return this.#guarded(() => this.#file.rows.outbox.hasEntries())
  }

  /** Only what is synced: MySQL must not have what a power cut could take back here. */
  read(after: number, maxEntries: number, maxBytes: number): readonly OutboxEntry[] {
    const { durableSeq } = this.#groupCommit
    return this.#guarded(() => this.#file.rows.outbox.read(after, durableSeq, maxEntries, maxBytes))
  }

  /** What waits for its commit has no sequence yet. */
  lastSeqOf(shard: ShardId, critical: boolean): number {
    return this.#guarded(() => this.#file.rows.outbox.lastSeqOf(shardName(shard), critical))
  }

  /** Not synced: what a crash brings back is dropped once more. */
  drop(upTo: number): Outcome {
    this.#file.rows.outbox.drop(Math.min(upTo, this.#groupCommit.durableSeq))
    this.#groupCommit.scheduleCleanup()
    return COMMITTED
  }

  get leasedSeq(): number {
    return this.#file.rows.outbox.leasedSeq
  }

  markUnleased(): Awaitable<Outcome> {
    return this.#groupCommit.enqueueChange('', 0, () => this.#file.rows.outbox.markUnleased())
  }

  markLeased(): Awaitable<Outcome> {
    return this.#groupCommit.enqueueChange('', 0, () => this.#file.rows.outbox.markLeased())
  }

  raiseSeq(seq: number): Promise<Outcome> {
    return this.#groupCommit.enqueueChange('', 0, () => this.#file.rows.outbox.raiseSeq(seq))
  }

  /** No activation of any shard of this slot commits any more: each was computed from rows that are gone. */
  async reset(): Promise<readonly OutboxEntry[]> {
    let entries: readonly OutboxEntry[] = []
    const outcome = await this.#groupCommit.enqueueChange('', 0, () => {
      entries = this.#file.rows.resetStore()
      this.#fence(this.#options.path, this.#lastActivation)
    })
    assertCommitted(outcome)
    return entries
  }

  /** Waits for everything that was asked before, then closes the file. */
  closeSlot(): Promise<void> {
    return this.#groupCommit.drainAndClose()
  }

  #guarded<T>(run: () => T): T {
    if (this.#groupCommit.closedError) throw this.#groupCommit.closedError
    try {
      return run()
    } catch (cause) {
      throw toStoreError(cause, this.#options.path)
    }
  }

  /** The next block of activation numbers. */
  #reserve(): Promise<void> {
    this.#reserving ??= this.#reserveBlock().finally(() => (this.#reserving = null))
    return this.#reserving
  }

  async #reserveBlock(): Promise<void> {
    const { path } = this.#options
    if (this.#reservedUpTo >= MAX_ACTIVATION)
      throw new StoreError('NUMBERS', `${path} has used all ${MAX_ACTIVATION} activation numbers`)
    const upTo = Math.min(this.#reservedUpTo + NUMBER_BLOCK, MAX_ACTIVATION)
    assertCommitted(await this.#groupCommit.enqueueChange('', 0, () => this.#file.reserveNumbers(upTo)))
    this.#reservedUpTo = upTo
  }

  #apply(shard: string, write: WriteSet): number {
    const { fencedActivations: fences, path } = this.#options
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
    const { fencedActivations: fences } = this.#options
    fences.set(name, Math.max(fences.get(name) ?? 0, activation))
  }

  #notifyOutbox(): void {
    const { durableSeq } = this.#groupCommit
    if (durableSeq === this.#notifiedSeq) return
    this.#notifiedSeq = durableSeq
    this.#options.onOutboxDurable()
  }
}
