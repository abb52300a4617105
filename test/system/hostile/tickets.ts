// Attacks on the login: tickets that nobody signed for us, tickets that were used, and peers that never log in. A player
// of the same name goes on all the while.

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { decodeError, MESSAGE } from '../../../core/wire/message.ts'
import { waitUntil } from '../../support/sockets.ts'
import { bodyOf, callFrame, frame, helloFrame, openFrame, openFields, resumeFrame } from './frames.ts'
import { validClaims, HEADER, encodePart, signInput, signTicket } from './ticketfactory.ts'
import type { RawPeer } from './peer.ts'
import { closeCounter, errorCounter, type Attack, type AttackHarness } from './harness.ts'
import { clientMessage } from './websocket.ts'

export const LOGIN_MS = 600
/** What a busy machine may add to it. */
const TOLERANCE_MS = 1_500
const RAW = 1
const ENTER = 30
const UID = 'the player'

/** Each is refused, and the player of that name is not disturbed. */
const refusedTickets = (name: string, make: () => readonly string[]): Attack => ({
  name,
  verdict: 'ERROR BAD_TICKET, close',
  counters: closeCounter('BAD_TICKET', make().length),
  run: async (stage) => {
    const player = await loginWithTicket(stage)
    for (const bad of make()) {
      const peer = await connectWithTicket(stage, bad)
      await peer.waitForClose()
      assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'], bad)
      const [told] = peer.frames.map(({ body }) => decodeError(body, 0, body.length).message)
      for (const piece of bad.split('.')) assert.ok(piece.length < 8 || !told!.includes(piece), told)
    }
    await assertAnswered(player)
  },
})

async function connectWithTicket(stage: AttackHarness, shown: string): Promise<RawPeer> {
  const peer = await stage.dialTcp()
  await peer.send(helloFrame({ ticket: Buffer.from(shown) }), openFrame(1))
  return peer
}

/** A session that has logged in by a good ticket. */
async function loginWithTicket(stage: AttackHarness, shown = signTicket(validClaims(UID))): Promise<RawPeer> {
  const peer = await connectWithTicket(stage, shown)
  // WELCOME, and OPENED of channels 0 and 1.
  await peer.waitForFrames(3)
  peer.welcome()
  return peer
}

/** It stands, and is answered. */
async function assertAnswered(peer: RawPeer): Promise<void> {
  const before = peer.replies().size
  await peer.send(callFrame(1, before + 1, RAW, 'still there', before))
  await peer.waitForFrames(4 + before)
  assert.equal(
    peer
      .replies()
      .get(before + 1)
      ?.toString(),
    'still there',
  )
  assert.equal(peer.isClosed, false)
}

const now = (): number => Math.floor(Date.now() / 1_000)
const ticketWithClaims = (change: object): string => signTicket(validClaims(UID, change))
/** The same ticket with another header, and a signature that is good. */
const ticketWithHeader = (header: object): string => signTicket(validClaims(UID), header)

function forgedTickets(): string[] {
  const input = `${encodePart(HEADER)}.${encodePart(validClaims(UID))}`
  const good = signInput(input)
  const other = `${encodePart(HEADER)}.${encodePart(validClaims('somebody else'))}`
  const bits = Array.from({ length: 32 }, (_, at) => {
    const bytes = Buffer.from(good, 'base64url')
    bytes[at]! ^= 1
    return bytes
  })
  return [
    signTicket(validClaims(UID), HEADER, 'another secret of 32 bytes or more'),
    `${other}.${good}`,
    `${input}.${good.slice(0, -2)}`,
    `${input}.AA`,
    ...bits.map((bytes) => `${input}.${bytes.toString('base64url')}`),
  ]
}

