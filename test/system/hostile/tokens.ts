// Attacks on resume: damaged, forged, foreign and used tokens, and RESUME messages with wrong channels. The session of the
// token continues meanwhile.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeOpen, MESSAGE } from '../../../core/wire/message.ts'
import { signResumeToken, verifyResumeToken, type ResumeClaims, type TokenSigner } from '../../../edge/gateway/token.ts'
import { waitUntil } from '../../support/sockets.ts'
import { closeCounter, errorCounter, type Attack } from './attack.ts'
import { closedByStrikes } from './bodies.ts'
import { ackFrame, callFrame, frame, helloFrame, hex, openFields, resumeFrame } from './frames.ts'
import { COMMAND, EVENT } from './game.ts'
import type { AttackHarness } from './harness.ts'
import { closedSession, answeredByError } from './messages.ts'
import type { RawPeer } from './peer.ts'
import { assertField } from '../../support/assertfield.ts'

export const SECRET = 'the secret of the server under attack'
const { JOIN, RAW, SHOUT } = COMMAND
const SESSION_BYTES = 16
/** Of a session without login. */
const TOKEN_BYTES = 65
const { maxChannels, maxKeyBytes, maxUnackedEvents } = DEFAULT_LIMITS

interface ResumeCredentials {
  readonly session: Uint8Array
  readonly token: Uint8Array
}

const signerOf = (secret: string): TokenSigner => ({
  sign: (bytes) => createHmac('sha256', secret).update(bytes).digest(),
})

/** A token with changed claims and a signature by this secret. */
function tokenWith(
  { session, token }: ResumeCredentials,
  change: Partial<ResumeClaims>,
  secret = SECRET,
): ResumeCredentials {
  const claims = verifyResumeToken(signerOf(SECRET), token, Date.now()) as ResumeClaims
  return { session, token: signResumeToken(signerOf(secret), { ...claims, ...change }) as Uint8Array }
}

/** Each token is rejected, and its session continues. */
const rejectedTokens = (
  name: string,
  count: number,
  make: (valid: ResumeCredentials) => readonly ResumeCredentials[],
): Attack => ({
  name,
  receives: 'ERROR BAD_TOKEN, close',
  counters: closeCounter('BAD_TOKEN', count),
  run: async (harness) => {
    const session = await harness.openSession()
    const invalid = make(session.welcome())
    assert.equal(invalid.length, count)
    for (const credentials of invalid) await assertTokenRejected(harness, credentials)
    await session.assertAnswered()
  },
})

async function assertTokenRejected(harness: AttackHarness, credentials: ResumeCredentials): Promise<void> {
  const peer = await harness.sendUntilClosed(
    helloFrame(credentials),
    resumeFrame(openFields(1)),
    callFrame(1, 1, RAW, 'from an attacker'),
  )
  assert.deepEqual(peer.errors(), ['0/0 BAD_TOKEN'], Buffer.from(credentials.token).toString('hex'))
}

function withFlippedBits({ session, token }: ResumeCredentials): ResumeCredentials[] {
  return Array.from(token, (_, at) => ({
    session,
    token: token.map((byte, i) => (i === at ? byte ^ (1 << (at & 7)) : byte)),
  }))
}

function truncatedTokens({ session, token }: ResumeCredentials): ResumeCredentials[] {
  const shorter = Array.from(token, (_, size) => ({ session, token: token.subarray(0, size) }))
  return [...shorter, { session, token: Uint8Array.of(...token, 0) }, { session, token: new Uint8Array(60_000) }]
}

async function reconnect(harness: AttackHarness, credentials: ResumeCredentials): Promise<RawPeer> {
  const peer = await harness.dialTcp()
  await peer.send(helloFrame(credentials), resumeFrame(openFields(1)))
  return peer
}

/** Resolves when the session is resumed and its channel is open. */
async function resumeSession(harness: AttackHarness, credentials: ResumeCredentials): Promise<RawPeer> {
  const peer = await reconnect(harness, credentials)
  await peer.waitForFrames(2)
  assert.ok(peer.welcome().resumed)
  return peer
}

const encodedOpens = (...channels: readonly number[]): Buffer =>
  Buffer.concat(channels.map((channel) => encodeOpen(openFields(channel))))
/** A RESUME that declares `count` channels and contains these. */
const resumeWithCount = (count: number, ...channels: readonly number[]): Buffer =>
  frame(MESSAGE.RESUME, Buffer.concat([Buffer.from([count >> 8, count & 0xff]), encodedOpens(...channels)]))
const excessChannels = Array.from({ length: 10 }, (_, n) => n + maxChannels + 1)

