// Sessions whose connection is lost: what was under way arrives on the next one, once and in order, or the client is told
// that it does not. The bytes are spoken by hand; what the SDK makes of them is its own matter.

import assert from 'node:assert/strict'
import { json, msgpack } from '../../../core/wire/codec.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeResume, MESSAGE } from '../../../core/wire/message.ts'
import type { Host } from '../host.ts'
import { Gatehouse, Hall } from '../sessionshards.ts'
import { awaitOn, uniqueName, openRawSession, RawSession, type Case, type ResumeCredentials } from './case.ts'

const { enter, beats, log, beat, place, fresh: freshEvent } = Hall.entries

/** A member of a hall, by hand. */
async function joinHall(host: Host, key: string): Promise<RawSession> {
  const speaker = await openRawSession(host, 'hall', key)
  speaker.sendCall(1, 1, enter.number)
  await host.waitUntil(() => speaker.received.replies.length === 1, 'the seat')
  return speaker
}

/** The session on a new connection, with channel 1 open again, which has events up to `eventAck`. */
async function resumeSession(host: Host, previous: RawSession, key: string, eventAck: number): Promise<RawSession> {
  const speaker = new RawSession(await host.rawClient())
  const { activation } = previous.received.opened.at(-1)!
  const open = { channel: 1, activation, eventAck, contract: 'hall', key }
  speaker.sendHello(previous.credentials).send(MESSAGE.RESUME, encodeResume([open]))
  await host.waitUntil(() => speaker.received.opened.length === 1, 'OPENED again')
  return speaker
}

/** Numbers of the beats that came, as the game and as the protocol count them. */
function receivedBeats(speaker: RawSession): [number, number][] {
  return speaker.received.events
    .filter(({ event }) => event === beat.number)
    .map(({ sequence, body }) => [(msgpack.decode(body) as { n: number }).n, sequence])
}

async function hallLog(host: Host, key: string): Promise<{ lines: string[]; size: number }> {
  const client = await host.sdkClient()
  return awaitOn(host, client.at(Hall, key).log())
}

async function waitForLogLine(host: Host, key: string, line: string): Promise<void> {
  const client = await host.sdkClient()
  for (let tries = 0; tries < 500; tries++) {
    const { lines } = await awaitOn(host, client.at(Hall, key).log())
    if (lines.includes(line)) return
    await host.sleep(20)
  }
  throw new Error(`the game never heard ${line}`)
}

async function assertTokenRefused(host: Host, from: ResumeCredentials): Promise<void> {
  const speaker = new RawSession(await host.rawClient())
  speaker.sendHello(from).openChannel(1, 'hall', 'x')
  await host.waitUntil(() => speaker.client.isClosed, 'the connection is closed')
  assert.equal(speaker.received.errors[0]!.code, 'BAD_TOKEN')
  assert.deepEqual([speaker.received.welcome.length, speaker.received.opened.length], [0, 0])
}

