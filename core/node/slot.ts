// One slot: the shards of one file. It numbers their activations, reads committed state, and passes writes to its group
// commit. Invariant: nothing computed from a write set that failed or was undone is ever stored.

import type { Awaitable } from '../game/definition.ts'
import type { TableDefinition } from '../game/table.ts'
import type { Outbox, OutboxEntry } from '../outbox/localstore.ts'
import { assertCommitted } from '../outbox/takeover.ts'
import type { CriticalState } from '../ports/database.ts'
import {
  COMMITTED,
  type Outcome,
  type Row,
  type RowChange,
  type RowKey,
  type RowQuery,
  type StoredChannel,
  type StoredShard,
  type WriteSet,
} from '../ports/store.ts'
import { rowBytes } from '../rows/rowcache.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import { GroupCommit, type GroupCommitOptions } from './groupcommit.ts'
import { SlotFile } from './slotfile.ts'
import type { RowTablesOptions } from './slotformat.ts'
import { toStoreError, StoreError } from './storeerror.ts'

/** Activation numbers reserved by one durable write, and the remainder at which the next block is reserved. */
const NUMBER_BLOCK = 1_000
const REFILL_NUMBERS = 250
const MAX_ACTIVATION = 4_294_967_295
/** Size of a write set, row or cast besides its values. */
const OVERHEAD_BYTES = 64

export interface SlotOptions extends Omit<GroupCommitOptions, 'onSynced'>, RowTablesOptions {
  readonly path: string
  /**
   * By shard: commits of activations up to this one fail, because an earlier commit failed or was undone. The slot's
   * path fences all its shards. Survives a reopening of the slot.
   */
  readonly fencedActivations: Map<string, number>
  /** Called when a change of a shard's next wake time is durable. */
  readonly onWake: (shard: ShardId, wakeMs: number | null) => void
  /** Called when new outbox entries are durable. */
  readonly onOutboxDurable: () => void
}

export class Slot implements Outbox {
  readonly #options: SlotOptions
  readonly #file: SlotFile
  readonly #groupCommit: GroupCommit
  /** The last activation number in use, and the last reserved one. */
  #lastActivation: number
  #reservedUpTo: number
  #reserving: Promise<void> | null = null
  /** The outbox sequence of the last `onOutboxDurable` call. */
  #notifiedSeq: number

  /** @throws StoreError */
  constructor(options: SlotOptions) {
    this.#options = options
    this.#file = new SlotFile(options.path, options)
    this.#groupCommit = new GroupCommit(this.#file, { ...options, onSynced: () => this.#notifyOutbox() })
    this.#reservedUpTo = this.#lastActivation = this.#guarded(() => this.#file.reservedNumbers())
    this.#notifiedSeq = this.#groupCommit.durableSeq
  }

  /** The file was closed after an error of the disk and can be reopened. */
  get needsReopen(): boolean {
    return this.#groupCommit.closedError !== null
  }

  /** Write sets that are not settled yet. */
  get pendingJobs(): number {
    return this.#groupCommit.pendingJobs
  }

  /** The wake times of shards with a durable cast, or with a durable timer due within TIMES.wakeAheadMs. */
  wakeTimes(): Map<string, number> {
    const now = this.#options.clock.now()
    return this.#guarded(() => this.#file.wakeTimes(now, now + TIMES.wakeAheadMs))
  }

  /** The same for timers alone. */
  timerDueTimes(): Map<string, number> {
    return this.#guarded(() => this.#file.timerDueTimes(this.#options.clock.now() + TIMES.wakeAheadMs))
  }

