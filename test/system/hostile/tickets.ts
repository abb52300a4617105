// Attacks on the login: tickets that nobody signed for us, tickets that were used, and peers that never log in. A player
// of the same name goes on all the while.

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { decodeError, MESSAGE } from '../../../core/wire/message.ts'
import { until } from '../../conformance/sockets.ts'
import { bodyOf, call, frame, hello, open, opening, resume } from './frames.ts'
import { claims, HEADER, part, signature, ticket } from './mint.ts'
import type { Peer } from './peer.ts'
import { closes, errors, type Attack, type Stage } from './stage.ts'
import { message } from './websocket.ts'

export const LOGIN_MS = 600
/** What a busy machine may add to it. */
const LATE_MS = 1_500
const RAW = 1
const ENTER = 30
const UID = 'the player'

/** Each is refused, and the player of that name is not disturbed. */
const refused = (name: string, make: () => readonly string[]): Attack => ({
  name,
  verdict: 'ERROR BAD_TICKET, close',
  counters: closes('BAD_TICKET', make().length),
  run: async (stage) => {
    const player = await enters(stage)
    for (const bad of make()) {
      const peer = await shows(stage, bad)
      await peer.ends()
      assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'], bad)
      const [told] = peer.heard.map(({ body }) => decodeError(body, 0, body.length).message)
      for (const piece of bad.split('.')) assert.ok(piece.length < 8 || !told!.includes(piece), told)
    }
    await plays(player)
  },
})

async function shows(stage: Stage, shown: string): Promise<Peer> {
  const peer = await stage.dial()
  await peer.send(hello({ ticket: Buffer.from(shown) }), open(1))
  return peer
}

/** A session that has logged in by a good ticket. */
async function enters(stage: Stage, shown = ticket(claims(UID))): Promise<Peer> {
  const peer = await shows(stage, shown)
  // WELCOME, and OPENED of channels 0 and 1.
  await peer.hears(3)
  peer.welcome()
  return peer
}

/** It stands, and is answered. */
async function plays(peer: Peer): Promise<void> {
  const before = peer.replies().size
  await peer.send(call(1, before + 1, RAW, 'still there', before))
  await peer.hears(4 + before)
  assert.equal(
    peer
      .replies()
      .get(before + 1)
      ?.toString(),
    'still there',
  )
  assert.equal(peer.closed, false)
}

const now = (): number => Math.floor(Date.now() / 1_000)
const said = (change: object): string => ticket(claims(UID, change))
/** The same ticket with another header, and a signature that is good. */
const headed = (header: object): string => ticket(claims(UID), header)

function forged(): string[] {
  const input = `${part(HEADER)}.${part(claims(UID))}`
  const good = signature(input)
  const other = `${part(HEADER)}.${part(claims('somebody else'))}`
  const bits = Array.from({ length: 32 }, (_, at) => {
    const bytes = Buffer.from(good, 'base64url')
    bytes[at]! ^= 1
    return bytes
  })
  return [
    ticket(claims(UID), HEADER, 'another secret of 32 bytes or more'),
    `${other}.${good}`,
    `${input}.${good.slice(0, -2)}`,
    `${input}.AA`,
    ...bits.map((bytes) => `${input}.${bytes.toString('base64url')}`),
  ]
}

function algorithms(): string[] {
  const none = part({ ...HEADER, alg: 'none' })
  const own = { kty: 'oct', k: Buffer.from('x'.repeat(32)).toString('base64url') }
  return [
    `${none}.${part(claims(UID))}.`,
    `${none}.${part(claims(UID))}.AA`,
    headed({ ...HEADER, alg: 'none' }),
    headed({ ...HEADER, alg: 'NONE' }),
    headed({ ...HEADER, alg: 'HS512' }),
    ticket(claims(UID), { ...HEADER, alg: 'HS512' }, undefined, 'sha512'),
    headed({ ...HEADER, alg: 'RS256' }),
    headed({ ...HEADER, alg: 'EdDSA' }),
    headed({ typ: 'JWT' }),
    headed({ ...HEADER, crit: ['exp'] }),
    headed({ ...HEADER, b64: false, crit: ['b64'] }),
    ticket(claims(UID), { ...HEADER, jwk: own }, 'x'.repeat(32)),
    ticket(claims(UID), { ...HEADER, kid: '../../dev/null' }, ''.padEnd(32, '\0')),
  ]
}

const shapes = (): string[] => [
  'x',
  '..',
  'a.b.c',
  `${ticket(claims(UID))}.`,
  ` ${ticket(claims(UID))}`,
  ticket('no JSON'),
  ticket([]),
  ticket(null),
  ticket(claims(UID), 'no JSON'),
  ticket(claims(UID), []),
  said({ more: 'x'.repeat(4_096) }),
  'x'.repeat(60_000),
]

