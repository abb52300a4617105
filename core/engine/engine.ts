// The engine: all shards of one process by name. Its host passes events in: `open`, calls of channels, `receiveCall`,
// `wake`. Invariant: it waits, reads the clock and uses the platform only through its ports.

import type { Game } from '../game/game.ts'
import type { SystemCode } from '../wire/errors.ts'
import { DEFAULT_LIMITS, TIMES, type Limits } from '../wire/limits.ts'
import { ValueCache } from './valuecache.ts'
import type { DetachedChannels } from '../channel/channelregistry.ts'
import { MailboxQuota } from './mailbox.ts'
import { EngineMeter } from '../turn/meter.ts'
import { compileGame, type ShardPlan } from '../turn/plan.ts'
import type { Awaitable } from '../game/definition.ts'
import { refuseChannel, type ChannelIn, type ChannelOut, type ShardLink, type OpenRequest } from '../ports/link.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import { systemError, type Directory, type Peer, type PeerAnswer, type PeerCall } from '../ports/directory.ts'
import type { Log } from '../ports/log.ts'
import type { Store, StoredShard, StoredCast } from '../ports/store.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import { RowCache } from '../rows/rowcache.ts'
import { RunLoop } from './runloop.ts'
import type { EngineServices } from './activation.ts'
import { builtInShards } from './sessionshard.ts'
import { type MemoryUser, type SharedMemory } from './sharedmemory.ts'
import { Shard } from './shard.ts'

export interface Ports {
  readonly clock: Clock
  readonly store: Store
  readonly log: Log
  /** Omitted where all shards run in this engine. */
  readonly directory?: Directory
}

export interface EngineOptions {
  readonly limits?: Partial<Limits>
  /** Idle shards are evicted after this; 0 = never, because the host's platform does it. */
  readonly evictMs?: number
  /** What this engine shares with the others of its isolate. Default: nothing, its limits are its own. */
  readonly memory?: SharedMemory
}

export class Engine implements ShardLink, EngineServices, MemoryUser {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
  readonly limits: Limits
  readonly meter = new EngineMeter()
  readonly rowCache: RowCache
  readonly valueCache: ValueCache
  readonly mailboxQuota: MailboxQuota
  readonly runLoop: RunLoop
  readonly detachedChannels: DetachedChannels = new Map()
  readonly #plans: ReadonlyMap<string, ShardPlan>
  readonly #directory: Directory
  readonly #shards = new Map<string, Shard>()
  readonly #evictMs: number
  /** The activation number of stateless services, which have no Store. */
  readonly #statelessActivation: number
  #sweepTimer: Timer | null = null
  #isDraining = false

  constructor(game: Game, ports: Ports, options: EngineOptions = {}) {
    this.clock = ports.clock
    this.log = ports.log
    this.store = ports.store
    const { memory } = options
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.limits = memory?.limitsOf(limits) ?? limits
    this.rowCache = new RowCache(this.limits.maxRowCacheBytes, memory?.rows)
    this.valueCache = new ValueCache(this.clock, this.meter)
    const isSharedFull = memory && ((bytes: number): boolean => memory.isBacklogFull(bytes))
    this.mailboxQuota = new MailboxQuota(this.limits.maxBacklog, this.limits.maxBacklogBytes, isSharedFull)
    memory?.add(this)
    this.runLoop = new RunLoop(this.clock)
    this.#plans = compileGame(game, builtInShards(game))
    this.#directory = ports.directory ?? this
    this.#evictMs = options.evictMs ?? TIMES.evictMs
    this.#statelessActivation = 1 + Math.floor(this.clock.random() * 0xfffffffe)
  }

  get shards(): number {
    return this.#shards.size
  }

