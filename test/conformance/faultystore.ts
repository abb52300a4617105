// A store with injectable faults around the real one of a host. Without injected faults it passes every outcome on
// unchanged. Invariant: after a commit of unknown outcome, no later commit of the same activation reaches the inner
// store.

import type { TableDefinition } from '../../core/game/table.ts'
import { shardName, type ShardId } from '../../core/wire/shardid.ts'
import type { Outcome, Row, RowKey, RowQuery, Store, WriteSet } from '../../core/ports/store.ts'
import type { Fault } from './host.ts'

export type FaultCommand =
  | { readonly what: 'injectNext'; readonly faults: Fault[] }
  | { readonly what: 'holdCommits' | 'releaseCommits' }

const POLL_MS = 1

/** The faults ordered for all stores of a process or isolate. */
export class FaultInjector {
  readonly #faults: Fault[] = []
  #commitHold: { over: boolean } | null = null

  apply(command: FaultCommand): void {
    if (command.what === 'injectNext') this.#faults.push(...command.faults)
    else {
      if (this.#commitHold) this.#commitHold.over = true
      this.#commitHold = command.what === 'holdCommits' ? { over: false } : null
    }
  }

  nextFault(): Fault | undefined {
    return this.#faults.shift()
  }

  /**
   * Resolves when the current hold ends; null = commits are not held. It polls, because in workerd an event of one
   * object cannot resume a promise of another.
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
  /** By shard, the newest activation with a commit of unknown outcome. */
  readonly #unknownCommits = new Map<string, number>()

  /** `crash` is called between a commit of the kv key `crashAfterCommit` and its outcome. */
  constructor(inner: Store, injector: FaultInjector, crash: () => Promise<void>) {
    this.#inner = inner
    this.#injector = injector
    this.#crash = crash
    // The engine checks which optional methods exist.
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
      return { kind: 'failed', cause: new Error('injected: an earlier commit has an unknown outcome') }
    const fault = this.#injector.nextFault()
    if (fault) this.#unknownCommits.set(name, write.activation)
    if (fault === 'failed') return { kind: 'failed', cause: new Error('injected: commit failed') }
    if (fault === 'dropped') return { kind: 'unknown', cause: new Error('injected: commit dropped') }
    const released = this.#injector.whenReleased()
    const outcome = this.#inner.commit(write)
    const crashAfterCommit = (write.kv?.get('crashAfterCommit') ?? null) !== null
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
    return fault ? { kind: 'unknown', cause: new Error('injected: outcome lost') } : outcome
  }
}