export const tickets: readonly Attack[] = [
  refused('a ticket that is forged is refused', forged),
  refused('a ticket by another algorithm than that of the key is refused', algorithms),
  refused('a ticket that is no signed JWT, or a long one, is refused', shapes),
  refused('a ticket that is expired, not yet good, or good for too long is refused', () => [
    said({ exp: now() - 10 }),
    said({ exp: 0 }),
    said({ exp: -1 }),
    said({ exp: undefined }),
    said({ exp: 'never' }),
    said({ exp: 1e300 }),
    said({ exp: now() + 7_200 }),
    said({ nbf: now() + 60 }),
  ]),
  refused('a ticket for somebody else, or by somebody else, is refused', () => [
    said({ aud: 'another club' }),
    said({ aud: ['another club', 'a third'] }),
    said({ aud: undefined }),
    said({ iss: 'another server' }),
    said({ iss: undefined }),
  ]),
  refused('a ticket of nobody, or without a number, is refused', () => [
    ...[undefined, '', ' ', 'a\u0000b', 'x'.repeat(121), 7, null, ['the player']].map((sub) => said({ sub })),
    ...[undefined, '', 'two words', 'x'.repeat(65), 7].map((jti) => said({ jti })),
  ]),
  {
    name: 'a ticket that was used is refused, and whoever used it goes on',
    verdict: 'ERROR BAD_TICKET, close',
    counters: closes('BAD_TICKET', 12),
    run: async (stage) => {
      const once = ticket(claims(UID))
      const player = await enters(stage, once)
      const replays = await Promise.all(Array.from({ length: 12 }, () => shows(stage, once)))
      await Promise.all(replays.map((peer) => peer.ends()))
      for (const peer of replays) assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'])
      await plays(player)
    },
  },
  {
    name: 'of one ticket on twelve connections at once one is taken',
    verdict: 'ERROR BAD_TICKET, close, but for one',
    counters: closes('BAD_TICKET', 11),
    run: async (stage) => {
      const once = ticket(claims(UID))
      const peers = await Promise.all(Array.from({ length: 12 }, () => shows(stage, once)))
      const welcomed = (): typeof peers => peers.filter(({ heard }) => heard[0]?.command === MESSAGE.WELCOME)
      await until(() => peers.filter(({ closed }) => closed).length === 11, 'all but one are closed')
      await until(() => welcomed().length > 0, 'one is taken')
      const inside = welcomed()
      assert.equal(inside.length, 1)
      for (const peer of peers.filter((one) => one !== inside[0]))
        assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'])
      await inside[0]!.hears(3)
      await plays(inside[0]!)
    },
  },
  {
    name: 'a resume token of an earlier login opens nothing',
    verdict: 'ERROR REPLACED, close',
    counters: closes('REPLACED', 2),
    run: async (stage) => {
      const first = await enters(stage)
      const { session, token } = first.welcome()
      const second = await enters(stage)
      await first.ends()
      const late = await stage.dial()
      await late.send(hello({ session, token }), resume(opening(1)))
      await late.ends()
      assert.deepEqual(late.errors(), ['0/0 REPLACED'])
      await plays(second)
    },
  },
  {
    name: 'a resume token from before the login opens nothing once a newer one was used',
    verdict: 'ERROR BAD_TOKEN, close',
    counters: { ...closes('BAD_TOKEN'), ...closes('REPLACED') },
    run: async (stage) => {
      const first = await stage.dial()
      await first.send(hello(), open(1, 'gate', ''), call(1, 1, ENTER, { uid: UID }))
      await first.hears(5)
      const [stranger] = first.heard.filter(({ command }) => command === MESSAGE.WELCOME)
      const { session, token } = first.welcome()
      const player = await stage.session({ session, token })
      const early = await stage.dial()
      const old = stranger!.body.subarray(-stranger!.body.readUInt16BE(27))
      await early.send(hello({ session, token: old }))
      await early.ends()
      assert.deepEqual(early.errors(), ['0/0 BAD_TOKEN'])
      await player.send(open(1))
      await player.hears(3)
      await first.ends()
    },
  },
  {
    name: 'who has not logged in reaches nothing that is for players',
    verdict: 'ERROR FORBIDDEN, ERROR CLOSED; legacy: silence and a strike',
    counters: { ...errors('FORBIDDEN', 2), ...errors('CLOSED'), firefly_strikes_total: 9 },
    run: async (stage) => {
      const [session, legacy] = [await stage.dial(), await stage.dial()]
      await session.send(hello(), open(1), resume(opening(2)), call(1, 1, RAW))
      await session.hears(4)
      assert.deepEqual(session.errors(), ['1/0 FORBIDDEN', '2/0 FORBIDDEN', '1/1 CLOSED'])
      await legacy.send(...Array.from({ length: 9 }, () => frame(RAW, 'let me in')))
      await legacy.send(frame(ENTER, { uid: 'late' }), frame(RAW, 'now'))
      await legacy.hears(2)
      assert.deepEqual(legacy.texts(), [
        [ENTER, '{}'],
        [RAW, 'now'],
      ])
    },
  },
  {
    name: 'who does not log in is closed in time, however much it says',
    verdict: 'close LOGIN_TIMEOUT',
    counters: { ...closes('LOGIN_TIMEOUT', 4), firefly_strikes_total: 1 },
    run: async (stage) => {
      const begun = performance.now()
      const [silent, legacy, session] = [await stage.dial(), await stage.dial(), await stage.dial()]
      const web = await stage.web()
      await web.send(message(hello()))
      await legacy.send(frame(ENTER, bodyOf('{')))
      await session.send(hello(), open(1, 'gate', ''))
      while (!session.closed) {
        await session.send(frame(MESSAGE.PING))
        await pause(20)
      }
      const close = await web.ends()
      await Promise.all([silent.ends(), legacy.ends()])
      const took = performance.now() - begun
      assert.ok(took > LOGIN_MS && took < LOGIN_MS * 1.5 + LATE_MS, `${took} ms`)
      assert.deepEqual(session.errors(), ['0/0 LOGIN_TIMEOUT'])
      assert.equal(close.code, 4006)
    },
  },
]
