// The Store of a Node host: one data directory with one file per slot. Invariants: one process at a time has the
// directory open; a shard is always in the same slot (see slotname.ts).

import { fdatasync } from 'node:fs'
import { join, resolve } from 'node:path'

import type { Awaitable } from '../game/definition.ts'
import type { TableDefinition } from '../game/table.ts'
import type { LocalStore, Outbox, OutboxEntry } from '../outbox/localstore.ts'
import type { Clock } from '../ports/clock.ts'
import type { CriticalState } from '../ports/database.ts'
import type { Log } from '../ports/log.ts'
import type { Outcome, Row, RowChange, RowKey, RowQuery, StoredChannel, StoredShard, WriteSet } from '../ports/store.ts'
import { TableSet } from '../sql/layout.ts'
import { parseShardName, shardName, type ShardId } from '../wire/shardid.ts'
import { createFolder } from './datafolder.ts'
import { DirectoryLock } from './lock.ts'
import { Slot } from './slot.ts'
import type { Fdatasync } from './slotfile.ts'
import { existingSlots, slotName, slotOf } from './slotname.ts'
import { toStoreError, StoreError, type StoreErrorCode } from './storeerror.ts'

export interface SlotStoreOptions {
  readonly dir: string
  /** Number of slot files; never changes for a data directory. Default 32. */
  readonly slots?: number | undefined
  readonly clock: Clock
  readonly log: Log
  /** The tables of the game. Default: none. */
  readonly tables?: readonly TableDefinition[]
  /** Changes are queued in an outbox for MySQL. Default false. */
  readonly outbox?: boolean
  /** Called when new entries of this owner's outbox are durable. Entries of earlier processes: `ownersWithEntries`. */
  readonly onOutboxDurable?: (owner: string) => void
  /**
   * Receives the time (wall clock) at which a shard must be active for its next durable timer or cast; null = none is
   * left. Called for all stored shards before `open` returns, and after each commit that changed timers or casts.
   */
  readonly onWake: (shard: ShardId, dueMs: number | null) => void
  /** Replaced only by tests that inject disk errors. */
  readonly fdatasync?: Fdatasync
}

const DEFAULT_SLOTS = 32
const MAX_SLOTS = 4_096
/**
 * Batches take this long in one event-loop turn, so that sockets are served between them; or as long as they had to wait
 * for it: answers wait for commits, which a busy loop must not delay by one turn per batch.
 */
const MIN_BATCH_RUN_MS = 2
/** Errors that concern one file only. */
const SINGLE_FILE_ERRORS: ReadonlySet<StoreErrorCode> = new Set(['CORRUPT', 'FOREIGN', 'NEWER'])

export class SlotStore implements LocalStore {
  readonly #options: SlotStoreOptions
  readonly #dir: string
  readonly #lock: DirectoryLock
  readonly #tables: TableSet
  /** By slot. */
  readonly #owners: readonly string[]
  readonly #slots: (Slot | undefined)[]
  /** Shards whose last commit failed and that were not opened since. */
  readonly #fencedActivations = new Map<string, number>()
  /** Batches to run, at most one per slot. */
  readonly #readyBatches: (() => void)[] = []
  #isDeferred = false
  #closed: Promise<void> | null = null

  private constructor(options: SlotStoreOptions, dir: string, slots: number, lock: DirectoryLock) {
    this.#options = options
    this.#dir = dir
    this.#slots = Array.from({ length: slots })
    this.#owners = Array.from({ length: slots }, (_, index) => `slot/${slotName(index, slots)}`)
    this.#tables = new TableSet(options.tables ?? [])
    this.#lock = lock
  }

  /** Opens the directory and every slot file in it, and reports their wake times. @throws StoreError */
  static async open(options: SlotStoreOptions): Promise<SlotStore> {
    const { slots = DEFAULT_SLOTS } = options
    const dir = resolve(options.dir)
    if (!(Number.isInteger(slots) && slots >= 1 && slots <= MAX_SLOTS))
      throw new StoreError('SLOTS', `${slots} slots are not in 1..${MAX_SLOTS}`)
    createFolder(dir)
    const store = new SlotStore(options, dir, slots, new DirectoryLock(dir))
    try {
      store.#openSlots(existingSlots(dir, slots))
    } catch (cause) {
      await store.closeStore()
      throw toStoreError(cause, dir)
    }
    return store
  }

