// Attacks on resuming: tokens that are damaged, forged, another's or used up, and channels that are not as RESUME says. A
// living session of the same name goes on all the while.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeOpen, MESSAGE } from '../../../core/wire/message.ts'
import { openGrant, sealGrant, type Grant, type Seal } from '../../../edge/token.ts'
import { until } from '../../conformance/sockets.ts'
import { struck } from './bodies.ts'
import { ack, call, frame, hello, hex, opening, resume } from './frames.ts'
import { ended, told } from './messages.ts'
import type { Peer } from './peer.ts'
import { closes, errors, type Attack, type Stage } from './stage.ts'

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

interface Shown {
  readonly session: Uint8Array
  readonly token: Uint8Array
}

const sealOf = (secret: string): Seal => ({
  sign: (bytes) => createHmac('sha256', secret).update(bytes).digest(),
})

/** A token of this session as the server might have made it, `change`d in one place. */
function minted({ session, token }: Shown, change: Partial<Grant>, secret = SECRET): Shown {
  const grant = openGrant(sealOf(SECRET), token, Date.now()) as Grant
  return { session, token: sealGrant(sealOf(secret), { ...grant, ...change }) as Uint8Array }
}

/** Each is refused, and the session that it is about is not disturbed. */
const refused = (name: string, count: number, make: (shown: Shown) => readonly Shown[]): Attack => ({
  name,
  verdict: 'ERROR BAD_TOKEN, close',
  counters: closes('BAD_TOKEN', count),
  run: async (stage) => {
    const living = await stage.session()
    const bad = make(living.welcome())
    assert.equal(bad.length, count)
    for (const shown of bad) await refusedOne(stage, shown)
    await goesOn(living)
  },
})

async function refusedOne(stage: Stage, shown: Shown): Promise<void> {
  const peer = await stage.dial()
  await peer.send(hello(shown), resume(opening(1)), call(1, 1, RAW, 'as somebody else'))
  await peer.ends()
  assert.deepEqual(peer.errors(), ['0/0 BAD_TOKEN'], Buffer.from(shown.token).toString('hex'))
}

/** It is answered, and was told nothing. */
async function goesOn(peer: Peer): Promise<void> {
  const before = peer.replies().size
  await peer.send(call(1, before + 1, RAW, 'still there', before))
  await until(() => peer.replies().size > before, 'an answer')
  assert.deepEqual(peer.errors(), [])
  assert.equal(peer.closed, false)
}

function flips({ session, token }: Shown): Shown[] {
  return Array.from(token, (_, at) => ({
    session,
    token: token.map((byte, i) => (i === at ? byte ^ (1 << (at & 7)) : byte)),
  }))
}

function cuts({ session, token }: Shown): Shown[] {
  const shorter = Array.from(token, (_, size) => ({ session, token: token.subarray(0, size) }))
  return [
    ...shorter,
    { session, token: Uint8Array.of(...token, 0) },
    { session, token: new Uint8Array(60_000) },
  ]
}

const again = (stage: Stage, shown: Shown): Promise<Peer> =>
  stage.dial().then(async (peer) => {
    await peer.send(hello(shown), resume(opening(1)))
    return peer
  })

/** Comes back, and has its channel open. */
async function back(stage: Stage, shown: Shown): Promise<Peer> {
  const peer = await again(stage, shown)
  await peer.hears(2)
  assert.ok(peer.welcome().resumed)
  return peer
}

const tables = (...channels: readonly number[]): Buffer =>
  Buffer.concat(channels.map((channel) => encodeOpen(opening(channel))))
/** A RESUME that says another number of channels than it holds. */
const declaring = (count: number, ...channels: readonly number[]): Buffer =>
  frame(MESSAGE.RESUME, Buffer.concat([Buffer.from([count >> 8, count & 0xff]), tables(...channels)]))
const beyond = Array.from({ length: 10 }, (_, n) => n + maxChannels + 1)

