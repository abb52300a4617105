// Attacks on resuming: tokens that are damaged, forged, another's or used up, and channels that are not as RESUME says. A
// living session of the same name goes on all the while.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeOpen, MESSAGE } from '../../../core/wire/message.ts'
import { verifyResumeToken, signResumeToken, type ResumeClaims, type TokenSigner } from '../../../edge/gateway/token.ts'
import { waitUntil } from '../../support/sockets.ts'
import { closedByStrikes } from './bodies.ts'
import { ackFrame, callFrame, frame, helloFrame, hex, openFields, resumeFrame } from './frames.ts'
import { closedSession, answeredByError } from './messages.ts'
import type { RawPeer } from './peer.ts'
import { closeCounter, errorCounter, type Attack, type AttackHarness } from './harness.ts'

/** Of the server under attack. */
export const SECRET = 'the secret of the server under attack'
const RAW = 1
const JOIN = 9
const SHOUT = 10
const FRESH = 52
const SESSION_BYTES = 16
/** Of a session that nobody has logged in. */
const TOKEN_BYTES = 65
const { maxChannels, maxKeyBytes } = DEFAULT_LIMITS

interface ResumeCredentials {
  readonly session: Uint8Array
  readonly token: Uint8Array
}

const sealOf = (secret: string): TokenSigner => ({
  sign: (bytes) => createHmac('sha256', secret).update(bytes).digest(),
})

/** A token of this session as the server might have made it, `change`d in one place. */
function tokenWith(
  { session, token }: ResumeCredentials,
  change: Partial<ResumeClaims>,
  secret = SECRET,
): ResumeCredentials {
  const grant = verifyResumeToken(sealOf(SECRET), token, Date.now()) as ResumeClaims
  return { session, token: signResumeToken(sealOf(secret), { ...grant, ...change }) as Uint8Array }
}

/** Each is refused, and the session that it is about is not disturbed. */
const refusedTokens = (
  name: string,
  count: number,
  make: (shown: ResumeCredentials) => readonly ResumeCredentials[],
): Attack => ({
  name,
  verdict: 'ERROR BAD_TOKEN, close',
  counters: closeCounter('BAD_TOKEN', count),
  run: async (stage) => {
    const living = await stage.openSession()
    const bad = make(living.welcome())
    assert.equal(bad.length, count)
    for (const shown of bad) await assertTokenRefused(stage, shown)
    await assertUndisturbed(living)
  },
})

async function assertTokenRefused(stage: AttackHarness, shown: ResumeCredentials): Promise<void> {
  const peer = await stage.dialTcp()
  await peer.send(helloFrame(shown), resumeFrame(openFields(1)), callFrame(1, 1, RAW, 'as somebody else'))
  await peer.waitForClose()
  assert.deepEqual(peer.errors(), ['0/0 BAD_TOKEN'], Buffer.from(shown.token).toString('hex'))
}

