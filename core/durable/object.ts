// The Durable Object that hosts one shard in its own engine. Its inputs are internal WebSockets, RPC of other shards and
// alarms. The platform may evict it between any two events. Invariant: the constructor reopens the channels of
// hibernated sockets before the event is delivered, so all members are present before the first turn.

import { DurableObject } from 'cloudflare:workers'

import { Engine } from '../engine/engine.ts'
import { SharedMemory } from '../engine/sharedmemory.ts'
import type { Game } from '../game/game.ts'
import { routingTableOf, type RoutingTableData } from '../game/routing.ts'
import { BatchMemory } from '../outbox/batchmemory.ts'
import { TieredStore } from '../outbox/tieredstore.ts'
import type { Peer, PeerAnswer, PeerCall } from '../ports/directory.ts'
import type { ChannelIn } from '../ports/link.ts'
import type { Store, StoredCast } from '../ports/store.ts'
import { SqlDatabase } from '../sql/database.ts'
import { planetscaleClient } from '../sql/planetscale.ts'
import { CLOSE_CODES, DefinitionError, ProtocolError } from '../wire/errors.ts'
import { TIMES, type Limits } from '../wire/limits.ts'
import type { OpenRecord } from '../wire/record.ts'
import { readShardRecords } from '../wire/recordreader.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import { COPIES_OF_CHANGE, ISOLATE_BUDGET } from './budget.ts'
import { OBJECT_MAX_PINNED_MS, WorkerClock, WorkerLog } from './clock.ts'
import { IdleWatch } from './idlewatch.ts'
import { ObjectDirectory, type ShardRpc } from './directory.ts'
import { LinkSocket, type LinkAttachment, type LinkSocketHost } from './linksocket.ts'
import { ObjectStore } from './store.ts'

/** Bindings of a Worker that contains a game. */
export interface ShardEnv {
  /** The namespace of the shards themselves. */
  readonly SHARD: DurableObjectNamespace
  /** The URL of the MySQL database, as PlanetScale shows it: https://user:password@host. A secret. */
  readonly DATABASE_URL?: string
}

/** Options of `shardObject`. */
export interface ShardObjectOptions {
  /** Wraps the store of the engine, to inject faults in tests. */
  readonly wrapStore?: (store: Store, ctx: DurableObjectState) => Store
  /** Replaces limits of the engine; see docs/operating.md. */
  readonly limits?: Partial<Limits>
  /** Longest time a non-critical turn is delayed to share a MySQL batch with others. Default 100. */
  readonly flushMs?: number
}

/** Key of the edge's secret, in the storage of the object '@door'. */
const SECRET_KEY = 'secret'
/** Delay before the retry of an alarm whose timers did not commit. */
const ALARM_RETRY_MS = 30_000
/** Longest time an alarm waits for MySQL to take the outbox. */
const ALARM_FLUSH_MS = 10_000

/** The class to export as `Shard` from a game's worker: `export class Shard extends shardObject(game) {}`. */
export function shardObject(
  game: Game,
  options: ShardObjectOptions = {},
): new (ctx: DurableObjectState, env: ShardEnv) => ShardHost {
  const memory = new SharedMemory(ISOLATE_BUDGET)
  const batchMemory = new BatchMemory(ISOLATE_BUDGET.outboxBytes / COPIES_OF_CHANGE)
  const shared = { game, table: routingTableOf(game), memory, batchMemory }
  return class extends ShardHost {
    constructor(ctx: DurableObjectState, env: ShardEnv) {
      super(ctx, env, shared, options)
    }
  }
}

/** Created once per isolate. */
interface SharedByObjects {
  readonly game: Game
  readonly table: RoutingTableData
  readonly memory: SharedMemory
  readonly batchMemory: BatchMemory
}

export class ShardHost extends DurableObject<ShardEnv> implements LinkSocketHost, ShardRpc {
  readonly #game: Game
  readonly #table: RoutingTableData
  readonly #clock = new WorkerClock(OBJECT_MAX_PINNED_MS)
  readonly #log = new WorkerLog()
  readonly #store: ObjectStore
  /** null without MySQL. */
  readonly #tiers: TieredStore | null
  readonly #directory: ObjectDirectory
  readonly #engine: Engine
  readonly #linkSockets = new Map<WebSocket, LinkSocket>()
  /** The newest link of each channel. */
  readonly #newestByChannel = new Map<string, LinkSocket>()
  /** Sockets closed by this object, whose close events are still to come. */
  readonly #endedSockets = new WeakSet<WebSocket>()
  #unflushed: LinkSocket[] = []
  /** Next sweep of detached channels. The engine's own sweep timer would keep the object in memory. */
  #sweepMs = 0
  #id: ShardId | null = null
  readonly #idleWatch: IdleWatch