export const cases: readonly Case[] = [
  {
    name: 'events that came while a member had no connection arrive on the next one, once and in order',
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      const other = (await host.sdkClient()).at(Hall, key)
      await awaitOn(host, other.beats({ count: 5, pad: 0 }))
      await host.waitUntil(() => receivedBeats(before).length === 5, 'five beats')
      before.client.close()
      await waitForLogLine(host, key, 'away 0')
      await awaitOn(host, other.beats({ count: 7, pad: 0 }))
      const after = await resumeSession(host, before, key, 3)
      await host.waitUntil(() => receivedBeats(after).length === 9, 'nine beats')
      assert.deepEqual(
        receivedBeats(after),
        [4, 5, 6, 7, 8, 9, 10, 11, 12].map((n) => [n, n]),
      )
      await awaitOn(host, other.beats({ count: 1, pad: 0 }))
      await host.waitUntil(() => receivedBeats(after).length === 10, 'the next beat')
      assert.equal(after.received.welcome[0]!.resumed, true)
      assert.equal(after.received.opened[0]!.lost, false)
      assert.deepEqual(after.received.resyncs, [])
      const told = await hallLog(host, key)
      assert.deepEqual(told, { lines: ['away 0', 'back 0'], size: 1, uid: '' })
    },
  },
  {
    name: 'a reply that its connection did not live to carry arrives on the next one',
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      before.sendCall(1, 2, beats.number, { count: 3, pad: 0 })
      await host.waitUntil(() => before.received.replies.length === 2, 'the reply')
      before.client.close()
      const after = await resumeSession(host, before, key, 0)
      after.sendCall(1, 2, beats.number, { count: 3, pad: 0 }, 1)
      await host.waitUntil(() => after.decodedReply(2) !== undefined, 'the same reply')
      assert.deepEqual(after.decodedReply(2), { n: 3 })
      assert.deepEqual(
        receivedBeats(after).map(([n]) => n),
        [1, 2, 3],
      )
    },
  },
  {
    name: 'events that were acknowledged are not sent again',
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      before.sendCall(1, 2, beats.number, { count: 9, pad: 0 })
      await host.waitUntil(() => receivedBeats(before).length === 9, 'nine beats')
      before.sendAck(1, 2, 6)
      before.sendCall(1, 3, log.number)
      await host.waitUntil(() => before.decodedReply(3) !== undefined, 'the acknowledgement has arrived')
      before.client.close()
      const after = await resumeSession(host, before, key, 7)
      await host.waitUntil(() => receivedBeats(after).length === 2, 'the last two')
      assert.deepEqual(
        receivedBeats(after).map(([n]) => n),
        [8, 9],
      )
      after.client.close()
      const forgetful = await resumeSession(host, after, key, 5)
      await host.waitUntil(() => forgetful.received.events.length === 1, 'fresh state')
      assert.deepEqual(forgetful.received.resyncs, [{ channel: 1, events: 9 }])
    },
  },
  {
    name: 'a client that was away for more events than are kept hears RESYNC, and the game may send it fresh state',
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      before.client.close()
      await waitForLogLine(host, key, 'away 0')
      const other = (await host.sdkClient()).at(Hall, key)
      const count = DEFAULT_LIMITS.maxUnackedEvents + 1
      await awaitOn(host, other.beats({ count, pad: 0 }))
      const after = await resumeSession(host, before, key, 0)
      await host.waitUntil(() => after.received.events.length === 1, 'fresh state')
      assert.deepEqual(after.received.resyncs, [{ channel: 1, events: count }])
      assert.equal(after.received.events[0]!.event, freshEvent.number)
      assert.equal(after.received.events[0]!.sequence, count + 1)
      await awaitOn(host, other.beats({ count: 1, pad: 0 }))
      await host.waitUntil(() => receivedBeats(after).length === 1, 'events go on')
      assert.deepEqual(receivedBeats(after), [[count + 1, count + 2]])
      assert.ok((await hallLog(host, key)).lines.includes('resync 0'))
    },
  },
  {
    name: 'events of too many bytes end in RESYNC as well, and exactly as many as are kept do not',
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      before.client.close()
      await waitForLogLine(host, key, 'away 0')
      const other = (await host.sdkClient()).at(Hall, key)
      const count = DEFAULT_LIMITS.maxUnackedEvents
      await awaitOn(host, other.beats({ count, pad: 100 }))
      const whole = await resumeSession(host, before, key, 0)
      await host.waitUntil(() => receivedBeats(whole).length === count, 'all of them')
      assert.deepEqual(whole.received.resyncs, [])
      whole.client.close()
      await awaitOn(host, other.beats({ count: 6, pad: 50_000 }))
      const after = await resumeSession(host, whole, key, count)
      await host.waitUntil(() => after.received.events.length > 0, 'fresh state')
      assert.equal(after.received.resyncs.length, 1)
    },
  },
  {
    name: 'of events of one kind and thing only the newest waits for a client that is away',
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      before.client.close()
      await waitForLogLine(host, key, 'away 0')
      const other = (await host.sdkClient()).at(Hall, key)
      await awaitOn(host, other.places({ count: 400, things: 3 }))
      await awaitOn(host, other.beats({ count: 2, pad: 0 }))
      const after = await resumeSession(host, before, key, 0)
      await host.waitUntil(() => receivedBeats(after).length === 2, 'the beats')
      assert.deepEqual(after.received.resyncs, [])
      const came = after.received.events.filter(({ event }) => event === place.number)
      assert.deepEqual(
        came.map(({ body }) => msgpack.decode(body)),
        [0, 1, 2].map((thing) => ({ thing, n: 400 })),
      )
      const numbers = after.received.events.map(({ sequence }) => sequence)
      assert.deepEqual(numbers, [1198, 1199, 1200, 1201, 1202])
    },
  },
  {
    name: 'a member that does not come back in time leaves, and its seat is free',
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      before.client.close()
      await waitForLogLine(host, key, 'away 0')
      await host.sleep(2_200)
      await waitForLogLine(host, key, 'left 0')
      assert.equal((await hallLog(host, key)).size, 0)
      const after = await resumeSession(host, before, key, 0)
      after.sendCall(1, 5, enter.number)
      await host.waitUntil(() => after.decodedReply(5) !== undefined, 'a seat')
      assert.deepEqual(after.decodedReply(5), { seat: 0 })
    },
  },
  {
    name: 'a member that came back on another connection is one after an eviction too',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      before.client.close()
      await waitForLogLine(host, key, 'away 0')
      const after = await resumeSession(host, before, key, 0)
      await waitForLogLine(host, key, 'back 0')
      await host.evictShard('hall', key)
      const other = (await host.sdkClient()).at(Hall, key)
      await awaitOn(host, other.beats({ count: 1, pad: 0 }))
      await host.waitUntil(() => receivedBeats(after).length === 1, 'a beat')
      assert.equal((await hallLog(host, key)).size, 1)
    },
  },
  {
    name: 'a client that closes its channel leaves at once',
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      before.closeChannel(1)
      await waitForLogLine(host, key, 'left 0')
      assert.deepEqual((await hallLog(host, key)).lines, ['left 0'])
    },
  },
  {
    name: 'a shard that was restarted meanwhile says so, and events are counted anew',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      before.sendCall(1, 2, beats.number, { count: 4, pad: 0 })
      await host.waitUntil(() => receivedBeats(before).length === 4, 'four beats')
      before.client.close()
      await waitForLogLine(host, key, 'away 0')
      await host.abortShard('hall', key)
      const after = await resumeSession(host, before, key, 4)
      assert.notEqual(after.received.opened[0]!.activation, before.received.opened[0]!.activation)
      assert.equal(after.received.opened[0]!.lost, true)
      after.sendCall(1, 3, enter.number)
      after.sendCall(1, 4, beats.number, { count: 1, pad: 0 })
      await host.waitUntil(() => receivedBeats(after).length === 1, 'a beat')
      assert.deepEqual(receivedBeats(after), [[1, 1]])
    },
  },
  {
    name: 'a token is good until the next one is used, and then never again',
    run: async (host) => {
      const key = uniqueName()
      const first = await joinHall(host, key)
      const one = first.credentials
      first.client.close()
      const second = await resumeSession(host, first, key, 0)
      const two = second.credentials
      assert.notDeepEqual(two.token, one.token)
      second.client.close()
      // WELCOME may have been lost on its way: the token that was shown opens once more.
      const third = new RawSession(await host.rawClient())
      third.sendHello(one)
      await host.waitUntil(() => third.received.welcome.length === 1, 'WELCOME')
      const three = third.credentials
      third.client.close()
      const fourth = new RawSession(await host.rawClient())
      fourth.sendHello(three)
      await host.waitUntil(() => fourth.received.welcome.length === 1, 'WELCOME')
      await assertTokenRefused(host, one)
      assert.equal(fourth.client.isClosed, false)
    },
  },
  {
    name: 'a forged, foreign, damaged or missing token opens nothing',
    run: async (host) => {
      const { session, token } = (await joinHall(host, uniqueName())).credentials
      const { session: other, token: foreign } = (await joinHall(host, uniqueName())).credentials
      const bent = token.slice()
      bent[20]! ^= 1
      const wrong: ResumeCredentials[] = [
        { session, token: new Uint8Array(0) },
        { session, token: foreign },
        { session: other, token },
        { session, token: bent },
        { session, token: token.subarray(0, token.length - 1) },
        { session, token: new Uint8Array(token.length) },
        { session: new Uint8Array(16), token },
        { session: crypto.getRandomValues(new Uint8Array(16)), token: new Uint8Array([1, 2, 3]) },
      ]
      for (const one of wrong) await assertTokenRefused(host, one)
    },
  },
  {
    name: 'a session that comes back ends its older connection, and nothing of it is lost',
    run: async (host) => {
      const key = uniqueName()
      const before = await joinHall(host, key)
      const after = await resumeSession(host, before, key, 0)
      await host.waitUntil(() => before.client.isClosed, 'the older one is closed')
      assert.equal(before.received.errors.at(-1)?.code ?? 'REPLACED', 'REPLACED')
      after.sendCall(1, 2, beats.number, { count: 1, pad: 0 })
      await host.waitUntil(() => receivedBeats(after).length === 1, 'still a member')
      assert.equal((await hallLog(host, key)).size, 1)
    },
  },
  {
    name: 'a session that has logged in is the same player when it comes back',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = await openRawSession(host, 'gatehouse', '')
      const { login, who } = Gatehouse.entries
      before.sendCall(1, 1, login.number, json.encode({ uid }))
      await host.waitUntil(() => before.received.replies.length === 1, 'the login')
      const first = before.received.tokens.length
      assert.equal(first, 2)
      before.client.close()
      const after = await openRawSession(host, 'gatehouse', '', before.credentials)
      after.sendCall(1, 2, who.number, json.encode({}), 1)
      await host.waitUntil(() => after.received.replies.length === 1, 'who it is')
      assert.deepEqual(json.decode(after.received.replies[0]!.body), { uid })
      // The token of before the login died when its successor was used.
      await assertTokenRefused(host, {
        session: before.credentials.session,
        token: before.received.tokens[0]!,
      })
    },
  },
]
