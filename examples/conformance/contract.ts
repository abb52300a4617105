// The contracts of the conformance game, which authors of SDKs test against: every kind of command and event, and one field of
// every `t` type. schemas/vectors/transcripts use it.

import { command, contract, event, t } from 'firefly-game'

const MAX_FLOOD = 10_000

export const Account = contract('account', {
  /** Logs this session in. */
  login: command(501, { uid: t.id }, {}),
  /** Pushes `notice` to a player's session, wherever it is connected. */
  notify: command(502, { uid: t.id, text: t.string(256) }, {}),
  /** Ends a player's session with KICKED. */
  kick: command(503, { uid: t.id, reason: t.id }, {}),
  notice: event(510, { text: t.string(256) }),
})

/** One field of each type; `schemas/vectors/bodies.json` has its bodies. */
export const everyType = {
  u8: t.u8,
  u16: t.u16,
  u32: t.u32,
  i8: t.i8,
  i16: t.i16,
  i32: t.i32,
  int: t.int(-(2 ** 40), 2 ** 40),
  f32: t.f32,
  f64: t.f64,
  i64: t.i64,
  u64: t.u64,
  decimal: t.decimal(10, 2),
  date: t.date,
  bool: t.bool,
  id: t.id,
  string: t.string(64),
  bytes: t.bytes(64),
  array: t.array(t.u16, 16),
  record: t.record(t.u8, 16),
  object: t.object({ x: t.f64, y: t.f64 }),
  oneOf: t.oneOf('red', 'green'),
  nullable: t.nullable(t.u8),
  optional: t.optional(t.u8),
}

export const Room = contract(
  'room',
  {
    join: command(521, {}, { seat: t.u16 }),
    leave: command(522, {}, {}),
    /** A cast: every member receives `said`. */
    say: command(523, { text: t.string(256) }),
    /** Durable, without an id of the caller: the SDK resends it, and it takes effect once. */
    add: command(524, { amount: t.u32 }, { total: t.u32 }, { durable: true }),
    /** A durable cast of the client. */
    addLater: command(525, { amount: t.u32 }, null, { durable: true }),
    total: command(526, {}, { total: t.u32 }),
    /** Volatile, but safe to run twice. */
    touch: command(527, {}, { count: t.u32 }, { resend: true }),
    /** Volatile: never resent. */
    count: command(528, {}, { count: t.u32 }),
    /** Sends `filler` that often, each with `size` bytes. */
    flood: command(529, { events: t.int(0, MAX_FLOOD), size: t.int(0, 16_384) }, {}),
    /** Sends `position` that often; a slow client receives the newest. */
    move: command(530, { steps: t.int(0, MAX_FLOOD) }, {}),
    echo: command(531, everyType, everyType),
    /** Refused with NO. */
    refuse: command(532, {}, {}),
    /** Answered after so many milliseconds. */
    wait: command(533, { ms: t.int(0, 10_000) }, {}),
    /** Throws: INTERNAL, and the activation ends. */
    reset: command(534, {}, {}),

    said: event(550, { seat: t.u16, text: t.string(256) }),
    filler: event(551, t.bytes(16_384), { codec: 'raw' }),
    position: event(552, { step: t.u32 }, { latest: true }),
    member: event(553, { seat: t.u16, state: t.oneOf('joined', 'away', 'back', 'left') }),
  },
  { refuses: ['NO'] },
)

/** A counter per key, whose effects are all visible: durable calls have no ids, so only the protocol lets them take effect once. */
export const Counter = contract(
  'counter',
  {
    add: command(610, { n: t.u32 }, { sum: t.u32 }, { durable: true }),
    addCast: command(611, { n: t.u32 }, null, { durable: true }),
    bump: command(612, {}, { n: t.u32 }),
    bumpAgain: command(613, {}, { n: t.u32 }, { resend: true }),
    bumpCast: command(614, {}),
    /** Effects so far: durable ones and, of this activation, volatile ones. */
    read: command(615, {}, { sum: t.u32, bumps: t.u32 }),
    join: command(616, {}, { seat: t.u16 }),
    /** Sends `beat` `count` times to all members. */
    emit: command(617, { count: t.u32 }, { n: t.u32 }),
    /** Sends `placed` to all members; only the newest of an entity matters. */
    place: command(618, { entity: t.u32, n: t.u32 }, {}),
    refuse: command(619, {}, {}),
    /** Throws: INTERNAL, and the activation ends. */
    crash: command(620, {}, {}),
    small: command(621, { text: t.string(1_000) }, {}, { maxBytes: 64 }),
    beat: event(630, { n: t.u32 }),
    placed: event(631, { entity: t.u32, n: t.u32 }, { latest: 'entity' }),
  },
  { refuses: ['NO'] },
)

/** For logged-in players. */
export const Lounge = contract('lounge', { enter: command(650, {}, { uid: t.string(64) }) })

/** Admits nobody. */
export const Locked = contract('locked', { enter: command(651, {}, {}) })
