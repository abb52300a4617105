// The engine: shards by name, and the one loop in which all their turns run. Hosts bring events in (`open`, the
// channels' calls, `peer`); nothing here waits, reads a clock or touches a platform but through the ports.

import type { Game } from '../game/game.ts'
import { DEFAULT_LIMITS, TIMES, type Limits } from '../wire/limits.ts'
import { ValueCache } from './valuecache.ts'
import type { DetachedChannels } from '../channel/channelregistry.ts'
import { MailboxQuota } from './mailbox.ts'
import { EngineMeter } from './meter.ts'
import { compileGame, type ShardPlan } from '../turn/plan.ts'
import type { Awaitable } from '../game/shard.ts'
import type { ChannelIn, ChannelOut, ShardLink, OpenRequest } from '../ports/link.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Directory, Peer, PeerAnswer, PeerCall } from '../ports/directory.ts'
import type { Log } from '../ports/log.ts'
import type { Outcome, Store, StoredShard, StoredCast, WriteSet } from '../ports/store.ts'
import type { ShardId } from '../wire/shardid.ts'
import { refuseChannel } from '../ports/link.ts'
import { shardName } from '../wire/shardid.ts'
import { RowCache } from '../rows/rowcache.ts'
import { Shard } from './shard.ts'

/** Turns in one go before the event loop may breathe. */
const MAX_TURNS_PER_RUN = 2_048

export interface Ports {
  readonly clock: Clock
  readonly store: Store
  readonly log: Log
  /** Left out where every shard lives in this engine. */
  readonly directory?: Directory
}

export interface EngineOptions {
  readonly limits?: Partial<Limits>
  /** Idle shards leave memory after this; 0 = never by themselves (the host's platform does it). */
  readonly evictMs?: number
}

export class Engine implements ShardLink, Directory {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
  readonly limits: Limits
  readonly meter = new EngineMeter()
  readonly rowCache: RowCache
  readonly valueCache: ValueCache
  readonly mailboxQuota: MailboxQuota
  readonly detachedChannels: DetachedChannels = new Map()
  readonly #plans: ReadonlyMap<string, ShardPlan>
  readonly #directory: Directory
  readonly #shards = new Map<string, Shard>()
  readonly #queue: Shard[] = []
  readonly #evictMs: number
  /** What stateless services are numbered with: they have no store. */
  readonly #statelessActivation: number
  #isRunning = false
  #isResumeScheduled = false
  #sweepTimer: Timer | null = null
  #isDraining = false

  constructor(game: Game, ports: Ports, options: EngineOptions = {}) {
    this.clock = ports.clock
    this.log = ports.log
    this.store = ports.store
    this.limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.rowCache = new RowCache(this.limits.maxRowCacheBytes)
    this.valueCache = new ValueCache(this.clock, this.meter)
    this.mailboxQuota = new MailboxQuota(this.limits.maxBacklog, this.limits.maxBacklogBytes)
    this.#plans = compileGame(game)
    this.#directory = ports.directory ?? this
    this.#evictMs = options.evictMs ?? TIMES.evictMs
    this.#statelessActivation = 1 + Math.floor(this.clock.random() * 0xfffffffe)
  }

  get shards(): number {
    return this.#shards.size
  }

  /** Work that waits in all mailboxes. */
  get backlog(): number {
    return this.mailboxQuota.size
  }

  /** Attaches a gateway's channel. Contract and key were checked at the door; here they are trusted to exist. */
  open(request: OpenRequest, out: ChannelOut): ChannelIn {
    if (!this.#hasRoom(request.shard)) return refuseChannel(out, 'OVERLOADED')
    return this.shard(request.shard).channels.openChannel(request, out)
  }

  /** The shard is here, or may come. */
  #hasRoom(id: ShardId): boolean {
    if (this.#shards.size < this.limits.maxShards || this.#shards.has(shardName(id))) return true
    this.meter.overloads++
    return false
  }

  /** Where another shard is reached from here. */
  peer(id: ShardId): Peer {
    return this.#directory === this ? this.#localPeer(id) : this.#directory.peer(id)
  }

  planOf(contract: string): ShardPlan | undefined {
    return this.#plans.get(contract)
  }

  /** A durable cast that arrived from another shard. */
  receiveDurableCast(id: ShardId, sender: string, cast: StoredCast): Promise<PeerAnswer> {
    return this.#localPeer(id).deliver(sender, cast)
  }

  /** A call that arrived from another shard. */
  receiveCall(id: ShardId, call: PeerCall): Promise<PeerAnswer> {
    return this.#localPeer(id).call(call)
  }

  #localPeer(id: ShardId): Peer {
    if (!this.#plans.has(id.contract)) {
      const answer = {
        kind: 'system',
        code: 'UNKNOWN_CONTRACT',
        message: `no shard serves ${id.contract}`,
      } as const
      const refuse = (): Promise<PeerAnswer> => Promise.resolve(answer)
      return { call: refuse, cast: () => this.log.warn(answer.message), deliver: refuse }
    }
    if (!this.#hasRoom(id)) {
      const answer = {
        kind: 'system',
        code: 'OVERLOADED',
        message: `${this.#shards.size} shards are here`,
      } as const
      const refuse = (): Promise<PeerAnswer> => Promise.resolve(answer)
      return {
        call: refuse,
        cast: () => this.log.warn('a cast is dropped', { shard: shardName(id) }),
        deliver: refuse,
      }
    }
    return {
      call: (call) => new Promise((resolve) => this.shard(id).receivePeerCall(call, resolve)),
      cast: (call) => this.shard(id).receivePeerCall(call, null),
      deliver: (sender, cast) =>
        new Promise((resolve) => this.shard(id).receiveDurableCast(sender, cast, resolve)),
    }
  }

