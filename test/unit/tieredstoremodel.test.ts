// A model test of TieredStore under random faults. Invariants: MySQL has every acknowledged critical turn; an acknowledged
// local turn is not lost while its disk is the newest; and at the end MySQL has the rows of the Store. Each run is a seed:
// random turns, outages, lost answers, late requests, refused rows, crashes, lost disks, replaced processes that still
// run, and restarts on old stores.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ManualClock } from '../../core/testing/memory.ts'
import type { Outcome, RowChange } from '../../core/ports/store.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import type { MemoryLocalStore } from '../../core/testing/localstore.ts'
import type { TieredStore } from '../../core/outbox/tieredstore.ts'
import {
  ada,
  ActiveShard,
  bob,
  coin,
  coins,
  item,
  items,
  player,
  remove,
  update,
  TieredStoreFixture,
} from './tieredstorefixture.ts'
import { insert } from '../support/tables.ts'

const RUNS = 300
const STEPS = 60
const SHARDS = [ada, bob, player('cyd')]
const NAMES = ['a', 'b', 'c', 'd']

/** Faults apart from those of the requests to MySQL. */
interface FaultProfile {
  readonly crash: boolean
  /** Disks are lost, processes start on old disks, replaced processes still run. */
  readonly stores: boolean
  /** MySQL refuses some local turns until the end. */
  readonly poison: boolean
}

/** Whether all turns of an activation so far were acknowledged. */
const previousOutcomes = new WeakMap<ActiveShard, Promise<boolean>>()

class SimulatedProcess {
  readonly local: MemoryLocalStore
  readonly store: TieredStore
  readonly crash: () => void
  readonly shards = new Map<string, ActiveShard>()
  readonly opening = new Set<string>()
  constructor(fixture: TieredStoreFixture, local: MemoryLocalStore) {
    this.local = local
    const { store, crash } = fixture.startProcess(local, { waitMs: 1_000 })
    this.store = store
    this.crash = crash
  }
  get isFenced(): boolean {
    return [...this.store.metrics.owners.values()].some(({ fenced }) => fenced > 0)
  }
}

class ModelRun {
  readonly fixture: TieredStoreFixture
  readonly faults: FaultProfile
  readonly #dice: ManualClock
  readonly stores: MemoryLocalStore[] = []
  /** Processes that still run on another store than the current one. */
  readonly replaced: SimulatedProcess[] = []
  /** Names of acknowledged rows that no later turn changes, by class. */
  readonly acknowledgedRows = { critical: new Map<string, ShardId>(), local: new Map<string, ShardId>() }
  process: SimulatedProcess
  acknowledgedCount = 0
  #names = 0

  constructor(seed: number, faults: FaultProfile) {
    this.fixture = new TieredStoreFixture(seed)
    this.#dice = new ManualClock(seed ^ 0x5eed)
    this.faults = faults
    const random = (): number => this.#dice.random()
    this.fixture.database.randomFaults = { random, unavailable: 0.1, lost: 0.1, late: 0.1, lateMs: 3_000, slowMs: 20 }
    this.fixture.database.refuseChange = ({ table, values }) =>
      Number(values['n']) % 13 === 0 && (table === coins || faults.poison) ? 'unlucky' : null
    this.process = this.#startProcess(this.#createStore())
  }

