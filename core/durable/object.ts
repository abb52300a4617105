// The Durable Object that hosts one shard: internal WebSockets in, RPC of other shards in, alarms in; one engine.
// It may be put out of memory between any two events. Invariant: a constructor that finds hibernated sockets opens
// their channels before the event that woke it is delivered, so members are back before the first turn.

import { DurableObject } from 'cloudflare:workers'

import type { Game } from '../game/game.ts'
import { doorTable, type DoorTable } from '../run/door.ts'
import { Engine } from '../run/engine.ts'
import {
  shardName,
  type ChannelIn,
  type PeerAnswer,
  type PeerCall,
  type ShardId,
  type Store,
  type StoredCast,
} from '../run/ports.ts'
import { SqlDatabase } from '../tiers/database.ts'
import { planetscaleClient } from '../tiers/planetscale.ts'
import { Tiers } from '../tiers/tiers.ts'
import { CLOSE_CODES, DefinitionError, ProtocolError } from '../wire/errors.ts'
import { TIMES, type Limits } from '../wire/limits.ts'
import { readShardRecords } from '../wire/envelope.ts'
import type { Opening } from '../wire/record.ts'
import { OBJECT_PIN_MS, WorkerClock, WorkerLog } from './clock.ts'
import { ObjectDirectory, type ShardRpc } from './directory.ts'
import { Line, type Attachment, type LineHost } from './line.ts'
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
const SECRET = 'secret'
/** An alarm whose timers did not commit is tried again after this. */
const ALARM_RETRY_MS = 30_000
/** An alarm that finds turns MySQL has not heard of waits so long for it. */
const FLUSH_MS = 10_000

/** The class to export as `Shard` from a game's worker: `export class Shard extends shardObject(game) {}`. */
export function shardObject(
  game: Game,
  options: ShardObjectOptions = {},
): new (ctx: DurableObjectState, env: ShardEnv) => ShardHost {
  const table = doorTable(game)
  return class extends ShardHost {
    constructor(ctx: DurableObjectState, env: ShardEnv) {
      super(ctx, env, game, table, options)
    }
  }
}

export class ShardHost extends DurableObject<ShardEnv> implements LineHost, ShardRpc {
  readonly #game: Game
  readonly #table: DoorTable
  readonly #clock = new WorkerClock(OBJECT_PIN_MS)
  readonly #log = new WorkerLog()
  readonly #store: ObjectStore
  /** null without MySQL. */
  readonly #tiers: Tiers | null
  readonly #directory: ObjectDirectory
  readonly #engine: Engine
  readonly #lines = new Map<WebSocket, Line>()
  /** The newest line of each channel. */
  readonly #byName = new Map<string, Line>()
  /** Sockets that were closed from here, whose close events are still to come. */
  readonly #ended = new WeakSet<WebSocket>()
  #dirty: Line[] = []
  /** When channels that nobody came back to are next forgotten: the engine's own sweeper would keep us awake. */
  #sweepMs = 0
  #id: ShardId | null = null

  constructor(
    ctx: DurableObjectState,
    env: ShardEnv,
    game: Game,
    table: DoorTable,
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
      receive: (shard, call) => this.#engine.receive(shard, call),
      accept: (shard, call) => this.#accept(shard, call),
      deliver: (shard, sender, cast) => this.#engine.deliver(shard, sender, cast),
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
    for (const socket of ctx.getWebSockets()) this.#line(socket)?.revive()
  }

  #openTiers({ flushMs }: ShardObjectOptions): Tiers | null {
    const tables = [...this.#game.tables.values()]
    const url = this.env.DATABASE_URL
    const needs = tables.find((table) => table.class === 'critical')
    if (!url && needs)
      throw new DefinitionError(`table ${needs.name} is critical: set the secret DATABASE_URL`)
    if (!url || tables.length === 0) return null
    const database = new SqlDatabase(planetscaleClient({ url }), { tables })
    const endAll = (): void => this.#engine.restartWhere(() => true)
    const tiers = new Tiers({
      local: this.#store,
      database,
      tables,
      clock: this.#clock,
      log: this.#log,
      onStale: endAll,
      onFenced: endAll,
      // The platform has one object of a name: nobody else can have gone on.
      asksFirst: false,
      ...(flushMs === undefined ? {} : { flushMs }),
    })
    tiers.start()
    return tiers
  }

  get doorVersion(): string {
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
    this.#become({ contract, key })
    const { 0: edge, 1: socket } = new WebSocketPair()
    this.ctx.acceptWebSocket(socket)
    const attachment: Attachment = { contract, key, opening: null, admitted: false, spilt: false }
    socket.serializeAttachment(attachment)
    this.#lines.set(socket, new Line(this, socket, attachment))
    return new Response(null, { status: 101, webSocket: edge })
  }

