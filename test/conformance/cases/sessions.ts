// The session protocol by hand: who may open what, and which breach ends what. A peer's fault is its own.

import assert from 'node:assert/strict'
import { CallError } from '../../../client/index.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeHello, MESSAGE } from '../../../core/wire/message.ts'
import { Gate, Room, Vault } from '../contracts.ts'
import type { Host } from '../host.ts'
import {
  awaitOn,
  awaitFailure,
  uniqueName,
  hex,
  openRawSession,
  RawSession,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

/** The connection is closed, and was told why. */
async function assertClosedWith(host: Host, speaker: RawSession, code: string): Promise<void> {
  await host.waitUntil(() => speaker.client.isClosed, `closed: ${code}`)
  assert.deepEqual(
    speaker.received.errors.filter(({ channel }) => channel === 0).map((error) => error.code),
    [code],
  )
}

/** A newer connection has the session: here it is over, or (where doors know nothing of each other) its channel. */
async function assertReplaced(host: Host, speaker: RawSession): Promise<void> {
  const ended = (): boolean => speaker.client.isClosed || speaker.received.closes.length > 0
  await host.waitUntil(ended, 'the older connection or its channel is closed')
  if (speaker.client.isClosed) return assertClosedWith(host, speaker, 'REPLACED')
  assert.deepEqual(speaker.received.closes, [{ channel: 1, code: 'REPLACED' }])
}

/** The channel was refused with this code, and the session goes on. */
async function assertOpenRefused(host: Host, speaker: RawSession, channel: number, code: string): Promise<void> {
  const channelErrors = (): { code: string }[] => speaker.received.errors.filter((error) => error.channel === channel)
  await host.waitUntil(() => channelErrors().length > 0, `channel ${channel}: ${code}`)
  assert.deepEqual(
    channelErrors().map((error) => error.code),
    [code],
  )
  assert.equal(speaker.client.isClosed, false)
}

export const cases: readonly Case[] = [
  {
    name: 'HELLO is answered with a session of its own for each connection',
    run: async (host) => {
      const speakers = [new RawSession(await host.rawClient()), new RawSession(await host.rawClient())]
      for (const speaker of speakers) speaker.sendHello()
      await host.waitUntil(() => speakers.every(({ received: said }) => said.welcome.length === 1), 'WELCOME')
      const [one, two] = speakers.map(({ received: said }) => said.welcome[0]!)
      assert.notDeepEqual(one!.session, two!.session)
      assert.ok(one!.session.some((byte) => byte !== 0))
      assert.ok(one!.heartbeatMs > 0 && one!.maxBodyBytes === DEFAULT_LIMITS.maxBodyBytes)
    },
  },
  {
    name: 'PING is answered with PONG and its own body',
    run: async (host) => {
      const speaker = new RawSession(await host.rawClient())
      speaker.sendHello().send(MESSAGE.PING, hex('0102030405060708'))
      await host.waitUntil(() => speaker.client.frames.length === 2, 'PONG')
      assert.deepEqual(speaker.client.frames[1], { command: MESSAGE.PONG, body: hex('0102030405060708') })
    },
  },
  {
    name: 'a second HELLO closes',
    run: async (host) => {
      const speaker = new RawSession(await host.rawClient())
      speaker.sendHello().sendHello()
      await assertClosedWith(host, speaker, 'BAD_MESSAGE')
    },
  },
  {
    name: 'a client of another version is told so and closed',
    run: async (host) => {
      for (const [min, max] of [
        [1, 1],
        [3, 9],
      ] as const) {
        const speaker = new RawSession(await host.rawClient())
        speaker.sendHello(undefined, min, max)
        await assertClosedWith(host, speaker, 'BAD_MESSAGE')
      }
      const speaker = new RawSession(await host.rawClient())
      speaker.sendHello(undefined, 1, 9)
      await host.waitUntil(() => speaker.received.welcome.length === 1, 'WELCOME')
    },
  },
  {
    name: 'messages that are cut short, of the server or unknown close, and nothing else happens',
    run: async (host) => {
      const hello = encodeHello({
        minVersion: 2,
        maxVersion: 2,
        session: new Uint8Array(16),
        ticket: new Uint8Array(0),
        token: new Uint8Array(0),
      })
      for (const [message, body] of [
        [MESSAGE.OPEN, new Uint8Array(11)],
        [MESSAGE.OPEN, hex('00000000000000000000000004726f6f6d00016b')], // channel 0
        [MESSAGE.OPEN, hex('00000001000000000000000004726f6f6d0002ffff')], // a key that is no UTF-8
        [MESSAGE.CALL, new Uint8Array(19)],
        [MESSAGE.CALL, hex('0000000100000000000000000000000000000190')], // sequence 0
        [MESSAGE.ACK, new Uint8Array(11)],
        [MESSAGE.CLOSE, new Uint8Array(4)],
        [MESSAGE.WELCOME, hello],
        [MESSAGE.REPLY, new Uint8Array(8)],
        [0xfffffffe, new Uint8Array(0)],
        [201, new Uint8Array(0)],
      ] as const) {
        const speaker = new RawSession(await host.rawClient())
        speaker.sendHello().send(message, body)
        await assertClosedWith(host, speaker, 'BAD_MESSAGE')
      }
      for (let length = 0; length < 20; length += 6) {
        const speaker = new RawSession(await host.rawClient())
        speaker.send(MESSAGE.HELLO, hello.subarray(0, length))
        await assertClosedWith(host, speaker, 'BAD_MESSAGE')
      }
    },
  },
  {
    name: 'unknown contracts and shards that are not public are refused, and the session goes on',
    run: async (host) => {
      const speaker = new RawSession(await host.rawClient())
      speaker
        .sendHello()
        .openChannel(1, 'nothing', 'k')
        .openChannel(2, 'vault', 'k')
        .openChannel(3, '', 'k')
        .openChannel(4, 'room', uniqueName())
      await assertOpenRefused(host, speaker, 1, 'UNKNOWN_CONTRACT')
      await assertOpenRefused(host, speaker, 2, 'FORBIDDEN')
      await assertOpenRefused(host, speaker, 3, 'UNKNOWN_CONTRACT')
      await host.waitUntil(() => speaker.received.opened.length === 1, 'the good one')
    },
  },
  {
    name: 'the SDK hears that a shard is not public',
    run: async (host) => {
      const vault = (await host.sdkClient()).at(Vault, uniqueName())
      const codes: string[] = []
      vault.onClose((code) => codes.push(code))
      const error = await awaitFailure(host, vault.take({ n: 1 }))
      assert.ok(error instanceof CallError)
      assert.deepEqual(codes, ['FORBIDDEN'])
      assert.match(error.message, /FORBIDDEN/)
    },
  },
  {
    name: 'keys that are empty, too long or hold control characters are refused',
    run: async (host) => {
      const speaker = new RawSession(await host.rawClient())
      const bad = ['', 'a\u0000b', 'a\nb', '\u001f', 'a\u007f', 'x'.repeat(129), 'ü'.repeat(65)]
      speaker.sendHello()
      bad.forEach((key, i) => speaker.openChannel(i + 1, 'room', key))
      for (const i of bad.keys()) await assertOpenRefused(host, speaker, i + 1, 'BAD_KEY')
    },
  },
  {
    name: 'keys of any other text are good, and each is its own shard',
    run: async (host) => {
      const one = uniqueName()
      const client = await host.sdkClient()
      for (const key of [`${one}/a`, `${one} b`, `${one}ü🔥`, one, `${one}/../c`, 'k'.repeat(128)]) {
        const room = client.at(Room, key)
        const text = uniqueName('line')
        room.line({ text })
        const { lines } = await awaitOn(host, room.who())
        assert.equal(lines.at(-1), text)
        if (key.startsWith(one)) assert.equal(lines.length, 1)
      }
    },
  },
  {
    name: 'a session may hold so many channels and no more, until it closes one',
    run: async (host) => {
      const { maxChannels } = DEFAULT_LIMITS
      const speaker = new RawSession(await host.rawClient())
      speaker.sendHello()
      for (let i = 1; i <= maxChannels + 1; i++) speaker.openChannel(i, 'room', uniqueName())
      await assertOpenRefused(host, speaker, maxChannels + 1, 'TOO_MANY_CHANNELS')
      await host.waitUntil(() => speaker.received.opened.length === maxChannels, 'the others')
      speaker.closeChannel(1).openChannel(99, 'room', uniqueName())
      await host.waitUntil(() => speaker.received.opened.length === maxChannels + 1, 'one more')
    },
  },
  {
    name: 'a channel number that is open already closes the connection',
    run: async (host) => {
      const speaker = new RawSession(await host.rawClient())
      speaker.sendHello().openChannel(1, 'room', uniqueName()).openChannel(1, 'room', uniqueName())
      await assertClosedWith(host, speaker, 'BAD_MESSAGE')
    },
  },
  {
    name: 'a call on a channel that is not open is told CLOSED',
    run: async (host) => {
      const speaker = new RawSession(await host.rawClient())
      speaker.sendHello().sendCall(7, 1, 302)
      await assertOpenRefused(host, speaker, 7, 'CLOSED')
    },
  },
  {
    name: 'commands that the contract does not have are told UNKNOWN_COMMAND, and the channel goes on',
    run: async (host) => {
      const speaker = await openRawSession(host, 'room', uniqueName())
      speaker.sendCall(1, 1, 999_999).sendCall(1, 2, 400, { n: 1 }).sendCall(1, 3, 340).sendCall(1, 4, 302)
      await host.waitUntil(() => speaker.received.replies.length === 1, 'the good one')
      assert.deepEqual(
        speaker.received.errors.map(({ sequence, code }) => [sequence, code]),
        [1, 2, 3].map((sequence) => [sequence, 'UNKNOWN_COMMAND']),
      )
    },
  },
  {
    name: 'bodies that codec or schema refuse are told BAD_INPUT, bombs too, and nothing happens',
    run: async (host) => {
      const bodies = ['', 'c1', '80', '81a16e', '81a16eff', '81a16ea178', '81a16ecb7ff8000000000000', 'dd7fffffff']
      const bombs = [new Uint8Array(60_000).fill(0x91), hex('d40001'), hex('81a16e0500'), hex('c7ff0561')]
      const speaker = await openRawSession(host, 'ledger', uniqueName())
      const all = [...bodies.map(hex), ...bombs]
      all.forEach((body, i) => speaker.sendCall(1, i + 1, 400, body))
      speaker.sendCall(1, all.length + 1, 402)
      await host.waitUntil(() => speaker.received.replies.length === 1, 'the good one')
      assert.deepEqual(
        speaker.received.errors.map(({ sequence, code }) => [sequence, code]),
        all.map((_, i) => [i + 1, 'BAD_INPUT']),
      )
      assert.equal((speaker.decodedReply(all.length + 1) as { count: number }).count, 0)
    },
  },
  {
    name: 'a body over the maximum of its command is told BAD_INPUT',
    run: async (host) => {
      const speaker = await openRawSession(host, 'desk', uniqueName())
      speaker.sendCall(1, 1, 206, new TextEncoder().encode(JSON.stringify({ text: 'x'.repeat(80) })))
      await host.waitUntil(() => speaker.received.errors.length === 1, 'the error')
      assert.equal(speaker.received.errors[0]!.code, 'BAD_INPUT')
    },
  },
  {
    name: 'more calls without acknowledged reply than the window close',
    run: async (host) => {
      const { maxUnackedReplies } = DEFAULT_LIMITS
      const speaker = await openRawSession(host, 'room', uniqueName())
      speaker.sendCall(1, maxUnackedReplies + 10, 302, {}, 10)
      await host.waitUntil(() => speaker.received.replies.length === 1, 'within the window')
      speaker.sendCall(1, maxUnackedReplies + 11, 302, {}, 10)
      await assertClosedWith(host, speaker, 'WINDOW')
    },
  },
  {
    name: 'a session that arrives on a newer connection ends on the older one',
    run: async (host) => {
      const key = uniqueName()
      const older = await openRawSession(host, 'room', key)
      const newer = await openRawSession(host, 'room', key, older.credentials)
      await assertReplaced(host, older)
      newer.sendCall(1, 1, 302)
      await host.waitUntil(() => newer.received.replies.length === 1, 'the newer one speaks')
      assert.deepEqual(newer.received.welcome[0]!.session, older.received.welcome[0]!.session)
    },
  },
  {
    name: 'a session that is replaced while a call waits is answered on the newer connection, for good',
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const opener = (await host.sdkClient()).at(Gate)
      const older = await openRawSession(host, 'ledger', key)
      older.sendCall(1, 1, 408, { n: 5, gate })
      await waitForTurnsAtGate(host, opener, gate)
      const newer = new RawSession(await host.rawClient())
      newer.sendHello(older.credentials).openChannel(1, 'ledger', key, older.received.opened[0]!.activation)
      newer.sendCall(1, 1, 408, { n: 5, gate })
      await assertReplaced(host, older)
      await awaitOn(host, opener.open({ name: gate }))
      await host.waitUntil(() => newer.decodedReply(1) !== undefined, 'the reply')
      newer.sendCall(1, 2, 411)
      await host.waitUntil(() => newer.decodedReply(2) !== undefined, 'a seat')
      await host.sleep(6_000)
      newer.sendCall(1, 3, 400, { n: 1 })
      await host.waitUntil(() => newer.decodedReply(3) !== undefined, 'still answered')
      assert.equal((newer.decodedReply(3) as { count: number }).count, 2)
      assert.equal(newer.received.events.length, 1)
    },
  },
  {
    name: 'a client that closes hears CLOSED for what waits, and its session is over',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.sdkClient()
      const held = awaitFailure(host, client.at(Room, uniqueName()).slow({ tag: 'held', gate }))
      await host.sleep(20)
      await client.close()
      assert.equal((await held).code, 'CLOSED')
      assert.equal(client.state, 'closed')
      assert.equal((await awaitFailure(host, client.at(Room, uniqueName()).who())).code, 'CLOSED')
      await awaitOn(host, (await host.sdkClient()).at(Gate).open({ name: gate }))
    },
  },
]
