// The Durable Object that hosts one shard: internal WebSockets in, RPC of other shards in, alarms in; one engine.
// It may be put out of memory between any two events. Invariant: a constructor that finds hibernated sockets opens
// their channels before the event that woke it is delivered, so members are back before the first turn.

import { DurableObject } from 'cloudflare:workers'

import type { Game } from '../game/game.ts'
import { routingTableOf, type RoutingTableData } from '../game/routing.ts'
import { Engine } from '../engine/engine.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import type { ChannelIn } from '../ports/link.ts'
import type { PeerAnswer, PeerCall } from '../ports/directory.ts'
import type { Store, StoredCast } from '../ports/store.ts'
import { SqlDatabase } from '../sql/database.ts'
import { planetscaleClient } from '../sql/planetscale.ts'
import { TieredStore } from '../outbox/tieredstore.ts'
import { CLOSE_CODES, DefinitionError, ProtocolError } from '../wire/errors.ts'
import { TIMES, type Limits } from '../wire/limits.ts'
import { readShardRecords } from '../wire/recordreader.ts'
import type { OpenRecord } from '../wire/record.ts'
import { OBJECT_MAX_PINNED_MS, WorkerClock, WorkerLog } from './clock.ts'
import { ObjectDirectory, type ShardRpc } from './directory.ts'
import { LinkSocket, type LinkAttachment, type LinkSocketHost } from './linksocket.ts'
import { ObjectStore } from './store.ts'

export interface ShardEnv {
  /** The namespace of the shards themselves. */
  readonly SHARD: DurableObjectNamespace
  /** The MySQL behind the objects, as PlanetScale gives it: https://user:password@host. A secret. */
  readonly DATABASE_URL?: string
}

export interface ShardObjectOptions {
  /** What stands between the engine and the object's SQLite: the tiers behind it. */
  readonly wrapStore?: (store: Store, ctx: DurableObjectState) => Store
  readonly limits?: Partial<Limits>
  /** How long a turn that nobody waits for may wait for others on its way to MySQL. Default 100. */
  readonly flushMs?: number
}

/** Key of the edges' secret, in the storage of '@door'. */
const SECRET_KEY = 'secret'
/** An alarm whose timers did not commit is tried again after this. */
const ALARM_RETRY_MS = 30_000
/** An alarm that finds turns MySQL has not heard of waits so long for it. */
const ALARM_FLUSH_MS = 10_000

