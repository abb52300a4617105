// The Store of a Node host: shards hash into slots, each a file of its own. Invariants: one process at a time has a
// data directory open, and a shard is always in the same slot, so neither the hash nor the number of slots may change.

import { fdatasync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'

import type { TableDefinition } from '../game/table.ts'
import type { Awaitable } from '../game/shard.ts'
import type { Clock } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
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
import { shardName } from '../wire/shardid.ts'
import { TableSet } from '../sql/layout.ts'
import type { LocalStore, Outbox, OutboxEntry } from '../outbox/localstore.ts'
import { createFolder } from './datafolder.ts'
import { toStoreError, StoreError, type StoreErrorCode } from './storeerror.ts'
import { DirectoryLock } from './lock.ts'
import { Slot } from './slot.ts'
import type { Fdatasync } from './slotfile.ts'

export { StoreError }

export interface SlotStoreOptions {
  readonly dir: string
  /** Number of slot files; fixed for the life of a data directory. Default 32. */
  readonly slots?: number
  readonly clock: Clock
  readonly log: Log
  /** The tables of the game. Default: none. */
  readonly tables?: readonly TableDefinition[]
  /** MySQL stands behind: what it must hear of is queued. Default false. */
  readonly outbox?: boolean
  /** New entries of this owner's outbox are durable. Those of earlier lives are not told: see `owners`. */
  readonly onOutboxDurable?: (owner: string) => void
  /**
   * When a shard must be awake for its next durable timer or cast, wall clock; null = it has none left. Told for
   * everything stored before `open` returns, and after each commit that changed timers or casts.
   */
  readonly onWake: (shard: ShardId, dueMs: number | null) => void
  /** Replaced only by tests that break the disk. */
  readonly fdatasync?: Fdatasync
}

const DEFAULT_SLOTS = 32
/** Names sort, and a file name has room for them. */
const MAX_SLOTS = 4_096
/** Batches of several slots share the event loop with everything else: after this it may look at its sockets. */
const MAX_BATCH_RUN_MS = 2
/** What is wrong with one file alone. */
const SINGLE_FILE_ERRORS: ReadonlySet<StoreErrorCode> = new Set(['CORRUPT', 'FOREIGN', 'NEWER'])
const SLOT_FILE = /^slot-(\d+)-of-(\d+)\.sqlite$/

export class SlotStore implements LocalStore {
  readonly #options: SlotStoreOptions
  readonly #dir: string
  readonly #lock: DirectoryLock
  readonly #tables: TableSet
  /** By slot. */
  readonly #owners: readonly string[]
  readonly #slots: (Slot | undefined)[]
  /** Only shards whose last commit failed and that were not opened since. */
  readonly #fencedActivations = new Map<string, number>()
  /** Batches to be run, at most one of each slot. */
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

  /** Opens the directory, every slot file in it, and tells `onWake` their timers and casts. @throws StoreError */
  static async open(options: SlotStoreOptions): Promise<SlotStore> {
    const { slots = DEFAULT_SLOTS } = options
    const dir = resolve(options.dir)
    if (!(Number.isInteger(slots) && slots >= 1 && slots <= MAX_SLOTS)) {
      throw new StoreError('SLOTS', `${slots} is not a number of slots: choose 1 to ${MAX_SLOTS}`)
    }
    createFolder(dir)
    const store = new SlotStore(options, dir, slots, new DirectoryLock(dir))
    try {
      store.#openSlots(slotFiles(dir, slots))
    } catch (cause) {
      await store.closeStore()
      throw toStoreError(cause, dir)
    }
    return store
  }

  /** A file that cannot be read costs the shards in it, not the others; unless there are no others. */
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
      log.error('a slot cannot be read: its shards are not available, the others are', {
        code: cause.code,
        cause: cause.message,
      })
  }

  /** Gives the shards that have a durable timer due within TIMES.wakeAheadMs, and when. */
  scanDueTimers(onDue: (shard: ShardId, dueMs: number) => void): void {
    for (const slot of this.#slots) {
      if (!slot || slot.needsReopen) continue
      try {
        for (const [shard, dueMs] of slot.timerDueTimes()) onDue(parseShardName(shard), dueMs)
      } catch (cause) {
        if (!(cause instanceof StoreError)) throw cause
        this.#options.log.error('a slot does not say which timers are due', { cause: cause.message })
      }
    }
  }

  /** Write sets that wait for their commit, in all slots. */
  get pendingJobs(): number {
    let sum = 0
    for (const slot of this.#slots) sum += slot?.pendingJobs ?? 0
    return sum
  }

  /** @throws StoreError, at once or by its promise */
  open(shard: ShardId): Awaitable<StoredShard> {
    const name = shardName(shard)
    return this.#slotOf(name).openShard(name)
  }

  /** @throws StoreError, at once or by its promise */
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

  fill(
    shard: ShardId,
    rows: readonly RowChange[],
    remains: CriticalState | null,
    isLast: boolean,
  ): Awaitable<Outcome> {
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

  /** Of a slot that must be opened anew nobody knows what it holds. */
  ownersWithEntries(): readonly string[] {
    return this.#owners.filter((_, index) => {
      const slot = this.#slots[index]
      return slot !== undefined && (slot.needsReopen || slot.hasOutboxEntries)
    })
  }

  /** Each use throws a StoreError when the slot cannot be opened; what gives an outcome says so by it. */
  outboxOf(owner: string): Outbox {
    const index = this.#owners.indexOf(owner)
    if (index < 0) throw new Error(`${owner} is not a slot of ${this.#dir}`)
    return new SlotOutbox(() => this.#openSlot(index))
  }

  /** Waits for all commits, copies them from the WAL into the files, and lets the directory go. */
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
    const { clock, log, onWake, onOutboxDurable: onOutbox, outbox = false } = this.#options
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
      onOutboxDurable: () => onOutbox?.(this.#owners[index]!),
      tables: this.#tables,
      outbox,
      newId: () => clock.id(),
    })
    this.#slots[index] = slot
    // What was not known to be durable when the disk failed is durable now.
    if (open && slot.hasOutboxEntries) onOutbox?.(this.#owners[index]!)
    return slot
  }

  #runBatchesLater(): void {
    if (this.#isDeferred || this.#readyBatches.length === 0) return
    this.#isDeferred = true
    const { clock } = this.#options
    clock.defer(() => {
      const end = clock.mono() + MAX_BATCH_RUN_MS
      do this.#readyBatches.shift()?.()
      while (this.#readyBatches.length > 0 && clock.mono() < end)
      this.#isDeferred = false
      this.#runBatchesLater()
    })
  }
}

/** FNV-1a over UTF-16 units, then murmur3's finaliser, because FNV alone leaves the low bits of short names uneven. */
export function slotOf(name: string, slots: number): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) % slots
}

