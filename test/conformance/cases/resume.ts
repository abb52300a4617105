// Sessions whose connection is lost: what was under way arrives on the next one, once and in order, or the client is told
// that it does not. The bytes are spoken by hand; what the SDK makes of them is its own matter.

import assert from 'node:assert/strict'
import { json, msgpack } from '../../../core/wire/codec.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeResume, MESSAGE } from '../../../core/wire/message.ts'
import type { Host } from '../host.ts'
import { Gatehouse, Hall } from '../stage.ts'
import { answer, fresh, speak, Speaker, type Case, type Return } from './probe.ts'

const { enter, beats, log, beat, place, fresh: freshEvent } = Hall.entries

/** A member of a hall, by hand. */
async function member(host: Host, key: string): Promise<Speaker> {
  const speaker = await speak(host, 'hall', key)
  speaker.call(1, 1, enter.number)
  await host.until(() => speaker.said.replies.length === 1, 'the seat')
  return speaker
}

/** The session on a new connection, with channel 1 open again, which has events up to `eventAck`. */
async function again(host: Host, before: Speaker, key: string, eventAck: number): Promise<Speaker> {
  const speaker = new Speaker(await host.raw())
  const { activation } = before.said.opened.at(-1)!
  const open = { channel: 1, activation, eventAck, contract: 'hall', key }
  speaker.hello(before.return).say(MESSAGE.RESUME, encodeResume([open]))
  await host.until(() => speaker.said.opened.length === 1, 'OPENED again')
  return speaker
}

/** Numbers of the beats that came, as the game and as the protocol count them. */
function beatsOf(speaker: Speaker): [number, number][] {
  return speaker.said.events
    .filter(({ event }) => event === beat.number)
    .map(({ sequence, body }) => [(msgpack.decode(body) as { n: number }).n, sequence])
}

async function lines(host: Host, key: string): Promise<{ lines: string[]; size: number }> {
  const client = await host.client()
  return answer(host, client.at(Hall, key).log())
}

async function hears(host: Host, key: string, line: string): Promise<void> {
  const client = await host.client()
  for (let tries = 0; tries < 500; tries++) {
    const { lines } = await answer(host, client.at(Hall, key).log())
    if (lines.includes(line)) return
    await host.pass(20)
  }
  throw new Error(`the game never heard ${line}`)
}

async function refused(host: Host, from: Return): Promise<void> {
  const speaker = new Speaker(await host.raw())
  speaker.hello(from).open(1, 'hall', 'x')
  await host.until(() => speaker.client.closed, 'the connection is closed')
  assert.equal(speaker.said.errors[0]!.code, 'BAD_TOKEN')
  assert.deepEqual([speaker.said.welcome.length, speaker.said.opened.length], [0, 0])
}

