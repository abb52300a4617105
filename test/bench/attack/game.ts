// The game of `bench attack` and `bench idle`: a room whose players act and receive the state of the world, and a storm
// that sends its members more than a slow client can read. Bodies are raw, so that the load generator encodes nothing.

import { command, contract, event, firefly, shard, t } from '../../../core/game/index.ts'

/** What a flooder sends: legacy frames, PINGs, or channels that it opens and closes. */
export const FLOOD_KINDS = ['legacy', 'ping', 'channel'] as const
export type FloodKind = (typeof FLOOD_KINDS)[number]

const MAX_BYTES = 2_048
const WORLD_BYTES = 256
/** About 10 us. */
const PLOT_STEPS = 10_000
export const STORM_BYTES = 1_024
export const STORM_HZ = 50
const ROOM_HZ = 10

const bytes = t.bytes(MAX_BYTES)
/** A newer event replaces one that is still queued. */
const newest = { codec: 'raw', latest: true } as const

export const Room = contract(
  'room',
  {
    join: command(1, bytes, bytes),
    act: command(2, bytes, bytes),
    /** An act with computation, so that the CPU limit is reached by the server and not by the players. */
    plot: command(3, bytes, bytes),
    world: event(50, bytes, newest),
  },
  { codec: 'raw' },
)

export const Storm = contract(
  'storm',
  {
    enter: command(11, bytes, bytes),
    /** Starts with a u32 counter: no event may be missing. */
    news: event(60, bytes),
    weather: event(61, bytes, newest),
  },
  { codec: 'raw' },
)

const world = new Uint8Array(WORLD_BYTES).fill(7)
const room = shard(Room)
  .public()
  .on('join', (c, body) => {
    c.join()
    return body
  })
  .on('act', (_c, body) => body)
  .on('plot', (_c, body) => {
    let hash = body.length
    for (let n = 0; n < PLOT_STEPS; n++) hash = Math.imul(hash ^ n, 16_777_619)
    return body.fill(hash)
  })
  .tick(ROOM_HZ, (c) => c.broadcast.world(world))

const storm = shard(Storm)
  .public()
  .state(() => ({ count: 0 }))
  .on('enter', (c, body) => {
    c.join()
    return body
  })
  .tick(STORM_HZ, (c) => {
    const body = new Uint8Array(STORM_BYTES)
    new DataView(body.buffer).setUint32(0, ++c.state.count)
    c.broadcast.news(body)
    c.broadcast.weather(body)
  })

export default firefly({ room, storm })