/** It is answered, and was told nothing. */
async function assertUndisturbed(peer: RawPeer): Promise<void> {
  const before = peer.replies().size
  await peer.send(callFrame(1, before + 1, RAW, 'still there', before))
  await waitUntil(() => peer.replies().size > before, 'an answer')
  assert.deepEqual(peer.errors(), [])
  assert.equal(peer.isClosed, false)
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

const reconnect = (stage: AttackHarness, shown: ResumeCredentials): Promise<RawPeer> =>
  stage.dialTcp().then(async (peer) => {
    await peer.send(helloFrame(shown), resumeFrame(openFields(1)))
    return peer
  })

/** Comes back, and has its channel open. */
async function resumeSession(stage: AttackHarness, shown: ResumeCredentials): Promise<RawPeer> {
  const peer = await reconnect(stage, shown)
  await peer.waitForFrames(2)
  assert.ok(peer.welcome().resumed)
  return peer
}

const encodedOpens = (...channels: readonly number[]): Buffer =>
  Buffer.concat(channels.map((channel) => encodeOpen(openFields(channel))))
/** A RESUME that says another number of channels than it holds. */
const resumeWithCount = (count: number, ...channels: readonly number[]): Buffer =>
  frame(MESSAGE.RESUME, Buffer.concat([Buffer.from([count >> 8, count & 0xff]), encodedOpens(...channels)]))
const excessChannels = Array.from({ length: 10 }, (_, n) => n + maxChannels + 1)

export const tokens: readonly Attack[] = [
  refusedTokens('a resume token with one bit wrong, in any byte, is refused', TOKEN_BYTES, withFlippedBits),
  refusedTokens('a resume token that is cut anywhere, or too long, is refused', TOKEN_BYTES + 2, truncatedTokens),
  refusedTokens('a resume token for another session than HELLO says is refused', 18, ({ session, token }) => [
    ...Array.from(session, (_, at) => ({
      session: session.map((byte, i) => (i === at ? byte ^ 1 : byte)),
      token,
    })),
    { session: new Uint8Array(SESSION_BYTES), token },
    { session, token: new Uint8Array(0) },
  ]),
  refusedTokens('a resume token that this server has not signed, or not like this, is refused', 6, (shown) => [
    tokenWith(shown, {}, 'the secret of another server'),
    tokenWith(shown, { uid: 'somebody', epoch: 1 }, ''),
    tokenWith(shown, { generation: 0xffff_ffff }, 'x'),
    ...[0, 2, 255].map((format) => {
      const bytes = shown.token.slice()
      bytes[0] = format
      bytes.set(sealOf(SECRET).sign(bytes.subarray(0, -32)) as Uint8Array, bytes.length - 32)
      return { session: shown.session, token: bytes }
    }),
  ]),
  refusedTokens('a resume token that has expired is refused', 2, (shown) => [
    tokenWith(shown, { expiresSeconds: Math.floor(Date.now() / 1_000) }),
    tokenWith(shown, { expiresSeconds: 0 }),
  ]),
  {
    name: 'a resume token is dead once its successor was used, and whoever used it goes on',
    verdict: 'ERROR BAD_TOKEN, close',
    counters: { ...closeCounter('BAD_TOKEN', 12), firefly_resumes_total: 3 },
    run: async (stage) => {
      const first = await stage.openSession()
      const one = first.welcome()
      first.sendReset()
      const second = await resumeSession(stage, one)
      const two = second.welcome()
      second.sendReset()
      // If WELCOME is lost, the client has only the old one.
      const third = await resumeSession(stage, two)
      const three = third.welcome()
      third.sendReset()
      const living = await resumeSession(stage, three)
      for (let n = 0; n < 6; n++) {
        await assertTokenRefused(stage, one)
        await assertTokenRefused(stage, two)
      }
      await assertUndisturbed(living)
    },
  },
  {
    name: 'of one resume token on twelve connections at once one lives',
    verdict: 'ERROR REPLACED, close, but for one',
    counters: { ...closeCounter('REPLACED', 11), firefly_resumes_total: 12 },
    run: async (stage) => {
      const first = await stage.openSession()
      first.sendReset()
      const peers = await Promise.all(Array.from({ length: 12 }, () => reconnect(stage, first.welcome())))
      await waitUntil(() => peers.filter(({ isClosed: closed }) => closed).length === 11, 'all but one are closed')
      const [living] = peers.filter(({ isClosed: closed }) => !closed)
      for (const peer of peers.filter((one) => one !== living)) assert.deepEqual(peer.errors(), ['0/0 REPLACED'])
      await assertUndisturbed(living!)
    },
  },
  closedSession('a RESUME that declares more channels than it holds closes', 'BAD_MESSAGE', [
    frame(MESSAGE.RESUME, hex('')),
    frame(MESSAGE.RESUME, hex('00')),
    resumeWithCount(1),
    resumeWithCount(65_535),
    resumeWithCount(65_535, 2),
    resumeWithCount(3, 2, 3),
    frame(MESSAGE.RESUME, Buffer.concat([hex('0001'), encodedOpens(2).subarray(0, -1)])),
  ]),
  closedSession('a RESUME of channel 0, of one channel twice or of one that is open closes', 'BAD_MESSAGE', [
    resumeFrame(openFields(0)),
    resumeFrame(openFields(2), openFields(0)),
    resumeFrame(openFields(2), openFields(2)),
    resumeFrame(openFields(1)),
    resumeFrame(openFields(3), openFields(1)),
  ]),
  answeredByError('a RESUME of what cannot be opened is told so for each channel', 'BAD_KEY', [
    [resumeFrame(openFields(2, { key: '' })), '2/0'],
    [resumeFrame(openFields(3, { key: 'x'.repeat(maxKeyBytes + 1) })), '3/0'],
    [resumeFrame(openFields(4, { key: 'x'.repeat(65_000) })), '4/0'],
  ]),
  {
    name: 'a RESUME of more channels than a session may have opens no more',
    verdict: 'ERROR TOO_MANY_CHANNELS',
    counters: errorCounter('TOO_MANY_CHANNELS', excessChannels.length),
    run: async (stage) => {
      const first = await stage.openSession()
      first.sendReset()
      const peer = await stage.dialTcp()
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
  closedByStrikes('a RESUME before HELLO is a strike', [
    resumeFrame(),
    resumeFrame(openFields(1)),
    resumeWithCount(65_535),
  ]),
  {
    name: 'a RESUME where nothing is resumed, and a second one, open channels like any other',
    verdict: 'answers',
    counters: { firefly_frames_in_total: 6 },
    run: async (stage) => {
      const peer = await stage.dialTcp()
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
    name: 'a RESUME that lies about its shard and its events hears the truth and what comes next',
    verdict: 'OPENED, lost; events',
    counters: { firefly_resumes_total: 3 },
    run: async (stage) => {
      const most = 0xffff_ffff
      const first = await stage.openSession()
      const [{ activation } = { activation: 0 }] = first.opened()
      assert.notEqual(activation, 0)
      let shown: ResumeCredentials = first.welcome()
      first.sendReset()
      for (const [lie, lost] of [
        [{ activation: most, eventAck: most }, true],
        [{ activation, eventAck: most }, false],
        [{ activation: 0, eventAck: most }, false],
      ] as const) {
        const peer = await stage.dialTcp()
        await peer.send(helloFrame(shown), resumeFrame(openFields(1, lie)))
        await peer.waitForFrames(2)
        shown = peer.welcome()
        const [opened] = peer.opened()
        assert.equal(opened!.activation, activation)
        assert.equal(opened!.lost, lost)
        const { mark, opening: life } = opened!
        await peer.send(
          callFrame(1, mark + 1, JOIN, {}, mark, life),
          callFrame(1, mark + 2, SHOUT, { bytes: 1 }, mark, life),
        )
        await waitUntil(() => peer.events().length > 0, 'an event')
        peer.sendReset()
      }
    },
  },
  {
    name: 'acknowledged events that were never sent are sent all the same',
    verdict: 'events',
    counters: { firefly_events_total: 3 },
    run: async (stage) => {
      const peer = await stage.openSession()
      const events = 0xffff_ffff
      await peer.send(callFrame(1, 1, JOIN, {}), ackFrame(1, 0, events), ackFrame(0, 0, events))
      for (let n = 1; n <= 3; n++) {
        await peer.send(callFrame(1, n + 1, SHOUT, { bytes: n }, n), ackFrame(1, 0, events))
        await waitUntil(() => peer.events().length === n, `event ${n}`)
      }
      assert.deepEqual(
        peer.events().map(({ sequence }) => sequence),
        [1, 2, 3],
      )
    },
  },
  {
    name: 'a session that acknowledges no event is told what is lost when it comes back',
    verdict: 'OPENED, RESYNC, what the game says anew',
    counters: { firefly_resyncs_total: 1 },
    run: async (stage) => {
      const first = await stage.openSession()
      const most = DEFAULT_LIMITS.maxUnackedEvents + 1
      await first.send(callFrame(1, 1, JOIN, {}))
      for (let n = 2; n <= most + 1; n++) await first.send(callFrame(1, n, SHOUT, { bytes: 1 }, n - 1))
      await waitUntil(() => first.events().length === most, 'all events')
      first.sendReset()
      const [opened] = first.opened()
      const peer = await stage.dialTcp()
      const { activation } = opened!
      await peer.send(helloFrame(first.welcome()), resumeFrame(openFields(1, { activation, eventAck: 0 })))
      await waitUntil(() => peer.events().length === 2, 'RESYNC and what is fresh')
      assert.deepEqual(
        peer.events().map(({ sequence, event }) => [sequence, event]),
        [
          [most, 0],
          [most + 1, FRESH],
        ],
      )
    },
  },
]
