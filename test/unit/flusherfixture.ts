// Fixture of the flusher tests: one flusher on a Store and a MySQL in memory, turns in its outbox, and the sent batches.

import assert from 'node:assert/strict'

import type { Batch } from '../../core/ports/database.ts'
import type { Outcome, RowChange, WriteSet } from '../../core/ports/store.ts'
import { parseShardName, type ShardId } from '../../core/wire/shardid.ts'
import { Flusher, type FlusherOptions } from '../../core/outbox/flusher.ts'
import type { MemoryLocalStore } from '../../core/testing/localstore.ts'
import { tablesByName, TieredStoreFixture, turnWriteSet } from './tieredstorefixture.ts'

export class FlusherFixture extends TieredStoreFixture {
  readonly local: MemoryLocalStore
  readonly batches: Batch[] = []
  readonly rejectedTurns: [string, number][] = []
  flusher: Flusher
  readonly #activations = new Map<string, number>()

  constructor(seed = 1, options: Partial<FlusherOptions> = {}) {
    super(seed)
    this.local = this.createStore()
    this.database.onApply = (batch) => void this.batches.push(batch)
    this.flusher = this.flusherOn(this.local, options)
  }

  /** A fixture whose flusher has its lease. */
  static async ready(seed = 1, options: Partial<FlusherOptions> = {}): Promise<FlusherFixture> {
    const fixture = new FlusherFixture(seed, options)
    await fixture.waitFor(fixture.flusher.whenReady())
    return fixture
  }

  flusherOn(local: MemoryLocalStore, options: Partial<FlusherOptions> = {}): Flusher {
    return new Flusher({
      owner: 'owner',
      outbox: local.outboxOf('owner'),
      database: this.database,
      tables: tablesByName,
      clock: this.clock,
      log: this.log,
      readRow: (shard, table, key) => local.row(parseShardName(shard), table, key),
      isLoaded: () => true,
      reject: async (shard, seq) => {
        this.rejectedTurns.push([shard, seq])
        return local.reject(parseShardName(shard), seq, null)
      },
      onFenced: (cause) => this.notifications.push(cause.message),
      ...options,
    })
  }

  /** Commits a turn to the outbox; returns its sequence. */
  commitTurn(shard: ShardId, rows: RowChange[], part: Partial<WriteSet> = {}): number {
    const name = shard.key
    const activation = this.#activations.get(name) ?? this.local.open(shard).activation
    this.#activations.set(name, activation)
    const outcome = this.local.commit(turnWriteSet(this.local, shard, activation, rows, part))
    assert.ok(!(outcome instanceof Promise) && outcome.kind === 'committed' && outcome.seq !== undefined)
    this.flusher.entryCommitted(outcome.seq)
    return outcome.seq
  }

  /** Commits a critical turn and waits for its outcome. */
  commitCriticalTurn(
    shard: ShardId,
    rows: RowChange[],
    part: Partial<WriteSet> = {},
  ): { seq: number; outcome: Outcome | null } {
    const result: { seq: number; outcome: Outcome | null } = { seq: this.commitTurn(shard, rows, part), outcome: null }
    void Promise.resolve(this.flusher.waitForCommit(result.seq, `player/${shard.key}`)).then(
      (outcome) => (result.outcome = outcome),
    )
    return result
  }

  get sentBatches(): string[] {
    return this.batches.map(({ firstSeq, lastSeq, rows }) =>
      `${firstSeq}..${lastSeq} ${rows.map(changeText).join(' ')}`.trim(),
    )
  }
  callCount(verb: 'apply' | 'takeover' | 'lease'): number {
    return this.database.requestCounts.get(verb) ?? 0
  }
}

const changeText = ({ op, key, values }: RowChange): string =>
  `${op} ${String(key[1])}${'n' in values ? `=${String(values['n'])}` : ''}`