  /** A durable timer of this shard is near. */
  wake(id: ShardId): void {
    if (this.#plans.has(id.contract)) this.shard(id).wake()
    else
      this.log.warn('a stored timer belongs to a contract that the game does not serve', {
        shard: shardName(id),
      })
  }

  shard(id: ShardId): Shard {
    const plan = this.#plans.get(id.contract)
    if (!plan) throw new Error(`no shard serves ${id.contract}`)
    const own = plan.definition.stateless ? { contract: id.contract, key: '' } : id
    const name = shardName(own)
    let shard = this.#shards.get(name)
    if (!shard) {
      shard = new Shard(this, own, plan)
      this.#shards.set(name, shard)
      this.#armSweeper()
    }
    return shard
  }

  /** Begins a run of turns; false when one is under way and the caller must queue. */
  tryBeginRun(): boolean {
    if (this.#isRunning) return false
    this.#isRunning = true
    return true
  }

  /** Ends the outermost run: whatever its turns caused is run now, a burst at a time. */
  endRun(last: Shard): void {
    this.#enqueue(last)
    try {
      if (this.#queue.length > 0) this.#runQueue()
    } finally {
      this.#isRunning = false
    }
  }

  /** This shard has mail. */
  scheduleShard(shard: Shard): void {
    if (this.tryBeginRun()) this.endRun(shard)
    else this.#enqueue(shard)
  }

  #enqueue(shard: Shard): void {
    if (shard.isQueued || !shard.isReady) return
    shard.isQueued = true
    this.#queue.push(shard)
  }

  #runQueue(): void {
    let burst = MAX_TURNS_PER_RUN
    for (let shard = this.#queue.shift(); shard; shard = this.#queue.shift()) {
      shard.isQueued = false
      if (shard.isReady) shard.runNext()
      this.#enqueue(shard)
      if (--burst === 0) return this.#scheduleResume()
    }
  }

  #scheduleResume(): void {
    if (this.#isResumeScheduled || this.#queue.length === 0) return
    this.#isResumeScheduled = true
    this.clock.after(0, () => {
      this.#isResumeScheduled = false
      const [first] = this.#queue
      if (first && this.tryBeginRun()) this.endRun(first)
    })
  }

  commit(write: WriteSet): Awaitable<Outcome> {
    this.meter.commits++
    return this.store.commit(write)
  }

  openShard(id: ShardId, plan: ShardPlan): Awaitable<StoredShard> {
    if (!plan.definition.stateless) return this.store.open(id)
    return { activation: this.#statelessActivation, kv: new Map(), timers: [], snapshot: null, casts: [] }
  }

  /** Saves every snapshot and waits for all commits; a host drains its gateways first. */
  async drain(): Promise<void> {
    this.#isDraining = true
    this.#sweepTimer?.cancel()
    const activations = [...this.#shards.values()].flatMap((shard) => shard.activation ?? [])
    await Promise.all(activations.map((activation) => activation.saveState()))
  }

  /** What these shards know of their Store is not to be believed any more: their activations end. */
  restartWhere(matches: (id: ShardId) => boolean): void {
    for (const shard of this.#shards.values())
      if (shard.activation && !shard.plan.definition.stateless && matches(shard.id)) shard.restart()
  }

  /** Puts one shard out of memory, as the platform or the sweeper would. */
  async evict(id: ShardId): Promise<void> {
    await this.#shards.get(shardName(id))?.evict()
  }

  #armSweeper(): void {
    if (this.#evictMs === 0 || this.#sweepTimer || this.#isDraining) return
    this.#sweepTimer = this.clock.after(this.#evictMs / 2, () => {
      this.#sweepTimer = null
      this.#sweep()
      if (this.#shards.size > 0) this.#armSweeper()
    })
  }

  /** A shard that was idle for two sweeps leaves. */
  #sweep(): void {
    const now = this.clock.mono()
    for (const [name, shard] of this.#shards) {
      shard.channels.sweep(now, TIMES.rememberMs)
      if (!shard.isIdle || shard.activation?.canEvict === false) {
        shard.idleSweeps = 0
        continue
      }
      if (shard.isEmpty) this.#shards.delete(name)
      else if (++shard.idleSweeps >= 2) void shard.evict()
    }
  }
}
