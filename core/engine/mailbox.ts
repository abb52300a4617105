// One shard's mailbox: a FIFO queue, bounded by its own limit and by a quota that all mailboxes of an engine share.

/** Bounds the items in all mailboxes of an engine, and the bytes of their calls. */
export class MailboxQuota {
  readonly maxItems: number
  readonly maxBytes: number
  /** Written by Mailbox only. */
  size = 0
  bytes = 0
  readonly #isSharedFull: (bytes: number) => boolean

  /** `isSharedFull`: the memory that several engines share has no room for more than these bytes. */
  constructor(maxItems: number, maxBytes = Infinity, isSharedFull: (bytes: number) => boolean = () => false) {
    this.maxItems = maxItems
    this.maxBytes = maxBytes
    this.#isSharedFull = isSharedFull
  }

  get isFull(): boolean {
    return this.size >= this.maxItems || this.bytes >= this.maxBytes || this.#isSharedFull(this.bytes)
  }

  /** Counts the bytes of a call that enters (negative: leaves) a mailbox. */
  addBytes(count: number): void {
    this.bytes += count
  }
}

export class Mailbox<T> {
  readonly #limit: number
  readonly #quota: MailboxQuota
  #ring: (T | undefined)[] = new Array(8)
  #head = 0
  #size = 0

  constructor(limit: number, quota: MailboxQuota = new MailboxQuota(Infinity)) {
    this.#limit = limit
    this.#quota = quota
  }

  get size(): number {
    return this.#size
  }

  /** Returns false when the mailbox or the quota is full: the item is not added. */
  push(item: T): boolean {
    if (this.#size >= this.#limit || this.#quota.isFull) return false
    this.pushAlways(item)
    return true
  }

  /** Adds an item above the bounds. For the shard's own timers and channels, which are bounded by their number. */
  pushAlways(item: T): void {
    if (this.#size === this.#ring.length) this.#grow()
    this.#ring[(this.#head + this.#size) & (this.#ring.length - 1)] = item
    this.#size++
    this.#quota.size++
  }

  shift(): T | undefined {
    if (this.#size === 0) return undefined
    const item = this.#ring[this.#head]
    this.#ring[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.#size--
    this.#quota.size--
    return item
  }

  /** Removes and returns, in order, the items for which `keep` is false. */
  removeUnless(keep: (item: T) => boolean): T[] {
    const removed: T[] = []
    for (let n = this.#size; n > 0; n--) {
      const item = this.shift()!
      if (keep(item)) this.pushAlways(item)
      else removed.push(item)
    }
    return removed
  }

  /** Doubles the ring. Its length is a power of two. */
  #grow(): void {
    const old = this.#ring
    this.#ring = new Array(old.length * 2)
    for (let i = 0; i < this.#size; i++) this.#ring[i] = old[(this.#head + i) & (old.length - 1)]
    this.#head = 0
  }
}
