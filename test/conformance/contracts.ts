// The contracts of the game under test. Each contract has its own range of numbers; those of `Bytes` are the ones that
// schemas/vectors/frames.json uses. Invariant: portable, because Node and Workers both import it.

import { command, contract, event, t } from '../../core/game/index.ts'

const text = t.string(200)
const name = t.string(64)
const number = { n: t.u32 }
const account = { sum: t.u32, luck: t.u32, count: t.u32 }

/** Opaque bodies. Its refusal has no legacy body: `{error}` cannot be encoded as raw bytes. */
export const Bytes = contract(
  'bytes',
  {
    c0: command(0, t.bytes(), t.bytes()),
    c1: command(1, t.bytes(), t.bytes()),
    c2: command(2, t.bytes(), t.bytes()),
    c3: command(3, t.bytes(), t.bytes()),
    c4: command(4, t.bytes(), t.bytes()),
    c5: command(5, t.bytes(), t.bytes()),
    c6: command(6, t.bytes(), t.bytes()),
    c7: command(7, t.bytes(), t.bytes()),
    noReply: command(10, t.bytes(), t.optional(t.bytes())),
    cast: command(11, t.bytes()),
    refuse: command(12, t.bytes(), t.bytes()),
    bug: command(13, t.bytes(), t.bytes()),
    slow: command(14, t.bytes(), t.bytes()),
    /** Sends `frame` twice from one buffer that it changes in between, and once more afterwards. */
    reuse: command(15, t.bytes(), t.bytes()),
    c101: command(101, t.bytes(), t.bytes()),
    c10001: command(10001, t.bytes(), t.bytes()),
    high: command(2147483648, t.bytes(), t.bytes()),
    frame: event(50, t.bytes()),
  },
  { codec: 'raw', refuses: ['NO'] },
)

/** For legacy JSON clients. */
export const Desk = contract(
  'desk',
  {
    add: command(201, number, { sum: t.u32 }),
    slow: command(202, number, number),
    refuse: command(203, {}, {}),
    undeclared: command(204, {}, {}),
    bug: command(205, {}, {}),
    limited: command(206, { text }, { size: t.u32 }, { maxBytes: 64 }),
    addNoReply: command(207, number),
    addDurable: command(208, number, { sum: t.u32 }, { durable: true }),
    watch: command(209, {}, { seat: t.u32 }),
    waitAtGate: command(210, { gate: name }, number),
    added: event(250, { sum: t.u32 }),
  },
  { codec: 'json', refuses: ['POOR'], legacy: { refuse: (code) => ({ ok: false, why: code }) } },
)

/** Members, groups and events; its state records the order of turns. */
export const Room = contract('room', {
  join: command(300, { groups: t.array(name, 8) }, { seat: t.u32, size: t.u32 }),
  leave: command(301, { groups: t.array(name, 8) }, { size: t.u32 }),
  info: command(
    302,
    {},
    {
      seat: t.i32,
      size: t.u32,
      session: t.string(32),
      lines: t.array(text, 1_000),
    },
  ),
  say: command(303, { text }, {}),
  sayToOthers: command(304, { text }, {}),
  sayToSeat: command(305, { seat: t.u32, text }, {}),
  sayToGroup: command(306, { group: name, text }, {}),
  pushTexts: command(307, { texts: t.array(text, 64) }, {}),
  slow: command(308, { tag: name, gate: t.optional(name) }, { tag: name }),
  grow: command(309, {}, number),
  saveContext: command(310, {}, {}),
  useSavedContext: command(311, {}, {}),
  joinThenThrow: command(312, {}, {}),
  leaveThenThrow: command(313, {}, {}),
  echo: command(314, { text: t.string(60_000) }, { text: t.string(60_000) }),
  returnUndefined: command(315, {}, t.optional(t.u32)),
  appendLine: command(316, { text }),
  joinThenThrowLater: command(317, { gate: name }, {}),
  message: event(340, { text }),
  left: event(341, { seat: t.u32 }),
  rejoined: event(342, { seat: t.u32 }),
})

