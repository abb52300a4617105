// The session protocol in hand-made messages: what a session may open, and which violation closes a channel or a
// connection.

import assert from 'node:assert/strict'
import { CallError } from '../../../client/index.ts'
import { bytesOfHex as hex, EMPTY_BYTES, utf8Encoder } from '../../../core/wire/bytes.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeHello, MESSAGE } from '../../../core/wire/message.ts'
import { Gate, Room, Vault } from '../contracts.ts'
import type { Host } from '../host.ts'
import { awaitOn, awaitFailure, uniqueName, openRawSession, RawSession, waitForTurnsAtGate, type Case } from './case.ts'

/** Waits until the connection is closed, and asserts the code of its error. */
async function assertClosedWith(session: RawSession, code: string): Promise<void> {
  await session.waitForClose()
  assert.deepEqual(
    session.received.errors.filter(({ channel }) => channel === 0).map((error) => error.code),
    [code],
  )
}

/** A newer connection resumed the session: the older connection is closed, or, on another gateway, its channel is. */
async function assertReplaced(host: Host, session: RawSession): Promise<void> {
  const ended = (): boolean => session.client.isClosed || session.received.closes.length > 0
  await host.waitUntil(ended, 'the older connection or its channel is closed')
  if (session.client.isClosed) return assertClosedWith(session, 'REPLACED')
  assert.deepEqual(session.received.closes, [{ channel: 1, code: 'REPLACED' }])
}

/** Asserts that the channel received only an error with this code, and that the session stays open. */
async function assertOpenRefused(host: Host, session: RawSession, channel: number, code: string): Promise<void> {
  const channelErrors = (): { code: string }[] => session.received.errors.filter((error) => error.channel === channel)
  await host.waitUntil(() => channelErrors().length > 0, `channel ${channel}: ${code}`)
  assert.deepEqual(
    channelErrors().map((error) => error.code),
    [code],
  )
  assert.equal(session.client.isClosed, false)
}

interface Account {
  readonly count: number
}