  /** An unreadable file only makes its own shards unavailable, unless every file is unreadable. */
  #openSlots(indexes: readonly number[]): void {
    const { log, onWake } = this.#options
    const broken: StoreError[] = []
    for (const index of indexes) {
      try {
        for (const [shard, dueMs] of this.#slotAt(index).wakeTimes()) onWake(parseShardName(shard), dueMs)
      } catch (cause) {
        if (!(cause instanceof StoreError && SINGLE_FILE_ERRORS.has(cause.code))) throw cause
        broken.push(cause)
      }
    }
    if (broken.length > 0 && broken.length === indexes.length) throw broken[0]!
    for (const cause of broken)
      log.error('a slot file cannot be read: its shards are unavailable, the other slots work', {
        code: cause.code,
        cause: cause.message,
      })
  }

  /** Reports each shard with a durable timer due within TIMES.wakeAheadMs. */
  scanDueTimers(onDue: (shard: ShardId, dueMs: number) => void): void {
    for (const slot of this.#slots) {
      if (!slot || slot.needsReopen) continue
      try {
        for (const [shard, dueMs] of slot.timerDueTimes()) onDue(parseShardName(shard), dueMs)
      } catch (cause) {
        if (!(cause instanceof StoreError)) throw cause
        this.#options.log.error('the due timers of a slot cannot be read', { cause: cause.message })
      }
    }
  }

