// The game that is attacked: it gives back what passed codec and schema, counts what it was given, and can say much at
// once. Its frames have an identity of their own, so that no byte of it is right by accident.

import { command, contract, event, firefly, service, shard, t } from '../../../core/game/index.ts'

const SAFE = Number.MAX_SAFE_INTEGER
/** Everything a body can be wrong in, each field optional. */
const plain = {
  n: t.optional(t.f64),
  int: t.optional(t.int(-SAFE, SAFE)),
  text: t.optional(t.string(1_000)),
  list: t.optional(t.array(t.f64, 4_096)),
  map: t.optional(t.record(t.f64, 64)),
}
const any = { ...plain, wide: t.optional(t.i64), at: t.optional(t.date), bytes: t.optional(t.bytes(1_000)) }

/** Open to everybody. */
export const Yard = contract('yard', {
  raw: command(1, t.bytes(), t.bytes(), { codec: 'raw' }),
  json: command(2, plain, plain, { codec: 'json' }),
  pack: command(3, any, any),
  /** Answers with so many bytes of text. */
  pad: command(4, { bytes: t.int(0, 60_000) }, { text: t.string(60_000) }, { codec: 'json' }),
  /** Counts in silence. */
  count: command(5, t.bytes(), null, { codec: 'raw' }),
  /** What was counted, and whether any prototype is not as it was. */
  tally: command(6, {}, { count: t.u32, polluted: t.bool }, { codec: 'json' }),
  small: command(7, t.bytes(), t.bytes(), { codec: 'raw', maxBytes: 16 }),
  /** An awaited value is looked at for `then`. */
  later: command(8, any, any),
  join: command(9, {}, {}, { codec: 'json' }),
  shout: command(10, { bytes: t.int(0, 60_000) }, {}, { codec: 'json' }),
  /** Who has moved, with so many bytes of what else there is to say of it. */
  move: command(11, { who: t.u8, n: t.u32, bytes: t.int(0, 60_000) }, {}, { codec: 'json' }),
  dear: command(12, {}, {}, { codec: 'json', cost: 100 }),
  /** How many members there are. */
  here: command(13, {}, { members: t.u32 }, { codec: 'json' }),
  heard: event(50, { text: t.string(60_000) }, { codec: 'json' }),
  moved: event(51, { who: t.u8, n: t.u32, text: t.string(60_000) }, { codec: 'json', latest: 'who' }),
  /** To a member who has missed something. */
  fresh: event(52, {}, { codec: 'json' }),
})

/** Closed to players. */
export const Vault = contract('vault', { open: command(20, {}, {}) })

/** Open to everybody. It believes what it is told, as a game must not. */
export const Gate = contract('gate', {
  enter: command(30, { uid: t.string(100) }, {}, { codec: 'json' }),
})

/** For players; its shard is theirs. */
export const Den = contract('den', {
  whisper: command(40, t.bytes(), t.bytes(), { codec: 'raw' }),
  brood: command(41, {}, {}, { codec: 'json', cost: 100 }),
})

/** Not open to anybody yet. */
export function yard() {
  return shard(Yard)
    .state(() => ({ count: 0 }))
    .on('raw', (_c, body) => body)
    .on('json', (_c, value) => value)
    .on('pack', (_c, value) => value)
    .on('pad', (_c, { bytes }) => ({ text: 'x'.repeat(bytes) }))
    .on('count', (c) => {
      c.state.count++
    })
    .on('tally', (c) => ({ count: c.state.count, polluted: polluted() }))
    .on('small', (_c, body) => body)
    .on('later', async (_c, value) => await Promise.resolve(value))
    .on('join', (c) => {
      c.join()
      return {}
    })
    .on('shout', (c, { bytes }) => {
      c.broadcast.heard({ text: 'x'.repeat(bytes) })
      return {}
    })
    .on('move', (c, { who, n, bytes }) => {
      c.broadcast.moved({ who, n, text: 'x'.repeat(bytes) })
      return {}
    })
    .on('dear', () => ({}))
    .on('here', (c) => ({ members: c.size }))
    .resync((c) => c.push.fresh())
}

const vault = shard(Vault).on('open', () => ({}))
const den = shard(Den)
  .players()
  .on('whisper', (_c, body) => body)
  .on('brood', () => ({}))
export const gate = service(Gate)
  .public()
  .on('enter', async (c, { uid }) => {
    await c.login(uid)
    return {}
  })

export default firefly({ yard: yard().public(), vault, gate, den })

const inherited = [Object.prototype, Array.prototype, Function.prototype].map((one) => namesOf(one))

function polluted(): boolean {
  const now = [Object.prototype, Array.prototype, Function.prototype].map((one) => namesOf(one))
  return JSON.stringify(now) !== JSON.stringify(inherited) || 'polluted' in {}
}

function namesOf(prototype: object): string[] {
  return Object.getOwnPropertyNames(prototype)
}