/** Durable values. `luck` is random and stored with the effect: it shows whether a turn ran twice. */
export const Ledger = contract(
  'ledger',
  {
    add: command(400, number, account, { durable: true }),
    addNoReply: command(401, number, null, { durable: true }),
    read: command(402, {}, { ...account, bumps: t.u32, size: t.u32 }),
    bump: command(403, {}, number),
    bumpWithResend: command(404, {}, number, { resend: true }),
    changeAllThenFail: command(405, { how: t.oneOf('bug', 'refuse', 'undeclared', 'output') }, number),
    /** The host ends the activation between the commit and the reply. */
    addThenCrash: command(406, number, account, { durable: true }),
    addVolatile: command(407, number, account),
    addAfterGate: command(408, { n: t.u32, gate: name }, account, { durable: true }),
    deleteSum: command(409, {}, {}),
    setText: command(410, { size: t.u32 }, { error: text }),
    watch: command(411, {}, { seat: t.u32 }),
    refuse: command(412, {}, {}, { durable: true }),
    changed: event(440, { sum: t.u32 }),
  },
  { refuses: ['NO'] },
)

/** A service: handlers wait at a named gate until another call opens it. */
export const Gate = contract(
  'gate',
  {
    wait: command(500, { name }, {}),
    open: command(501, { name }, {}),
    waiting: command(502, { name }, number),
    ping: command(503, number, number),
  },
  { key: 'main' },
)

/** A service with three concurrent turns. */
export const Crew = contract('crew', {
  work: command(520, { gate: name }, {}),
})

/** Shards that call each other. */
export const Hop = contract('hop', {
  relay: command(540, { path: t.array(name, 8) }, { trail: t.array(name, 16), error: text }),
  castNotes: command(541, { to: name, texts: t.array(text, 64) }, {}),
  castThenThrow: command(542, { to: name, text }, {}),
  note: command(543, { text }),
  notes: command(544, {}, { notes: t.array(text, 500) }),
  takeFromVault: command(545, number, { left: t.u32, error: text }),
  takeUncaught: command(546, number, {}),
  waitAtGate: command(547, { gate: name }, { error: text }),
  callAfterGate: command(548, { gate: name, to: name }, { error: text }),
  count: command(549, {}, number),
  throwError: command(550, {}, {}),
  callThrowError: command(551, { to: name }, { error: text }),
  holdAtGate: command(552, { gate: name }, {}),
  callCount: command(553, { to: name }, { n: t.u32, error: text }),
})

/** Not public. */
export const Vault = contract('vault', { take: command(580, number, { left: t.u32 }) }, { refuses: ['EMPTY'] })

export const Alarm = contract(
  'alarm',
  {
    set: command(600, { name: t.oneOf('ring', 'chime', 'throwing', 'refusing'), ms: t.u32, text, durable: t.bool }, {}),
    cancel: command(601, { name: t.oneOf('ring', 'chime') }, {}),
    read: command(602, {}, { fired: t.array(text, 64), tries: t.u32 }),
    watch: command(603, {}, {}),
    fired: event(640, { text }),
  },
  { refuses: ['NO'] },
)

export const Ticker = contract('ticker', {
  join: command(650, {}, {}),
  leave: command(651, {}, {}),
  read: command(652, {}, { ticks: t.u32, seconds: t.f64 }),
  joinThenThrow: command(653, {}, {}),
  leaveThenThrow: command(654, {}, {}),
})

export const Stepper = contract('stepper', {
  join: command(660, {}, {}),
  read: command(661, {}, { steps: t.array(t.u32, 2_000) }),
  waitAtGate: command(662, { gate: name }, {}),
})

/** Volatile state with a snapshot. */
export const Snapshots = contract('snapshots', {
  bump: command(670, {}, number),
  read: command(671, {}, number),
})

/** A bug ends its activation. */
export const ResetOnBug = contract('resetonbug', {
  bump: command(680, {}, number),
  throwError: command(681, {}, {}),
})
