// A store that can be told to fail, around the real one of a host. Told nothing, it adds nothing: the inner answer
// is passed on as it came, now or later. Invariant: after a commit that is not known to be there, no later commit of
// the same activation reaches the inner store.

import type { TableDefinition } from '../../core/game/table.ts'
import { shardName, type ShardId } from '../../core/wire/shardid.ts'
import type { Outcome, Row, RowKey, RowQuery, Store, WriteSet } from '../../core/ports/store.ts'

export type Fault = 'failed' | 'applied' | 'dropped'
export type FaultCommand = { readonly what: 'next'; readonly kinds: Fault[] } | { readonly what: 'hold' | 'release' }

const POLL_MS = 1

/** What the suite has ordered of all stores of a process or isolate. */
export class FaultInjector {
  readonly #faults: Fault[] = []
  #commitHold: { over: boolean } | null = null

  apply(order: FaultCommand): void {
    if (order.what === 'next') this.#faults.push(...order.kinds)
    else {
      if (this.#commitHold) this.#commitHold.over = true
      this.#commitHold = order.what === 'hold' ? { over: false } : null
    }
  }

  nextFault(): Fault | undefined {
    return this.#faults.shift()
  }

  /**
   * Resolves when the hold of the moment is over; null = nothing is held. It asks by the clock, because workerd
   * lets one object's event not resume another object's promise.
   */
  whenReleased(): Promise<void> | null {
    const hold = this.#commitHold
    return hold && pollUntil(() => hold.over)
  }
}

async function pollUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
}

export class FaultyStore implements Store {
  readonly reload?: NonNullable<Store['reload']>
  readonly nextId?: NonNullable<Store['nextId']>
  readonly reject?: NonNullable<Store['reject']>
  readonly #inner: Store
  readonly #injector: FaultInjector
  readonly #crash: () => Promise<void>
  /** By shard, the newest activation that had a commit of which nobody knows whether it is there. */
  readonly #unknownCommits = new Map<string, number>()

  /** `die` is called between a commit of the key `doom` and its answer. */
  constructor(inner: Store, orders: FaultInjector, die: () => Promise<void>) {
    this.#inner = inner
    this.#injector = orders
    this.#crash = die
    // What the inner store has not, this one has not either: the engine looks.
    if (inner.reload) this.reload = inner.reload.bind(inner)
    if (inner.nextId) this.nextId = inner.nextId.bind(inner)
    if (inner.reject) this.reject = inner.reject.bind(inner)
  }

  open(shard: ShardId): ReturnType<Store['open']> {
    return this.#inner.open(shard)
  }
  channel(shard: ShardId, channel: string): ReturnType<Store['channel']> {
    return this.#inner.channel(shard, channel)
  }
  row(shard: ShardId, table: TableDefinition, key: RowKey): Row | null {
    return this.#inner.row(shard, table, key)
  }
  list(shard: ShardId, table: TableDefinition, query: RowQuery): readonly Row[] {
    return this.#inner.list(shard, table, query)
  }

  commit(write: WriteSet): Outcome | Promise<Outcome> {
    const name = shardName(write.shard)
    if ((this.#unknownCommits.get(name) ?? 0) >= write.activation)
      return { kind: 'failed', cause: new Error('an earlier commit is not known to be there') }
    const fault = this.#injector.nextFault()
    if (fault) this.#unknownCommits.set(name, write.activation)
    if (fault === 'failed') return { kind: 'failed', cause: new Error('the suite refuses this commit') }
    if (fault === 'dropped') return { kind: 'unknown', cause: new Error('the suite loses this commit') }
    const released = this.#injector.whenReleased()
    const outcome = this.#inner.commit(write)
    const crashAfterCommit = write.kv?.get('doom') !== undefined && write.kv.get('doom') !== null
    return fault || released || crashAfterCommit
      ? this.#delayOutcome(outcome, released, crashAfterCommit, fault)
      : outcome
  }

  async #delayOutcome(
    pendingOutcome: Outcome | Promise<Outcome>,
    released: Promise<void> | null,
    crashAfterCommit: boolean,
    fault: Fault | undefined,
  ): Promise<Outcome> {
    const outcome = await pendingOutcome
    await released
    if (crashAfterCommit && outcome.kind === 'committed') await this.#crash()
    return fault ? { kind: 'unknown', cause: new Error('the suite loses this answer') } : outcome
  }
}
