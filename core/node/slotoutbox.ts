// The outbox of one slot, valid across reopenings of its file. Invariant: a method that returns an outcome never throws.

import type { Awaitable } from '../game/shard.ts'
import type { Outbox, OutboxEntry } from '../outbox/localstore.ts'
import type { Outcome } from '../ports/store.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { Slot } from './slot.ts'

export class SlotOutbox implements Outbox {
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
export async function outcomeOf(run: () => Awaitable<Outcome>): Promise<Outcome> {
  try {
    return await run()
  } catch (cause) {
    return { kind: 'failed', cause }
  }
}
