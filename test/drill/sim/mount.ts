// A disk as one process has it: write sets gather, become one transaction, are synced, and only then answered, as in
// core/node/group.ts; or (not `grouped`) at once, as in a Durable Object. Commits fail or stay unknown by chance. What
// was not written when the process ends is gone; what was written stays, synced or not.

import type { TableDefinition } from '../../../core/game/table.ts'
import type { Awaitable } from '../../../core/game/shard.ts'
import type {
  Outcome,
  Row,
  RowChange,
  RowKey,
  RowQuery,
  StoredShard,
  StoredChannel,
  WriteSet,
} from '../../../core/ports/store.ts'
import type { CriticalState } from '../../../core/ports/database.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { COMMITTED } from '../../../core/ports/store.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import type { LocalStore, Outbox, OutboxEntry } from '../../../core/outbox/localstore.ts'
import type { Random } from '../../support/random.ts'
import type { Disk } from './disk.ts'
import type { Life } from './life.ts'

/** Chances of each commit, and of each transaction to be slow. */
export interface DiskWeather {
  readonly failed: number
  readonly applied: number
  readonly dropped: number
  readonly slow: number
  readonly slowMs: number
}
export const FAIR_DISK: DiskWeather = {
  failed: 0,
  applied: 0,
  dropped: 0,
  slow: 0,
  slowMs: 0,
}

export interface MountOptions {
  readonly disk: Disk
  readonly life: Life
  readonly random: Random
  readonly grouped: boolean
  readonly weather: () => DiskWeather
  /** Chance that it cannot be read now. */
  readonly unreadable: () => number
  /** A commit is about to be written, or has just been. */
  readonly reach: (point: 'commit' | 'committed') => void
  readonly told: (what: string) => void
}

interface Job {
  /** Whose opening waits for it; '' = nobody's. */
  readonly shard: string
  readonly write: WriteSet | null
  readonly isBarrier: boolean
  /** Does its part and returns what tells its sender. */
  run(): () => void
  /** Tells its sender that it was not, or that nobody knows. */
  fail(outcome: Broken): void
}
type Broken = Extract<Outcome, { kind: 'failed' | 'unknown' }>

const SYNC_MS = 2
const DEAD = new Error('the process is over')
const FAILED: Outcome = { kind: 'failed', cause: DEAD }

export class Mount implements LocalStore {
  readonly disk: Disk
  readonly #options: MountOptions
  #queue: Job[] = []
  #syncing: Job[] = []
  #held: (() => void)[] = []
  #busy = false
  #scheduled = false

  constructor(options: MountOptions) {
    this.#options = options
    this.disk = options.disk
    // Written and not synced: the machine still runs, so its disk has it, and the next process finds it.
    options.life.onEnd(() => this.#release())
  }

  /** Whether this write would survive a power cut. */
  isSynced(isIt: (write: WriteSet) => boolean): boolean {
    return !this.#syncing.some(({ write }) => write !== null && isIt(write))
  }

  ownerOf(shard: ShardId): string {
    return this.disk.ownerOf(shard)
  }
  ownersWithEntries(): readonly string[] {
    return this.disk.ownersWithEntries()
  }
  isLoaded(shard: ShardId): boolean {
    return this.disk.isLoaded(shard)
  }
  row(shard: ShardId, table: TableDefinition, key: RowKey): Row | null {
    return this.disk.row(shard, table, key)
  }
  list(shard: ShardId, table: TableDefinition, query: RowQuery): readonly Row[] {
    return this.disk.list(shard, table, query)
  }

  open(shard: ShardId): Awaitable<StoredShard> {
    return this.#reads(shard, () => this.disk.open(shard))
  }

  channel(shard: ShardId, channel: string): Awaitable<StoredChannel | null> {
    return this.#reads(shard, () => this.disk.channel(shard, channel))
  }

  commit(write: WriteSet): Awaitable<Outcome> {
    const { life, grouped } = this.#options
    if (life.over) return FAILED
    if (!grouped) return this.#commit(write)
    return this.#enqueue(shardName(write.shard), write, () => this.#commit(write))
  }

  reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Awaitable<Outcome> {
    return this.#writes(shardName(shard), () => this.disk.reject(shard, seq, channel))
  }

  fill(
    shard: ShardId,
    rows: readonly RowChange[],
    remains: CriticalState | null,
    done: boolean,
  ): Awaitable<Outcome> {
    return this.#writes(shardName(shard), () => this.disk.fill(shard, rows, remains, done))
  }

  outboxOf(owner: string): Outbox {
    const inner = this.disk.outboxOf(owner)
    return {
      storeId: inner.storeId,
      get lastSeq() {
        return inner.lastSeq
      },
      get leasedSeq() {
        return inner.leasedSeq
      },
      markUnleased: () => this.#writes('', () => inner.markUnleased()),
      markLeased: () => this.#writes('', () => inner.markLeased()),
      read: (after, maxEntries, maxBytes) => inner.read(after, maxEntries, maxBytes),
      lastSeqOf: (shard, critical) => inner.lastSeqOf(shard, critical),
      drop: (upTo) => (this.#options.life.over ? new Promise(() => {}) : inner.drop(upTo)),
      raiseSeq: (seq) => this.#writes('', () => inner.raiseSeq(seq)),
      reset: async (): Promise<readonly OutboxEntry[]> => {
        const { life } = this.#options
        let entries: readonly OutboxEntry[] = []
        const outcome = await this.#writes('', async () => {
          entries = await inner.reset()
          return COMMITTED
        })
        if (life.over) return new Promise(() => {})
        if (outcome.kind !== 'committed') throw outcome.cause
        return entries
      },
    }
  }