export const cases: readonly Case[] = [
  {
    name: 'each HELLO gets a WELCOME with a new session',
    run: async (host) => {
      const sessions = [await RawSession.connect(host), await RawSession.connect(host)]
      for (const session of sessions) session.sendHello()
      const [first, second] = [await sessions[0]!.waitFor('welcome'), await sessions[1]!.waitFor('welcome')]
      const { session, heartbeatMs, maxBodyBytes } = first[0]!
      assert.notDeepEqual(session, second[0]!.session)
      assert.ok(session.some((byte) => byte !== 0))
      assert.ok(heartbeatMs > 0 && maxBodyBytes === DEFAULT_LIMITS.maxBodyBytes)
    },
  },
  {
    name: 'PING gets a PONG with the same body',
    run: async (host) => {
      const session = (await RawSession.connect(host)).sendHello()
      session.send(MESSAGE.PING, hex('0102030405060708'))
      await host.waitUntil(() => session.client.frames.length === 2, 'PONG')
      assert.deepEqual(session.client.frames[1], {
        command: MESSAGE.PONG,
        body: hex('0102030405060708'),
      })
    },
  },
  {
    name: 'a second HELLO closes the connection',
    run: async (host) => {
      const session = (await RawSession.connect(host)).sendHello()
      session.sendHello()
      await assertClosedWith(session, 'BAD_MESSAGE')
    },
  },
  {
    name: 'a HELLO without a common version closes the connection with an error',
    run: async (host) => {
      for (const [min, max] of [
        [1, 1],
        [3, 9],
      ] as const) {
        const session = await RawSession.connect(host)
        session.sendHello(undefined, min, max)
        await assertClosedWith(session, 'BAD_MESSAGE')
      }
      const session = await RawSession.connect(host)
      session.sendHello(undefined, 1, 9)
      await session.waitFor('welcome')
    },
  },
  {
    name: 'a truncated, unknown or server message closes the connection',
    run: async (host) => {
      const hello = encodeHello({
        minVersion: 2,
        maxVersion: 2,
        session: new Uint8Array(16),
        ticket: EMPTY_BYTES,
        token: EMPTY_BYTES,
      })
      for (const [message, body] of [
        [MESSAGE.OPEN, new Uint8Array(11)],
        [MESSAGE.OPEN, hex('00000000000000000000000004726f6f6d00016b')], // channel 0
        [MESSAGE.OPEN, hex('00000001000000000000000004726f6f6d0002ffff')], // a key that is not UTF-8
        [MESSAGE.CALL, new Uint8Array(19)],
        [MESSAGE.CALL, hex('0000000100000000000000000000000000000190')], // sequence 0
        [MESSAGE.ACK, new Uint8Array(11)],
        [MESSAGE.CLOSE, new Uint8Array(4)],
        [MESSAGE.WELCOME, hello],
        [MESSAGE.REPLY, new Uint8Array(8)],
        [0xfffffffe, EMPTY_BYTES],
        [201, EMPTY_BYTES],
      ] as const) {
        const session = (await RawSession.connect(host)).sendHello()
        session.send(message, body)
        await assertClosedWith(session, 'BAD_MESSAGE')
      }
      for (let length = 0; length < 20; length += 6) {
        const session = await RawSession.connect(host)
        session.send(MESSAGE.HELLO, hello.subarray(0, length))
        await assertClosedWith(session, 'BAD_MESSAGE')
      }
    },
  },
  {
    name: 'unknown contracts and shards that are not public are rejected, and the session stays open',
    run: async (host) => {
      const session = await RawSession.connect(host)
      session
        .sendHello()
        .openChannel(1, 'nothing', 'k')
        .openChannel(2, 'vault', 'k')
        .openChannel(3, '', 'k')
        .openChannel(4, 'room', uniqueName())
      await assertOpenRefused(host, session, 1, 'UNKNOWN_CONTRACT')
      await assertOpenRefused(host, session, 2, 'FORBIDDEN')
      await assertOpenRefused(host, session, 3, 'UNKNOWN_CONTRACT')
      await session.waitFor('opened')
    },
  },
  {
    name: 'the SDK reports a shard that is not public',
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
    name: 'keys that are empty, too long or contain control characters are rejected',
    run: async (host) => {
      const session = await RawSession.connect(host)
      const keys = ['', 'a\u0000b', 'a\nb', '\u001f', 'a\u007f', 'x'.repeat(129), 'ü'.repeat(65)]
      session.sendHello()
      keys.forEach((key, i) => session.openChannel(i + 1, 'room', key))
      for (const i of keys.keys()) await assertOpenRefused(host, session, i + 1, 'BAD_KEY')
    },
  },
  {
    name: 'keys of any other text are accepted, and each is a shard of its own',
    run: async (host) => {
      const name = uniqueName()
      const client = await host.sdkClient()
      for (const key of [`${name}/a`, `${name} b`, `${name}ü🔥`, name, `${name}/../c`, 'k'.repeat(128)]) {
        const room = client.at(Room, key)
        const text = uniqueName('line')
        room.appendLine({ text })
        const { lines } = await awaitOn(host, room.info())
        assert.equal(lines.at(-1), text)
        if (key.startsWith(name)) assert.equal(lines.length, 1)
      }
    },
  },
  {
    name: 'a session at its channel limit can open another channel after it closed one',
    run: async (host) => {
      const { maxChannels } = DEFAULT_LIMITS
      const session = (await RawSession.connect(host)).sendHello()
      for (let i = 1; i <= maxChannels + 1; i++) session.openChannel(i, 'room', uniqueName())
      await assertOpenRefused(host, session, maxChannels + 1, 'TOO_MANY_CHANNELS')
      await session.waitFor('opened', maxChannels)
      session.closeChannel(1).openChannel(99, 'room', uniqueName())
      await session.waitFor('opened', maxChannels + 1)
    },
  },
  {
    name: 'an OPEN with the number of an open channel closes the connection',
    run: async (host) => {
      const session = (await RawSession.connect(host)).sendHello()
      session.openChannel(1, 'room', uniqueName()).openChannel(1, 'room', uniqueName())
      await assertClosedWith(session, 'BAD_MESSAGE')
    },
  },
  {
    name: 'a call on a channel that is not open gets CLOSED',
    run: async (host) => {
      const session = (await RawSession.connect(host)).sendHello()
      session.sendCall(7, 1, 302)
      await assertOpenRefused(host, session, 7, 'CLOSED')
    },
  },
  {
    name: 'commands that are not in the contract get UNKNOWN_COMMAND, and the channel stays open',
    run: async (host) => {
      const session = await openRawSession(host, 'room', uniqueName())
      session.sendCall(1, 1, 999_999).sendCall(1, 2, 400, { n: 1 }).sendCall(1, 3, 340).sendCall(1, 4, 302)
      await session.waitFor('replies')
      assert.deepEqual(
        session.received.errors.map(({ sequence, code }) => [sequence, code]),
        [1, 2, 3].map((sequence) => [sequence, 'UNKNOWN_COMMAND']),
      )
    },
  },
  {
    name: 'bodies that the codec or the schema rejects get BAD_INPUT and have no effect, bombs included',
    run: async (host) => {
      const bodies = ['', 'c1', '80', '81a16e', '81a16eff', '81a16ea178', '81a16ecb7ff8000000000000', 'dd7fffffff']
      const bombs = [new Uint8Array(60_000).fill(0x91), hex('d40001'), hex('81a16e0500'), hex('c7ff0561')]
      const session = await openRawSession(host, 'ledger', uniqueName())
      const all = [...bodies.map(hex), ...bombs]
      all.forEach((body, i) => session.sendCall(1, i + 1, 400, body))
      session.sendCall(1, all.length + 1, 402)
      await session.waitFor('replies')
      assert.deepEqual(
        session.received.errors.map(({ sequence, code }) => [sequence, code]),
        all.map((_, i) => [i + 1, 'BAD_INPUT']),
      )
      assert.equal((await session.reply<Account>(all.length + 1)).count, 0)
    },
  },
  {
    name: 'a body above the maximum of its command gets BAD_INPUT',
    run: async (host) => {
      const session = await openRawSession(host, 'desk', uniqueName())
      session.sendCall(1, 1, 206, utf8Encoder.encode(JSON.stringify({ text: 'x'.repeat(80) })))
      await session.waitFor('errors')
      assert.deepEqual(session.errorCodes, ['BAD_INPUT'])
    },
  },
  {
    name: 'a call outside the window of unacknowledged replies closes the connection',
    run: async (host) => {
      const { maxUnackedReplies } = DEFAULT_LIMITS
      const session = await openRawSession(host, 'room', uniqueName())
      session.sendCall(1, maxUnackedReplies + 10, 302, {}, 10)
      await session.waitFor('replies')
      session.sendCall(1, maxUnackedReplies + 11, 302, {}, 10)
      await assertClosedWith(session, 'WINDOW')
    },
  },
  {
    name: 'a session that resumes on a newer connection is closed on the older one',
    run: async (host) => {
      const key = uniqueName()
      const older = await openRawSession(host, 'room', key)
      const newer = await openRawSession(host, 'room', key, older.credentials)
      await assertReplaced(host, older)
      await newer.call(1, 1, 302)
      assert.deepEqual(newer.received.welcome[0]!.session, older.received.welcome[0]!.session)
    },
  },
  {
    name: 'a session that is replaced while a call waits gets its replies on the newer connection',
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const gates = (await host.sdkClient()).at(Gate)
      const older = await openRawSession(host, 'ledger', key)
      older.sendCall(1, 1, 408, { n: 5, gate })
      await waitForTurnsAtGate(host, gates, gate)
      const newer = (await RawSession.connect(host)).sendHello(older.credentials)
      newer.openChannel(1, 'ledger', key, older.received.opened[0]!.activation)
      newer.sendCall(1, 1, 408, { n: 5, gate })
      await assertReplaced(host, older)
      await awaitOn(host, gates.open({ name: gate }))
      await newer.replyBody(1)
      await newer.call(1, 2, 411)
      await host.sleep(6_000)
      newer.sendCall(1, 3, 400, { n: 1 })
      assert.equal((await newer.reply<Account>(3)).count, 2)
      assert.equal(newer.received.events.length, 1)
    },
  },
  {
    name: 'a client that closes rejects pending calls with CLOSED and ends its session',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.sdkClient()
      const failure = awaitFailure(host, client.at(Room, uniqueName()).slow({ tag: 'waiting', gate }))
      await host.sleep(20)
      await client.close()
      assert.equal((await failure).code, 'CLOSED')
      assert.equal(client.state, 'closed')
      assert.equal((await awaitFailure(host, client.at(Room, uniqueName()).info())).code, 'CLOSED')
      await awaitOn(host, (await host.sdkClient()).at(Gate).open({ name: gate }))
    },
  },
]
