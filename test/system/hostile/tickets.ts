// Attacks on the login: invalid tickets, used tickets, and peers that do not log in. A session of the same uid continues
// meanwhile.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeError, MESSAGE } from '../../../core/wire/message.ts'
import { waitUntil } from '../../support/sockets.ts'
import { closeCounter, errorCounter, type Attack } from './attack.ts'
import { callFrame, frame, helloAndOpen, helloFrame, openFields, openFrame, resumeFrame } from './frames.ts'
import { COMMAND } from './game.ts'
import type { AttackHarness } from './harness.ts'
import type { RawPeer } from './peer.ts'
import { encodePart, HEADER, signInput, signTicket, validClaims } from './ticketfactory.ts'
import { clientMessage } from './websocket.ts'
import { TOLERANCE_MS } from '../../support/wait.ts'

export const LOGIN_MS = 600
const { LOGIN, RAW } = COMMAND
const UID = 'player'

/** Each ticket is rejected, and the session of that uid continues. */
const rejectedTickets = (name: string, make: () => readonly string[]): Attack => ({
  name,
  receives: 'ERROR BAD_TICKET, close',
  counters: closeCounter('BAD_TICKET', make().length),
  run: async (harness) => {
    const player = await loginWithTicket(harness)
    for (const ticket of make()) {
      const peer = await connectWithTicket(harness, ticket)
      await peer.waitForClose()
      assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'], ticket)
      const [message] = peer.frames.map(({ body }) => decodeError(body, 0, body.length).message)
      for (const part of ticket.split('.')) assert.ok(part.length < 8 || !message!.includes(part), message)
    }
    await player.assertAnswered()
  },
})

async function connectWithTicket(harness: AttackHarness, ticket: string): Promise<RawPeer> {
  const peer = await harness.dialTcp()
  await peer.send(helloFrame({ ticket: Buffer.from(ticket) }), openFrame(1))
  return peer
}

async function loginWithTicket(harness: AttackHarness, ticket = signTicket(validClaims(UID))): Promise<RawPeer> {
  const peer = await connectWithTicket(harness, ticket)
  // WELCOME, and OPENED of channels 0 and 1.
  await peer.waitForFrames(3)
  peer.welcome()
  return peer
}

const now = (): number => Math.floor(Date.now() / 1_000)
const ticketWithClaims = (change: object): string => signTicket(validClaims(UID, change))
/** A valid signature with another header. */
const ticketWithHeader = (header: object): string => signTicket(validClaims(UID), header)

function forgedTickets(): string[] {
  const input = `${encodePart(HEADER)}.${encodePart(validClaims(UID))}`
  const signature = signInput(input)
  const otherInput = `${encodePart(HEADER)}.${encodePart(validClaims('another player'))}`
  const wrongBits = Array.from({ length: 32 }, (_, at) => {
    const bytes = Buffer.from(signature, 'base64url')
    bytes[at]! ^= 1
    return bytes
  })
  return [
    signTicket(validClaims(UID), HEADER, 'another secret of 32 bytes or more'),
    `${otherInput}.${signature}`,
    `${input}.${signature.slice(0, -2)}`,
    `${input}.AA`,
    ...wrongBits.map((bytes) => `${input}.${bytes.toString('base64url')}`),
  ]
}

function otherAlgorithmTickets(): string[] {
  const none = encodePart({ ...HEADER, alg: 'none' })
  const embeddedKey = { kty: 'oct', k: Buffer.from('x'.repeat(32)).toString('base64url') }
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
    signTicket(validClaims(UID), { ...HEADER, jwk: embeddedKey }, 'x'.repeat(32)),
    signTicket(validClaims(UID), { ...HEADER, kid: '../../dev/null' }, ''.padEnd(32, '\0')),
  ]
}

const malformedTickets = (): string[] => [
  'x',
  '..',
  'a.b.c',
  `${signTicket(validClaims(UID))}.`,
  ` ${signTicket(validClaims(UID))}`,
  signTicket('not JSON'),
  signTicket([]),
  signTicket(null),
  signTicket(validClaims(UID), 'not JSON'),
  signTicket(validClaims(UID), []),
  ticketWithClaims({ more: 'x'.repeat(4_096) }),
  'x'.repeat(60_000),
]

