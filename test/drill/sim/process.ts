// One process on one disk: flushers, engine and (unless gateways stand apart) a gateway, wired as core/node/host.ts
// wires them. It ends at any moment, and nothing of it acts afterwards.

import { createHmac } from 'node:crypto'

import { RoutingTable, routingTableOf } from '../../../core/game/routing.ts'
import { Engine } from '../../../core/engine/engine.ts'
import type { ShardLink } from '../../../core/ports/link.ts'
import type { Log, LogFields } from '../../../core/ports/log.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import type { Timer } from '../../../core/ports/clock.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import { TieredStore } from '../../../core/outbox/tieredstore.ts'
import { DEFAULT_FRAME_IDENTITY } from '../../../core/wire/frame.ts'
import { Gateway } from '../../../edge/gateway/gateway.ts'
import type { TokenSigner } from '../../../edge/gateway/token.ts'
import type { Disk } from './disk.ts'
import { Life, type Skew } from './life.ts'
import { Mount } from './mount.ts'
import type { Ends } from './pipe.ts'
import { watched } from './watch.ts'
import { way } from './way.ts'
import type { World } from './world.ts'

/** How a process may end between any two steps of its own. */
export const POINTS = [
  'commit', // a write set is about to be written
  'committed', // and has just been
  'takeover', // a takeover leaves for MySQL
  'load', // rows are asked of MySQL
  'apply', // a batch leaves for MySQL
  'applied', // MySQL has taken one, and its answer has not arrived
  'answered', // that answer arrives
  'given', // an answer is about to leave for a client
  'deliver', // a durable cast arrives
] as const
export type Point = (typeof POINTS)[number]

export class Process {
  readonly life: Life
  /** Its life as the others see it: over before the other one where it is cut off from them, a zombie. */
  readonly presence: Life
  /** A zombie whose shards do not reach others either. */
  isMute = false
  readonly disk: Disk
  readonly mount: Mount
  readonly engine: Engine
  readonly tiers: TieredStore
  readonly gateway: Gateway | null
  /** What a gateway reaches its shards by. */
  readonly link: ShardLink
  readonly ends: Ends = new Map()

  constructor(world: World, name: string, skew: Skew, disk: Disk) {
    const { profile, clock, game, plant, random } = world
    this.disk = disk
    this.life = new Life(name, clock, skew)
    const { life } = this
    this.presence = new Life(name, clock, skew)
    life.onEnd(() => this.presence.end())
    this.mount = new Mount({
      disk,
      life,
      random: random.disk,
      grouped: profile.grouped,
      weather: () => world.diskWeather,
      unreadable: () => world.unreadable,
      reach: (point) => world.reach(point, this),
      told: (what) => {
        world.books.met('diskFaults')
        world.trace.add(name, what)
      },
    })
    const log = logOf(world, life)
    const tables = [...game.tables.values()]
    const endAll = (owner: string): void =>
      this.engine.restartWhere((id) => disk.slots.includes(owner) && disk.ownerOf(id) === owner)
    const direct = way(world, this)
    this.tiers = new TieredStore({
      local: this.mount,
      database: plant?.database?.(direct, world) ?? direct,
      tables,
      clock: life.clock,
      log,
      onStale: endAll,
      onFenced: (owner) => {
        endAll(owner)
        if (!life.over) world.onFenced(this)
      },
      flushMs: profile.flushMs,
    })
    const { rowCacheBytes, maxHeld, maxMailbox, evictMs } = profile
    const limits = { maxRowCacheBytes: rowCacheBytes, maxHeld, maxMailbox }
    const directory = world.mesh.directory(this, (shard) => world.isOn(shard, disk))
    const store = plant?.store?.(this.tiers, world) ?? this.tiers
    this.engine = new Engine(
      game,
      { clock: life.clock, log, store, ...(profile.machines > 1 ? { directory } : {}) },
      { limits, evictMs },
    )
    this.link = watched(world, this)
    this.gateway = profile.apart
      ? null
      : gatewayOf(world, { life, link: this.link, log, limits: this.engine.limits })
    this.#wake(life)
    this.tiers.start()
  }

  /** Lets its commits end and sends MySQL what it takes, as a server that is told to stop. */
  async drain(ms: number): Promise<void> {
    this.gateway?.shutdown()
    await this.engine.drain()
    await this.tiers.drain(ms)
    await this.tiers.close()
  }

  /** Whoever has casts without an answer is awake soon after the start, and again when it was put out of memory. */
  #wake({ clock }: Life): void {
    const alarms = new Map<string, Timer>()
    const set = (shard: ShardId, dueMs: number | null): void => {
      const name = shardName(shard)
      alarms.get(name)?.cancel()
      alarms.delete(name)
      if (dueMs === null || this.life.over) return
      const ring = (): void => {
        if (clock.now() < dueMs) set(shard, dueMs)
        else this.engine.wake(shard)
      }
      alarms.set(name, clock.after(Math.max(0, dueMs - clock.now()), ring))
    }
    this.disk.onWake = set
    for (const { shard } of this.disk.casting()) set(shard, clock.now())
  }
}

/** What a gateway of its own is made of, too. */
export function gatewayOf(
  { game }: World,
  parts: {
    readonly life: Life
    readonly link: ShardLink
    readonly log: Log
    readonly limits: Engine['limits']
  },
): Gateway {
  const { life, link, log, limits } = parts
  const door = new RoutingTable(routingTableOf(game))
  const identity = DEFAULT_FRAME_IDENTITY
  return new Gateway({
    routingTable: door,
    link,
    clock: life.clock,
    log,
    frameIdentity: identity,
    limits,
    tokenSigner: SEAL,
  })
}

/** At once, and the same in every life: so that a seed alone decides. */
const SEAL: TokenSigner = {
  sign: (bytes) => createHmac('sha256', 'the secret of all gateways').update(bytes).digest(),
}

/** Lines that a sound run never has; with what makes them sound nevertheless. */
const ALARMS: readonly (readonly [part: string, sound: (fields: LogFields, world: World) => boolean])[] = [
  // A login waits for another shard, which may be away.
  ['a handler threw', ({ shard }) => !String(shard).startsWith('purse/')],
  ['the answer of a cast failed too often', () => false],
  ['a connection is closed by a bug of ours', () => false],
  ['an acknowledged turn is lost', (_, { profile }) => profile.perils.has('loss')],
  ['MySQL refused a', (_, { profile }) => profile.poison],
  ['could not be taken back', (_, { profile }) => profile.perils.has('disk')],
  ['could not be dropped', () => false],
  ['MySQL takes nothing', ({ error }) => /^DatabaseError: |the disk failed$/.test(String(error))],
  ['the activation ends', ({ cause }) => !/which is (not )?there/.test(String(cause))],
]

export function logOf(world: World, life: Life): Log {
  const line =
    (level: string) =>
    (message: string, fields: LogFields = {}): void => {
      if (life.over) return
      const { shard, owner, cause, error, seq, code } = fields
      const of = [shard, owner, seq, cause, error, code].filter((one) => one !== undefined)
      const what = of.map((one) => String(one as string | number | Error).split('\n')[0]).join(', ')
      world.trace.add(life.name, `${level}: ${message} (${what})`)
      for (const [part, isSound] of ALARMS)
        if (message.includes(part) && !isSound(fields, world)) world.books.break('bug', `${message}: ${what}`)
    }
  return { info: line('info'), warn: line('warn'), error: line('error') }
}
