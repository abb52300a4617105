// A disk as one process uses it. `grouped`: write sets are collected, written in one transaction, synced, and then
// acknowledged, as in core/node; otherwise each at once, as in a Durable Object. Commits fail, or have an unknown outcome, by
// chance. Invariant: when the process ends, what was written is on the disk, synced or not, and nothing else.

import type { Awaitable } from '../../../core/game/definition.ts'
import type { LocalStore, Outbox, OutboxEntry } from '../../../core/outbox/localstore.ts'
import { COMMITTED, type Outcome, type WriteSet } from '../../../core/ports/store.ts'
import { shardName, type ShardId } from '../../../core/wire/shardid.ts'
import { override } from '../../support/override.ts'
import type { Random } from '../../support/random.ts'
import type { Disk } from './disk.ts'
import type { CrashPoint } from './environment.ts'
import type { ProcessLifetime } from './lifetime.ts'

/** Chances: of each commit to fail without effect, to be applied or dropped with an unknown outcome; of each sync to be slow. */
export interface DiskFaults {
  readonly failed: number
  readonly applied: number
  readonly dropped: number
  readonly slow: number
  readonly slowMs: number
}
export const NO_DISK_FAULTS: DiskFaults = { failed: 0, applied: 0, dropped: 0, slow: 0, slowMs: 0 }
type CommitFault = 'failed' | 'applied' | 'dropped'

export interface DiskMountOptions {
  readonly disk: Disk
  readonly lifetime: ProcessLifetime
  readonly random: Random
  readonly grouped: boolean
  readonly faults: () => DiskFaults
  /** Chance that a read fails now. */
  readonly unreadable: () => number
  readonly reachPoint: (point: CrashPoint) => void
  /** A fault was injected. */
  readonly onFault: (what: string) => void
}

interface Job {
  /** The shard that cannot be read until the job is settled; '' = none. */
  readonly shard: string
  readonly write: WriteSet | null
  readonly isBarrier: boolean
  /** Writes, and returns the function that acknowledges. */
  run(): () => void
  fail(outcome: Extract<Outcome, { kind: 'failed' | 'unknown' }>): void
}

const SYNC_MS = 2
const FAILED: Outcome = { kind: 'failed', cause: new Error('the process has ended') }

export class DiskMount {
  readonly store: LocalStore
  readonly #disk: Disk
  readonly #options: DiskMountOptions
  #queue: Job[] = []
  #syncing: Job[] = []
  /** Each makes a written commit readable from the outbox. */
  #unsynced: (() => void)[] = []
  #isBusy = false
  #isScheduled = false

