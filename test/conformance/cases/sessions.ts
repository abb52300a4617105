// The session protocol by hand: who may open what, and which breach ends what. A peer's fault is its own.

import assert from 'node:assert/strict'
import { CallError } from '../../../client/index.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeHello, MESSAGE } from '../../../core/wire/message.ts'
import { Gate, Room, Vault } from '../contracts.ts'
import type { Host } from '../host.ts'
import { answer, failure, fresh, hex, speak, Speaker, waiting, type Case } from './probe.ts'

/** The connection is closed, and was told why. */
async function closedFor(host: Host, speaker: Speaker, code: string): Promise<void> {
  await host.until(() => speaker.client.closed, `closed: ${code}`)
  assert.deepEqual(
    speaker.said.errors.filter(({ channel }) => channel === 0).map((error) => error.code),
    [code],
  )
}

/** A newer connection has the session: here it is over, or (where doors know nothing of each other) its channel. */
async function replaced(host: Host, speaker: Speaker): Promise<void> {
  const ended = (): boolean => speaker.client.closed || speaker.said.closes.length > 0
  await host.until(ended, 'the older connection or its channel is closed')
  if (speaker.client.closed) return closedFor(host, speaker, 'REPLACED')
  assert.deepEqual(speaker.said.closes, [{ channel: 1, code: 'REPLACED' }])
}

/** The channel was refused with this code, and the session goes on. */
async function refused(host: Host, speaker: Speaker, channel: number, code: string): Promise<void> {
  const told = (): { code: string }[] => speaker.said.errors.filter((error) => error.channel === channel)
  await host.until(() => told().length > 0, `channel ${channel}: ${code}`)
  assert.deepEqual(
    told().map((error) => error.code),
    [code],
  )
  assert.equal(speaker.client.closed, false)
}