  /** Write sets of all slots that are not settled yet. */
  get pendingJobs(): number {
    let sum = 0
    for (const slot of this.#slots) sum += slot?.pendingJobs ?? 0
    return sum
  }

  /** @throws StoreError, synchronously or through the promise */
  open(shard: ShardId): Awaitable<StoredShard> {
    const name = shardName(shard)
    return this.#slotOf(name).openShard(name)
  }

  /** @throws StoreError, synchronously or through the promise */
  channel(shard: ShardId, channel: string): Awaitable<StoredChannel | null> {
    const name = shardName(shard)
    return this.#slotOf(name).readChannel(name, channel)
  }

  /** @throws StoreError */
  row(shard: ShardId, table: TableDefinition, key: RowKey): Row | null {
    return this.#slotOf(shardName(shard)).row(table, shard.key, key)
  }

  /** @throws StoreError */
  list(shard: ShardId, table: TableDefinition, query: RowQuery): readonly Row[] {
    return this.#slotOf(shardName(shard)).list(table, shard.key, query)
  }

  commit(write: WriteSet): Awaitable<Outcome> {
    const name = shardName(write.shard)
    try {
      return this.#slotOf(name).commit(name, write)
    } catch (cause) {
      this.#fencedActivations.set(name, Math.max(this.#fencedActivations.get(name) ?? 0, write.activation))
      return { kind: 'failed', cause }
    }
  }

  reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Awaitable<Outcome> {
    return outcomeOf(() => this.#slotOf(shardName(shard)).reject(shard, seq, channel))
  }

  fill(shard: ShardId, rows: readonly RowChange[], remains: CriticalState | null, isLast: boolean): Awaitable<Outcome> {
    return outcomeOf(() => this.#slotOf(shardName(shard)).fill(shard, rows, remains, isLast))
  }

  /** @throws StoreError */
  isLoaded(shard: ShardId): boolean {
    const name = shardName(shard)
    return this.#slotOf(name).isLoaded(name)
  }

  /** `slot/07-of-32` */
  ownerOf(shard: ShardId): string {
    return this.#owners[slotOf(shardName(shard), this.#slots.length)]!
  }

  /** Includes a slot that must be reopened, because its contents are unknown. */
  ownersWithEntries(): readonly string[] {
    return this.#owners.filter((_, index) => {
      const slot = this.#slots[index]
      return slot !== undefined && (slot.needsReopen || slot.hasOutboxEntries)
    })
  }

  /** If the slot cannot be opened, methods of the outbox throw a StoreError or return the outcome 'failed'. */
  outboxOf(owner: string): Outbox {
    const index = this.#owners.indexOf(owner)
    if (index < 0) throw new Error(`${owner} is not a slot of ${this.#dir}`)
    return new SlotOutbox(() => this.#openSlot(index))
  }

  /** Waits for all commits, closes the files, and unlocks the directory. */
  closeStore(): Promise<void> {
    this.#closed ??= this.#closeSlots()
    return this.#closed
  }

  async #closeSlots(): Promise<void> {
    try {
      await Promise.all(this.#slots.map(async (slot) => slot?.closeSlot()))
    } finally {
      this.#lock.release()
    }
  }

  #slotOf(name: string): Slot {
    return this.#openSlot(slotOf(name, this.#slots.length))
  }

  #openSlot(index: number): Slot {
    if (this.#closed) throw new StoreError('CLOSED', `the store in ${this.#dir} is closed`)
    return this.#slotAt(index)
  }

  #slotAt(index: number): Slot {
    const open = this.#slots[index]
    if (open && !open.needsReopen) return open
    const { clock, log, onWake, onOutboxDurable, outbox = false } = this.#options
    const slot = new Slot({
      path: join(this.#dir, `slot-${slotName(index, this.#slots.length)}.sqlite`),
      clock,
      log,
      fdatasync: this.#options.fdatasync ?? fdatasync,
      defer: (run) => {
        this.#readyBatches.push(run)
        this.#runBatchesLater()
      },
      fencedActivations: this.#fencedActivations,
      onWake,
      onOutboxDurable: () => onOutboxDurable?.(this.#owners[index]!),
      tables: this.#tables,
      outbox,
      newId: () => clock.id(),
    })
    this.#slots[index] = slot
    // Entries whose sync failed were synced by the reopening.
    if (open && slot.hasOutboxEntries) onOutboxDurable?.(this.#owners[index]!)
    return slot
  }

  #runBatchesLater(): void {
    if (this.#isDeferred || this.#readyBatches.length === 0) return
    this.#isDeferred = true
    const { clock } = this.#options
    const deferredMs = clock.mono()
    clock.defer(() => {
      const nowMs = clock.mono()
      const endMs = nowMs + Math.max(MIN_BATCH_RUN_MS, nowMs - deferredMs)
      do this.#readyBatches.shift()?.()
      while (this.#readyBatches.length > 0 && clock.mono() < endMs)
      this.#isDeferred = false
      this.#runBatchesLater()
    })
  }
}

/** The outbox of one slot, valid across reopenings of its file. A method that returns an outcome never throws. */
class SlotOutbox implements Outbox {
  readonly #openSlot: () => Slot

  constructor(openSlot: () => Slot) {
    this.#openSlot = openSlot
  }

  get storeId(): string {
    return this.#openSlot().storeId
  }
  get lastSeq(): number {
    return this.#openSlot().lastSeq
  }
  get leasedSeq(): number {
    return this.#openSlot().leasedSeq
  }
  markUnleased(): Awaitable<Outcome> {
    return outcomeOf(() => this.#openSlot().markUnleased())
  }
  markLeased(): Awaitable<Outcome> {
    return outcomeOf(() => this.#openSlot().markLeased())
  }
  read(after: number, maxEntries: number, maxBytes: number): readonly OutboxEntry[] {
    return this.#openSlot().read(after, maxEntries, maxBytes)
  }
  lastSeqOf(shard: ShardId, critical: boolean): number {
    return this.#openSlot().lastSeqOf(shard, critical)
  }
  drop(upTo: number): Awaitable<Outcome> {
    return outcomeOf(() => this.#openSlot().drop(upTo))
  }
  raiseSeq(seq: number): Awaitable<Outcome> {
    return outcomeOf(() => this.#openSlot().raiseSeq(seq))
  }
  async reset(): Promise<readonly OutboxEntry[]> {
    return this.#openSlot().reset()
  }
}

/** Returns an error as the outcome 'failed'. */
async function outcomeOf(run: () => Awaitable<Outcome>): Promise<Outcome> {
  try {
    return await run()
  } catch (cause) {
    return { kind: 'failed', cause }
  }
}
