// A store that can be told to fail, around the real one of a host. Told nothing, it adds nothing: the inner answer
// is passed on as it came, now or later. Invariant: after a commit that is not known to be there, no later commit of
// the same activation reaches the inner store.

import type { TableDefinition } from '../../core/game/table.ts'
import {
  shardName,
  type Outcome,
  type Row,
  type RowKey,
  type RowQuery,
  type ShardId,
  type Store,
  type WriteSet,
} from '../../core/run/ports.ts'

export type Fault = 'failed' | 'applied' | 'dropped'
export type FaultOrder =
  | { readonly what: 'next'; readonly kinds: Fault[] }
  | { readonly what: 'hold' | 'release' }

const POLL_MS = 1

/** What the suite has ordered of all stores of a process or isolate. */
export class Orders {
  readonly #faults: Fault[] = []
  #hold: { over: boolean } | null = null

  obey(order: FaultOrder): void {
    if (order.what === 'next') this.#faults.push(...order.kinds)
    else {
      if (this.#hold) this.#hold.over = true
      this.#hold = order.what === 'hold' ? { over: false } : null
    }
  }

  take(): Fault | undefined {
    return this.#faults.shift()
  }

  /**
   * Resolves when the hold of the moment is over; null = nothing is held. It asks by the clock, because workerd
   * lets one object's event not resume another object's promise.
   */
  held(): Promise<void> | null {
    const hold = this.#hold
    return hold && waitFor(() => hold.over)
  }
}

async function waitFor(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
}

export class FaultyStore implements Store {
  readonly reload?: NonNullable<Store['reload']>
  readonly nextId?: NonNullable<Store['nextId']>
  readonly reject?: NonNullable<Store['reject']>
  readonly #inner: Store
  readonly #orders: Orders
  readonly #die: () => Promise<void>
  /** By shard, the newest activation that had a commit of which nobody knows whether it is there. */
  readonly #fences = new Map<string, number>()

  /** `die` is called between a commit of the key `doom` and its answer. */
  constructor(inner: Store, orders: Orders, die: () => Promise<void>) {
    this.#inner = inner
    this.#orders = orders
    this.#die = die
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
    if ((this.#fences.get(name) ?? 0) >= write.activation)
      return { kind: 'failed', cause: new Error('an earlier commit is not known to be there') }
    const fault = this.#orders.take()
    if (fault) this.#fences.set(name, write.activation)
    if (fault === 'failed') return { kind: 'failed', cause: new Error('the suite refuses this commit') }
    if (fault === 'dropped') return { kind: 'unknown', cause: new Error('the suite loses this commit') }
    const held = this.#orders.held()
    const outcome = this.#inner.commit(write)
    const doomed = write.kv?.get('doom') !== undefined && write.kv.get('doom') !== null
    return fault || held || doomed ? this.#answer(outcome, held, doomed, fault) : outcome
  }

  async #answer(
    answered: Outcome | Promise<Outcome>,
    held: Promise<void> | null,
    doomed: boolean,
    fault: Fault | undefined,
  ): Promise<Outcome> {
    const outcome = await answered
    await held
    if (doomed && outcome.kind === 'committed') await this.#die()
    return fault ? { kind: 'unknown', cause: new Error('the suite loses this answer') } : outcome
  }
}
