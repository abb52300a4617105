// All parts of one run: time, disks, MySQL, processes and the networks between them. Invariant: everything random comes from
// streams that are forked from the seed, in a fixed order.

import { critical, type Game } from '../../../core/game/game.ts'
import type { TableDefinition } from '../../../core/game/table.ts'
import type { OpenRequest } from '../../../core/ports/link.ts'
import { MemoryDatabase } from '../../../core/testing/database.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import { SESSION_SHARD, uidShardKey } from '../../../core/wire/systemshards.ts'
import market from '../../../examples/market/server.ts'
import { Random } from '../../support/random.ts'
import { RequestLog, type ViolationKind } from '../market/requestlog.ts'
import { AnswerCheck, MarkCheck } from './answercheck.ts'
import { Disk } from './disk.ts'
import { NO_DISK_FAULTS } from './diskmount.ts'
import type { CrashPoint, RandomStreams } from './environment.ts'
import type { ProcessLifetime } from './lifetime.ts'
import type { SimMutant } from './mutants.ts'
import { MysqlCheck } from './mysqlcheck.ts'
import type { GatewayHost } from './network.ts'
import type { FaultName, Profile } from './profile.ts'
import { NO_SHARD_NETWORK_FAULTS, ShardNetwork, type ShardNetworkEnvironment } from './shardnetwork.ts'
import { SimProcess, type ProcessEnvironment } from './simprocess.ts'
import { StandaloneGateway, type GatewayEnvironment } from './standalonegateway.ts'
import { Trace, type TraceOptions } from './trace.ts'
import { VirtualClock } from './virtualclock.ts'

const GAMES: Readonly<Record<'local' | 'critical', Game>> = { local: market, critical: critical(market) }
/** Owners of the shards of one machine. */
const SLOTS = 2

/** A machine: a disk, a wall clock, and at most one process that the others see. */
export interface Machine {
  readonly number: number
  wallMs: number
  disk: Disk
  readonly earlierDisks: Disk[]
  process: SimProcess | null
  /** A process will start soon. */
  isStarting: boolean
  boots: number
}

/** The first violation. The run and its trace end with it. */
export interface BrokenInvariant {
  readonly invariant: ViolationKind
  readonly what: string
  readonly atMs: number
}

export class Simulation implements ProcessEnvironment, GatewayEnvironment, ShardNetworkEnvironment {
  readonly profile: Profile
  readonly mutant: SimMutant | null
  readonly random: RandomStreams
  readonly clock: VirtualClock
  readonly trace: Trace
  readonly log: RequestLog
  readonly game: Game
  readonly ledger: TableDefinition
  readonly purses: TableDefinition
  readonly database: MemoryDatabase
  readonly mysqlCheck: MysqlCheck
  readonly answerCheck: AnswerCheck
  readonly shardNetwork: ShardNetwork
  readonly machines: readonly Machine[]
  /** Processes that were cut off. */
  readonly isolatedProcesses: SimProcess[] = []
  readonly faultCounts = new Map<FaultName, number>()
  crashes = 0
  broken: BrokenInvariant | null = null
  standaloneGateway: StandaloneGateway | null = null
  diskFaults = NO_DISK_FAULTS
  unreadable = 0
  shardNetworkFaults = NO_SHARD_NETWORK_FAULTS
  onPoint: (point: CrashPoint, process: ProcessLifetime) => void = () => {}
  onFenced: (process: SimProcess) => void = () => {}
  readonly #markCheck: MarkCheck
  #disks = 0

