// The game of the server under attack. Its commands return what passed codec and schema, count what they received, or
// cause large replies and events.

import { command, contract, event, firefly, service, shard, t } from '../../../core/game/index.ts'

export const COMMAND = {
  RAW: 1,
  JSON: 2,
  PACK: 3,
  PAD: 4,
  COUNT: 5,
  TALLY: 6,
  SMALL: 7,
  LATER: 8,
  JOIN: 9,
  SHOUT: 10,
  MOVE: 11,
  COSTLY: 12,
  MEMBERS: 13,
  INTERNAL: 20,
  LOGIN: 30,
  PLAYER_RAW: 40,
  PLAYER_COSTLY: 41,
} as const
export const EVENT = { SHOUTED: 50, MOVED: 51, REFRESHED: 52 } as const
/** The cost of the two costly commands. */
export const COST = 100

const SAFE = Number.MAX_SAFE_INTEGER
/** One optional field of each kind that a body can violate. */
const plain = {
  n: t.optional(t.f64),
  int: t.optional(t.int(-SAFE, SAFE)),
  text: t.optional(t.string(1_000)),
  list: t.optional(t.array(t.f64, 4_096)),
  map: t.optional(t.record(t.f64, 64)),
}
const any = { ...plain, wide: t.optional(t.i64), at: t.optional(t.date), bytes: t.optional(t.bytes(1_000)) }
const size = t.int(0, 60_000)
const text = t.string(60_000)

export const Room = contract('room', {
  raw: command(COMMAND.RAW, t.bytes(), t.bytes(), { codec: 'raw' }),
  json: command(COMMAND.JSON, plain, plain, { codec: 'json' }),
  pack: command(COMMAND.PACK, any, any),
  /** Replies with text of this size. */
  pad: command(COMMAND.PAD, { bytes: size }, { text }, { codec: 'json' }),
  /** Increments a counter and has no reply. */
  count: command(COMMAND.COUNT, t.bytes(), null, { codec: 'raw' }),
  /** Returns the counter, and whether a prototype was modified. */
  tally: command(COMMAND.TALLY, {}, { count: t.u32, polluted: t.bool }, { codec: 'json' }),
  small: command(COMMAND.SMALL, t.bytes(), t.bytes(), { codec: 'raw', maxBytes: 16 }),
  /** The handler awaits its input, which reads the property `then`. */
  later: command(COMMAND.LATER, any, any),
  join: command(COMMAND.JOIN, {}, {}, { codec: 'json' }),
  shout: command(COMMAND.SHOUT, { bytes: size }, {}, { codec: 'json' }),
  move: command(COMMAND.MOVE, { mover: t.u8, n: t.u32, bytes: size }, {}, { codec: 'json' }),
  costly: command(COMMAND.COSTLY, {}, {}, { codec: 'json', cost: COST }),
  /** Returns the number of members. */
  members: command(COMMAND.MEMBERS, {}, { members: t.u32 }, { codec: 'json' }),
  shouted: event(EVENT.SHOUTED, { text }, { codec: 'json' }),
  moved: event(EVENT.MOVED, { mover: t.u8, n: t.u32, text }, { codec: 'json', latest: 'mover' }),
  /** Follows RESYNC. */
  refreshed: event(EVENT.REFRESHED, {}, { codec: 'json' }),
})

/** Not public. */
const Internal = contract('internal', { open: command(COMMAND.INTERNAL, {}, {}) })

/** Public. It accepts any uid without proof, which a real game must not. */
const Login = contract('login', { login: command(COMMAND.LOGIN, { uid: t.string(100) }, {}, { codec: 'json' }) })

/** The shard of one player. */
const Player = contract('player', {
  raw: command(COMMAND.PLAYER_RAW, t.bytes(), t.bytes(), { codec: 'raw' }),
  costly: command(COMMAND.PLAYER_COSTLY, {}, {}, { codec: 'json', cost: COST }),
})

function roomShard() {
  return shard(Room)
    .state(() => ({ count: 0 }))
    .on('raw', (_c, body) => body)
    .on('json', (_c, value) => value)
    .on('pack', (_c, value) => value)
    .on('pad', (_c, { bytes }) => ({ text: 'x'.repeat(bytes) }))
    .on('count', (c) => {
      c.state.count++
    })
    .on('tally', (c) => ({ count: c.state.count, polluted: isPolluted() }))
    .on('small', (_c, body) => body)
    .on('later', async (_c, value) => await Promise.resolve(value))
    .on('join', (c) => {
      c.join()
      return {}
    })
    .on('shout', (c, { bytes }) => {
      c.broadcast.shouted({ text: 'x'.repeat(bytes) })
      return {}
    })
    .on('move', (c, { mover, n, bytes }) => {
      c.broadcast.moved({ mover, n, text: 'x'.repeat(bytes) })
      return {}
    })
    .on('costly', () => ({}))
    .on('members', (c) => ({ members: c.size }))
    .onResync((c) => c.push.refreshed())
}

const internal = shard(Internal).on('open', () => ({}))
const player = shard(Player)
  .players()
  .on('raw', (_c, body) => body)
  .on('costly', () => ({}))
const login = service(Login)
  .public()
  .on('login', async (c, { uid }) => {
    await c.login(uid)
    return {}
  })

export const publicGame = firefly({ room: roomShard().public(), internal, login, player })
/** Without a login only the login service is open. */
export const loginGame = firefly({ room: roomShard().players(), login }, { requireLogin: true })

const initialNames = prototypeNames()

function isPolluted(): boolean {
  return prototypeNames() !== initialNames || 'polluted' in {}
}

function prototypeNames(): string {
  const prototypes = [Object.prototype, Array.prototype, Function.prototype]
  return JSON.stringify(prototypes.map((prototype) => Object.getOwnPropertyNames(prototype)))
}
