// What goes wrong in one run, and when: drawn from the seed, and over at a given moment, from which on everything must
// come to rest.

import { Purse } from '../../../examples/market/contract.ts'
import type { Disk } from './disk.ts'
import { FAIR_MESH } from './mesh.ts'
import { FAIR_DISK } from './mount.ts'
import type { Player } from './player.ts'
import { POINTS, type Point, type Process } from './process.ts'
import type { Peril } from './profile.ts'
import type { Machine, World } from './world.ts'

const DOWN_MS = 3_000
const SPELL_MS = 5_000
const AWAY_MS = 8_000
const JUMP_MS = 2_000
const DRAIN_MS = 2_000
const ZOMBIE_MS = 20_000
/** A point that is never reached is given up. */
const POINT_MS = 10_000

export class Perils {
  readonly #world: World
  readonly #players: readonly Player[]
  readonly #untilMs: number
  readonly #kinds: readonly Peril[]
  #point: { readonly point: Point; left: number } | null = null
  #spells = 0

  constructor(world: World, players: readonly Player[], untilMs: number) {
    this.#world = world
    this.#players = players
    this.#untilMs = untilMs
    this.#kinds = [...world.profile.perils]
    world.onPoint = (point, process) => this.#reached(point, process)
    // A zombie came later to MySQL than who replaced it: whoever supervises the machine begins anew.
    world.onFenced = (process) => {
      const machine = world.machines.find((one) => one.process === process)
      world.clock.after(0, () => {
        if (machine?.process === process) this.#crash(machine)
      })
    }
    if (world.profile.poison) this.#poison()
    if (this.#kinds.length > 0) this.#arm()
    world.clock.after(untilMs, () => this.#end())
  }

  get #over(): boolean {
    return this.#world.clock.mono() >= this.#untilMs
  }

  #arm(): void {
    const { clock, random, profile } = this.#world
    clock.after(-Math.log(1 - random.perils.next()) * profile.gapMs, () => {
      if (this.#over) return
      const kind = this.#kinds[random.perils.below(this.#kinds.length)]!
      this.#world.trace.add('peril', kind)
      this.#world.books.met(kind)
      this.#strike(kind)
      this.#arm()
    })
  }

  #strike(kind: Peril): void {
    const { world } = this
    const { random, machines } = world
    const machine = machines[random.perils.below(machines.length)]!
    switch (kind) {
      case 'crash':
        if (world.front && random.perils.chance(0.15)) return this.#crashFront()
        return this.#crash(machine)
      case 'point':
        return this.#aim()
      case 'cut':
        return this.#cut()
      case 'evict':
        return this.#evict()
      case 'abort':
        return this.#abort()
      case 'away':
        return this.#away()
      case 'chaos':
        return this.#chaos()
      case 'disk':
        return this.#disk()
      case 'unreadable':
        return this.#unreadable()
      case 'jump':
        machine.wallMs = -random.perils.below(JUMP_MS)
        return
      case 'mesh':
        return this.#mesh()
      case 'restart':
        return this.#restart(machine)
      case 'loss':
        return this.#lose(machine, null)
      case 'back':
        return this.#lose(machine, this.#oldDisk(machine))
    }
  }

  get world(): World {
    return this.#world
  }