export const tickets: readonly Attack[] = [
  rejectedTickets('rejects a forged ticket', forgedTickets),
  rejectedTickets('rejects a ticket with another algorithm than that of the key', otherAlgorithmTickets),
  rejectedTickets('rejects a ticket that is not a signed JWT or is too long', malformedTickets),
  rejectedTickets('rejects a ticket that is expired, not yet valid, or valid for too long', () => [
    ticketWithClaims({ exp: now() - 10 }),
    ticketWithClaims({ exp: 0 }),
    ticketWithClaims({ exp: -1 }),
    ticketWithClaims({ exp: undefined }),
    ticketWithClaims({ exp: 'never' }),
    ticketWithClaims({ exp: 1e300 }),
    ticketWithClaims({ exp: now() + 7_200 }),
    ticketWithClaims({ nbf: now() + 60 }),
  ]),
  rejectedTickets('rejects a ticket with another audience or issuer', () => [
    ticketWithClaims({ aud: 'another game' }),
    ticketWithClaims({ aud: ['another game', 'a third'] }),
    ticketWithClaims({ aud: undefined }),
    ticketWithClaims({ iss: 'another server' }),
    ticketWithClaims({ iss: undefined }),
  ]),
  rejectedTickets('rejects a ticket without a valid subject or id', () => [
    ...[undefined, '', ' ', 'a\u0000b', 'x'.repeat(121), 7, null, ['player']].map((sub) => ticketWithClaims({ sub })),
    ...[undefined, '', 'two words', 'x'.repeat(65), 7].map((jti) => ticketWithClaims({ jti })),
  ]),
  {
    name: 'rejects a used ticket, and keeps the session that used it',
    receives: 'ERROR BAD_TICKET, close',
    counters: closeCounter('BAD_TICKET', 12),
    run: async (harness) => {
      const ticket = signTicket(validClaims(UID))
      const player = await loginWithTicket(harness, ticket)
      const replays = await Promise.all(Array.from({ length: 12 }, () => connectWithTicket(harness, ticket)))
      await Promise.all(replays.map((peer) => peer.waitForClose()))
      for (const peer of replays) assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'])
      await player.assertAnswered()
    },
  },
  {
    name: 'accepts one of twelve connections with the same ticket',
    receives: 'ERROR BAD_TICKET, close; one WELCOME',
    counters: closeCounter('BAD_TICKET', 11),
    run: async (harness) => {
      const ticket = signTicket(validClaims(UID))
      const peers = await Promise.all(Array.from({ length: 12 }, () => connectWithTicket(harness, ticket)))
      const isWelcomed = ({ frames }: RawPeer): boolean => frames[0]?.command === MESSAGE.WELCOME
      await waitUntil(() => peers.filter(({ isClosed }) => isClosed).length === 11, 'all but one are closed')
      await waitUntil(() => peers.some(isWelcomed), 'one WELCOME')
      const [welcomed, ...others] = peers.filter(isWelcomed)
      assert.equal(others.length, 0)
      for (const peer of peers.filter((peer) => peer !== welcomed)) assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'])
      await welcomed!.waitForFrames(3)
      await welcomed!.assertAnswered()
    },
  },
  {
    name: 'rejects a resume token of an earlier login',
    receives: 'ERROR REPLACED, close',
    counters: closeCounter('REPLACED', 2),
    run: async (harness) => {
      const first = await loginWithTicket(harness)
      const { session, token } = first.welcome()
      const second = await loginWithTicket(harness)
      await first.waitForClose()
      const resuming = await harness.sendUntilClosed(helloFrame({ session, token }), resumeFrame(openFields(1)))
      assert.deepEqual(resuming.errors(), ['0/0 REPLACED'])
      await second.assertAnswered()
    },
  },
  {
    name: 'rejects a resume token from before the login once a newer one was used',
    receives: 'ERROR BAD_TOKEN, close',
    counters: { ...closeCounter('BAD_TOKEN'), ...closeCounter('REPLACED') },
    run: async (harness) => {
      const first = await harness.dialTcp()
      await first.send(helloFrame(), openFrame(1, 'login', ''), callFrame(1, 1, LOGIN, { uid: UID }))
      await first.waitForFrames(5)
      const [welcome] = first.frames.filter(({ command }) => command === MESSAGE.WELCOME)
      const { session, token } = first.welcome()
      const player = await harness.openSession({ session, token })
      const oldToken = welcome!.body.subarray(-welcome!.body.readUInt16BE(27))
      const resuming = await harness.sendUntilClosed(helloFrame({ session, token: oldToken }))
      assert.deepEqual(resuming.errors(), ['0/0 BAD_TOKEN'])
      await player.send(openFrame(1))
      await player.waitForFrames(3)
      await first.waitForClose()
    },
  },
  {
    name: 'rejects access to player shards before the login',
    receives: 'ERROR FORBIDDEN, ERROR CLOSED; legacy: no answer, a strike',
    counters: { ...errorCounter('FORBIDDEN', 2), ...errorCounter('CLOSED'), firefly_strikes_total: 9 },
    run: async (harness) => {
      const [session, legacy] = [await harness.dialTcp(), await harness.dialTcp()]
      await session.send(helloAndOpen, resumeFrame(openFields(2)), callFrame(1, 1, RAW))
      await session.waitForFrames(4)
      assert.deepEqual(session.errors(), ['1/0 FORBIDDEN', '2/0 FORBIDDEN', '1/1 CLOSED'])
      await legacy.send(...Array.from({ length: 9 }, () => frame(RAW, 'before login')))
      await legacy.send(frame(LOGIN, { uid: 'another player' }), frame(RAW, 'after login'))
      await legacy.waitForFrames(2)
      assert.deepEqual(legacy.frameTexts(), [
        [LOGIN, '{}'],
        [RAW, 'after login'],
      ])
    },
  },
  {
    name: 'closes a connection that does not log in in time, whatever it sends',
    receives: 'close LOGIN_TIMEOUT',
    counters: { ...closeCounter('LOGIN_TIMEOUT', 4), firefly_strikes_total: 1 },
    run: async (harness) => {
      const startMs = performance.now()
      const [silent, legacy, session] = [await harness.dialTcp(), await harness.dialTcp(), await harness.dialTcp()]
      const web = await harness.dialWebSocket()
      await web.send(clientMessage(helloFrame()))
      await legacy.send(frame(LOGIN, '{'))
      await session.send(helloFrame(), openFrame(1, 'login', ''))
      while (!session.isClosed) {
        await session.send(frame(MESSAGE.PING))
        await sleep(20)
      }
      await Promise.all([web.assertClosed(4006), silent.waitForClose(), legacy.waitForClose()])
      const elapsedMs = performance.now() - startMs
      assert.ok(elapsedMs > LOGIN_MS && elapsedMs < LOGIN_MS * 1.5 + TOLERANCE_MS, `${elapsedMs} ms`)
      assert.deepEqual(session.errors(), ['0/0 LOGIN_TIMEOUT'])
    },
  },
]
