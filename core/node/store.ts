// The Store of a Node host: shards hash into slots, each a file of its own. Invariants: one process at a time has a
// data directory open, and a shard is always in the same slot, so neither the hash nor the number of slots may change.

import { fdatasync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import type {
  Awaitable,
  Clock,
  Log,
  Outcome,
  ShardId,
  Store,
  Stored,
  StoredChannel,
  WriteSet,
} from '../run/ports.ts'
import { shardName } from '../run/ports.ts'
import { explain, StoreError } from './fault.ts'
import { Slot } from './slot.ts'
import { syncDirectory, type Fdatasync } from './slotfile.ts'

export { StoreError }

export interface SlotStoreOptions {
  readonly dir: string
  /** Number of slot files; fixed for the life of a data directory. Default 32. */
  readonly slots?: number
  readonly clock: Clock
  readonly log: Log
  /**
   * When a shard must be awake for its next durable timer, wall clock; null = it has none left. Told for every stored
   * timer before `open` returns, and after each commit that changed timers.
   */
  readonly onWake: (shard: ShardId, dueMs: number | null) => void
  /** Replaced only by tests that break the disk. */
  readonly fdatasync?: Fdatasync
}

const DEFAULT_SLOTS = 32
/** Names sort, and a file name has room for them. */
const MAX_SLOTS = 4_096
/** Batches of several slots share the event loop with everything else: after this it may look at its sockets. */
const SLICE_MS = 2
const SLOT_FILE = /^slot-(\d+)-of-(\d+)\.sqlite$/

export class SlotStore implements Store {
  readonly #options: SlotStoreOptions
  readonly #dir: string
  readonly #lock: DirectoryLock
  readonly #slots: (Slot | undefined)[]
  /** Only shards whose last commit failed and that were not opened since. */
  readonly #fences = new Map<string, number>()
  /** Batches to be run, at most one of each slot. */
  readonly #ready: (() => void)[] = []
  #deferred = false
  #closing: Promise<void> | null = null

  private constructor(options: SlotStoreOptions, dir: string, slots: number, lock: DirectoryLock) {
    this.#options = options
    this.#dir = dir
    this.#slots = Array.from({ length: slots })
    this.#lock = lock
  }

  /** Opens the directory, every slot file in it, and tells `onWake` their timers. @throws StoreError */
  static async open(options: SlotStoreOptions): Promise<SlotStore> {
    const { slots = DEFAULT_SLOTS } = options
    const dir = resolve(options.dir)
    if (!(Number.isInteger(slots) && slots >= 1 && slots <= MAX_SLOTS)) {
      throw new StoreError('SLOTS', `${slots} is not a number of slots: choose 1 to ${MAX_SLOTS}`)
    }
    makeDirectory(dir)
    const store = new SlotStore(options, dir, slots, new DirectoryLock(dir))
    try {
      for (const index of slotFiles(dir, slots)) {
        for (const { shard, dueMs } of store.#slot(index).wakes()) options.onWake(shardId(shard), dueMs)
      }
    } catch (cause) {
      await store.close()
      throw explain(cause, dir)
    }
    return store
  }

  /** Write sets that wait for their commit, in all slots. */
  get backlog(): number {
    let sum = 0
    for (const slot of this.#slots) sum += slot?.backlog ?? 0
    return sum
  }

  /** @throws StoreError, at once or by its promise */
  open(shard: ShardId): Awaitable<Stored> {
    const name = shardName(shard)
    return this.#slotOf(name).open(name)
  }

  /** @throws StoreError, at once or by its promise */
  channel(shard: ShardId, channel: string): Awaitable<StoredChannel | null> {
    const name = shardName(shard)
    return this.#slotOf(name).channel(name, channel)
  }

  commit(write: WriteSet): Awaitable<Outcome> {
    const name = shardName(write.shard)
    try {
      return this.#slotOf(name).commit(name, write)
    } catch (cause) {
      this.#fences.set(name, Math.max(this.#fences.get(name) ?? 0, write.activation))
      return { kind: 'failed', cause }
    }
  }

  /** Waits for all commits, copies them from the WAL into the files, and lets the directory go. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    try {
      await Promise.all(this.#slots.map(async (slot) => slot?.close()))
    } finally {
      this.#lock.release()
    }
  }

  #slotOf(name: string): Slot {
    if (this.#closing) throw new StoreError('CLOSED', `the store in ${this.#dir} is closed`)
    return this.#slot(slotOf(name, this.#slots.length))
  }

  #slot(index: number): Slot {
    const open = this.#slots[index]
    if (open && !open.over) return open
    const { clock, log, onWake } = this.#options
    const slot = new Slot({
      path: join(this.#dir, slotFile(index, this.#slots.length)),
      clock,
      log,
      fdatasync: this.#options.fdatasync ?? fdatasync,
      defer: (run) => {
        this.#ready.push(run)
        this.#defer()
      },
      fences: this.#fences,
      onTimers: ({ shard, wakeMs }) => onWake(shard, wakeMs),
    })
    this.#slots[index] = slot
    return slot
  }

  #defer(): void {
    if (this.#deferred || this.#ready.length === 0) return
    this.#deferred = true
    const { clock } = this.#options
    clock.defer(() => {
      const end = clock.mono() + SLICE_MS
      do this.#ready.shift()?.()
      while (this.#ready.length > 0 && clock.mono() < end)
      this.#deferred = false
      this.#defer()
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

/** `slot-07-of-32.sqlite`: the name says how its shards were hashed. */
function slotFile(index: number, slots: number): string {
  return `slot-${String(index).padStart(String(slots - 1).length, '0')}-of-${slots}.sqlite`
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

function shardId(name: string): ShardId {
  const slash = name.indexOf('/')
  return { contract: name.slice(0, slash), key: name.slice(slash + 1) }
}

function makeDirectory(dir: string): void {
  try {
    const first = mkdirSync(dir, { recursive: true })
    if (first === undefined) return
    // Each directory that was made is an entry of its parent.
    let made = dir
    while (made.length >= first.length) syncDirectory((made = dirname(made)))
  } catch (cause) {
    throw explain(cause, dir)
  }
}

/**
 * Keeps a second process out. The lock is the kernel's, held through an empty SQLite database: it ends with its
 * process, so there is no stale lock and no guess about a pid that was given out again. `store.pid` only informs.
 */
class DirectoryLock {
  readonly #db: DatabaseSync

  constructor(dir: string) {
    const path = join(dir, 'store.lock')
    const pidPath = join(dir, 'store.pid')
    let db: DatabaseSync | null = null
    try {
      db = new DatabaseSync(path, { timeout: 0 })
      db.exec('BEGIN EXCLUSIVE')
      writeFileSync(pidPath, `${process.pid}\n`)
    } catch (cause) {
      db?.close()
      const fault = explain(cause, path)
      if (!(fault instanceof StoreError && fault.code === 'LOCKED')) throw fault
      const advice = 'stop that one first, or choose another data directory'
      throw new StoreError('LOCKED', `${dir} is in use by process ${readPid(pidPath)}: ${advice}`, { cause })
    }
    this.#db = db
  }

  release(): void {
    this.#db.close()
  }
}

function readPid(path: string): string {
  try {
    return readFileSync(path, 'latin1').slice(0, 20).trim()
  } catch {
    return 'unknown'
  }
}