  constructor(ctx: DurableObjectState, env: ShardEnv, shared: SharedByObjects, options: ShardObjectOptions) {
    super(ctx, env)
    const { game, table, memory, batchMemory } = shared
    this.#game = game
    this.#table = table
    this.#store = new ObjectStore(
      ctx.storage,
      () => this.#clock.now(),
      (error) => this.#log.error('the alarm could not be set', { error }),
      { tables: [...game.tables.values()], outbox: Boolean(env.DATABASE_URL) },
    )
    this.#tiers = this.#openTiers(options, batchMemory)
    const store = this.#tiers ?? this.#store
    const isLocal = (contract: string): boolean => this.#engine.planOf(contract)?.definition.stateless ?? true
    this.#directory = new ObjectDirectory(isLocal, env.SHARD, this.#log, (shard) => this.#engine.localPeer(shard))
    this.#engine = new Engine(
      game,
      {
        clock: this.#clock,
        log: this.#log,
        store: options.wrapStore?.(store, ctx) ?? store,
        directory: this.#directory,
      },
      { evictMs: 0, memory, ...(options.limits ? { limits: options.limits } : {}) },
    )
    this.#idleWatch = new IdleWatch(this.#clock, {
      isIdle: () => this.#engine.isIdle(this.#id!),
      sweep: () => this.#engine.shard(this.#id!).channels.sweep(this.#clock.mono(), TIMES.rememberMs),
      evict: () => this.#engine.evict(this.#id!),
    })
    for (const socket of ctx.getWebSockets()) this.#linkSocketOf(socket)?.reopenChannel()
  }

  #openTiers({ flushMs }: ShardObjectOptions, batchMemory: BatchMemory): TieredStore | null {
    const tables = [...this.#game.tables.values()]
    const url = this.env.DATABASE_URL
    const criticalTable = tables.find((table) => table.class === 'critical')
    if (!url && criticalTable)
      throw new DefinitionError(`table ${criticalTable.name} is critical: set the secret DATABASE_URL`)
    if (!url || tables.length === 0) return null
    const database = new SqlDatabase(planetscaleClient({ url }), { tables })
    const restartAll = (): void => this.#engine.restartWhere(() => true)
    const tiers = new TieredStore({
      local: this.#store,
      database,
      tables,
      clock: this.#clock,
      log: this.#log,
      onStale: restartAll,
      onFenced: restartAll,
      // The platform runs one object per name, so no other writer can hold the lease.
      checksLeaseFirst: false,
      batchMemory,
      ...(flushMs === undefined ? {} : { flushMs }),
    })
    tiers.start()
    return tiers
  }

  get routingVersion(): string {
    return this.#table.version
  }

  /** `/door` and `/secret` (of the object '@door'), or the upgrade to an internal link: `/link?contract=…&key=…`. */
  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url)
    if (url.pathname === '/door') return Response.json(this.#table)
    if (url.pathname === '/secret') return new Response(await this.#secret())
    const contract = url.searchParams.get('contract') ?? ''
    const key = url.searchParams.get('key') ?? ''
    if (url.pathname !== '/link') return new Response('not found', { status: 404 })
    if (!this.#engine.planOf(contract)) return new Response(`no shard serves ${contract}`, { status: 404 })
    if (request.headers.get('Upgrade') !== 'websocket') return new Response('expected a WebSocket', { status: 426 })
    this.#setId({ contract, key })
    const { 0: edge, 1: socket } = new WebSocketPair()
    this.ctx.acceptWebSocket(socket)
    const attachment: LinkAttachment = { contract, key, opening: null, admitted: false, membershipOmitted: false }
    socket.serializeAttachment(attachment)
    this.#linkSockets.set(socket, new LinkSocket(this, socket, attachment))
    this.#idleWatch.stop()
    return new Response(null, { status: 101, webSocket: edge })
  }

  /** The secret that signs resume tokens; the object '@door' creates it at the first request. */
  async #secret(): Promise<Uint8Array<ArrayBuffer>> {
    const { storage } = this.ctx
    let secret = await storage.get<Uint8Array<ArrayBuffer>>(SECRET_KEY)
    if (!secret) {
      secret = crypto.getRandomValues(new Uint8Array(32))
      await storage.put(SECRET_KEY, secret)
    }
    return secret
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#clock.runDueTimers()
    const link = this.#linkSocketOf(socket)
    if (!link) return this.#endedSockets.has(socket) ? undefined : socket.close(1011, 'unknown link')
    if (typeof message === 'string') return link.closeSocket(CLOSE_CODES.TEXT_MESSAGE, 'text on a link')
    try {
      readShardRecords(new Uint8Array(message), link)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#log.error('a link is closed: its gateway sent an invalid record', { error: error.message })
      link.closeSocket(CLOSE_CODES[error.reason], error.message.slice(0, 120))
    }
  }

  override webSocketClose(socket: WebSocket): void {
    this.#clock.runDueTimers()
    if (this.#endedSockets.has(socket)) return
    const link = this.#linkSockets.get(socket) ?? this.#linkSocketOf(socket)
    // After an eviction the channel is reopened first, so that the game receives the leave of its member.
    if (link && !link.isOpen) link.reopenChannel()
    link?.socketClosed()
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket)
  }

  override async alarm(): Promise<void> {
    const id = this.#store.storedShardId()
    if (!id) return
    this.#setId(id)
    this.#engine.wake(id, this.#clock.now())
    this.#clock.runDueTimers()
    this.#watchIdle()
    await this.#tiers?.drain(ALARM_FLUSH_MS)
    this.#store.setNextAlarm(ALARM_RETRY_MS)
  }

  /** A call of another shard, by RPC. */
  call(shard: ShardId, call: PeerCall): Promise<PeerAnswer> {
    return this.#localPeer(shard).call(call)
  }

  /** A cast of another shard, by RPC; resolves when it is in the mailbox. */
  async cast(shard: ShardId, call: PeerCall): Promise<void> {
    this.#localPeer(shard).cast(call)
  }

  /** A durable cast of another shard, by RPC; resolves when its turn is committed. */
  deliver(shard: ShardId, sender: string, cast: StoredCast): Promise<PeerAnswer> {
    return this.#localPeer(shard).deliver(sender, cast)
  }

  #localPeer(shard: ShardId): Peer {
    this.#clock.runDueTimers()
    this.#setId(shard)
    this.#watchIdle()
    return this.#engine.localPeer(shard)
  }

  attachChannel(link: LinkSocket, opening: OpenRecord, admitted: boolean): ChannelIn {
    const { name } = link
    const other = this.#newestByChannel.get(name)
    // The engine refuses a link of an older connection; the other one stays.
    if (!other || other.generation <= opening.generation) {
      other?.closeReplaced()
      this.#newestByChannel.set(name, link)
    }
    return this.#engine.open({ shard: this.#id!, admitted, ...opening }, link)
  }

  scheduleFlush(link: LinkSocket): void {
    this.#unflushed.push(link)
    if (this.#unflushed.length === 1) this.#clock.defer(() => this.#flush())
  }

  socketEnded(link: LinkSocket): void {
    this.#endedSockets.add(link.socket)
    this.#linkSockets.delete(link.socket)
    if (this.#newestByChannel.get(link.name) === link) this.#newestByChannel.delete(link.name)
    this.#watchIdle()
    const now = this.#clock.mono()
    if (!this.#id || now < this.#sweepMs) return
    this.#sweepMs = now + TIMES.rememberMs
    this.#engine.shard(this.#id).channels.sweep(now, TIMES.rememberMs)
  }

  /** Runs `onDeactivate` some time after the last event, while no client is connected: see IdleWatch. */
  #watchIdle(): void {
    const id = this.#id
    if (id && this.#linkSockets.size === 0 && this.#engine.planOf(id.contract)?.definition.hooks.has('onDeactivate'))
      this.#idleWatch.restart()
  }

  #flush(): void {
    const unflushed = this.#unflushed
    this.#unflushed = []
    for (const link of unflushed) link.flush()
  }

  /** Sets which shard this object hosts. The object's name determines it, so it never changes. */
  #setId(id: ShardId): void {
    this.#id ??= id
    this.#directory.setOwnName(shardName(this.#id))
  }

  /** Returns the link of a socket; that of a hibernated socket is restored from its attachment. */
  #linkSocketOf(socket: WebSocket): LinkSocket | null {
    const existing = this.#linkSockets.get(socket)
    if (existing) return existing
    const attachment = socket.deserializeAttachment() as LinkAttachment | null
    if (!attachment || this.#endedSockets.has(socket)) return null
    if (!this.#engine.planOf(attachment.contract)) return null
    this.#setId(attachment)
    // Stored by an earlier version without an address.
    const opening = attachment.opening && { ...attachment.opening, remote: attachment.opening.remote ?? '' }
    const link = new LinkSocket(this, socket, { ...attachment, opening })
    this.#linkSockets.set(socket, link)
    return link
  }
}