  #below(ms: number): number {
    return this.#world.random.perils.next() * ms
  }

  #crash(machine: Machine): void {
    const { process } = machine
    if (!process) return
    this.#world.books.crashes++
    this.#world.trace.add(process.life.name, 'crashes')
    process.life.end()
    machine.process = null
    this.#bootLater(machine)
  }

  #bootLater(machine: Machine): void {
    if (machine.isStarting) return
    machine.isStarting = true
    this.#world.clock.after(this.#below(DOWN_MS), () => {
      machine.isStarting = false
      if (!machine.process) this.#world.boot(machine)
    })
  }

  #crashFront(): void {
    const { world } = this
    world.books.crashes++
    world.trace.add('front', 'crashes')
    world.front?.life.end()
    world.bootFront()
  }

  /** Some process ends the next time, or one of the next, that it comes to this point. */
  #aim(): void {
    const { random, clock } = this.#world
    const aim = { point: POINTS[random.perils.below(POINTS.length)]!, left: random.perils.below(5) }
    this.#point = aim
    clock.after(POINT_MS, () => {
      if (this.#point === aim) this.#point = null
    })
  }

  #reached(point: Point, process: Process): void {
    const aim = this.#point
    if (aim?.point !== point || this.#over || aim.left-- > 0) return
    this.#point = null
    this.#world.trace.add('peril', `${process.life.name} is at ${point}`)
    const machine = this.#world.machines.find((one) => one.process === process)
    if (machine) this.#crash(machine)
    else process.life.end()
  }

  #cut(): void {
    const { random } = this.#world
    const all = random.perils.chance(0.2)
    const one = random.perils.below(this.#players.length)
    for (const [i, player] of this.#players.entries()) if (all || i === one) player.cut()
  }

  #someShard(): { readonly process: Process; readonly key: string } | null {
    const { random, machines } = this.#world
    const { name: key } = this.#players[random.perils.below(this.#players.length)]!
    const { process } = this.#world.machineOf({ contract: Purse.name, key }) ?? machines[0]!
    return process ? { process, key } : null
  }

  #evict(): void {
    const found = this.#someShard()
    if (found) void found.process.engine.evict({ contract: Purse.name, key: found.key })
  }

  #abort(): void {
    const found = this.#someShard()
    if (found) found.process.engine.shard({ contract: Purse.name, key: found.key }).restart()
  }

  #away(): void {
    const { database, clock } = this.#world
    const spell = ++this.#spells
    database.isUnavailable = true
    clock.after(this.#below(AWAY_MS), () => {
      if (this.#spells === spell || this.#over) database.isUnavailable = false
    })
  }

  #chaos(): void {
    const { database, clock, random } = this.#world
    const chaos = {
      random: () => random.mysql.next(),
      unavailable: random.perils.next() * 0.3,
      lost: random.perils.next() * 0.3,
      late: random.perils.next() * 0.3,
      lateMs: random.perils.chance(0.5) ? 500 : 5_000,
      slowMs: random.perils.chance(0.5) ? 20 : 1_000,
    }
    database.randomFaults = chaos
    clock.after(this.#below(SPELL_MS), () => {
      if (database.randomFaults === chaos) database.randomFaults = null
    })
  }

  #unreadable(): void {
    const { random, clock } = this.#world
    this.#world.unreadable = random.perils.next() * 0.3
    clock.after(this.#below(SPELL_MS), () => (this.#world.unreadable = 0))
  }

  #disk(): void {
    const { random, clock } = this.#world
    const chance = (): number => (random.perils.chance(0.5) ? random.perils.next() * 0.15 : 0)
    const weather = {
      failed: chance(),
      applied: chance(),
      dropped: chance(),
      slow: chance() * 3,
      slowMs: random.perils.chance(0.5) ? 100 : 3_000,
    }
    this.#world.diskWeather = weather
    clock.after(this.#below(SPELL_MS), () => {
      if (this.#world.diskWeather === weather) this.#world.diskWeather = FAIR_DISK
    })
  }

  #mesh(): void {
    const { random, clock } = this.#world
    const chance = (): number => random.perils.next() * 0.3
    const weather = { lost: chance(), late: chance() / 3, twice: chance() }
    this.#world.meshWeather = weather
    clock.after(this.#below(SPELL_MS), () => {
      if (this.#world.meshWeather === weather) this.#world.meshWeather = FAIR_MESH
    })
  }

  #restart(machine: Machine): void {
    const { process } = machine
    if (!process) return
    void process.drain(DRAIN_MS).then(() => {
      if (process.life.over) return
      process.life.end()
      if (machine.process !== process) return
      machine.process = null
      this.#bootLater(machine)
    })
  }

  /** The machine is lost, or only cut off; another takes its place, with this disk or a new one. */
  #lose(machine: Machine, disk: Disk | null): void {
    const { world } = this
    const { random, clock, books, trace, zombies } = world
    const { process, old } = machine
    machine.process = null
    if (process && random.perils.chance(0.4)) {
      books.met('zombie')
      trace.add(process.life.name, 'is cut off')
      process.isMute = random.perils.chance(0.5)
      process.presence.end()
      zombies.push(process)
      clock.after(this.#below(ZOMBIE_MS), () => process.life.end())
    } else if (process) {
      books.crashes++
      trace.add(process.life.name, 'is lost')
      process.life.end()
    }
    old.push(machine.disk)
    if (disk) old.splice(old.indexOf(disk), 1)
    machine.disk = disk ?? world.newDisk(machine.number)
    this.#bootLater(machine)
  }

  /** One that no zombie lives on, null = there is none. */
  #oldDisk({ old }: Machine): Disk | null {
    const { zombies, random } = this.#world
    const free = old.filter((one) => !zombies.some(({ life, disk }) => !life.over && disk === one))
    return free[random.perils.below(free.length)] ?? null
  }

  /** MySQL refuses lines of the ledger, some of them, and again later. */
  #poison(): void {
    const { world } = this
    const { clock, random, database, books } = world
    const modulus = 3 + random.perils.below(20)
    clock.after(this.#below(this.#untilMs), () => {
      database.refuseChange = ({ table, values }) => {
        const isPoison = table.name === 'ledger' && Number(values['amount']) % modulus === 0 && !this.#over
        if (!isPoison) return null
        books.met('poison')
        return 'poison'
      }
      clock.after(this.#below(SPELL_MS), () => {
        database.refuseChange = null
        if (!this.#over) this.#poison()
      })
    })
  }

  /** From here on nothing goes wrong any more. */
  #end(): void {
    const { world } = this
    world.trace.add('peril', 'over')
    this.#point = null
    world.database.isUnavailable = false
    world.database.randomFaults = null
    world.database.refuseChange = null
    world.diskWeather = FAIR_DISK
    world.unreadable = 0
    world.meshWeather = FAIR_MESH
    for (const zombie of world.zombies) zombie.life.end()
    for (const machine of world.machines) if (!machine.process) this.#bootLater(machine)
  }
}
