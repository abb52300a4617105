// The memory that several engines share: those of the Durable Objects in one Worker isolate. Invariant: the rows, the events
// and replies of channels, and the queued calls of all of them stay within one budget, however many engines there are. The
// platform discards an object without a notice, so engines are held weakly and counted again when it matters.

import { RowPool } from '../rows/rowpool.ts'
import type { Limits } from '../wire/limits.ts'

export interface MemoryBudget {
  readonly rowBytes: number
  /** Events and replies that clients have not acknowledged. */
  readonly channelBytes: number
  /** Calls in mailboxes. */
  readonly backlogBytes: number
}

/** An engine, as its share is computed. */
export interface MemoryUser {
  readonly channelCount: number
  /** Bytes of the events and replies that clients have not acknowledged. */
  readonly channelBytes: number
  readonly backlogBytes: number
}

/** Queued calls of an engine that are accepted even when the others use up the budget. */
const MIN_BACKLOG_BYTES = 262_144
/** Counting visits every channel. */
const READS_PER_COUNT = 32

export class SharedMemory {
  readonly rows: RowPool
  readonly #budget: MemoryBudget
  #users: WeakRef<MemoryUser>[] = []
  /** Infinity while the channels use less than their budget. */
  #bytesPerChannel = Infinity
  #readsUntilCount = 0

  constructor(budget: MemoryBudget) {
    this.#budget = budget
    this.rows = new RowPool(budget.rowBytes)
  }

  add(user: MemoryUser): void {
    this.#users = [...this.#live().map((each) => new WeakRef(each)), new WeakRef(user)]
  }

  /** The limits of an engine. Those of its channels fall to an equal share when all channels exceed their budget. */
  limitsOf(limits: Limits): Limits {
    const perChannel = (): number => this.#channelShare()
    return {
      ...limits,
      maxRowCacheBytes: Math.min(limits.maxRowCacheBytes, this.#budget.rowBytes),
      maxBacklogBytes: Math.min(limits.maxBacklogBytes, this.#budget.backlogBytes),
      get maxUnackedBytes() {
        return Math.min(limits.maxUnackedBytes, perChannel() / 2)
      },
      get maxUnackedEventBytes() {
        return Math.min(limits.maxUnackedEventBytes, perChannel() / 2)
      },
    }
  }

  /** Returns true when an engine with so many queued bytes must not queue more. */
  isBacklogFull(ownBytes: number): boolean {
    if (ownBytes < MIN_BACKLOG_BYTES) return false
    return this.#live().reduce((sum, { backlogBytes }) => sum + backlogBytes, 0) >= this.#budget.backlogBytes
  }

  /** The limit is read before each event and each call, so between two counts the channels grow by some bodies only. */
  #channelShare(): number {
    if (this.#readsUntilCount-- > 0) return this.#bytesPerChannel
    this.#readsUntilCount = READS_PER_COUNT
    const users = this.#live()
    const bytes = users.reduce((sum, { channelBytes }) => sum + channelBytes, 0)
    const channels = users.reduce((sum, { channelCount }) => sum + channelCount, 0)
    const isOver = bytes > this.#budget.channelBytes
    this.#bytesPerChannel = isOver ? this.#budget.channelBytes / channels : Infinity
    return this.#bytesPerChannel
  }

  #live(): MemoryUser[] {
    return this.#users.map((ref) => ref.deref()).filter((user) => user !== undefined)
  }
}