export const tokens: readonly Attack[] = [
  rejectedTokens('rejects a resume token with one wrong bit in any byte', TOKEN_BYTES, withFlippedBits),
  rejectedTokens('rejects a resume token that is truncated at any byte or too long', TOKEN_BYTES + 2, truncatedTokens),
  rejectedTokens('rejects a resume token of another session than HELLO names', 18, ({ session, token }) => [
    ...Array.from(session, (_, at) => ({ session: session.map((byte, i) => (i === at ? byte ^ 1 : byte)), token })),
    { session: new Uint8Array(SESSION_BYTES), token },
    { session, token: new Uint8Array(0) },
  ]),
  rejectedTokens('rejects a resume token with another signature or another format', 6, (valid) => [
    tokenWith(valid, {}, 'the secret of another server'),
    tokenWith(valid, { uid: 'player', epoch: 1 }, ''),
    tokenWith(valid, { generation: 0xffff_ffff }, 'x'),
    ...[0, 2, 255].map((format) => {
      const bytes = valid.token.slice()
      bytes[0] = format
      bytes.set(signerOf(SECRET).sign(bytes.subarray(0, -32)) as Uint8Array, bytes.length - 32)
      return { session: valid.session, token: bytes }
    }),
  ]),
  rejectedTokens('rejects an expired resume token', 2, (valid) => [
    tokenWith(valid, { expiresSeconds: Math.floor(Date.now() / 1_000) }),
    tokenWith(valid, { expiresSeconds: 0 }),
  ]),
  {
    name: 'rejects a resume token once its successor was used, and keeps the session',
    receives: 'ERROR BAD_TOKEN, close',
    counters: { ...closeCounter('BAD_TOKEN', 12), firefly_resumes_total: 3 },
    run: async (harness) => {
      let session = await harness.openSession()
      const used: ResumeCredentials[] = []
      for (let n = 0; n < 3; n++) {
        used.push(session.welcome())
        session.sendReset()
        session = await resumeSession(harness, used.at(-1)!)
      }
      // The third token is still valid: the client may have lost the last WELCOME.
      for (let n = 0; n < 6; n++)
        for (const credentials of used.slice(0, 2)) await assertTokenRejected(harness, credentials)
      await session.assertAnswered()
    },
  },
  {
    name: 'rejects a stolen token whose successor its owner has received, and keeps the session',
    receives: 'ERROR BAD_TOKEN, close',
    counters: { ...closeCounter('BAD_TOKEN', 6), firefly_resumes_total: 1 },
    run: async (harness) => {
      const first = await harness.openSession()
      first.sendReset()
      const session = await resumeSession(harness, first.welcome())
      await session.assertAnswered()
      for (let n = 0; n < 6; n++) await assertTokenRejected(harness, first.welcome())
      await session.assertAnswered()
    },
  },
  {
    name: 'keeps one of twelve connections with the same resume token',
    receives: 'ERROR REPLACED, close; one stays open',
    counters: { ...closeCounter('REPLACED', 11), firefly_resumes_total: 12 },
    run: async (harness) => {
      const first = await harness.openSession()
      first.sendReset()
      const peers = await Promise.all(Array.from({ length: 12 }, () => reconnect(harness, first.welcome())))
      const isClosed = (peer: RawPeer): boolean => peer.isClosed
      await waitUntil(() => peers.filter(isClosed).length === 11, 'all but one are closed')
      for (const peer of peers.filter(isClosed)) assert.deepEqual(peer.errors(), ['0/0 REPLACED'])
      await peers.find((peer) => !peer.isClosed)!.assertAnswered()
    },
  },
  closedSession('closes on a RESUME that declares more channels than it contains', 'BAD_MESSAGE', [
    frame(MESSAGE.RESUME, hex('')),
    frame(MESSAGE.RESUME, hex('00')),
    resumeWithCount(1),
    resumeWithCount(65_535),
    resumeWithCount(65_535, 2),
    resumeWithCount(3, 2, 3),
    frame(MESSAGE.RESUME, Buffer.concat([hex('0001'), encodedOpens(2).subarray(0, -1)])),
  ]),
  closedSession('closes on a RESUME of channel 0, of a repeated channel or of an open channel', 'BAD_MESSAGE', [
    resumeFrame(openFields(0)),
    resumeFrame(openFields(2), openFields(0)),
    resumeFrame(openFields(2), openFields(2)),
    resumeFrame(openFields(1)),
    resumeFrame(openFields(3), openFields(1)),
  ]),
  answeredByError('rejects each channel of a RESUME that cannot be opened', 'BAD_KEY', [
    [resumeFrame(openFields(2, { key: '' })), '2/0'],
    [resumeFrame(openFields(3, { key: 'x'.repeat(maxKeyBytes + 1) })), '3/0'],
    [resumeFrame(openFields(4, { key: 'x'.repeat(65_000) })), '4/0'],
  ]),
  {
    name: 'rejects the channels of a RESUME above the limit',
    receives: 'ERROR TOO_MANY_CHANNELS',
    counters: errorCounter('TOO_MANY_CHANNELS', excessChannels.length),
    run: async (harness) => {
      const first = await harness.openSession()
      first.sendReset()
      const peer = await harness.dialTcp()
      const channels = Array.from({ length: maxChannels }, (_, n) => n + 1)
      const opens = [...channels, ...excessChannels].map((channel) => openFields(channel, { key: `key ${channel}` }))
      await peer.send(helloFrame(first.welcome()), resumeFrame(...opens))
      await peer.waitForFrames(1 + opens.length)
      assert.deepEqual(
        peer.errors(),
        excessChannels.map((channel) => `${channel}/0 TOO_MANY_CHANNELS`),
      )
      const opened = peer.opened().map(({ channel }) => channel)
      assert.deepEqual(
        opened.sort((a, b) => a - b),
        channels,
      )
    },
  },
  closedByStrikes('counts a RESUME before HELLO as a strike', [
    resumeFrame(),
    resumeFrame(openFields(1)),
    resumeWithCount(65_535),
  ]),
  {
    name: 'opens the channels of a RESUME without resumed session, and of a second RESUME',
    receives: 'answers',
    counters: { firefly_frames_in_total: 6 },
    run: async (harness) => {
      const peer = await harness.dialTcp()
      await peer.send(
        helloFrame(),
        resumeFrame(),
        resumeFrame(openFields(1), openFields(2)),
        resumeFrame(openFields(3)),
      )
      await peer.send(callFrame(1, 1, RAW, 'a'), callFrame(3, 1, RAW, 'b'))
      await peer.waitForFrames(6)
      assert.deepEqual(peer.errors(), [])
      assert.equal(peer.opened().length, 3)
    },
  },
  {
    name: 'corrects a RESUME with wrong activation and event numbers',
    receives: 'OPENED with the true activation, then events',
    counters: { firefly_resumes_total: 3 },
    run: async (harness) => {
      const max = 0xffff_ffff
      const first = await harness.openSession()
      const [{ activation } = { activation: 0 }] = first.opened()
      assert.notEqual(activation, 0)
      let credentials: ResumeCredentials = first.welcome()
      first.sendReset()
      for (const [wrongFields, lost] of [
        [{ activation: max, eventAck: max }, true],
        [{ activation, eventAck: max }, false],
        [{ activation: 0, eventAck: max }, false],
      ] as const) {
        const peer = await harness.dialTcp()
        await peer.send(helloFrame(credentials), resumeFrame(openFields(1, wrongFields)))
        await peer.waitForFrames(2)
        credentials = peer.welcome()
        const [opened] = peer.opened()
        assert.equal(opened!.activation, activation)
        assert.equal(opened!.lost, lost)
        const { mark, opening } = opened!
        await peer.send(
          callFrame(1, mark + 1, JOIN, {}, mark, opening),
          callFrame(1, mark + 2, SHOUT, { bytes: 1 }, mark, opening),
        )
        await waitUntil(() => peer.events().length > 0, 'an event')
        peer.sendReset()
      }
    },
  },
  {
    name: 'sends events that the client acknowledged in advance',
    receives: 'events',
    counters: { firefly_events_total: 3 },
    run: async (harness) => {
      const peer = await harness.openSession()
      const events = 0xffff_ffff
      await peer.send(callFrame(1, 1, JOIN, {}), ackFrame(1, 0, events), ackFrame(0, 0, events))
      for (let n = 1; n <= 3; n++) {
        await peer.send(callFrame(1, n + 1, SHOUT, { bytes: n }, n), ackFrame(1, 0, events))
        await waitUntil(() => peer.events().length === n, `event ${n}`)
      }
      assertField(peer.events(), 'sequence', [1, 2, 3])
    },
  },
  {
    name: 'sends RESYNC on resume to a session that acknowledged no event',
    receives: 'OPENED, RESYNC, fresh state',
    counters: { firefly_resyncs_total: 1 },
    run: async (harness) => {
      const first = await harness.openSession()
      const count = maxUnackedEvents + 1
      await first.send(callFrame(1, 1, JOIN, {}))
      for (let n = 2; n <= count + 1; n++) await first.send(callFrame(1, n, SHOUT, { bytes: 1 }, n - 1))
      await waitUntil(() => first.events().length === count, 'all events')
      first.sendReset()
      const { activation } = first.opened()[0]!
      const peer = await harness.dialTcp()
      await peer.send(helloFrame(first.welcome()), resumeFrame(openFields(1, { activation, eventAck: 0 })))
      await waitUntil(() => peer.events().length === 2, 'RESYNC and fresh state')
      assert.deepEqual(
        peer.events().map(({ sequence, event }) => [sequence, event]),
        [
          [count, 0],
          [count + 1, EVENT.REFRESHED],
        ],
      )
    },
  },
]