/** `07-of-32`: the name says how its shards were hashed. */
function slotName(index: number, slots: number): string {
  return `${String(index).padStart(String(slots - 1).length, '0')}-of-${slots}`
}

/** The slots that have a file. */
function slotFiles(dir: string, slots: number): number[] {
  const found: number[] = []
  for (const name of readdirSync(dir)) {
    const [, index, count] = SLOT_FILE.exec(name) ?? []
    if (index === undefined) continue
    if (Number(count) !== slots || Number(index) >= slots) {
      throw new StoreError(
        'SLOTS',
        `${join(dir, name)} was made with ${count} slots, not ${slots}: start with ${count}`,
      )
    }
    found.push(Number(index))
  }
  return found.sort((a, b) => a - b)
}

function parseShardName(name: string): ShardId {
  const slash = name.indexOf('/')
  return { contract: name.slice(0, slash), key: name.slice(slash + 1) }
}

async function outcomeOf(run: () => Awaitable<Outcome>): Promise<Outcome> {
  try {
    return await run()
  } catch (cause) {
    return { kind: 'failed', cause }
  }
}

/** One slot's outbox, whichever opening of its file holds it. */
class SlotOutbox implements Outbox {
  readonly #openSlot: () => Slot

  constructor(slot: () => Slot) {
    this.#openSlot = slot
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
