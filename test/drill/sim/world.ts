// All that one run consists of: its time, its disks, its MySQL, its processes and what connects them.

import { critical, type Game } from '../../../core/game/game.ts'
import type { TableDefinition } from '../../../core/game/table.ts'
import type { OpenRequest } from '../../../core/ports/link.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import { MemoryDatabase } from '../../../core/testing/localstore.ts'
import market from '../../../examples/market/server.ts'
import { Random } from '../../support/random.ts'
import { Books } from './books.ts'
import { VirtualClock } from './clock.ts'
import { Disk } from './disk.ts'
import { Front } from './front.ts'
import { FAIR_MESH, Mesh, type MeshWeather } from './mesh.ts'
import { FAIR_DISK, type DiskWeather } from './mount.ts'
import type { Plant } from './plants.ts'
import { Process, type Point } from './process.ts'
import type { Profile } from './profile.ts'
import { Shadow } from './shadow.ts'
import { Trace, type TraceOptions } from './trace.ts'
import { Marks } from './watch.ts'
import type { Host } from './wire.ts'

const GAMES: Readonly<Record<'local' | 'critical', Game>> = { local: market, critical: critical(market) }
/** Owners of one machine's shards. */
const SLOTS = 2

/** A machine: a disk, a wall clock, and at most one process that the others see. */
export interface Machine {
  readonly number: number
  wallMs: number
  disk: Disk
  /** Disks it had before. */
  readonly old: Disk[]
  process: Process | null
  /** Begins of processes that are still to come. */
  isStarting: boolean
  lives: number
}

export class World {
  readonly profile: Profile
  readonly plant: Plant | null
  readonly random: Readonly<
    Record<'product' | 'disk' | 'net' | 'mesh' | 'mysql' | 'perils' | 'players', Random>
  >
  readonly clock: VirtualClock
  readonly trace: Trace
  readonly books: Books
  readonly game: Game
  readonly ledger: TableDefinition
  readonly purses: TableDefinition
  readonly database: MemoryDatabase
  readonly ledgerOfMysql: Shadow
  readonly marks: Marks
  readonly mesh: Mesh
  readonly machines: readonly Machine[]
  readonly zombies: Process[] = []
  /** What each channel asked, by session and number. */
  readonly asked = new Map<string, Map<number, { readonly command: number; readonly body: string }>>()
  front: Front | null = null
  diskWeather: DiskWeather = FAIR_DISK
  /** Chance that the disk cannot be read. */
  unreadable = 0
  meshWeather: MeshWeather = FAIR_MESH
  /** Told when a process comes to a point at which it may end. */
  onPoint: (point: Point, process: Process) => void = () => {}
  /** Told of a process that does not serve its shards any more. */
  onFenced: (process: Process) => void = () => {}
  #disks = 0

  constructor(profile: Profile, plant: Plant | null, trace: Omit<TraceOptions, 'now'>) {
    const seed = new Random(profile.seed)
    this.profile = profile
    this.plant = plant
    this.random = {
      product: seed.fork(),
      disk: seed.fork(),
      net: seed.fork(),
      mesh: seed.fork(),
      mysql: seed.fork(),
      perils: seed.fork(),
      players: seed.fork(),
    }
    this.clock = new VirtualClock(this.random.product)
    const now = (): number => this.clock.mono()
    this.trace = new Trace({ ...trace, now })
    this.books = new Books(now)
    this.clock.onThrow = (error) =>
      this.books.break('bug', `an event threw: ${String((error as Error).stack ?? error)}`)
    this.game = GAMES[profile.critical ? 'critical' : 'local']
    this.ledger = this.game.tables.get('ledger')!
    this.purses = this.game.tables.get('purse')!
    this.database = new MemoryDatabase(this.clock, [...this.game.tables.values()])
    this.database.timeoutMs = profile.timeoutMs
    this.ledgerOfMysql = new Shadow(this.database, this.books)
    this.database.onApply = (batch) => {
      this.trace.add('mysql', `takes ${batch.owner} ${batch.firstSeq}..${batch.lastSeq}`)
      const process = this.ledgerOfMysql.applied(batch)
      if (process && !process.life.over) this.reach('applied', process)
    }
    this.marks = new Marks(this)
    this.mesh = new Mesh({
      clock: this.clock,
      random: this.random.mesh,
      trace: this.trace,
      weather: () => this.meshWeather,
      processOf: (shard) => this.machineOf(shard).process,
      onDeliver: (process) => this.reach('deliver', process),
    })
    this.machines = Array.from({ length: profile.machines }, (_, number) => ({
      number,
      wallMs: 0,
      disk: this.newDisk(number),
      old: [],
      process: null,
      isStarting: false,
      lives: 0,
    }))
  }

  /** Comes to a point at which a process may end. */
  reach(point: Point, process: Process): void {
    if (!process.life.over) this.onPoint(point, process)
  }

  /** A process begins on the machine's disk. */
  boot(machine: Machine): void {
    const name = `m${machine.number}.${++machine.lives}`
    this.trace.add(name, `begins on ${machine.disk.name}`)
    machine.process = new Process(this, name, machine, machine.disk)
  }

  bootFront(): void {
    this.front = new Front(this, 'front')
  }

  newDisk(machine: number): Disk {
    const owners = Array.from({ length: SLOTS }, (_, slot) => ownerOf(machine, slot))
    return new Disk({
      name: `disk${++this.#disks}`,
      clock: this.clock,
      owners,
      ownerOf: (shard) => ownerOf(machine, hashOf(`${shardName(shard)}#`) % SLOTS),
      onApply: (disk, write) => this.marks.applied(disk, write),
      onReject: (disk, shard) => this.marks.rejected(disk, shard),
    })
  }

  machineOf(shard: ShardId): Machine {
    return this.machines[hashOf(shardName(shard)) % this.machines.length]!
  }

  isOn(shard: ShardId, disk: Disk): boolean {
    const machine = this.machineOf(shard)
    return machine.disk === disk || machine.old.includes(disk)
  }

  /** Where a gateway of its own finds the shard of a channel. A service is anywhere. */
  processFor({ shard, session }: OpenRequest): Process | null {
    const isService = this.game.shards.get(shard.contract)?.stateless ?? false
    const machine = isService ? this.machines[session[0]! % this.machines.length]! : this.machineOf(shard)
    return machine.process
  }

  /** Who takes the connections of this player. */
  hostOf(player: string): Host | null {
    if (this.front) return this.front
    const process = this.machineOf({ contract: 'purse', key: player }).process
    return process && !process.presence.over ? { life: process.presence, gateway: process.gateway! } : null
  }
}

function ownerOf(machine: number, slot: number): string {
  return `slot/${machine}-${slot}`
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return (hash ^ (hash >>> 15)) >>> 0
}
