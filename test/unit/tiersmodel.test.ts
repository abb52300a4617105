// Whatever goes wrong between the tiers, in whatever order: no critical turn is ever acknowledged that MySQL does not
// have, no acknowledged local turn is lost while its disk stays the newest, and in the end MySQL holds what the Store
// holds. Each run is a seed: random turns, outages, lost answers, late packets, refused rows, crashes, lost disks,
// zombies and old stores that come back.

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
  insert,
  item,
  items,
  player,
  remove,
  update,
  TiersFixture,
} from './tiersfixture.ts'

const RUNS = 300
const STEPS = 60
const SHARDS = [ada, bob, player('cyd')]
const NAMES = ['a', 'b', 'c', 'd']

/** What may happen beside turns and bad weather. */
interface FaultProfile {
  readonly crash: boolean
  /** Disks are lost, old ones come back, old processes live on. */
  readonly stores: boolean
  /** MySQL refuses some local turns, for a time. */
  readonly poison: boolean
}

/** Whether all turns of a life so far were acknowledged. */
const previousOutcomes = new WeakMap<ActiveShard, Promise<boolean>>()

class SimulatedProcess {
  readonly local: MemoryLocalStore
  readonly tiers: TieredStore
  readonly crash: () => void
  readonly shards = new Map<string, ActiveShard>()
  readonly opening = new Set<string>()
  constructor(world: TiersFixture, local: MemoryLocalStore) {
    this.local = local
    const { tiers, crash } = world.startProcess(local, { waitMs: 1_000 })
    this.tiers = tiers
    this.crash = crash
  }
  get isFenced(): boolean {
    return [...this.tiers.metrics.owners.values()].some(({ fenced }) => fenced > 0)
  }
}

class ModelRun {
  readonly world: TiersFixture
  readonly faults: FaultProfile
  readonly #dice: ManualClock
  readonly stores: MemoryLocalStore[] = []
  readonly zombies: SimulatedProcess[] = []
  /** Names of rows that are never changed again, by class: acknowledged, and perhaps no more than that. */
  readonly acknowledgedRows = { critical: new Map<string, ShardId>(), local: new Map<string, ShardId>() }
  process: SimulatedProcess
  acknowledgedCount = 0
  #names = 0

  constructor(seed: number, perils: FaultProfile) {
    this.world = new TiersFixture(seed)
    this.#dice = new ManualClock(seed ^ 0x5eed)
    this.faults = perils
    const random = (): number => this.#dice.random()
    this.world.database.randomFaults = {
      random,
      unavailable: 0.1,
      lost: 0.1,
      late: 0.1,
      lateMs: 3_000,
      slowMs: 20,
    }
    this.world.database.refuseChange = ({ table, values }) =>
      Number(values['n']) % 13 === 0 && (table === coins || perils.poison) ? 'unlucky' : null
    this.process = this.#startProcess(this.#createStore())
  }