export const cases: readonly Case[] = [
  {
    name: 'events that came while a member had no connection arrive on the next one, once and in order',
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      const other = (await host.client()).at(Hall, key)
      await answer(host, other.beats({ count: 5, pad: 0 }))
      await host.until(() => beatsOf(before).length === 5, 'five beats')
      before.client.close()
      await hears(host, key, 'away 0')
      await answer(host, other.beats({ count: 7, pad: 0 }))
      const after = await again(host, before, key, 3)
      await host.until(() => beatsOf(after).length === 9, 'nine beats')
      assert.deepEqual(
        beatsOf(after),
        [4, 5, 6, 7, 8, 9, 10, 11, 12].map((n) => [n, n]),
      )
      await answer(host, other.beats({ count: 1, pad: 0 }))
      await host.until(() => beatsOf(after).length === 10, 'the next beat')
      assert.equal(after.said.welcome[0]!.resumed, true)
      assert.equal(after.said.opened[0]!.lost, false)
      assert.deepEqual(after.said.resyncs, [])
      const told = await lines(host, key)
      assert.deepEqual(told, { lines: ['away 0', 'back 0'], size: 1, uid: '' })
    },
  },
  {
    name: 'a reply that its connection did not live to carry arrives on the next one',
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      before.call(1, 2, beats.number, { count: 3, pad: 0 })
      await host.until(() => before.said.replies.length === 2, 'the reply')
      before.client.close()
      const after = await again(host, before, key, 0)
      after.call(1, 2, beats.number, { count: 3, pad: 0 }, 1)
      await host.until(() => after.reply(2) !== undefined, 'the same reply')
      assert.deepEqual(after.reply(2), { n: 3 })
      assert.deepEqual(
        beatsOf(after).map(([n]) => n),
        [1, 2, 3],
      )
    },
  },
  {
    name: 'events that were acknowledged are not sent again',
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      before.call(1, 2, beats.number, { count: 9, pad: 0 })
      await host.until(() => beatsOf(before).length === 9, 'nine beats')
      before.ack(1, 2, 6)
      before.call(1, 3, log.number)
      await host.until(() => before.reply(3) !== undefined, 'the acknowledgement has arrived')
      before.client.close()
      const after = await again(host, before, key, 7)
      await host.until(() => beatsOf(after).length === 2, 'the last two')
      assert.deepEqual(
        beatsOf(after).map(([n]) => n),
        [8, 9],
      )
      after.client.close()
      const forgetful = await again(host, after, key, 5)
      await host.until(() => forgetful.said.events.length === 1, 'fresh state')
      assert.deepEqual(forgetful.said.resyncs, [{ channel: 1, events: 9 }])
    },
  },
  {
    name: 'a client that was away for more events than are kept hears RESYNC, and the game may send it fresh state',
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      before.client.close()
      await hears(host, key, 'away 0')
      const other = (await host.client()).at(Hall, key)
      const count = DEFAULT_LIMITS.maxUnackedEvents + 1
      await answer(host, other.beats({ count, pad: 0 }))
      const after = await again(host, before, key, 0)
      await host.until(() => after.said.events.length === 1, 'fresh state')
      assert.deepEqual(after.said.resyncs, [{ channel: 1, events: count }])
      assert.equal(after.said.events[0]!.event, freshEvent.number)
      assert.equal(after.said.events[0]!.sequence, count + 1)
      await answer(host, other.beats({ count: 1, pad: 0 }))
      await host.until(() => beatsOf(after).length === 1, 'events go on')
      assert.deepEqual(beatsOf(after), [[count + 1, count + 2]])
      assert.ok((await lines(host, key)).lines.includes('resync 0'))
    },
  },
  {
    name: 'events of too many bytes end in RESYNC as well, and exactly as many as are kept do not',
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      before.client.close()
      await hears(host, key, 'away 0')
      const other = (await host.client()).at(Hall, key)
      const count = DEFAULT_LIMITS.maxUnackedEvents
      await answer(host, other.beats({ count, pad: 100 }))
      const whole = await again(host, before, key, 0)
      await host.until(() => beatsOf(whole).length === count, 'all of them')
      assert.deepEqual(whole.said.resyncs, [])
      whole.client.close()
      await answer(host, other.beats({ count: 6, pad: 50_000 }))
      const after = await again(host, whole, key, count)
      await host.until(() => after.said.events.length > 0, 'fresh state')
      assert.equal(after.said.resyncs.length, 1)
    },
  },
  {
    name: 'of events of one kind and thing only the newest waits for a client that is away',
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      before.client.close()
      await hears(host, key, 'away 0')
      const other = (await host.client()).at(Hall, key)
      await answer(host, other.places({ count: 400, things: 3 }))
      await answer(host, other.beats({ count: 2, pad: 0 }))
      const after = await again(host, before, key, 0)
      await host.until(() => beatsOf(after).length === 2, 'the beats')
      assert.deepEqual(after.said.resyncs, [])
      const came = after.said.events.filter(({ event }) => event === place.number)
      assert.deepEqual(
        came.map(({ body }) => msgpack.decode(body)),
        [0, 1, 2].map((thing) => ({ thing, n: 400 })),
      )
      const numbers = after.said.events.map(({ sequence }) => sequence)
      assert.deepEqual(numbers, [1198, 1199, 1200, 1201, 1202])
    },
  },
  {
    name: 'a member that does not come back in time leaves, and its seat is free',
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      before.client.close()
      await hears(host, key, 'away 0')
      await host.pass(2_200)
      await hears(host, key, 'left 0')
      assert.equal((await lines(host, key)).size, 0)
      const after = await again(host, before, key, 0)
      after.call(1, 5, enter.number)
      await host.until(() => after.reply(5) !== undefined, 'a seat')
      assert.deepEqual(after.reply(5), { seat: 0 })
    },
  },
  {
    name: 'a member that came back on another connection is one after an eviction too',
    needs: ['evict'],
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      before.client.close()
      await hears(host, key, 'away 0')
      const after = await again(host, before, key, 0)
      await hears(host, key, 'back 0')
      await host.evict('hall', key)
      const other = (await host.client()).at(Hall, key)
      await answer(host, other.beats({ count: 1, pad: 0 }))
      await host.until(() => beatsOf(after).length === 1, 'a beat')
      assert.equal((await lines(host, key)).size, 1)
    },
  },
  {
    name: 'a client that closes its channel leaves at once',
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      before.end(1)
      await hears(host, key, 'left 0')
      assert.deepEqual((await lines(host, key)).lines, ['left 0'])
    },
  },
  {
    name: 'a shard that was restarted meanwhile says so, and events are counted anew',
    needs: ['abort'],
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      before.call(1, 2, beats.number, { count: 4, pad: 0 })
      await host.until(() => beatsOf(before).length === 4, 'four beats')
      before.client.close()
      await hears(host, key, 'away 0')
      await host.abort('hall', key)
      const after = await again(host, before, key, 4)
      assert.notEqual(after.said.opened[0]!.activation, before.said.opened[0]!.activation)
      assert.equal(after.said.opened[0]!.lost, true)
      after.call(1, 3, enter.number)
      after.call(1, 4, beats.number, { count: 1, pad: 0 })
      await host.until(() => beatsOf(after).length === 1, 'a beat')
      assert.deepEqual(beatsOf(after), [[1, 1]])
    },
  },
  {
    name: 'a token is good until the next one is used, and then never again',
    run: async (host) => {
      const key = fresh()
      const first = await member(host, key)
      const one = first.return
      first.client.close()
      const second = await again(host, first, key, 0)
      const two = second.return
      assert.notDeepEqual(two.token, one.token)
      second.client.close()
      // WELCOME may have been lost on its way: the token that was shown opens once more.
      const third = new Speaker(await host.raw())
      third.hello(one)
      await host.until(() => third.said.welcome.length === 1, 'WELCOME')
      const three = third.return
      third.client.close()
      const fourth = new Speaker(await host.raw())
      fourth.hello(three)
      await host.until(() => fourth.said.welcome.length === 1, 'WELCOME')
      await refused(host, one)
      assert.equal(fourth.client.closed, false)
    },
  },
  {
    name: 'a forged, foreign, damaged or missing token opens nothing',
    run: async (host) => {
      const { session, token } = (await member(host, fresh())).return
      const { session: other, token: foreign } = (await member(host, fresh())).return
      const bent = token.slice()
      bent[20]! ^= 1
      const wrong: Return[] = [
        { session, token: new Uint8Array(0) },
        { session, token: foreign },
        { session: other, token },
        { session, token: bent },
        { session, token: token.subarray(0, token.length - 1) },
        { session, token: new Uint8Array(token.length) },
        { session: new Uint8Array(16), token },
        { session: crypto.getRandomValues(new Uint8Array(16)), token: new Uint8Array([1, 2, 3]) },
      ]
      for (const one of wrong) await refused(host, one)
    },
  },
  {
    name: 'a session that comes back ends its older connection, and nothing of it is lost',
    run: async (host) => {
      const key = fresh()
      const before = await member(host, key)
      const after = await again(host, before, key, 0)
      await host.until(() => before.client.closed, 'the older one is closed')
      assert.equal(before.said.errors.at(-1)?.code ?? 'REPLACED', 'REPLACED')
      after.call(1, 2, beats.number, { count: 1, pad: 0 })
      await host.until(() => beatsOf(after).length === 1, 'still a member')
      assert.equal((await lines(host, key)).size, 1)
    },
  },
  {
    name: 'a session that has logged in is the same player when it comes back',
    run: async (host) => {
      const uid = fresh('ada')
      const before = await speak(host, 'gatehouse', '')
      const { login, who } = Gatehouse.entries
      before.call(1, 1, login.number, json.encode({ uid }))
      await host.until(() => before.said.replies.length === 1, 'the login')
      const first = before.said.tokens.length
      assert.equal(first, 2)
      before.client.close()
      const after = await speak(host, 'gatehouse', '', before.return)
      after.call(1, 2, who.number, json.encode({}), 1)
      await host.until(() => after.said.replies.length === 1, 'who it is')
      assert.deepEqual(json.decode(after.said.replies[0]!.body), { uid })
      // The token of before the login died when its successor was used.
      await refused(host, { session: before.return.session, token: before.said.tokens[0]! })
    },
  },
]
