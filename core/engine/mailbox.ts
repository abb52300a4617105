// One shard's mailbox: a bounded FIFO. Never reorders; may refuse, also when all mailboxes together hold too much.

/** What waits in all mailboxes of an engine. */
export class MailboxQuota {
  readonly maxItems: number
  readonly maxBytes: number
  size = 0
  /** Of the calls that wait; kept by whoever puts them in. */
  bytes = 0

  constructor(limit: number, maxBytes = Infinity) {
    this.maxItems = limit
    this.maxBytes = maxBytes
  }

  /** No call may be added. */
  get isFull(): boolean {
    return this.size >= this.maxItems || this.bytes >= this.maxBytes
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

  /** False when it is full and the item was not taken. */
  push(item: T): boolean {
    if (this.#size >= this.#limit || this.#quota.isFull) return false
    this.#insert(item)
    return true
  }

  /** For what must not be refused: the shard's own clock and the end of channels. Bounded by their number. */
  pushAlways(item: T): void {
    this.#insert(item)
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

  /** Takes out what `keep` refuses, in order. */
  removeUnless(keep: (item: T) => boolean): T[] {
    const out: T[] = []
    for (let n = this.#size; n > 0; n--) {
      const item = this.shift()!
      if (keep(item)) this.#insert(item)
      else out.push(item)
    }
    return out
  }

  #insert(item: T): void {
    if (this.#size === this.#ring.length) this.#grow()
    this.#ring[(this.#head + this.#size) & (this.#ring.length - 1)] = item
    this.#size++
    this.#quota.size++
  }

  /** Doubles the ring; its length stays a power of two. */
  #grow(): void {
    const old = this.#ring
    this.#ring = new Array(old.length * 2)
    for (let i = 0; i < this.#size; i++) this.#ring[i] = old[(this.#head + i) & (old.length - 1)]
    this.#head = 0
  }
}