  constructor(options: DiskMountOptions) {
    this.#options = options
    const { disk } = options
    this.#disk = disk
    this.store = override<LocalStore>(disk, {
      open: (shard) => this.#read(shard, () => disk.open(shard)),
      channel: (shard, channel) => this.#read(shard, () => disk.channel(shard, channel)),
      commit: (write) => this.#commit(write),
      reject: (shard, ...turns) => this.#write(shardName(shard), () => disk.reject(shard, ...turns)),
      fill: (shard, ...rows) => this.#write(shardName(shard), () => disk.fill(shard, ...rows)),
      outboxOf: (owner) => this.#outboxOf(owner),
    })
    // The machine still runs, so its disk has what was written and not synced, and the next process reads it.
    options.lifetime.onEnd(() => this.#release())
  }

  /** False while a matching write would not survive a power failure. */
  isSynced(matches: (write: WriteSet) => boolean): boolean {
    return !this.#syncing.some(({ write }) => write !== null && matches(write))
  }

  #outboxOf(owner: string): Outbox {
    const inner = this.#disk.outboxOf(owner)
    const { lifetime } = this.#options
    return override<Outbox>(inner, {
      markUnleased: () => this.#write('', () => inner.markUnleased()),
      markLeased: () => this.#write('', () => inner.markLeased()),
      drop: (upTo) => (lifetime.isOver ? new Promise(() => {}) : inner.drop(upTo)),
      raiseSeq: (seq) => this.#write('', () => inner.raiseSeq(seq)),
      reset: async () => {
        let entries: readonly OutboxEntry[] = []
        const outcome = await this.#write('', async () => {
          entries = await inner.reset()
          return COMMITTED
        })
        if (lifetime.isOver) return new Promise(() => {})
        if (outcome.kind !== 'committed') throw outcome.cause
        return entries
      },
    })
  }

  #read<T>(shard: ShardId, read: () => T): Awaitable<T> {
    const { lifetime, random, unreadable, onFault } = this.#options
    if (lifetime.isOver) return new Promise(() => {})
    const name = shardName(shard)
    const isUnsettled = [...this.#queue, ...this.#syncing].some((job) => job.shard === name)
    if (isUnsettled) return this.#enqueue({ isBarrier: true }, () => COMMITTED).then(() => this.#read(shard, read))
    if (random.chance(unreadable())) {
      onFault('unreadable')
      throw new Error('the disk cannot be read')
    }
    return read()
  }

  #write(shard: string, write: () => Awaitable<Outcome>): Awaitable<Outcome> {
    const { lifetime, grouped } = this.#options
    if (lifetime.isOver) return new Promise(() => {})
    return grouped ? this.#enqueue({ shard }, write) : write()
  }

  #enqueue(
    { shard = '', write = null, isBarrier = false }: Partial<Omit<Job, 'run' | 'fail'>>,
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
          if (write) this.#disk.fence(write.shard, write.activation)
          resolve(outcome)
        },
      })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isBusy || this.#queue.length === 0) return
    this.#isScheduled = true
    this.#options.lifetime.clock.defer(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  /** One transaction, then one sync. Jobs that are added meanwhile wait for the next one. */
  #flush(): void {
    const { lifetime, random, faults } = this.#options
    const batch = this.#queue
    this.#queue = []
    const isEmpty = batch.every(({ isBarrier }) => isBarrier)
    const fault = isEmpty ? null : this.#drawFault(['applied', 'dropped'])
    const acknowledgements: (() => void)[] = []
    if (fault !== 'dropped')
      this.#bufferUntilSync(() => {
        for (const job of batch) if (!lifetime.isOver) acknowledgements.push(job.run())
      })
    if (lifetime.isOver) return this.#release()
    if (isEmpty) return this.#settle(acknowledgements)
    this.#isBusy = true
    this.#syncing = batch
    const { slow, slowMs } = faults()
    lifetime.clock.after(random.next() * (random.chance(slow) ? slowMs : SYNC_MS), () => {
      this.#isBusy = false
      this.#syncing = []
      this.#release()
      if (fault === null) return this.#settle(acknowledgements)
      for (const job of batch) job.fail({ kind: 'unknown', cause: new Error('the disk failed') })
      for (const job of this.#queue.splice(0)) job.fail({ kind: 'failed', cause: new Error('the disk failed') })
    })
  }

  /** Commits of `work` are synced when they are released. */
  #bufferUntilSync(work: () => void): void {
    this.#disk.hold = (release) => this.#unsynced.push(release)
    work()
    this.#disk.hold = null
  }

  #release(): void {
    const unsynced = this.#unsynced
    this.#unsynced = []
    for (const release of unsynced) release()
  }

  #settle(acknowledgements: readonly (() => void)[]): void {
    for (const acknowledge of acknowledgements) acknowledge()
    this.#schedule()
  }

  #commit(write: WriteSet): Awaitable<Outcome> {
    const { lifetime, grouped } = this.#options
    if (lifetime.isOver) return FAILED
    if (!grouped) return this.#writeCommit(write)
    return this.#enqueue({ shard: shardName(write.shard), write }, () => this.#writeCommit(write))
  }

  #writeCommit(write: WriteSet): Awaitable<Outcome> {
    const { reachPoint, lifetime, grouped } = this.#options
    reachPoint('commit')
    if (lifetime.isOver) return FAILED
    const fault = this.#drawFault(grouped ? ['failed'] : ['failed', 'applied', 'dropped'])
    if (fault) this.#disk.faults.push(fault)
    const outcome = this.#disk.commit(write)
    this.#disk.faults.length = 0
    reachPoint('committed')
    return outcome
  }

  #drawFault(candidates: readonly CommitFault[]): CommitFault | null {
    const { random, faults, onFault } = this.#options
    const chances = faults()
    for (const fault of candidates) {
      if (!random.chance(chances[fault])) continue
      onFault(`commit ${fault}`)
      return fault
    }
    return null
  }
}