  /** Waits for the commits of this shard only. @throws StoreError, synchronously or through the promise */
  openShard(shard: string): Awaitable<StoredShard> {
    if (this.#groupCommit.hasPendingCommits(shard)) return this.#groupCommit.barrier().then(() => this.openShard(shard))
    if (this.#lastActivation >= this.#reservedUpTo) return this.#reserve().then(() => this.openShard(shard))
    return this.#guarded(() => {
      const state = this.#file.loadShard(shard)
      const activation = ++this.#lastActivation
      // Ahead of need; if this fails, the activation that needs the block reports it.
      if (this.#reservedUpTo - activation < REFILL_NUMBERS) this.#reserve().catch(() => {})
      this.#options.fencedActivations.delete(shard)
      return { activation, ...state }
    })
  }

  /** @throws StoreError, synchronously or through the promise */
  readChannel(shard: string, id: string): Awaitable<StoredChannel | null> {
    if (this.#groupCommit.hasPendingCommits(shard))
      return this.#groupCommit.barrier().then(() => this.readChannel(shard, id))
    return this.#guarded(() => this.#file.readChannel(shard, id))
  }

  /** Reads from SQLite, synced or not, because only the row's own shard receives it. @throws StoreError */
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
        apply: () => void (seq = this.#apply(shard, write)),
        settle: (outcome) => {
          if (outcome.kind !== 'committed') this.#fence(shard, write.activation)
          resolve(seq === 0 || outcome.kind !== 'committed' ? outcome : { kind: 'committed', seq })
          if (outcome.kind === 'committed' && (write.timers || write.casts))
            this.#options.onWake(write.shard, write.wakeMs)
        },
      })
    })
  }

  fill(shard: ShardId, rows: readonly RowChange[], remains: CriticalState | null, isLast: boolean): Promise<Outcome> {
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
  get hasOutboxEntries(): boolean {
    return this.#guarded(() => this.#file.rows.outbox.hasEntries())
  }

  /** Reads only synced entries: MySQL must not contain changes that a power failure could undo here. */
  read(after: number, maxEntries: number, maxBytes: number): readonly OutboxEntry[] {
    const { durableSeq } = this.#groupCommit
    return this.#guarded(() => this.#file.rows.outbox.read(after, durableSeq, maxEntries, maxBytes))
  }

  /** A queued write set has no sequence yet. */
  lastSeqOf(shard: ShardId, critical: boolean): number {
    return this.#guarded(() => this.#file.rows.outbox.lastSeqOf(shardName(shard), critical))
  }

  /** Not synced: entries that reappear after a crash are dropped again. */
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

  /** Fences all open activations of this slot, because they were computed from the deleted rows. */
  async reset(): Promise<readonly OutboxEntry[]> {
    let entries: readonly OutboxEntry[] = []
    const reset = (): void => {
      entries = this.#file.rows.resetStore()
      this.#fence(this.#options.path, this.#lastActivation)
    }
    assertCommitted(await this.#groupCommit.enqueueChange('', 0, reset))
    return entries
  }

  /** Waits for all earlier writes, then closes the file. */
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

  /** Reserves the next block of activation numbers. */
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
    const { activation } = write
    if (fences.size > 0 && activation <= Math.max(fences.get(shard) ?? 0, fences.get(path) ?? 0))
      throw new StoreError('SUPERSEDED', `${shard}: an earlier commit of activation ${activation} failed or was undone`)
    return this.#file.apply(shard, write)
  }

  /** Lets write sets of activations up to this one fail. */
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

/** Approximate bytes of a write set and its undo, for the bounds of the queue and of a transaction. */
function writeSetBytes({ kv, timers, channel, snapshot, rows, casts, undo }: WriteSet): number {
  let bytes = OVERHEAD_BYTES + (channel?.weight ?? 0) + (snapshot?.length ?? 0)
  if (kv) for (const value of kv.values()) bytes += value?.length ?? 0
  if (timers) for (const timer of timers.values()) bytes += timer?.data.length ?? 0
  if (rows) bytes += rowChangesBytes(rows)
  if (casts)
    for (const cast of casts.values()) bytes += OVERHEAD_BYTES + (cast?.body.length ?? 0) + (cast?.data.length ?? 0)
  return undo ? bytes + writeSetBytes(undo) : bytes
}

function rowChangesBytes(rows: readonly RowChange[]): number {
  let bytes = 0
  for (const { values } of rows) bytes += OVERHEAD_BYTES + rowBytes(values)
  return bytes
}