  #createStore(): MemoryLocalStore {
    const store = this.fixture.createStore({ ownerOf: ({ key }) => (key === 'ada' ? 'left' : 'right') })
    this.stores.push(store)
    // Commits become durable a little later, in order.
    let durableMs = 0
    store.hold = (release) => {
      durableMs = Math.max(durableMs, this.fixture.clock.mono() + this.randomInt(12))
      this.fixture.clock.after(durableMs - this.fixture.clock.mono(), release)
    }
    return store
  }

  #startProcess(store: MemoryLocalStore): SimulatedProcess {
    const process = new SimulatedProcess(this.fixture, store)
    process.store.start()
    return process
  }

  randomInt(sides: number): number {
    return Math.floor(this.#dice.random() * sides)
  }

  /** Random changes: inserts of missing rows, updates and deletes of existing ones. */
  #changes(shard: ActiveShard): RowChange[] {
    const changes = new Map<string, RowChange>()
    const table = this.randomInt(3) === 0 ? coins : items
    for (let i = this.randomInt(3); i >= 0; i--) {
      const name = NAMES[this.randomInt(NAMES.length)]!
      const n = 1 + this.randomInt(1_000)
      const exists = shard.local.row(shard.shard, table, [shard.shard.key, name]) !== null
      const row = table === items ? item(shard.shard, name, n) : coin(shard.shard, name, n)
      if (!exists) changes.set(name, insert(table, row))
      else if (this.randomInt(3) === 0) changes.set(name, remove(table, shard.shard, name))
      else changes.set(name, update(table, shard.shard, name, { n }))
    }
    return [...changes.values()]
  }

  commitRandomTurn(process: SimulatedProcess): void {
    const shard = [...process.shards.values()][this.randomInt(process.shards.size)]
    if (!shard) return
    const changes = this.#changes(shard)
    const isCritical = changes.some(({ table }) => table === coins)
    const name = `r${this.#names++}`
    const row = isCritical ? coin(shard.shard, name, 1) : item(shard.shard, name, 1)
    changes.push(insert(isCritical ? coins : items, row))
    const outcome = shard.commitTurn(changes)
    void this.#recordOutcome(process, shard, outcome, isCritical, name)
  }

  async #recordOutcome(
    process: SimulatedProcess,
    shard: ActiveShard,
    outcome: Outcome | Promise<Outcome>,
    isCritical: boolean,
    name: string,
  ): Promise<void> {
    // As in the engine: the effects of a turn wait for all earlier turns.
    const before = previousOutcomes.get(shard)
    const both = Promise.all([outcome, before])
    previousOutcomes.set(
      shard,
      both.then(([result, earlier]) => (earlier === false ? false : result.kind === 'committed')),
    )
    const [result, earlier] = await both
    if (result.kind === 'committed') {
      if (earlier === false) return
      this.acknowledgedCount++
      this.acknowledgedRows[isCritical ? 'critical' : 'local'].set(name, shard.shard)
      if (isCritical) this.#checkInMysql(name, shard.shard)
      return
    }
    if (process.shards.get(shard.shard.key) === shard) process.shards.delete(shard.shard.key)
    if (result.kind === 'refused' && earlier !== false) await process.store.reject(shard.shard, result.seq, null)
  }

  #checkInMysql(name: string, shard: ShardId): void {
    const found = this.fixture.database.rows(coins).some((row) => row['name'] === name && row['player'] === shard.key)
    if (!found) this.problems.push(`${shard.key}/${name} was acknowledged and is not in MySQL`)
  }
  readonly problems: string[] = []

  openShards(process: SimulatedProcess): void {
    for (const shard of SHARDS) {
      const { key } = shard
      if (process.shards.has(key) || process.opening.has(key) || this.randomInt(2) === 0) continue
      process.opening.add(key)
      void (async () => process.store.open(shard))()
        .then(
          (stored) => void process.shards.set(key, new ActiveShard(process.store, process.local, shard, stored)),
          () => {},
        )
        .finally(() => process.opening.delete(key))
    }
  }

  async step(): Promise<void> {
    const { fixture, faults, process } = this
    const x = this.randomInt(100)
    if (process.isFenced) this.#replaceProcess(this.#createStore())
    else if (x < 55) this.commitRandomTurn(process)
    else if (x < 60) for (const replaced of this.replaced) this.commitRandomTurn(replaced)
    else if (x < 63) fixture.database.isUnavailable = !fixture.database.isUnavailable
    else if (x < 66 && faults.crash) this.#replaceProcess(process.local)
    else if (x < 68 && faults.stores)
      this.#replaceProcess(this.stores[this.randomInt(this.stores.length + 1)] ?? this.#createStore())
    this.openShards(this.process)
    await fixture.advance(this.randomInt(4) === 0 ? this.randomInt(400) : this.randomInt(20), 10)
  }

  /** Crashes the process, or lets it run on if the store changes, and starts another on this store. */
  #replaceProcess(nextStore: MemoryLocalStore): void {
    const { process } = this
    if (
      nextStore !== process.local &&
      !this.replaced.some(({ local }) => local === nextStore) &&
      this.randomInt(2) === 0
    )
      this.replaced.push(process)
    else process.crash()
    for (const replaced of this.replaced) if (replaced.local === nextStore) replaced.crash()
    this.process = this.#startProcess(nextStore)
  }

  async settle(): Promise<void> {
    const { fixture } = this
    fixture.database.isUnavailable = false
    fixture.database.randomFaults = null
    await fixture.advance(8_000, 20)
    // A replaced process may hold the last lease, which the current one detects only at its next turn.
    for (const replaced of this.replaced) replaced.crash()
    if (this.faults.stores) this.#replaceProcess(this.process.isFenced ? this.#createStore() : this.process.local)
    for (let i = 0; i < 50 && this.process.shards.size < SHARDS.length; i++) {
      this.openShards(this.process)
      await fixture.advance(200, 20)
    }
    if (this.faults.poison) fixture.database.refuseChange = null
    await fixture.advance(this.faults.poison ? 130_000 : 1_000, 50)
  }

  /** Checks the invariants at the end. */
  findProblems(): string[] {
    const { fixture, process, acknowledgedRows, problems } = this
    for (const [name, shard] of acknowledgedRows.critical) this.#checkInMysql(name, shard)
    if (process.shards.size < SHARDS.length) problems.push('a shard did not open')
    for (const table of [items, coins]) {
      const stored = SHARDS.flatMap((shard) =>
        process.local.list(shard, table, { by: {}, descending: false, limit: 0 }),
      )
      const [inStore, inMysql] = [stored, fixture.database.rows(table)].map(
        (rows) => new Set(rows.map((row) => JSON.stringify(row))),
      )
      for (const row of inStore!) if (!inMysql!.has(row)) problems.push(`${table.name}: not in MySQL ${row}`)
      for (const row of inMysql!) if (!inStore!.has(row)) problems.push(`${table.name}: only in MySQL ${row}`)
    }
    if (!this.faults.stores) {
      const names = new Set(fixture.database.rows(items).map((row) => String(row['name'])))
      for (const name of acknowledgedRows.local.keys())
        if (!names.has(name)) problems.push(`${name} was acknowledged and is lost`)
    }
    return problems
  }
}

async function runSeed(seed: number, faults: FaultProfile): Promise<ModelRun> {
  const run = new ModelRun(seed, faults)
  for (let i = 0; i < STEPS; i++) await run.step()
  await run.settle()
  assert.deepEqual(run.findProblems(), [], `seed ${seed}`)
  return run
}

for (const [name, faults] of Object.entries({
  'crashes and restarts': { crash: true, stores: false, poison: false },
  'lost disks, replaced processes and old stores': { crash: true, stores: true, poison: false },
  'rows that MySQL refuses for a time': { crash: false, stores: false, poison: true },
})) {
  test(`keeps its invariants under ${name}: ${RUNS / 3} seeds`, async () => {
    let acknowledged = 0
    for (let seed = 1; seed <= RUNS / 3; seed++) acknowledged += (await runSeed(seed, faults)).acknowledgedCount
    assert.ok(acknowledged > RUNS, `only ${acknowledged} turns were acknowledged`)
  })
}