export const tokens: readonly Attack[] = [
  refused('a resume token with one bit wrong, in any byte, is refused', TOKEN_BYTES, flips),
  refused('a resume token that is cut anywhere, or too long, is refused', TOKEN_BYTES + 2, cuts),
  refused('a resume token for another session than HELLO says is refused', 18, ({ session, token }) => [
    ...Array.from(session, (_, at) => ({
      session: session.map((byte, i) => (i === at ? byte ^ 1 : byte)),
      token,
    })),
    { session: new Uint8Array(SESSION_BYTES), token },
    { session, token: new Uint8Array(0) },
  ]),
  refused('a resume token that this server has not signed, or not like this, is refused', 6, (shown) => [
    minted(shown, {}, 'the secret of another server'),
    minted(shown, { uid: 'somebody', epoch: 1 }, ''),
    minted(shown, { generation: 0xffff_ffff }, 'x'),
    ...[0, 2, 255].map((format) => {
      const bytes = shown.token.slice()
      bytes[0] = format
      bytes.set(sealOf(SECRET).sign(bytes.subarray(0, -32)) as Uint8Array, bytes.length - 32)
      return { session: shown.session, token: bytes }
    }),
  ]),
  refused('a resume token that has expired is refused', 2, (shown) => [
    minted(shown, { expires: Math.floor(Date.now() / 1_000) }),
    minted(shown, { expires: 0 }),
  ]),
  {
    name: 'a resume token is dead once its successor was used, and whoever used it goes on',
    verdict: 'ERROR BAD_TOKEN, close',
    counters: { ...closes('BAD_TOKEN', 12), firefly_resumes_total: 3 },
    run: async (stage) => {
      const first = await stage.session()
      const one = first.welcome()
      first.reset()
      const second = await back(stage, one)
      const two = second.welcome()
      second.reset()
      // If WELCOME is lost, the client has only the old one.
      const third = await back(stage, two)
      const three = third.welcome()
      third.reset()
      const living = await back(stage, three)
      for (let n = 0; n < 6; n++) {
        await refusedOne(stage, one)
        await refusedOne(stage, two)
      }
      await goesOn(living)
    },
  },
  {
    name: 'of one resume token on twelve connections at once one lives',
    verdict: 'ERROR REPLACED, close, but for one',
    counters: { ...closes('REPLACED', 11), firefly_resumes_total: 12 },
    run: async (stage) => {
      const first = await stage.session()
      first.reset()
      const peers = await Promise.all(Array.from({ length: 12 }, () => again(stage, first.welcome())))
      await until(() => peers.filter(({ closed }) => closed).length === 11, 'all but one are closed')
      const [living] = peers.filter(({ closed }) => !closed)
      for (const peer of peers.filter((one) => one !== living))
        assert.deepEqual(peer.errors(), ['0/0 REPLACED'])
      await goesOn(living!)
    },
  },
  ended('a RESUME that declares more channels than it holds closes', 'BAD_MESSAGE', [
    frame(MESSAGE.RESUME, hex('')),
    frame(MESSAGE.RESUME, hex('00')),
    declaring(1),
    declaring(65_535),
    declaring(65_535, 2),
    declaring(3, 2, 3),
    frame(MESSAGE.RESUME, Buffer.concat([hex('0001'), tables(2).subarray(0, -1)])),
  ]),
  ended('a RESUME of channel 0, of one channel twice or of one that is open closes', 'BAD_MESSAGE', [
    resume(opening(0)),
    resume(opening(2), opening(0)),
    resume(opening(2), opening(2)),
    resume(opening(1)),
    resume(opening(3), opening(1)),
  ]),
  told('a RESUME of what cannot be opened is told so for each channel', 'BAD_KEY', [
    [resume(opening(2, { key: '' })), '2/0'],
    [resume(opening(3, { key: 'x'.repeat(maxKeyBytes + 1) })), '3/0'],
    [resume(opening(4, { key: 'x'.repeat(65_000) })), '4/0'],
  ]),
  {
    name: 'a RESUME of more channels than a session may have opens no more',
    verdict: 'ERROR TOO_MANY_CHANNELS',
    counters: errors('TOO_MANY_CHANNELS', beyond.length),
    run: async (stage) => {
      const first = await stage.session()
      first.reset()
      const peer = await stage.dial()
      const channels = Array.from({ length: maxChannels }, (_, n) => n + 1)
      const opens = [...channels, ...beyond].map((channel) => opening(channel, { key: `key ${channel}` }))
      await peer.send(hello(first.welcome()), resume(...opens))
      await peer.hears(1 + opens.length)
      assert.deepEqual(
        peer.errors(),
        beyond.map((channel) => `${channel}/0 TOO_MANY_CHANNELS`),
      )
      const opened = peer.opened().map(({ channel }) => channel)
      assert.deepEqual(
        opened.sort((a, b) => a - b),
        channels,
      )
    },
  },
  struck('a RESUME before HELLO is a strike', [resume(), resume(opening(1)), declaring(65_535)]),
  {
    name: 'a RESUME where nothing is resumed, and a second one, open channels like any other',
    verdict: 'answers',
    counters: { firefly_frames_in_total: 6 },
    run: async (stage) => {
      const peer = await stage.dial()
      await peer.send(hello(), resume(), resume(opening(1), opening(2)), resume(opening(3)))
      await peer.send(call(1, 1, RAW, 'a'), call(3, 1, RAW, 'b'))
      await peer.hears(6)
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
      const first = await stage.session()
      const [{ activation } = { activation: 0 }] = first.opened()
      assert.notEqual(activation, 0)
      let shown: Shown = first.welcome()
      first.reset()
      for (const [lie, lost] of [
        [{ activation: most, eventAck: most }, true],
        [{ activation, eventAck: most }, false],
        [{ activation: 0, eventAck: most }, false],
      ] as const) {
        const peer = await stage.dial()
        await peer.send(hello(shown), resume(opening(1, lie)))
        await peer.hears(2)
        shown = peer.welcome()
        const [opened] = peer.opened()
        assert.equal(opened!.activation, activation)
        assert.equal(opened!.lost, lost)
        const { mark, opening: life } = opened!
        await peer.send(
          call(1, mark + 1, JOIN, {}, mark, life),
          call(1, mark + 2, SHOUT, { bytes: 1 }, mark, life),
        )
        await until(() => peer.events().length > 0, 'an event')
        peer.reset()
      }
    },
  },
  {
    name: 'acknowledged events that were never sent are sent all the same',
    verdict: 'events',
    counters: { firefly_events_total: 3 },
    run: async (stage) => {
      const peer = await stage.session()
      const events = 0xffff_ffff
      await peer.send(call(1, 1, JOIN, {}), ack(1, 0, events), ack(0, 0, events))
      for (let n = 1; n <= 3; n++) {
        await peer.send(call(1, n + 1, SHOUT, { bytes: n }, n), ack(1, 0, events))
        await until(() => peer.events().length === n, `event ${n}`)
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
      const first = await stage.session()
      const most = DEFAULT_LIMITS.maxUnackedEvents + 1
      await first.send(call(1, 1, JOIN, {}))
      for (let n = 2; n <= most + 1; n++) await first.send(call(1, n, SHOUT, { bytes: 1 }, n - 1))
      await until(() => first.events().length === most, 'all events')
      first.reset()
      const [opened] = first.opened()
      const peer = await stage.dial()
      const { activation } = opened!
      await peer.send(hello(first.welcome()), resume(opening(1, { activation, eventAck: 0 })))
      await until(() => peer.events().length === 2, 'RESYNC and what is fresh')
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