/** The class to export as `Shard` from a game's worker: `export class Shard extends shardObject(game) {}`. */
export function shardObject(
  game: Game,
  options: ShardObjectOptions = {},
): new (ctx: DurableObjectState, env: ShardEnv) => ShardHost {
  const table = routingTableOf(game)
  return class extends ShardHost {
    constructor(ctx: DurableObjectState, env: ShardEnv) {
      super(ctx, env, game, table, options)
    }
  }
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
  /** The newest line of each channel. */
  readonly #newestByChannel = new Map<string, LinkSocket>()
  /** Sockets that were closed from here, whose close events are still to come. */
  readonly #endedSockets = new WeakSet<WebSocket>()
  #unflushed: LinkSocket[] = []
  /** When channels that nobody came back to are next forgotten: the engine's own sweeper would keep us awake. */
  #sweepMs = 0
  #id: ShardId | null = null

  constructor(
    ctx: DurableObjectState,
    env: ShardEnv,
    game: Game,
    table: RoutingTableData,
    options: ShardObjectOptions,
  ) {
    super(ctx, env)
    this.#game = game
    this.#table = table
    this.#store = new ObjectStore(
      ctx.storage,
      () => this.#clock.now(),
      (error) => {
        this.#log.error('the alarm could not be set', { error: String(error) })
      },
      { tables: [...game.tables.values()], outbox: Boolean(env.DATABASE_URL) },
    )
    this.#tiers = this.#openTiers(options)
    const store = this.#tiers ?? this.#store
    const isLocal = (contract: string): boolean => this.#engine.planOf(contract)?.definition.stateless ?? true
    this.#directory = new ObjectDirectory(isLocal, env.SHARD, this.#log, {
      receiveCall: (shard, call) => this.#engine.receiveCall(shard, call),
      receiveCast: (shard, call) => this.#receiveCast(shard, call),
      receiveDurableCast: (shard, sender, cast) => this.#engine.receiveDurableCast(shard, sender, cast),
    })
    this.#engine = new Engine(
      game,
      {
        clock: this.#clock,
        log: this.#log,
        store: options.wrapStore?.(store, ctx) ?? store,
        directory: this.#directory,
      },
      { evictMs: 0, ...(options.limits ? { limits: options.limits } : {}) },
    )
    for (const socket of ctx.getWebSockets()) this.#linkSocketOf(socket)?.reopenChannel()
  }

  #openTiers({ flushMs }: ShardObjectOptions): TieredStore | null {
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
      // The platform has one object of a name: nobody else can have gone on.
      checksLeaseFirst: false,
      ...(flushMs === undefined ? {} : { flushMs }),
    })
    tiers.start()
    return tiers
  }

  get routingVersion(): string {
    return this.#table.version
  }

  /** `/door` and `/secret` (asked of the object '@door'), or the upgrade to an internal link: `/link?contract=…&key=…`. */
  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url)
    if (url.pathname === '/door') return Response.json(this.#table)
    if (url.pathname === '/secret') return new Response(await this.#secret())
    const contract = url.searchParams.get('contract') ?? ''
    const key = url.searchParams.get('key') ?? ''
    if (url.pathname !== '/link') return new Response('not found', { status: 404 })
    if (!this.#engine.planOf(contract)) return new Response(`no shard serves ${contract}`, { status: 404 })
    if (request.headers.get('Upgrade') !== 'websocket')
      return new Response('expected a WebSocket', { status: 426 })
    this.#setId({ contract, key })
    const { 0: edge, 1: socket } = new WebSocketPair()
    this.ctx.acceptWebSocket(socket)
    const attachment: LinkAttachment = {
      contract,
      key,
      opening: null,
      admitted: false,
      membershipOmitted: false,
    }
    socket.serializeAttachment(attachment)
    this.#linkSockets.set(socket, new LinkSocket(this, socket, attachment))
    return new Response(null, { status: 101, webSocket: edge })
  }

  /** What the edges sign resume tokens with, made by the object '@door' when it is first asked. */
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
      this.#log.error('a link is closed: its gateway broke the envelope', { error: error.message })
      link.closeSocket(CLOSE_CODES[error.reason], error.message.slice(0, 120))
    }
  }

  override webSocketClose(socket: WebSocket): void {
    this.#clock.runDueTimers()
    if (this.#endedSockets.has(socket)) return
    const link = this.#linkSockets.get(socket) ?? this.#linkSocketOf(socket)
    // The close itself woke the object: the member comes back once more, so that the game hears it leave.
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
    this.#engine.wake(id)
    this.#clock.runDueTimers()
    await this.#tiers?.drain(ALARM_FLUSH_MS)
    this.#store.setNextAlarm(ALARM_RETRY_MS)
  }

  /** From another shard, by RPC. */
  call(shard: ShardId, call: PeerCall): Promise<PeerAnswer> {
    this.#clock.runDueTimers()
    this.#setId(shard)
    return this.#engine.receiveCall(shard, call)
  }

  /** From another shard, by RPC; answered when it stands in the mailbox. */
  async cast(shard: ShardId, call: PeerCall): Promise<void> {
    this.#clock.runDueTimers()
    this.#setId(shard)
    this.#receiveCast(shard, call)
  }

  /** A durable cast of another shard, by RPC; resolves when what it did is committed. */
  deliver(shard: ShardId, sender: string, cast: StoredCast): Promise<PeerAnswer> {
    this.#clock.runDueTimers()
    this.#setId(shard)
    return this.#engine.receiveDurableCast(shard, sender, cast)
  }

  attachChannel(link: LinkSocket, opening: OpenRecord, admitted: boolean): ChannelIn {
    const { name } = link
    const other = this.#newestByChannel.get(name)
    // The engine refuses a line of an older connection, and the other stays.
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
    const now = this.#clock.mono()
    if (!this.#id || now < this.#sweepMs) return
    this.#sweepMs = now + TIMES.rememberMs
    this.#engine.shard(this.#id).channels.sweep(now, TIMES.rememberMs)
  }

  #flush(): void {
    const unflushed = this.#unflushed
    this.#unflushed = []
    for (const link of unflushed) link.flush()
  }

  #receiveCast(shard: ShardId, call: PeerCall): void {
    if (this.#engine.planOf(shard.contract)) this.#engine.shard(shard).receivePeerCall(call, null)
    else this.#log.warn('a cast is dropped: no shard serves its contract', { contract: shard.contract })
  }

  /** The object learns which shard it is; its name says the same to everybody. */
  #setId(id: ShardId): void {
    this.#id ??= id
    this.#directory.ownName = shardName(this.#id)
  }

  /** The line of a socket; one that slept with the object is made again from its attachment. */
  #linkSocketOf(socket: WebSocket): LinkSocket | null {
    const existing = this.#linkSockets.get(socket)
    if (existing) return existing
    const attachment = socket.deserializeAttachment() as LinkAttachment | null
    if (!attachment || this.#endedSockets.has(socket)) return null
    if (!this.#engine.planOf(attachment.contract)) return null
    this.#setId(attachment)
    const link = new LinkSocket(this, socket, attachment)
    this.#linkSockets.set(socket, link)
    return link
  }
}