  constructor(profile: Profile, mutant: SimMutant | null, trace: Omit<TraceOptions, 'now'>) {
    const seed = new Random(profile.seed)
    this.profile = profile
    this.mutant = mutant
    this.random = {
      product: seed.fork(),
      disk: seed.fork(),
      connections: seed.fork(),
      shardNetwork: seed.fork(),
      mysql: seed.fork(),
      faults: seed.fork(),
      players: seed.fork(),
    }
    this.clock = new VirtualClock(this.random.product)
    this.trace = new Trace({ ...trace, now: () => this.clock.mono() })
    this.log = new RequestLog((invariant, what) => {
      this.broken = { invariant, what, atMs: this.clock.mono() }
    })
    this.clock.onThrow = (error) =>
      this.log.violations.add('bug', `an event threw: ${String((error as Error).stack ?? error)}`)
    this.game = GAMES[profile.critical ? 'critical' : 'local']
    this.ledger = this.game.tables.get('ledger')!
    this.purses = this.game.tables.get('purse')!
    this.database = new MemoryDatabase(this.clock, [...this.game.tables.values()])
    this.database.timeoutMs = profile.timeoutMs
    this.mysqlCheck = new MysqlCheck(this.database, this.log)
    this.database.onApply = (batch) => {
      this.trace.add('mysql', `applies ${batch.owner} ${batch.firstSeq}..${batch.lastSeq}`)
      const sender = this.mysqlCheck.batchApplied(batch)
      if (sender) this.reachPoint('applied', sender)
    }
    this.answerCheck = new AnswerCheck(this)
    this.#markCheck = new MarkCheck(this, (disk) => this.machines.some((machine) => machine.disk === disk))
    this.shardNetwork = new ShardNetwork(this)
    this.machines = Array.from({ length: profile.machines }, (_, number) => ({
      number,
      wallMs: 0,
      disk: this.newDisk(number),
      earlierDisks: [],
      process: null,
      isStarting: false,
      boots: 0,
    }))
  }

  reachPoint(point: CrashPoint, process: ProcessLifetime): void {
    if (!process.isOver) this.onPoint(point, process)
  }

  faultInjected(fault: FaultName): void {
    this.faultCounts.set(fault, (this.faultCounts.get(fault) ?? 0) + 1)
  }

  /** Starts a process on the machine's disk. */
  boot(machine: Machine): void {
    const name = `m${machine.number}.${++machine.boots}`
    this.trace.add(name, `starts on ${machine.disk.name}`)
    machine.process = new SimProcess(this, name, machine, machine.disk)
  }

  bootStandaloneGateway(): void {
    this.standaloneGateway = new StandaloneGateway(this, 'gateway')
  }

  newDisk(machine: number): Disk {
    const owners = Array.from({ length: SLOTS }, (_, slot) => ownerOf(machine, slot))
    return new Disk({
      name: `disk${++this.#disks}`,
      clock: this.clock,
      owners,
      ownerOf: (shard) => ownerOf(machine, hashOf(`${shardName(shard)}#`) % SLOTS),
      onApply: (disk, write) => this.#markCheck.writeApplied(disk, write),
      onReject: (disk, shard) => this.#markCheck.turnsRejected(disk, shard),
    })
  }

  machineOf(shard: ShardId): Machine {
    // A gateway opens channels at the engine of its machine: all shards of a player are there.
    const ofLogin = uidShardKey('')
    const isLogin = shard.contract === SESSION_SHARD && shard.key.startsWith(ofLogin)
    const placed = isLogin ? { contract: 'purse', key: shard.key.slice(ofLogin.length) } : shard
    return this.machines[hashOf(shardName(placed)) % this.machines.length]!
  }

  isOn(shard: ShardId, disk: Disk): boolean {
    const machine = this.machineOf(shard)
    return machine.disk === disk || machine.earlierDisks.includes(disk)
  }

  hostOfShard(shard: ShardId): SimProcess | null {
    return this.machineOf(shard).process
  }

  /** A service runs on every machine. */
  processFor({ shard, session }: OpenRequest): SimProcess | null {
    const isService = this.game.shards.get(shard.contract)?.stateless ?? false
    return isService ? this.machines[session[0]! % this.machines.length]!.process : this.hostOfShard(shard)
  }

  /** The process that accepts the connections of this player. */
  hostOf(player: string): GatewayHost | null {
    if (this.standaloneGateway) return this.standaloneGateway
    const process = this.hostOfShard({ contract: 'purse', key: player })
    if (!process?.gateway || process.visibleLifetime.isOver) return null
    return { lifetime: process.visibleLifetime, gateway: process.gateway }
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