export const cases: readonly Case[] = [
  {
    name: 'HELLO is answered with a session of its own for each connection',
    run: async (host) => {
      const speakers = [new Speaker(await host.raw()), new Speaker(await host.raw())]
      for (const speaker of speakers) speaker.hello()
      await host.until(() => speakers.every(({ said }) => said.welcome.length === 1), 'WELCOME')
      const [one, two] = speakers.map(({ said }) => said.welcome[0]!)
      assert.notDeepEqual(one!.session, two!.session)
      assert.ok(one!.session.some((byte) => byte !== 0))
      assert.ok(one!.heartbeatMs > 0 && one!.maxBodyBytes === DEFAULT_LIMITS.maxBodyBytes)
    },
  },
  {
    name: 'PING is answered with PONG and its own body',
    run: async (host) => {
      const speaker = new Speaker(await host.raw())
      speaker.hello().say(MESSAGE.PING, hex('0102030405060708'))
      await host.until(() => speaker.client.frames.length === 2, 'PONG')
      assert.deepEqual(speaker.client.frames[1], { command: MESSAGE.PONG, body: hex('0102030405060708') })
    },
  },
  {
    name: 'a second HELLO closes',
    run: async (host) => {
      const speaker = new Speaker(await host.raw())
      speaker.hello().hello()
      await closedFor(host, speaker, 'BAD_MESSAGE')
    },
  },
  {
    name: 'a client of another version is told so and closed',
    run: async (host) => {
      for (const [min, max] of [
        [1, 1],
        [3, 9],
      ] as const) {
        const speaker = new Speaker(await host.raw())
        speaker.hello(undefined, min, max)
        await closedFor(host, speaker, 'BAD_MESSAGE')
      }
      const speaker = new Speaker(await host.raw())
      speaker.hello(undefined, 1, 9)
      await host.until(() => speaker.said.welcome.length === 1, 'WELCOME')
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
        const speaker = new Speaker(await host.raw())
        speaker.hello().say(message, body)
        await closedFor(host, speaker, 'BAD_MESSAGE')
      }
      for (let length = 0; length < 20; length += 6) {
        const speaker = new Speaker(await host.raw())
        speaker.say(MESSAGE.HELLO, hello.subarray(0, length))
        await closedFor(host, speaker, 'BAD_MESSAGE')
      }
    },
  },
  {
    name: 'unknown contracts and shards that are not public are refused, and the session goes on',
    run: async (host) => {
      const speaker = new Speaker(await host.raw())
      speaker.hello().open(1, 'nothing', 'k').open(2, 'vault', 'k').open(3, '', 'k').open(4, 'room', fresh())
      await refused(host, speaker, 1, 'UNKNOWN_CONTRACT')
      await refused(host, speaker, 2, 'FORBIDDEN')
      await refused(host, speaker, 3, 'UNKNOWN_CONTRACT')
      await host.until(() => speaker.said.opened.length === 1, 'the good one')
    },
  },
  {
    name: 'the SDK hears that a shard is not public',
    run: async (host) => {
      const vault = (await host.client()).at(Vault, fresh())
      const codes: string[] = []
      vault.onClose((code) => codes.push(code))
      const error = await failure(host, vault.take({ n: 1 }))
      assert.ok(error instanceof CallError)
      assert.deepEqual(codes, ['FORBIDDEN'])
      assert.match(error.message, /FORBIDDEN/)
    },
  },
  {
    name: 'keys that are empty, too long or hold control characters are refused',
    run: async (host) => {
      const speaker = new Speaker(await host.raw())
      const bad = ['', 'a\u0000b', 'a\nb', '\u001f', 'a\u007f', 'x'.repeat(129), 'ü'.repeat(65)]
      speaker.hello()
      bad.forEach((key, i) => speaker.open(i + 1, 'room', key))
      for (const i of bad.keys()) await refused(host, speaker, i + 1, 'BAD_KEY')
    },
  },
  {
    name: 'keys of any other text are good, and each is its own shard',
    run: async (host) => {
      const one = fresh()
      const client = await host.client()
      for (const key of [`${one}/a`, `${one} b`, `${one}ü🔥`, one, `${one}/../c`, 'k'.repeat(128)]) {
        const room = client.at(Room, key)
        const text = fresh('line')
        room.line({ text })
        const { lines } = await answer(host, room.who())
        assert.equal(lines.at(-1), text)
        if (key.startsWith(one)) assert.equal(lines.length, 1)
      }
    },
  },
  {
    name: 'a session may hold so many channels and no more, until it closes one',
    run: async (host) => {
      const { maxChannels } = DEFAULT_LIMITS
      const speaker = new Speaker(await host.raw())
      speaker.hello()
      for (let i = 1; i <= maxChannels + 1; i++) speaker.open(i, 'room', fresh())
      await refused(host, speaker, maxChannels + 1, 'TOO_MANY_CHANNELS')
      await host.until(() => speaker.said.opened.length === maxChannels, 'the others')
      speaker.end(1).open(99, 'room', fresh())
      await host.until(() => speaker.said.opened.length === maxChannels + 1, 'one more')
    },
  },
  {
    name: 'a channel number that is open already closes the connection',
    run: async (host) => {
      const speaker = new Speaker(await host.raw())
      speaker.hello().open(1, 'room', fresh()).open(1, 'room', fresh())
      await closedFor(host, speaker, 'BAD_MESSAGE')
    },
  },
  {
    name: 'a call on a channel that is not open is told CLOSED',
    run: async (host) => {
      const speaker = new Speaker(await host.raw())
      speaker.hello().call(7, 1, 302)
      await refused(host, speaker, 7, 'CLOSED')
    },
  },
  {
    name: 'commands that the contract does not have are told UNKNOWN_COMMAND, and the channel goes on',
    run: async (host) => {
      const speaker = await speak(host, 'room', fresh())
      speaker.call(1, 1, 999_999).call(1, 2, 400, { n: 1 }).call(1, 3, 340).call(1, 4, 302)
      await host.until(() => speaker.said.replies.length === 1, 'the good one')
      assert.deepEqual(
        speaker.said.errors.map(({ sequence, code }) => [sequence, code]),
        [1, 2, 3].map((sequence) => [sequence, 'UNKNOWN_COMMAND']),
      )
    },
  },
  {
    name: 'bodies that codec or schema refuse are told BAD_INPUT, bombs too, and nothing happens',
    run: async (host) => {
      const bodies = [
        '',
        'c1',
        '80',
        '81a16e',
        '81a16eff',
        '81a16ea178',
        '81a16ecb7ff8000000000000',
        'dd7fffffff',
      ]
      const bombs = [new Uint8Array(60_000).fill(0x91), hex('d40001'), hex('81a16e0500'), hex('c7ff0561')]
      const speaker = await speak(host, 'ledger', fresh())
      const all = [...bodies.map(hex), ...bombs]
      all.forEach((body, i) => speaker.call(1, i + 1, 400, body))
      speaker.call(1, all.length + 1, 402)
      await host.until(() => speaker.said.replies.length === 1, 'the good one')
      assert.deepEqual(
        speaker.said.errors.map(({ sequence, code }) => [sequence, code]),
        all.map((_, i) => [i + 1, 'BAD_INPUT']),
      )
      assert.equal((speaker.reply(all.length + 1) as { count: number }).count, 0)
    },
  },
  {
    name: 'a body over the maximum of its command is told BAD_INPUT',
    run: async (host) => {
      const speaker = await speak(host, 'desk', fresh())
      speaker.call(1, 1, 206, new TextEncoder().encode(JSON.stringify({ text: 'x'.repeat(80) })))
      await host.until(() => speaker.said.errors.length === 1, 'the error')
      assert.equal(speaker.said.errors[0]!.code, 'BAD_INPUT')
    },
  },
  {
    name: 'more calls without acknowledged reply than the window close',
    run: async (host) => {
      const { maxUnackedReplies } = DEFAULT_LIMITS
      const speaker = await speak(host, 'room', fresh())
      speaker.call(1, maxUnackedReplies + 10, 302, {}, 10)
      await host.until(() => speaker.said.replies.length === 1, 'within the window')
      speaker.call(1, maxUnackedReplies + 11, 302, {}, 10)
      await closedFor(host, speaker, 'WINDOW')
    },
  },
  {
    name: 'a session that arrives on a newer connection ends on the older one',
    run: async (host) => {
      const key = fresh()
      const older = await speak(host, 'room', key)
      const newer = await speak(host, 'room', key, older.return)
      await replaced(host, older)
      newer.call(1, 1, 302)
      await host.until(() => newer.said.replies.length === 1, 'the newer one speaks')
      assert.deepEqual(newer.said.welcome[0]!.session, older.said.welcome[0]!.session)
    },
  },
  {
    name: 'a session that is replaced while a call waits is answered on the newer connection, for good',
    run: async (host) => {
      const [key, gate] = [fresh(), fresh('gate')]
      const opener = (await host.client()).at(Gate)
      const older = await speak(host, 'ledger', key)
      older.call(1, 1, 408, { n: 5, gate })
      await waiting(host, opener, gate)
      const newer = new Speaker(await host.raw())
      newer.hello(older.return).open(1, 'ledger', key, older.said.opened[0]!.activation)
      newer.call(1, 1, 408, { n: 5, gate })
      await replaced(host, older)
      await answer(host, opener.open({ name: gate }))
      await host.until(() => newer.reply(1) !== undefined, 'the reply')
      newer.call(1, 2, 411)
      await host.until(() => newer.reply(2) !== undefined, 'a seat')
      await host.pass(6_000)
      newer.call(1, 3, 400, { n: 1 })
      await host.until(() => newer.reply(3) !== undefined, 'still answered')
      assert.equal((newer.reply(3) as { count: number }).count, 2)
      assert.equal(newer.said.events.length, 1)
    },
  },
  {
    name: 'a client that closes hears CLOSED for what waits, and its session is over',
    run: async (host) => {
      const gate = fresh('gate')
      const client = await host.client()
      const held = failure(host, client.at(Room, fresh()).slow({ tag: 'held', gate }))
      await host.pass(20)
      await client.close()
      assert.equal((await held).code, 'CLOSED')
      assert.equal(client.state, 'closed')
      assert.equal((await failure(host, client.at(Room, fresh()).who())).code, 'CLOSED')
      await answer(host, (await host.client()).at(Gate).open({ name: gate }))
    },
  },
]
