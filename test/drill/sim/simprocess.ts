// One process on one disk: flushers, engine and (unless gateways are standalone) a gateway, wired as core/node/host.ts wires
// them. Invariant: it can end between any two steps, and nothing of it acts afterwards.

import { Engine } from '../../../core/engine/engine.ts'
import { TieredStore } from '../../../core/outbox/tieredstore.ts'
import type { Timer } from '../../../core/ports/clock.ts'
import type { ShardLink } from '../../../core/ports/link.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import type { Gateway } from '../../../edge/gateway/gateway.ts'
import type { AnswerCheck } from './answercheck.ts'
import type { EngineEnds } from './channellink.ts'
import { databaseLink } from './databaselink.ts'
import type { Disk } from './disk.ts'
import { DiskMount, type DiskFaults } from './diskmount.ts'
import type { SimEnvironment } from './environment.ts'
import { ProcessLifetime, type ClockSkew } from './lifetime.ts'
import type { SimMutant } from './mutants.ts'
import { logOf } from './processlog.ts'
import type { ShardNetwork } from './shardnetwork.ts'
import { gatewayOf } from './standalonegateway.ts'

export interface ProcessEnvironment extends SimEnvironment {
  readonly mutant: SimMutant | null
  readonly answerCheck: AnswerCheck
  readonly shardNetwork: ShardNetwork
  readonly diskFaults: DiskFaults
  /** Chance that a read of a disk fails. */
  readonly unreadable: number
  isOn(shard: ShardId, disk: Disk): boolean
  /** The process does not serve its shards any more. */
  onFenced(process: SimProcess): void
}

export class SimProcess {
  readonly lifetime: ProcessLifetime
  /** As other processes see it: over before `lifetime` when the process is cut off from them, as a zombie is. */
  readonly visibleLifetime: ProcessLifetime
  /** A zombie whose shards cannot reach others either. */
  isIsolated = false
  readonly disk: Disk
  readonly mount: DiskMount
  readonly engine: Engine
  readonly tiers: TieredStore
  readonly gateway: Gateway | null
  /** How a gateway reaches its shards. */
  readonly link: ShardLink
  readonly engineEnds: EngineEnds = new Map()

  constructor(environment: ProcessEnvironment, name: string, skew: ClockSkew, disk: Disk) {
    const { profile, clock, game, mutant, random, trace, answerCheck, shardNetwork } = environment
    this.disk = disk
    const lifetime = new ProcessLifetime(name, clock, skew)
    this.lifetime = lifetime
    this.visibleLifetime = new ProcessLifetime(name, clock, skew)
    lifetime.onEnd(() => this.visibleLifetime.end())
    this.mount = new DiskMount({
      disk,
      lifetime,
      random: random.disk,
      grouped: profile.grouped,
      faults: () => environment.diskFaults,
      unreadable: () => environment.unreadable,
      reachPoint: (point) => environment.reachPoint(point, lifetime),
      onFault: (what) => {
        environment.faultInjected('diskFaults')
        trace.add(name, what)
      },
    })
    const log = logOf(environment, lifetime)
    const restartShards = (owner: string): void =>
      this.engine.restartWhere((id) => disk.owners.includes(owner) && disk.ownerOf(id) === owner)
    const mysql = mutant?.database?.(environment.database, environment) ?? environment.database
    this.tiers = new TieredStore({
      local: this.mount.store,
      database: databaseLink(environment, lifetime, mysql),
      tables: [...game.tables.values()],
      clock: lifetime.clock,
      log,
      onStale: restartShards,
      onFenced: (owner) => {
        restartShards(owner)
        if (!lifetime.isOver) environment.onFenced(this)
      },
      flushMs: profile.flushMs,
    })
    const { rowCacheBytes, maxHeld, maxMailbox, evictMs } = profile
    const limits = { maxRowCacheBytes: rowCacheBytes, maxHeld, maxMailbox }
    const directory = shardNetwork.directory(this, (shard) => environment.isOn(shard, disk))
    const store = mutant?.store?.(this.tiers, environment) ?? this.tiers
    this.engine = new Engine(
      game,
      { clock: lifetime.clock, log, store, ...(profile.machines > 1 ? { directory } : {}) },
      { limits, evictMs },
    )
    this.link = answerCheck.checkedLink(this)
    this.gateway = profile.hasStandaloneGateway ? null : gatewayOf(environment, lifetime, this.link, this.engine.limits)
    this.#scheduleWakes()
    this.tiers.start()
  }

  /** Ends its commits and flushes to MySQL, as a server that receives SIGTERM. */
  async drain(ms: number): Promise<void> {
    this.gateway?.shutdown()
    await this.engine.drain()
    await this.tiers.drain(ms)
    await this.tiers.close()
  }

  /** Wakes each shard that has unanswered casts: soon after the start, and again after an eviction. */
  #scheduleWakes(): void {
    const { clock } = this.lifetime
    const timers = new Map<string, Timer>()
    const schedule = (shard: ShardId, dueMs: number | null): void => {
      const name = shardName(shard)
      timers.get(name)?.cancel()
      timers.delete(name)
      if (dueMs === null || this.lifetime.isOver) return
      timers.set(
        name,
        clock.after(Math.max(0, dueMs - clock.now()), () => this.engine.wake(shard, dueMs)),
      )
    }
    this.disk.onWake = schedule
    for (const { shard } of this.disk.shardsWithPendingCasts()) schedule(shard, clock.now())
  }
}
