// The contracts of the fuzzed game: every codec, every kind of field, and a command for every operation of the engine.
// Invariant: no handler throws on an input that its contract accepts, so an INTERNAL is a bug of the product.

import { command, contract, event, t } from '../../../core/game/index.ts'

const number = { n: t.u32 }
const name = t.oneOf('red', 'green', 'blue', 'grey')
const text = t.string(200)

/** The types that JSON has a form for. */
const plain = {
  u8: t.u8,
  i16: t.i16,
  u32: t.u32,
  whole: t.int(-9_007_199_254_740_991, 9_007_199_254_740_991),
  f32: t.optional(t.f32),
  f64: t.f64,
  bool: t.bool,
  id: t.id,
  text,
  colour: t.nullable(name),
  price: t.optional(t.decimal(12, 2)),
  list: t.array(t.object({ x: t.f64, y: t.f64, tag: t.optional(t.string(16)) }), 64),
  table: t.record(t.array(t.i32, 16), 32),
}
const wide = { ...plain, i64: t.i64, u64: t.optional(t.u64), at: t.nullable(t.date), blob: t.bytes(4_096) }

export const Opaque = contract(
  'opaque',
  {
    echo: command(1, t.bytes(), t.bytes()),
    short: command(2, t.bytes(16), t.bytes(16)),
    cast: command(3, t.bytes()),
    deny: command(4, t.bytes(), t.bytes()),
    limited: command(5, t.bytes(), t.bytes(), { maxBytes: 32 }),
    maybe: command(6, t.bytes(), t.optional(t.bytes())),
    hidden: command(7, t.bytes(), t.bytes(), { internal: true }),
    /** The drill's question after each case of a legacy connection. */
    barrier: command(8, t.bytes(), t.bytes()),
    high: command(0xfffffeff, t.bytes(), t.bytes()),
  },
  { codec: 'raw', refuses: ['NO'], legacy: { refuse: () => new Uint8Array([0x4e, 0x4f]) } },
)

export const Text = contract(
  'text',
  {
    echo: command(100, plain, plain),
    mirror: command(101, { n: t.u32, text }, { n: t.u32, text }),
    deny: command(102, number, number),
    cast: command(103, plain),
    keep: command(104, number, { sum: t.u32 }, { durable: true }),
    keepQuietly: command(105, number, null, { durable: true }),
    empty: command(106),
    late: command(107, number, number),
  },
  { codec: 'json', refuses: ['NO'], legacy: { refuse: (code) => ({ no: code }) } },
)

export const Pack = contract(
  'pack',
  {
    echo: command(200, wide, wide),
    count: command(201, {}, number),
    keep: command(202, number, { sum: t.u32 }, { durable: true }),
    put: command(203, { id: t.int(0, 63), text, blob: t.bytes(256) }, { rows: t.u32 }),
    take: command(204, { id: t.int(0, 63) }, { found: t.bool }),
    all: command(205, { limit: t.optional(t.u8) }, { texts: t.array(text, 64) }),
    join: command(206, { groups: t.array(name, 4) }, { seat: t.u32 }),
    leave: command(207, {}, { joined: t.bool }),
    say: command(208, { text, group: t.optional(name) }, {}),
    ask: command(209, { to: t.id }, { n: t.u32, error: t.string(32) }),
    give: command(210, { to: t.id, n: t.u32 }, {}, { durable: true }),
    receive: command(211, number, number, { durable: true, internal: true }),
    remind: command(212, { ms: t.int(0, 200), durable: t.bool }, {}),
    deny: command(213, {}, {}, { durable: true }),
    again: command(214, {}, number, { resend: true }),
    poke: command(215, { uid: t.id }, {}),
    kick: command(216, { uid: t.id }, {}),
    said: event(250, { text }),
    counted: event(251, number, { latest: true }),
  },
  { refuses: ['NO'] },
)

/** A service that binds sessions and logs them in. */
export const LoginService = contract('login', {
  enter: command(300, { player: t.id }, { player: t.id }),
  wait: command(301, number, number),
  login: command(302, { uid: t.id }, { uid: t.id, error: t.string(32) }),
})

/** Reachable for the session that `enter` has bound. */
export const BoundShard = contract('bound', { touch: command(310, {}, number), mine: event(311, number) })

/** Reachable after `login`. */
export const Members = contract('members', { touch: command(320, {}, { uid: t.string(64) }) })

/** Of the well-behaved players; no other client knows their keys. */
export const ControlContract = contract('control', {
  ask: command(400, { n: t.u32, text }, { n: t.u32, text, count: t.u32 }),
  keep: command(401, number, { sum: t.u32 }, { durable: true }),
  counted: event(402, { count: t.u32 }),
})

/** Not reachable for any client. */
export const Private = contract('private', { open: command(500, {}, {}) })

/** Numbers of the events that a legacy client may receive. */
export const EVENTS: ReadonlySet<number> = new Set(
  [Pack, BoundShard, ControlContract].flatMap(({ entries }) =>
    Object.values(entries).flatMap(({ kind, number: id }) => (kind === 'event' ? [id] : [])),
  ),
)