  #reads<T>(shard: ShardId, read: () => T): Awaitable<T> {
    const { life, random, unreadable, told } = this.#options
    if (life.over) return new Promise(() => {})
    const name = shardName(shard)
    const isUnsettled = [...this.#queue, ...this.#syncing].some((job) => job.shard === name)
    if (isUnsettled) return this.#barrier().then(() => this.#reads(shard, read))
    if (random.chance(unreadable())) {
      told('unreadable')
      throw new Error('the disk cannot be read')
    }
    return read()
  }

  #writes(shard: string, write: () => Awaitable<Outcome>): Awaitable<Outcome> {
    const { life, grouped } = this.#options
    if (life.over) return new Promise(() => {})
    return grouped ? this.#enqueue(shard, null, write) : write()
  }

  #barrier(): Promise<void> {
    return this.#push('', null, true, () => COMMITTED).then(() => {})
  }

  #enqueue(shard: string, write: WriteSet | null, run: () => Awaitable<Outcome>): Promise<Outcome> {
    return this.#push(shard, write, false, run)
  }

  #push(
    shard: string,
    write: WriteSet | null,
    isBarrier: boolean,
    run: () => Awaitable<Outcome>,
  ): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#queue.push({
        shard,
        write,
        isBarrier,
        run: () => {
          const result = run()
          return () => resolve(result)
        },
        fail: (outcome) => {
          if (write) this.disk.fence(write.shard, write.activation)
          resolve(outcome)
        },
      })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#scheduled || this.#busy || this.#queue.length === 0) return
    this.#scheduled = true
    this.#options.life.clock.defer(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  /** One transaction, then one sync; what comes meanwhile waits for the next. */
  #flush(): void {
    const { life, random, weather } = this.#options
    const batch = this.#queue
    this.#queue = []
    const isNothing = batch.every(({ isBarrier }) => isBarrier)
    const fate = isNothing ? null : this.#fate(['applied', 'dropped'])
    const tells: (() => void)[] = []
    if (fate !== 'dropped')
      this.#hold(() => {
        for (const job of batch) if (!life.over) tells.push(job.run())
      })
    if (life.over) return this.#release()
    if (isNothing) return this.#settle(tells)
    this.#busy = true
    this.#syncing = batch
    const { slow, slowMs } = weather()
    life.clock.after(random.next() * (random.chance(slow) ? slowMs : SYNC_MS), () => {
      this.#busy = false
      this.#syncing = []
      this.#release()
      if (fate === null) return this.#settle(tells)
      for (const job of batch) job.fail({ kind: 'unknown', cause: new Error('the disk failed') })
      for (const job of this.#queue.splice(0))
        job.fail({ kind: 'failed', cause: new Error('the disk failed') })
    })
  }

  /** What is committed meanwhile is on disk once it is released. */
  #hold(work: () => void): void {
    this.disk.hold = (release) => this.#held.push(release)
    work()
    this.disk.hold = null
  }

  #release(): void {
    const held = this.#held
    this.#held = []
    for (const release of held) release()
  }

  #settle(tells: readonly (() => void)[]): void {
    for (const tell of tells) tell()
    this.#schedule()
  }

  #commit(write: WriteSet): Awaitable<Outcome> {
    const { reach, life, grouped } = this.#options
    reach('commit')
    if (life.over) return FAILED
    const fault = this.#fate(grouped ? ['failed'] : ['failed', 'applied', 'dropped'])
    if (fault) this.disk.faults.push(fault)
    const outcome = this.disk.commit(write)
    this.disk.faults.length = 0
    reach('committed')
    return outcome
  }

  #fate(of: readonly Fate[]): Fate | null {
    const { random, weather, told } = this.#options
    const chances = weather()
    for (const fate of of) {
      if (!random.chance(chances[fate])) continue
      told(`commit ${fate}`)
      return fate
    }
    return null
  }
}

type Fate = 'failed' | 'applied' | 'dropped'