  /** What the edges sign resume tokens with, made by the object '@door' when it is first asked. */
  async #secret(): Promise<Uint8Array<ArrayBuffer>> {
    const { storage } = this.ctx
    let secret = await storage.get<Uint8Array<ArrayBuffer>>(SECRET)
    if (!secret) {
      secret = crypto.getRandomValues(new Uint8Array(32))
      await storage.put(SECRET, secret)
    }
    return secret
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#clock.wake()
    const line = this.#line(socket)
    if (!line) return this.#ended.has(socket) ? undefined : socket.close(1011, 'unknown link')
    if (typeof message === 'string') return line.end(CLOSE_CODES.TEXT_MESSAGE, 'text on a link')
    try {
      readShardRecords(new Uint8Array(message), line)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#log.error('a link is closed: its gateway broke the envelope', { error: error.message })
      line.end(CLOSE_CODES[error.reason], error.message.slice(0, 120))
    }
  }

  override webSocketClose(socket: WebSocket): void {
    this.#clock.wake()
    if (this.#ended.has(socket)) return
    const line = this.#lines.get(socket) ?? this.#line(socket)
    // The close itself woke the object: the member comes back once more, so that the game hears it leave.
    if (line && !line.alive) line.revive()
    line?.ended()
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket)
  }

  override async alarm(): Promise<void> {
    const id = this.#store.identity()
    if (!id) return
    this.#become(id)
    this.#engine.wake(id)
    this.#clock.wake()
    await this.#tiers?.drain(FLUSH_MS)
    this.#store.rearm(ALARM_RETRY_MS)
  }

  /** From another shard, by RPC. */
  call(shard: ShardId, call: PeerCall): Promise<PeerAnswer> {
    this.#clock.wake()
    this.#become(shard)
    return this.#engine.receive(shard, call)
  }

  /** From another shard, by RPC; answered when it stands in the mailbox. */
  async cast(shard: ShardId, call: PeerCall): Promise<void> {
    this.#clock.wake()
    this.#become(shard)
    this.#accept(shard, call)
  }

  /** A durable cast of another shard, by RPC; resolves when what it did is committed. */
  deliver(shard: ShardId, sender: string, cast: StoredCast): Promise<PeerAnswer> {
    this.#clock.wake()
    this.#become(shard)
    return this.#engine.deliver(shard, sender, cast)
  }

  attach(line: Line, opening: Opening, admitted: boolean): ChannelIn {
    const { name } = line
    const other = this.#byName.get(name)
    // The engine refuses a line of an older connection, and the other stays.
    if (!other || other.generation <= opening.generation) {
      other?.replaced()
      this.#byName.set(name, line)
    }
    return this.#engine.open({ shard: this.#id!, admitted, ...opening }, line)
  }

  flushSoon(line: Line): void {
    this.#dirty.push(line)
    if (this.#dirty.length === 1) this.#clock.defer(() => this.#flush())
  }

  gone(line: Line): void {
    this.#ended.add(line.socket)
    this.#lines.delete(line.socket)
    if (this.#byName.get(line.name) === line) this.#byName.delete(line.name)
    const now = this.#clock.mono()
    if (!this.#id || now < this.#sweepMs) return
    this.#sweepMs = now + TIMES.rememberMs
    this.#engine.shard(this.#id).attendance.sweep(now, TIMES.rememberMs)
  }

  #flush(): void {
    const dirty = this.#dirty
    this.#dirty = []
    for (const line of dirty) line.flush()
  }

  #accept(shard: ShardId, call: PeerCall): void {
    if (this.#engine.planOf(shard.contract)) this.#engine.shard(shard).peer(call, null)
    else this.#log.warn('a cast is dropped: no shard serves its contract', { contract: shard.contract })
  }

  /** The object learns which shard it is; its name says the same to everybody. */
  #become(id: ShardId): void {
    this.#id ??= id
    this.#directory.own = shardName(this.#id)
  }

  /** The line of a socket; one that slept with the object is made again from its attachment. */
  #line(socket: WebSocket): Line | null {
    const known = this.#lines.get(socket)
    if (known) return known
    const attachment = socket.deserializeAttachment() as Attachment | null
    if (!attachment || this.#ended.has(socket)) return null
    if (!this.#engine.planOf(attachment.contract)) return null
    this.#become(attachment)
    const line = new Line(this, socket, attachment)
    this.#lines.set(socket, line)
    return line
  }
}