  get channelCount(): number {
    let count = 0
    for (const { channels } of this.#shards.values()) count += channels.size
    return count
  }

  get channelBytes(): number {
    let bytes = 0
    for (const { channels } of this.#shards.values()) bytes += channels.retainedBytes
    return bytes
  }

  /** Bytes of the calls in all mailboxes. */
  get backlogBytes(): number {
    return this.mailboxQuota.bytes
  }

  /** Items in all mailboxes. */
  get backlog(): number {
    return this.mailboxQuota.size
  }

  /** Attaches a channel of a gateway, which has checked contract and key. */
  open(request: OpenRequest, out: ChannelOut): ChannelIn {
    if (!this.#hasRoom(request.shard)) return refuseChannel(out, 'OVERLOADED')
    return this.shard(request.shard).channels.openChannel(request, out)
  }

  /** The shard is in memory, or may be added. */
  #hasRoom(id: ShardId): boolean {
    if (this.#shards.size < this.limits.maxShards || this.#shards.has(shardName(id))) return true
    this.meter.overloads++
    return false
  }

  /** How this engine reaches another shard. */
  peer(id: ShardId): Peer {
    return this.#directory === this ? this.localPeer(id) : this.#directory.peer(id)
  }

  planOf(contract: string): ShardPlan | undefined {
    return this.#plans.get(contract)
  }

  /** Handles a durable cast that arrived from another shard. */
  receiveDurableCast(id: ShardId, sender: string, cast: StoredCast): Promise<PeerAnswer> {
    return this.localPeer(id).deliver(sender, cast)
  }

  /** Handles a call that arrived from another shard. */
  receiveCall(id: ShardId, call: PeerCall): Promise<PeerAnswer> {
    return this.localPeer(id).call(call)
  }

  /** A shard of this engine. */
  localPeer(id: ShardId): Peer {
    if (!this.#plans.has(id.contract))
      return this.#refusingPeer(id, 'UNKNOWN_CONTRACT', `no shard serves ${id.contract}`)
    if (!this.#hasRoom(id)) return this.#refusingPeer(id, 'OVERLOADED', `${this.#shards.size} shards are in memory`)
    return {
      call: (call) => new Promise((resolve) => this.shard(id).calls.receivePeerCall(call, resolve)),
      cast: (call) => this.shard(id).calls.receivePeerCall(call, null),
      deliver: (sender, cast) =>
        new Promise((resolve) => this.shard(id).calls.receiveDurableCast(sender, cast, resolve)),
    }
  }

  #refusingPeer(id: ShardId, code: SystemCode, message: string): Peer {
    const refuse = (): Promise<PeerAnswer> => Promise.resolve(systemError(code, message))
    const cast = (): void => this.log.warn(`a cast is dropped: ${message}`, { shard: shardName(id) })
    return { call: refuse, cast, deliver: refuse }
  }

  /** Activates a shard whose durable timer or cast is due at `dueMs` by the wall clock as it was when that was stored. */
  wake(id: ShardId, dueMs: number): void {
    if (this.#plans.has(id.contract)) this.shard(id).wake(dueMs)
    else this.log.warn('a stored timer belongs to a contract that the game does not serve', { shard: shardName(id) })
  }

  shard(id: ShardId): Shard {
    const plan = this.#plans.get(id.contract)
    if (!plan) throw new Error(`no shard serves ${id.contract}`)
    const own = plan.definition.stateless ? { contract: id.contract, key: '' } : id
    const name = shardName(own)
    let shard = this.#shards.get(name)
    if (!shard) {
      this.#shards.set(name, (shard = new Shard(this, own, plan)))
      this.#armSweeper()
    }
    return shard
  }

  openShard(id: ShardId, plan: ShardPlan): Awaitable<StoredShard> {
    if (!plan.definition.stateless) return this.store.open(id)
    return { activation: this.#statelessActivation, kv: new Map(), timers: [], snapshot: null, casts: [] }
  }

  /** Runs `onDeactivate`, saves all snapshots and waits for all commits. A host drains its gateways before. */
  async drain(): Promise<void> {
    this.#isDraining = true
    this.#sweepTimer?.cancel()
    // The hook of one shard may call another, so no shard refuses calls yet.
    await Promise.all([...this.#shards.values()].map((shard) => shard.deactivate(false)))
    const activations = [...this.#shards.values()].flatMap((shard) => shard.activation ?? [])
    await Promise.all(activations.map((activation) => activation.saveState()))
  }

  /** Restarts the shards whose state in memory no longer matches their Store. */
  restartWhere(matches: (id: ShardId) => boolean): void {
    for (const shard of this.#shards.values())
      if (shard.activation && !shard.plan.definition.stateless && matches(shard.id)) shard.restart()
  }

  /** Nothing keeps the shard active: no channel, no member, no work, no volatile timer. */
  isIdle(id: ShardId): boolean {
    return this.#shards.get(shardName(id))?.isIdle ?? true
  }

  /** The wall clock has jumped: runs the durable timers that are due now. */
  wallClockJumped(): void {
    const now = this.clock.now()
    for (const { activation } of this.#shards.values()) activation?.timers.runDue(now)
  }

  /** Evicts one shard from memory. */
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

  #sweep(): void {
    const now = this.clock.mono()
    for (const [name, shard] of this.#shards) if (shard.sweep(now)) this.#shards.delete(name)
  }
}
