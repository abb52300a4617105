// Whatever goes wrong between the tiers, in whatever order: no critical turn is ever acknowledged that MySQL does not
// have, no acknowledged local turn is lost while its disk stays the newest, and in the end MySQL holds what the Store
// holds. Each run is a seed: random turns, outages, lost answers, late packets, refused rows, crashes, lost disks,
// zombies and old stores that come back.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ManualClock } from '../../core/run/memory.ts'
import type { Outcome, RowChange, ShardId } from '../../core/run/ports.ts'
import type { MemoryLocalStore } from '../../core/tiers/memory.ts'
import type { Tiers } from '../../core/tiers/tiers.ts'
import {
  ada,
  Awake,
  bob,
  coin,
  coins,
  insert,
  item,
  items,
  player,
  remove,
  update,
  World,
} from './tiersbench.ts'

const RUNS = 300
const STEPS = 60
const SHARDS = [ada, bob, player('cyd')]
const NAMES = ['a', 'b', 'c', 'd']

/** What may happen beside turns and bad weather. */
interface Perils {
  readonly crash: boolean
  /** Disks are lost, old ones come back, old processes live on. */
  readonly stores: boolean
  /** MySQL refuses some local turns, for a time. */
  readonly poison: boolean
}

/** Whether all turns of a life so far were acknowledged. */
const chains = new WeakMap<Awake, Promise<boolean>>()

class Process {
  readonly local: MemoryLocalStore
  readonly tiers: Tiers
  readonly crash: () => void
  readonly shards = new Map<string, Awake>()
  readonly opening = new Set<string>()
  constructor(world: World, local: MemoryLocalStore) {
    this.local = local
    const { tiers, crash } = world.process(local, { waitMs: 1_000 })
    this.tiers = tiers
    this.crash = crash
  }
  get isOver(): boolean {
    return [...this.tiers.metrics.owners.values()].some(({ fenced }) => fenced > 0)
  }
}

class Run {
  readonly world: World
  readonly perils: Perils
  readonly #dice: ManualClock
  readonly stores: MemoryLocalStore[] = []
  readonly zombies: Process[] = []
  /** Names of rows that are never changed again, by class: acknowledged, and perhaps no more than that. */
  readonly acked = { critical: new Map<string, ShardId>(), local: new Map<string, ShardId>() }
  process: Process
  acks = 0
  #names = 0

  constructor(seed: number, perils: Perils) {
    this.world = new World(seed)
    this.#dice = new ManualClock(seed ^ 0x5eed)
    this.perils = perils
    const random = (): number => this.#dice.random()
    this.world.database.chaos = { random, unavailable: 0.1, lost: 0.1, late: 0.1, lateMs: 3_000, slowMs: 20 }
    this.world.database.refuses = ({ table, values }) =>
      Number(values['n']) % 13 === 0 && (table === coins || perils.poison) ? 'unlucky' : null
    this.process = this.#boot(this.#disk())
  }