  #createStore(): MemoryLocalStore {
    const store = this.world.createStore({ ownerOf: ({ key }) => (key === 'ada' ? 'left' : 'right') })
    this.stores.push(store)
    // Commits are durable a little later, in order.
    let durableMs = 0
    store.hold = (release) => {
      durableMs = Math.max(durableMs, this.world.clock.mono() + this.randomInt(12))
      this.world.clock.after(durableMs - this.world.clock.mono(), release)
    }
    return store
  }

  #startProcess(store: MemoryLocalStore): SimulatedProcess {
    const process = new SimulatedProcess(this.world, store)
    process.tiers.start()
    return process
  }

  randomInt(sides: number): number {
    return Math.floor(this.#dice.random() * sides)
  }

  /** A few changes of rows that this shard has, or has not. */
  #changes(shard: ActiveShard): RowChange[] {
    const changes = new Map<string, RowChange>()
    const table = this.randomInt(3) === 0 ? coins : items
    for (let i = this.randomInt(3); i >= 0; i--) {
      const name = NAMES[this.randomInt(NAMES.length)]!
      const n = 1 + this.randomInt(1_000)
      const isThere = shard.local.row(shard.shard, table, [shard.shard.key, name]) !== null
      const row = table === items ? item(shard.shard, name, n) : coin(shard.shard, name, n)
      if (!isThere) changes.set(name, insert(table, row))
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
    // As an engine: what a turn has to say waits for all turns before it.
    const before = previousOutcomes.get(shard)
    const both = Promise.all([outcome, before])
    previousOutcomes.set(
      shard,
      both.then(([one, earlier]) => (earlier === false ? false : one.kind === 'committed')),
    )
    const [done, earlier] = await both
    if (done.kind === 'committed') {
      if (earlier === false) return
      this.acknowledgedCount++
      this.acknowledgedRows[isCritical ? 'critical' : 'local'].set(name, shard.shard)
      if (isCritical) this.#checkInMysql(name, shard.shard)
      return
    }
    if (process.shards.get(shard.shard.key) === shard) process.shards.delete(shard.shard.key)
    if (done.kind === 'refused' && earlier !== false) await process.tiers.reject(shard.shard, done.seq, null)
  }

  #checkInMysql(name: string, shard: ShardId): void {
    const found = this.world.database
      .rows(coins)
      .some((row) => row['name'] === name && row['player'] === shard.key)
    if (!found) this.problems.push(`${shard.key}/${name} was acknowledged and is not in MySQL`)
  }
  readonly problems: string[] = []

  openShards(process: SimulatedProcess): void {
    for (const shard of SHARDS) {
      const { key } = shard
      if (process.shards.has(key) || process.opening.has(key) || this.randomInt(2) === 0) continue
      process.opening.add(key)
      void (async () => process.tiers.open(shard))()
        .then(
          (stored) =>
            void process.shards.set(key, new ActiveShard(process.tiers, process.local, shard, stored)),
          () => {},
        )
        .finally(() => process.opening.delete(key))
    }
  }

  async step(): Promise<void> {
    const { world, faults: perils, process } = this
    const x = this.randomInt(100)
    if (process.isFenced) this.#replaceProcess(this.#createStore())
    else if (x < 55) this.commitRandomTurn(process)
    else if (x < 60) for (const zombie of this.zombies) this.commitRandomTurn(zombie)
    else if (x < 63) world.database.isUnavailable = !world.database.isUnavailable
    else if (x < 66 && perils.crash) this.#replaceProcess(process.local)
    else if (x < 68 && perils.stores)
      this.#replaceProcess(this.stores[this.randomInt(this.stores.length + 1)] ?? this.#createStore())
    this.openShards(this.process)
    await world.advance(this.randomInt(4) === 0 ? this.randomInt(400) : this.randomInt(20), 10)
  }

  /** The process dies, or (with other stores) lives on as a zombie, and another begins on this store. */
  #replaceProcess(nextStore: MemoryLocalStore): void {
    const { process } = this
    if (
      nextStore !== process.local &&
      !this.zombies.some(({ local }) => local === nextStore) &&
      this.randomInt(2) === 0
    )
      this.zombies.push(process)
    else process.crash()
    for (const zombie of this.zombies) if (zombie.local === nextStore) zombie.crash()
    this.process = this.#startProcess(nextStore)
  }

  async settle(): Promise<void> {
    const { world } = this
    world.database.isUnavailable = false
    world.database.randomFaults = null
    await world.advance(8_000, 20)
    // A zombie may have taken an owner over last, which nobody hears of before the next turn.
    for (const zombie of this.zombies) zombie.crash()
    if (this.faults.stores)
      this.#replaceProcess(this.process.isFenced ? this.#createStore() : this.process.local)
    for (let i = 0; i < 50 && this.process.shards.size < SHARDS.length; i++) {
      this.openShards(this.process)
      await world.advance(200, 20)
    }
    if (this.faults.poison) world.database.refuseChange = null
    await world.advance(this.faults.poison ? 130_000 : 1_000, 50)
  }

  /** What is wrong in the end. */
  findProblems(): string[] {
    const { world, process, acknowledgedRows: acked, problems } = this
    for (const [name, shard] of acked.critical) this.#checkInMysql(name, shard)
    if (process.shards.size < SHARDS.length) problems.push('a shard does not open')
    for (const table of [items, coins]) {
      const stored = SHARDS.flatMap((shard) =>
        process.local.list(shard, table, { by: {}, descending: false, limit: 0 }),
      )
      const [here, there] = [stored, world.database.rows(table)].map(
        (rows) => new Set(rows.map((row) => JSON.stringify(row))),
      )
      for (const row of here!) if (!there!.has(row)) problems.push(`${table.name}: not in MySQL ${row}`)
      for (const row of there!) if (!here!.has(row)) problems.push(`${table.name}: only in MySQL ${row}`)
    }
    if (!this.faults.stores) {
      const there = new Set(world.database.rows(items).map((row) => String(row['name'])))
      for (const name of acked.local.keys())
        if (!there.has(name)) problems.push(`${name} was acknowledged and is lost`)
    }
    return problems
  }
}

async function runSeed(seed: number, perils: FaultProfile): Promise<ModelRun> {
  const run = new ModelRun(seed, perils)
  for (let i = 0; i < STEPS; i++) await run.step()
  await run.settle()
  assert.deepEqual(run.findProblems(), [], `seed ${seed}`)
  return run
}

for (const [name, perils] of Object.entries({
  'crashes and restarts': { crash: true, stores: false, poison: false },
  'lost disks, zombies and old stores': { crash: true, stores: true, poison: false },
  'rows that MySQL refuses for a time': { crash: false, stores: false, poison: true },
})) {
  test(`${name}: ${RUNS / 3} seeds`, async () => {
    let acks = 0
    for (let seed = 1; seed <= RUNS / 3; seed++) acks += (await runSeed(seed, perils)).acknowledgedCount
    assert.ok(acks > RUNS, `${acks} turns were acknowledged: the model does too little`)
  })
}
