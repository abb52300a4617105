// The faults of one run and their times, drawn from the seed. Invariant: after `untilMs` no fault is injected and all of them
// have ended, so everything must settle.

import type { ShardId } from '../../../core/wire/shardid.ts'
import { Purse } from '../../../examples/market/contract.ts'
import type { Random } from '../../support/random.ts'
import type { MarketPlayer } from '../market/workload.ts'
import type { Disk } from './disk.ts'
import { NO_DISK_FAULTS } from './diskmount.ts'
import { CRASH_POINTS, type CrashPoint } from './environment.ts'
import type { ProcessLifetime } from './lifetime.ts'
import type { FaultKind } from './profile.ts'
import { NO_SHARD_NETWORK_FAULTS } from './shardnetwork.ts'
import type { Machine, Simulation } from './simulation.ts'

/** Maximum times; each is drawn. */
const DOWN_MS = 3_000
const SPELL_MS = 5_000
const AWAY_MS = 8_000
const JUMP_MS = 2_000
const DRAIN_MS = 2_000
const ZOMBIE_MS = 20_000
/** A crash point that is not reached within this time is given up. */
const POINT_MS = 10_000

export class FaultSchedule {
  readonly #simulation: Simulation
  readonly #players: readonly MarketPlayer[]
  readonly #untilMs: number
  readonly #kinds: readonly FaultKind[]
  /** The crash point that ends a process when it is reached once more than `skips` times. */
  #armed: { readonly point: CrashPoint; skips: number } | null = null
  readonly #random: Random
  /** By kind: the number of its last spell. */
  readonly #spells = new Map<FaultKind, number>()
  readonly #inject: Readonly<Record<FaultKind, (machine: Machine) => void>> = {
    crash: (machine) => this.#crashAny(machine),
    point: () => this.#armPoint(),
    cut: () => {
      const isAll = this.#random.chance(0.2)
      const victim = this.#random.pick(this.#players)
      for (const player of this.#players) if (isAll || player === victim) player.cut()
    },
    evict: () => {
      const shard = this.#drawPurse()
      void this.#simulation.hostOfShard(shard)?.engine.evict(shard)
    },
    abort: () => {
      const shard = this.#drawPurse()
      this.#simulation.hostOfShard(shard)?.engine.shard(shard).restart()
    },
    away: () => {
      const { database } = this.#simulation
      database.isUnavailable = true
      this.#endSpell('away', AWAY_MS, () => (database.isUnavailable = false))
    },
    chaos: () => {
      const { database, random } = this.#simulation
      database.randomFaults = {
        random: () => random.mysql.next(),
        unavailable: this.#below(0.3),
        lost: this.#below(0.3),
        late: this.#below(0.3),
        lateMs: this.#random.chance(0.5) ? 500 : 5_000,
        slowMs: this.#random.chance(0.5) ? 20 : 1_000,
      }
      this.#endSpell('chaos', SPELL_MS, () => (database.randomFaults = null))
    },
    disk: () => {
      const chance = (): number => (this.#random.chance(0.5) ? this.#below(0.15) : 0)
      this.#simulation.diskFaults = {
        failed: chance(),
        applied: chance(),
        dropped: chance(),
        slow: chance() * 3,
        slowMs: this.#random.chance(0.5) ? 100 : 3_000,
      }
      this.#endSpell('disk', SPELL_MS, () => (this.#simulation.diskFaults = NO_DISK_FAULTS))
    },
    unreadable: () => {
      this.#simulation.unreadable = this.#below(0.3)
      this.#endSpell('unreadable', SPELL_MS, () => (this.#simulation.unreadable = 0))
    },
    jump: (machine) => void (machine.wallMs = -this.#random.below(JUMP_MS)),
    mesh: () => {
      const faults = { lost: this.#below(0.3), late: this.#below(0.1), twice: this.#below(0.3) }
      this.#simulation.shardNetworkFaults = faults
      this.#endSpell('mesh', SPELL_MS, () => (this.#simulation.shardNetworkFaults = NO_SHARD_NETWORK_FAULTS))
    },
    restart: (machine) => this.#restart(machine),
    loss: (machine) => this.#loseMachine(machine, null),
    back: (machine) => this.#loseMachine(machine, this.#earlierDisk(machine)),
  }

  constructor(simulation: Simulation, players: readonly MarketPlayer[], untilMs: number) {
    this.#simulation = simulation
    this.#players = players
    this.#untilMs = untilMs
    this.#random = simulation.random.faults
    this.#kinds = [...simulation.profile.faults]
    simulation.onPoint = (point, process) => this.#pointReached(point, process)
    // A zombie took the shards over in MySQL after its successor did: the supervisor of the machine restarts it.
    simulation.onFenced = (process) => {
      const machine = simulation.machines.find((candidate) => candidate.process === process)
      simulation.clock.after(0, () => {
        if (machine?.process === process) this.#crash(machine)
      })
    }
    if (simulation.profile.poison) this.#schedulePoison()
    if (this.#kinds.length > 0) this.#scheduleNext()
    simulation.clock.after(untilMs, () => this.#stopFaults())
  }

  get #isOver(): boolean {
    return this.#simulation.clock.mono() >= this.#untilMs
  }

  #scheduleNext(): void {
    const { clock, profile, machines, trace } = this.#simulation
    clock.after(-Math.log(1 - this.#random.next()) * profile.gapMs, () => {
      if (this.#isOver) return
      const kind = this.#random.pick(this.#kinds)
      trace.add('fault', kind)
      this.#simulation.faultInjected(kind)
      this.#inject[kind](this.#random.pick(machines))
      this.#scheduleNext()
    })
  }

  #below(ms: number): number {
    return this.#random.next() * ms
  }

  /** Runs `clear` after a drawn time, unless a later spell of this kind has begun. */
  #endSpell(kind: FaultKind, maxMs: number, clear: () => void): void {
    const number = (this.#spells.get(kind) ?? 0) + 1
    this.#spells.set(kind, number)
    this.#simulation.clock.after(this.#below(maxMs), () => {
      if (this.#spells.get(kind) === number) clear()
    })
  }

  #drawPurse(): ShardId {
    return { contract: Purse.name, key: this.#random.pick(this.#players).name }
  }

  #crashAny(machine: Machine): void {
    const { standaloneGateway, trace } = this.#simulation
    if (!standaloneGateway || !this.#random.chance(0.15)) return this.#crash(machine)
    this.#simulation.crashes++
    trace.add('gateway', 'crashes')
    standaloneGateway.lifetime.end()
    this.#simulation.bootStandaloneGateway()
  }

  #crash(machine: Machine): void {
    const { process } = machine
    if (!process) return
    this.#simulation.crashes++
    this.#simulation.trace.add(process.lifetime.name, 'crashes')
    process.lifetime.end()
    machine.process = null
    this.#bootLater(machine)
  }