  #disk(): MemoryLocalStore {
    const store = this.world.store({ ownerOf: ({ key }) => (key === 'ada' ? 'left' : 'right') })
    this.stores.push(store)
    // Commits are durable a little later, in order.
    let durableMs = 0
    store.hold = (release) => {
      durableMs = Math.max(durableMs, this.world.clock.mono() + this.roll(12))
      this.world.clock.after(durableMs - this.world.clock.mono(), release)
    }
    return store
  }

  #boot(store: MemoryLocalStore): Process {
    const process = new Process(this.world, store)
    process.tiers.start()
    return process
  }

  roll(sides: number): number {
    return Math.floor(this.#dice.random() * sides)
  }

  /** A few changes of rows that this shard has, or has not. */
  #changes(shard: Awake): RowChange[] {
    const changes = new Map<string, RowChange>()
    const table = this.roll(3) === 0 ? coins : items
    for (let i = this.roll(3); i >= 0; i--) {
      const name = NAMES[this.roll(NAMES.length)]!
      const n = 1 + this.roll(1_000)
      const isThere = shard.local.row(shard.shard, table, [shard.shard.key, name]) !== null
      const row = table === items ? item(shard.shard, name, n) : coin(shard.shard, name, n)
      if (!isThere) changes.set(name, insert(table, row))
      else if (this.roll(3) === 0) changes.set(name, remove(table, shard.shard, name))
      else changes.set(name, update(table, shard.shard, name, { n }))
    }
    return [...changes.values()]
  }

  turn(process: Process): void {
    const shard = [...process.shards.values()][this.roll(process.shards.size)]
    if (!shard) return
    const changes = this.#changes(shard)
    const isCritical = changes.some(({ table }) => table === coins)
    const name = `r${this.#names++}`
    const row = isCritical ? coin(shard.shard, name, 1) : item(shard.shard, name, 1)
    changes.push(insert(isCritical ? coins : items, row))
    const outcome = shard.turn(changes)
    void this.#told(process, shard, outcome, isCritical, name)
  }

  async #told(
    process: Process,
    shard: Awake,
    outcome: Outcome | Promise<Outcome>,
    isCritical: boolean,
    name: string,
  ): Promise<void> {
    // As an engine: what a turn has to say waits for all turns before it.
    const before = chains.get(shard)
    const both = Promise.all([outcome, before])
    chains.set(
      shard,
      both.then(([one, earlier]) => (earlier === false ? false : one.kind === 'committed')),
    )
    const [done, earlier] = await both
    if (done.kind === 'committed') {
      if (earlier === false) return
      this.acks++
      this.acked[isCritical ? 'critical' : 'local'].set(name, shard.shard)
      if (isCritical) this.#isThere(name, shard.shard)
      return
    }
    if (process.shards.get(shard.shard.key) === shard) process.shards.delete(shard.shard.key)
    if (done.kind === 'refused' && earlier !== false) await process.tiers.reject(shard.shard, done.seq, null)
  }

  #isThere(name: string, shard: ShardId): void {
    const found = this.world.database
      .rows(coins)
      .some((row) => row['name'] === name && row['player'] === shard.key)
    if (!found) this.problems.push(`${shard.key}/${name} was acknowledged and is not in MySQL`)
  }
  readonly problems: string[] = []

  open(process: Process): void {
    for (const shard of SHARDS) {
      const { key } = shard
      if (process.shards.has(key) || process.opening.has(key) || this.roll(2) === 0) continue
      process.opening.add(key)
      void (async () => process.tiers.open(shard))()
        .then(
          (stored) => void process.shards.set(key, new Awake(process.tiers, process.local, shard, stored)),
          () => {},
        )
        .finally(() => process.opening.delete(key))
    }
  }

  async step(): Promise<void> {
    const { world, perils, process } = this
    const x = this.roll(100)
    if (process.isOver) this.#leave(this.#disk())
    else if (x < 55) this.turn(process)
    else if (x < 60) for (const zombie of this.zombies) this.turn(zombie)
    else if (x < 63) world.database.away = !world.database.away
    else if (x < 66 && perils.crash) this.#leave(process.local)
    else if (x < 68 && perils.stores)
      this.#leave(this.stores[this.roll(this.stores.length + 1)] ?? this.#disk())
    this.open(this.process)
    await world.pass(this.roll(4) === 0 ? this.roll(400) : this.roll(20), 10)
  }

  /** The process dies, or (with other stores) lives on as a zombie, and another begins on this store. */
  #leave(store: MemoryLocalStore): void {
    const { process } = this
    if (store !== process.local && !this.zombies.some(({ local }) => local === store) && this.roll(2) === 0)
      this.zombies.push(process)
    else process.crash()
    for (const zombie of this.zombies) if (zombie.local === store) zombie.crash()
    this.process = this.#boot(store)
  }

  async end(): Promise<void> {
    const { world } = this
    world.database.away = false
    world.database.chaos = null
    await world.pass(8_000, 20)
    // A zombie may have taken an owner over last, which nobody hears of before the next turn.
    for (const zombie of this.zombies) zombie.crash()
    if (this.perils.stores) this.#leave(this.process.isOver ? this.#disk() : this.process.local)
    for (let i = 0; i < 50 && this.process.shards.size < SHARDS.length; i++) {
      this.open(this.process)
      await world.pass(200, 20)
    }
    if (this.perils.poison) world.database.refuses = null
    await world.pass(this.perils.poison ? 130_000 : 1_000, 50)
  }

  /** What is wrong in the end. */
  verdict(): string[] {
    const { world, process, acked, problems } = this
    for (const [name, shard] of acked.critical) this.#isThere(name, shard)
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
    if (!this.perils.stores) {
      const there = new Set(world.database.rows(items).map((row) => String(row['name'])))
      for (const name of acked.local.keys())
        if (!there.has(name)) problems.push(`${name} was acknowledged and is lost`)
    }
    return problems
  }
}

async function play(seed: number, perils: Perils): Promise<Run> {
  const run = new Run(seed, perils)
  for (let i = 0; i < STEPS; i++) await run.step()
  await run.end()
  assert.deepEqual(run.verdict(), [], `seed ${seed}`)
  return run
}

for (const [name, perils] of Object.entries({
  'crashes and restarts': { crash: true, stores: false, poison: false },
  'lost disks, zombies and old stores': { crash: true, stores: true, poison: false },
  'rows that MySQL refuses for a time': { crash: false, stores: false, poison: true },
})) {
  test(`${name}: ${RUNS / 3} seeds`, async () => {
    let acks = 0
    for (let seed = 1; seed <= RUNS / 3; seed++) acks += (await play(seed, perils)).acks
    assert.ok(acks > RUNS, `${acks} turns were acknowledged: the model does too little`)
  })
}