function otherAlgorithmTickets(): string[] {
  const none = encodePart({ ...HEADER, alg: 'none' })
  const own = { kty: 'oct', k: Buffer.from('x'.repeat(32)).toString('base64url') }
  return [
    `${none}.${encodePart(validClaims(UID))}.`,
    `${none}.${encodePart(validClaims(UID))}.AA`,
    ticketWithHeader({ ...HEADER, alg: 'none' }),
    ticketWithHeader({ ...HEADER, alg: 'NONE' }),
    ticketWithHeader({ ...HEADER, alg: 'HS512' }),
    signTicket(validClaims(UID), { ...HEADER, alg: 'HS512' }, undefined, 'sha512'),
    ticketWithHeader({ ...HEADER, alg: 'RS256' }),
    ticketWithHeader({ ...HEADER, alg: 'EdDSA' }),
    ticketWithHeader({ typ: 'JWT' }),
    ticketWithHeader({ ...HEADER, crit: ['exp'] }),
    ticketWithHeader({ ...HEADER, b64: false, crit: ['b64'] }),
    signTicket(validClaims(UID), { ...HEADER, jwk: own }, 'x'.repeat(32)),
    signTicket(validClaims(UID), { ...HEADER, kid: '../../dev/null' }, ''.padEnd(32, '\0')),
  ]
}

const malformedTickets = (): string[] => [
  'x',
  '..',
  'a.b.c',
  `${signTicket(validClaims(UID))}.`,
  ` ${signTicket(validClaims(UID))}`,
  signTicket('no JSON'),
  signTicket([]),
  signTicket(null),
  signTicket(validClaims(UID), 'no JSON'),
  signTicket(validClaims(UID), []),
  ticketWithClaims({ more: 'x'.repeat(4_096) }),
  'x'.repeat(60_000),
]