  #bootLater(machine: Machine): void {
    if (machine.isStarting) return
    machine.isStarting = true
    this.#simulation.clock.after(this.#below(DOWN_MS), () => {
      machine.isStarting = false
      if (!machine.process) this.#simulation.boot(machine)
    })
  }

  /** Ends the process that reaches a drawn point, the next time or one of the next times. */
  #armPoint(): void {
    const { clock } = this.#simulation
    const armed = { point: this.#random.pick(CRASH_POINTS), skips: this.#random.below(5) }
    this.#armed = armed
    clock.after(POINT_MS, () => {
      if (this.#armed === armed) this.#armed = null
    })
  }

  #pointReached(point: CrashPoint, process: ProcessLifetime): void {
    const armed = this.#armed
    if (armed?.point !== point || this.#isOver || armed.skips-- > 0) return
    this.#armed = null
    const { trace, machines } = this.#simulation
    trace.add('fault', `${process.name} reaches ${point}`)
    const machine = machines.find((candidate) => candidate.process?.lifetime === process)
    if (machine) this.#crash(machine)
    else process.end()
  }

  #restart(machine: Machine): void {
    const { process } = machine
    if (!process) return
    void process.drain(DRAIN_MS).then(() => {
      if (process.lifetime.isOver) return
      process.lifetime.end()
      if (machine.process !== process) return
      machine.process = null
      this.#bootLater(machine)
    })
  }

  /** The machine is lost, or only cut off. Another machine replaces it, with this disk or a new one. */
  #loseMachine(machine: Machine, disk: Disk | null): void {
    const simulation = this.#simulation
    const { clock, trace } = simulation
    const { process, earlierDisks } = machine
    machine.process = null
    if (process && this.#random.chance(0.4)) {
      simulation.faultInjected('zombie')
      trace.add(process.lifetime.name, 'is cut off')
      process.isIsolated = this.#random.chance(0.5)
      process.visibleLifetime.end()
      simulation.isolatedProcesses.push(process)
      clock.after(this.#below(ZOMBIE_MS), () => process.lifetime.end())
    } else if (process) {
      simulation.crashes++
      trace.add(process.lifetime.name, 'is lost')
      process.lifetime.end()
    }
    earlierDisks.push(machine.disk)
    if (disk) earlierDisks.splice(earlierDisks.indexOf(disk), 1)
    machine.disk = disk ?? simulation.newDisk(machine.number)
    this.#bootLater(machine)
  }

  /** A disk that no zombie uses; null = there is none. */
  #earlierDisk({ earlierDisks }: Machine): Disk | null {
    const { isolatedProcesses } = this.#simulation
    const free = earlierDisks.filter(
      (disk) => !isolatedProcesses.some((process) => !process.lifetime.isOver && process.disk === disk),
    )
    return free[this.#random.below(free.length)] ?? null
  }

  /** MySQL rejects some entries of the ledger for a while, and later again. */
  #schedulePoison(): void {
    const { clock, database } = this.#simulation
    const modulus = 3 + this.#random.below(20)
    clock.after(this.#below(this.#untilMs), () => {
      database.refuseChange = ({ table, values }) => {
        const isPoison = table.name === 'ledger' && Number(values['amount']) % modulus === 0
        if (!isPoison || this.#isOver) return null
        this.#simulation.faultInjected('poison')
        return 'poison'
      }
      clock.after(this.#below(SPELL_MS), () => {
        database.refuseChange = null
        if (!this.#isOver) this.#schedulePoison()
      })
    })
  }

  #stopFaults(): void {
    const simulation = this.#simulation
    simulation.trace.add('fault', 'none from now on')
    this.#armed = null
    simulation.database.isUnavailable = false
    simulation.database.randomFaults = null
    simulation.database.refuseChange = null
    simulation.diskFaults = NO_DISK_FAULTS
    simulation.unreadable = 0
    simulation.shardNetworkFaults = NO_SHARD_NETWORK_FAULTS
    for (const process of simulation.isolatedProcesses) process.lifetime.end()
    for (const machine of simulation.machines) if (!machine.process) this.#bootLater(machine)
  }
}