export const tickets: readonly Attack[] = [
  refusedTickets('a ticket that is forged is refused', forgedTickets),
  refusedTickets('a ticket by another algorithm than that of the key is refused', otherAlgorithmTickets),
  refusedTickets('a ticket that is no signed JWT, or a long one, is refused', malformedTickets),
  refusedTickets('a ticket that is expired, not yet good, or good for too long is refused', () => [
    ticketWithClaims({ exp: now() - 10 }),
    ticketWithClaims({ exp: 0 }),
    ticketWithClaims({ exp: -1 }),
    ticketWithClaims({ exp: undefined }),
    ticketWithClaims({ exp: 'never' }),
    ticketWithClaims({ exp: 1e300 }),
    ticketWithClaims({ exp: now() + 7_200 }),
    ticketWithClaims({ nbf: now() + 60 }),
  ]),
  refusedTickets('a ticket for somebody else, or by somebody else, is refused', () => [
    ticketWithClaims({ aud: 'another club' }),
    ticketWithClaims({ aud: ['another club', 'a third'] }),
    ticketWithClaims({ aud: undefined }),
    ticketWithClaims({ iss: 'another server' }),
    ticketWithClaims({ iss: undefined }),
  ]),
  refusedTickets('a ticket of nobody, or without a number, is refused', () => [
    ...[undefined, '', ' ', 'a\u0000b', 'x'.repeat(121), 7, null, ['the player']].map((sub) =>
      ticketWithClaims({ sub }),
    ),
    ...[undefined, '', 'two words', 'x'.repeat(65), 7].map((jti) => ticketWithClaims({ jti })),
  ]),
  {
    name: 'a ticket that was used is refused, and whoever used it goes on',
    verdict: 'ERROR BAD_TICKET, close',
    counters: closeCounter('BAD_TICKET', 12),
    run: async (stage) => {
      const once = signTicket(validClaims(UID))
      const player = await loginWithTicket(stage, once)
      const replays = await Promise.all(Array.from({ length: 12 }, () => connectWithTicket(stage, once)))
      await Promise.all(replays.map((peer) => peer.waitForClose()))
      for (const peer of replays) assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'])
      await assertAnswered(player)
    },
  },
  {
    name: 'of one ticket on twelve connections at once one is taken',
    verdict: 'ERROR BAD_TICKET, close, but for one',
    counters: closeCounter('BAD_TICKET', 11),
    run: async (stage) => {
      const once = signTicket(validClaims(UID))
      const peers = await Promise.all(Array.from({ length: 12 }, () => connectWithTicket(stage, once)))
      const welcomed = (): typeof peers => peers.filter(({ frames: heard }) => heard[0]?.command === MESSAGE.WELCOME)
      await waitUntil(() => peers.filter(({ isClosed: closed }) => closed).length === 11, 'all but one are closed')
      await waitUntil(() => welcomed().length > 0, 'one is taken')
      const inside = welcomed()
      assert.equal(inside.length, 1)
      for (const peer of peers.filter((one) => one !== inside[0])) assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'])
      await inside[0]!.waitForFrames(3)
      await assertAnswered(inside[0]!)
    },
  },
  {
    name: 'a resume token of an earlier login opens nothing',
    verdict: 'ERROR REPLACED, close',
    counters: closeCounter('REPLACED', 2),
    run: async (stage) => {
      const first = await loginWithTicket(stage)
      const { session, token } = first.welcome()
      const second = await loginWithTicket(stage)
      await first.waitForClose()
      const late = await stage.dialTcp()
      await late.send(helloFrame({ session, token }), resumeFrame(openFields(1)))
      await late.waitForClose()
      assert.deepEqual(late.errors(), ['0/0 REPLACED'])
      await assertAnswered(second)
    },
  },
  {
    name: 'a resume token from before the login opens nothing once a newer one was used',
    verdict: 'ERROR BAD_TOKEN, close',
    counters: { ...closeCounter('BAD_TOKEN'), ...closeCounter('REPLACED') },
    run: async (stage) => {
      const first = await stage.dialTcp()
      await first.send(helloFrame(), openFrame(1, 'gate', ''), callFrame(1, 1, ENTER, { uid: UID }))
      await first.waitForFrames(5)
      const [stranger] = first.frames.filter(({ command }) => command === MESSAGE.WELCOME)
      const { session, token } = first.welcome()
      const player = await stage.openSession({ session, token })
      const early = await stage.dialTcp()
      const old = stranger!.body.subarray(-stranger!.body.readUInt16BE(27))
      await early.send(helloFrame({ session, token: old }))
      await early.waitForClose()
      assert.deepEqual(early.errors(), ['0/0 BAD_TOKEN'])
      await player.send(openFrame(1))
      await player.waitForFrames(3)
      await first.waitForClose()
    },
  },
  {
    name: 'who has not logged in reaches nothing that is for players',
    verdict: 'ERROR FORBIDDEN, ERROR CLOSED; legacy: silence and a strike',
    counters: { ...errorCounter('FORBIDDEN', 2), ...errorCounter('CLOSED'), firefly_strikes_total: 9 },
    run: async (stage) => {
      const [session, legacy] = [await stage.dialTcp(), await stage.dialTcp()]
      await session.send(helloFrame(), openFrame(1), resumeFrame(openFields(2)), callFrame(1, 1, RAW))
      await session.waitForFrames(4)
      assert.deepEqual(session.errors(), ['1/0 FORBIDDEN', '2/0 FORBIDDEN', '1/1 CLOSED'])
      await legacy.send(...Array.from({ length: 9 }, () => frame(RAW, 'let me in')))
      await legacy.send(frame(ENTER, { uid: 'late' }), frame(RAW, 'now'))
      await legacy.waitForFrames(2)
      assert.deepEqual(legacy.frameTexts(), [
        [ENTER, '{}'],
        [RAW, 'now'],
      ])
    },
  },
  {
    name: 'who does not log in is closed in time, however much it says',
    verdict: 'close LOGIN_TIMEOUT',
    counters: { ...closeCounter('LOGIN_TIMEOUT', 4), firefly_strikes_total: 1 },
    run: async (stage) => {
      const begun = performance.now()
      const [silent, legacy, session] = [await stage.dialTcp(), await stage.dialTcp(), await stage.dialTcp()]
      const web = await stage.dialWebSocket()
      await web.send(clientMessage(helloFrame()))
      await legacy.send(frame(ENTER, bodyOf('{')))
      await session.send(helloFrame(), openFrame(1, 'gate', ''))
      while (!session.isClosed) {
        await session.send(frame(MESSAGE.PING))
        await pause(20)
      }
      const close = await web.waitForCloseFrame()
      await Promise.all([silent.waitForClose(), legacy.waitForClose()])
      const took = performance.now() - begun
      assert.ok(took > LOGIN_MS && took < LOGIN_MS * 1.5 + TOLERANCE_MS, `${took} ms`)
      assert.deepEqual(session.errors(), ['0/0 LOGIN_TIMEOUT'])
      assert.equal(close.code, 4006)
    },
  },
]
