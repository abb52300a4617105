// Who a session is: logins, of which the newest of a uid lives, kicks and pushes that find a player anywhere, and shards
// that do not let everybody in.

import assert from 'node:assert/strict'
import { json } from '../../../core/wire/codec.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeAck, MESSAGE } from '../../../core/wire/message.ts'
import type { Host, RawClient } from '../host.ts'
import { Gatehouse, Study } from '../sessionshards.ts'
import { frame, uniqueName, jsons, openRawSession, RawSession, type Case } from './case.ts'

const { arrive, login, who, kick, tell, told } = Gatehouse.entries
const { sit } = Study.entries

/** A session of version 2 that has logged in. */
async function loginRawSession(host: Host, uid: string): Promise<RawSession> {
  const speaker = await openRawSession(host, 'gatehouse', '')
  speaker.sendCall(1, 1, login.number, json.encode({ uid }))
  await host.waitUntil(() => speaker.received.replies.length === 1, 'the login')
  return speaker
}

/** A legacy client that has logged in. */
async function loginLegacyClient(host: Host, uid: string): Promise<RawClient> {
  const client = await host.rawClient()
  client.send(frame(login.number, { uid }))
  await host.waitUntil(() => client.frames.length === 1, 'the login')
  return client
}

async function readUid(host: Host, speaker: RawSession, sequence: number): Promise<unknown> {
  speaker.sendCall(1, sequence, who.number, json.encode({}))
  await host.waitUntil(() => speaker.received.replies.some((reply) => reply.sequence === sequence), 'who it is')
  return json.decode(speaker.received.replies.find((reply) => reply.sequence === sequence)!.body)
}

function errorCodes(speaker: RawSession): string[] {
  return speaker.received.errors.map(({ code }) => code)
}

/** Numbers of the `told` that were pushed to a session itself. */
function pushedEvents(speaker: RawSession): unknown[] {
  return speaker.received.events.filter(({ channel }) => channel === 0).map(({ body }) => json.decode(body))
}

export const cases: readonly Case[] = [
  {
    name: 'a login makes the session that of a uid, for all its channels, also those that are open',
    run: async (host) => {
      const uid = uniqueName('ada')
      const speaker = await openRawSession(host, 'gatehouse', '')
      speaker.openChannel(2, 'gatehouse', '')
      await host.waitUntil(() => speaker.received.opened.length === 2, 'a second channel')
      assert.deepEqual(await readUid(host, speaker, 1), { uid: '' })
      speaker.sendCall(1, 2, login.number, json.encode({ uid }))
      await host.waitUntil(() => speaker.received.replies.length === 2, 'the login')
      assert.deepEqual(json.decode(speaker.received.replies[1]!.body), { uid })
      speaker.sendCall(2, 1, who.number, json.encode({}))
      await host.waitUntil(() => speaker.received.replies.length === 3, 'who it is')
      assert.deepEqual(json.decode(speaker.received.replies[2]!.body), { uid })
    },
  },
  {
    name: 'the newest login of a uid lives, and the older one hears why it does not',
    run: async (host) => {
      const uid = uniqueName('ada')
      const older = await loginRawSession(host, uid)
      const newer = await loginRawSession(host, uid)
      await host.waitUntil(() => older.client.isClosed, 'the older one is closed')
      assert.deepEqual(errorCodes(older), ['REPLACED'])
      assert.deepEqual(await readUid(host, newer, 2), { uid })
      assert.equal(newer.client.isClosed, false)
    },
  },
  {
    name: 'a login of a legacy client takes over from one of version 2, and the other way round',
    run: async (host) => {
      const uid = uniqueName('ada')
      const first = await loginRawSession(host, uid)
      const second = await loginLegacyClient(host, uid)
      await host.waitUntil(() => first.client.isClosed, 'the first is closed')
      const third = await loginRawSession(host, uid)
      await host.waitUntil(() => second.isClosed, 'the second is closed')
      assert.deepEqual(await readUid(host, third, 2), { uid })
    },
  },
  {
    name: 'a session that was replaced cannot come back with its token',
    run: async (host) => {
      const uid = uniqueName('ada')
      const older = await loginRawSession(host, uid)
      const newer = await loginRawSession(host, uid)
      await host.waitUntil(() => older.client.isClosed, 'the older one is closed')
      const back = new RawSession(await host.rawClient())
      back.sendHello(older.credentials)
      await host.waitUntil(() => back.client.isClosed, 'it is refused')
      assert.deepEqual(errorCodes(back), ['REPLACED'])
      assert.deepEqual(await readUid(host, newer, 2), { uid })
    },
  },
  {
    name: 'a kick reaches a player wherever it is, with its reason, and for good',
    run: async (host) => {
      const [uid, other] = [uniqueName('ada'), uniqueName('bob')]
      const [one, legacy] = [await loginRawSession(host, uid), await loginLegacyClient(host, other)]
      const judge = await openRawSession(host, 'gatehouse', '')
      judge.sendCall(1, 1, kick.number, { uid, reason: 'REPLACED' })
      judge.sendCall(1, 2, kick.number, { uid: other, reason: 'IDLE' })
      await host.waitUntil(() => one.client.isClosed && legacy.isClosed, 'both are closed')
      assert.deepEqual(
        one.received.errors.map(({ code, message }) => [code, message]),
        [['KICKED', 'REPLACED']],
      )
      const back = new RawSession(await host.rawClient())
      back.sendHello(one.credentials)
      await host.waitUntil(() => back.client.isClosed, 'it is refused')
      assert.equal(back.received.welcome.length, 0)
      assert.equal(judge.client.isClosed, false)
    },
  },
  {
    name: 'a push reaches a player on whatever connection it is, and is kept while it has none',
    run: async (host) => {
      const [uid, other] = [uniqueName('ada'), uniqueName('bob')]
      const [before, legacy] = [await loginRawSession(host, uid), await loginLegacyClient(host, other)]
      const herald = await openRawSession(host, 'gatehouse', '')
      const say = (sequence: number, to: string, n: number): unknown =>
        herald.sendCall(1, sequence, tell.number, { uid: to, n })
      say(1, uid, 1)
      say(2, other, 2)
      await host.waitUntil(() => pushedEvents(before).length === 1, 'the push')
      assert.deepEqual(pushedEvents(before), [{ n: 1 }])
      await host.waitUntil(() => legacy.frames.length === 2, 'the push to a legacy client')
      assert.deepEqual(jsons(legacy).at(-1), [told.number, { n: 2 }])
      before.send(MESSAGE.ACK, encodeAck({ channel: 0, calls: 0, events: 1 }))
      assert.deepEqual(await readUid(host, before, 2), { uid })
      before.client.close()
      await host.sleep(50)
      say(3, uid, 3)
      say(4, uid, 4)
      await host.waitUntil(() => herald.received.replies.length === 4, 'said')
      await host.sleep(50)
      const after = await openRawSession(host, 'gatehouse', '', before.credentials)
      await host.waitUntil(() => pushedEvents(after).length === 2, 'what was kept')
      assert.deepEqual(pushedEvents(after), [{ n: 3 }, { n: 4 }])
      assert.ok(after.received.opened.some(({ channel }) => channel === 0))
    },
  },
  {
    name: 'what is pushed to a uid from the moment of its login arrives, before its gateway could say that it is there',
    run: async (host) => {
      const uid = uniqueName('ada')
      const one = await openRawSession(host, 'gatehouse', '')
      one.sendCall(1, 1, arrive.number, { uid, greetings: 3 })
      await host.waitUntil(() => pushedEvents(one).length === 3, 'the greetings')
      one.sendCall(1, 2, tell.number, { uid, n: 4 })
      await host.waitUntil(() => pushedEvents(one).length === 4, 'a later push')
      assert.deepEqual(pushedEvents(one), [{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }])
      const numbers = one.received.events.map(({ sequence }) => sequence)
      assert.deepEqual(numbers, [1, 2, 3, 4])
      assert.deepEqual(one.received.resyncs, [])
    },
  },
  {
    name: 'more pushes at a login than are kept all arrive, or end in RESYNC',
    run: async (host) => {
      const uid = uniqueName('ada')
      const one = await openRawSession(host, 'gatehouse', '')
      const greetings = DEFAULT_LIMITS.maxUnackedEvents + 1
      one.sendCall(1, 1, arrive.number, { uid, greetings })
      await host.waitUntil(() => one.received.resyncs.length === 1 || pushedEvents(one).length === greetings, 'an end')
      one.sendCall(1, 2, tell.number, { uid, n: 0 })
      await host.waitUntil(() => pushedEvents(one).some((n) => (n as { n: number }).n === 0), 'a later push')
      const missed = one.received.resyncs[0]?.events ?? 0
      const numbers = one.received.events.map(({ sequence }) => sequence)
      assert.deepEqual(
        numbers,
        Array.from({ length: greetings + 1 - missed }, (_, i) => missed + 1 + i),
      )
    },
  },
  {
    name: 'an eviction of its own shard loses no player a push, and ends no legacy client',
    needs: ['evict'],
    run: async (host) => {
      const [uid, other] = [uniqueName('ada'), uniqueName('bob')]
      const [one, legacy] = [await loginRawSession(host, uid), await loginLegacyClient(host, other)]
      const herald = await openRawSession(host, 'gatehouse', '')
      for (const n of [1, 2]) {
        herald.sendCall(1, 2 * n - 1, tell.number, { uid, n })
        herald.sendCall(1, 2 * n, tell.number, { uid: other, n })
        await host.waitUntil(() => pushedEvents(one).length === n && legacy.frames.length === 1 + n, 'the pushes')
        await host.evictShard('@session', `u:${uid}`)
        await host.evictShard('@session', `u:${other}`)
      }
      assert.deepEqual(pushedEvents(one), [{ n: 1 }, { n: 2 }])
      assert.deepEqual(one.received.resyncs, [])
      assert.equal(legacy.isClosed, false)
    },
  },
  {
    name: 'a push or a kick to nobody does nothing',
    run: async (host) => {
      const herald = await openRawSession(host, 'gatehouse', '')
      herald.sendCall(1, 1, tell.number, { uid: uniqueName('nobody'), n: 1 })
      herald.sendCall(1, 2, kick.number, { uid: uniqueName('nobody'), reason: 'GONE' })
      await host.waitUntil(() => herald.received.replies.length === 2, 'both are answered')
    },
  },
  {
    name: 'a shard for players is closed to strangers, and open to who has logged in',
    run: async (host) => {
      const uid = uniqueName('ada')
      const stranger = await openRawSession(host, 'gatehouse', '')
      stranger.openChannel(2, 'study', 'main')
      await host.waitUntil(() => stranger.received.errors.length === 1, 'the refusal')
      assert.deepEqual(errorCodes(stranger), ['FORBIDDEN'])
      const one = await loginRawSession(host, uid)
      one.openChannel(2, 'study', uid)
      one.sendCall(2, 1, sit.number, json.encode({}))
      await host.waitUntil(() => one.received.replies.length === 2, 'a seat')
      assert.deepEqual(json.decode(one.received.replies[1]!.body), { uid, n: 1 })
    },
  },
  {
    name: 'a key that its game does not admit a session to is refused, and calls behind it are too',
    run: async (host) => {
      const uid = uniqueName('ada')
      const one = await loginRawSession(host, uid)
      one.openChannel(2, 'study', uniqueName('bob'))
      one.sendCall(2, 1, sit.number, json.encode({}))
      await host.waitUntil(() => one.received.errors.length > 0, 'the refusal')
      one.openChannel(3, 'study', 'broken')
      await host.waitUntil(() => one.received.closes.length === 1, 'an admit that throws')
      assert.deepEqual(one.received.closes, [{ channel: 3, code: 'UNAVAILABLE' }])
      const [first, ...behind] = one.received.errors.map(({ channel, sequence, code }) => [channel, sequence, code])
      assert.deepEqual(first, [2, 0, 'FORBIDDEN'])
      // A call that came after the refusal finds no channel; one that came before waited in vain.
      if (behind.length > 0) assert.deepEqual(behind, [[2, 1, 'CLOSED']])
      one.openChannel(4, 'study', `shared-${uniqueName()}`)
      one.sendCall(4, 1, sit.number, json.encode({}))
      await host.waitUntil(() => one.received.replies.length === 2, 'a seat elsewhere')
      assert.equal(one.client.isClosed, false)
    },
  },
  {
    name: 'who was admitted is not asked about again after an eviction, and who comes anew is',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName('once')
      const one = await loginRawSession(host, uniqueName('ada'))
      one.openChannel(2, 'study', key)
      one.sendCall(2, 1, sit.number, json.encode({}))
      await host.waitUntil(() => one.received.replies.length === 2, 'a seat')
      for (const sequence of [2, 3]) {
        await host.evictShard('study', key)
        one.sendCall(2, sequence, sit.number, json.encode({}))
        await host.waitUntil(() => one.received.replies.length === sequence + 1, 'a seat again')
      }
      const other = await loginRawSession(host, uniqueName('bob'))
      other.openChannel(2, 'study', key)
      await host.waitUntil(() => other.received.errors.length === 1, 'the refusal')
      assert.deepEqual(errorCodes(other), ['FORBIDDEN'])
      assert.deepEqual(errorCodes(one), [])
    },
  },
  {
    name: 'a legacy client reaches a shard for players once it has logged in, also when it does not wait',
    run: async (host) => {
      const uid = uniqueName('ada')
      const client = await host.rawClient()
      client.send(frame(sit.number, {}))
      client.send(frame(login.number, { uid }))
      client.send(frame(sit.number, {}))
      await host.waitUntil(() => client.frames.length === 2, 'two answers')
      const [first, second] = jsons(client)
      assert.deepEqual(first, [login.number, { uid }])
      assert.deepEqual((second![1] as { uid: string }).uid, uid)
    },
  },
  {
    name: 'a bad uid is a bug of the game and logs nobody in',
    run: async (host) => {
      const speaker = await openRawSession(host, 'gatehouse', '')
      speaker.sendCall(1, 1, login.number, json.encode({ uid: ' ada' }))
      await host.waitUntil(() => speaker.received.errors.length === 1, 'an error')
      assert.deepEqual(errorCodes(speaker), ['INTERNAL'])
      assert.deepEqual(await readUid(host, speaker, 2), { uid: '' })
    },
  },
  {
    name: 'a ticket that its game takes logs the session in before WELCOME, and it stays so when it comes back',
    run: async (host) => {
      const uid = uniqueName('ada')
      const one = new RawSession(await host.rawClient())
      one.helloWithTicket(uid).openChannel(1, 'gatehouse', '').openChannel(2, 'study', uid)
      assert.deepEqual(await readUid(host, one, 1), { uid })
      one.sendCall(2, 1, sit.number, json.encode({}))
      await host.waitUntil(() => one.received.replies.length === 2, 'a seat')
      one.client.close()
      const back = await openRawSession(host, 'gatehouse', '', one.credentials)
      assert.deepEqual(await readUid(host, back, 2), { uid })
      const elsewhere = new RawSession(await host.rawClient())
      elsewhere.helloWithTicket(uid).openChannel(1, 'gatehouse', '')
      await host.waitUntil(() => back.client.isClosed, 'the older login is closed')
      assert.deepEqual(errorCodes(back), ['REPLACED'])
      assert.deepEqual(await readUid(host, elsewhere, 1), { uid })
    },
  },
  {
    name: 'a ticket that its game does not take opens nothing, and one that breaks it may be shown again',
    run: async (host) => {
      for (const [ticket, code] of [
        ['forged', 'BAD_TICKET'],
        ['broken', 'UNAVAILABLE'],
        [' ', 'UNAVAILABLE'],
      ] as const) {
        const one = new RawSession(await host.rawClient())
        one.helloWithTicket(ticket).openChannel(1, 'gatehouse', '')
        await host.waitUntil(() => one.client.isClosed, 'closed')
        assert.deepEqual(errorCodes(one), [code])
        assert.deepEqual([one.received.welcome.length, one.received.opened.length], [0, 0])
      }
    },
  },
  {
    name: 'a login whose answer and token were lost with the connection holds on the next one',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = await openRawSession(host, 'gatehouse', '')
      const from = before.credentials
      before.sendCall(1, 1, login.number, json.encode({ uid }))
      await host.waitUntil(() => before.received.replies.length === 1, 'it is done')
      before.client.close()
      // The client has seen none of it: it shows the token of WELCOME and calls again.
      const after = await openRawSession(host, 'gatehouse', '', from)
      after.sendCall(1, 1, login.number, json.encode({ uid }))
      await host.waitUntil(() => after.received.replies.length >= 1, 'the same answer')
      assert.deepEqual(json.decode(after.received.replies[0]!.body), { uid })
      assert.deepEqual(await readUid(host, after, 2), { uid })
      after.openChannel(2, 'study', uid)
      after.sendCall(2, 1, sit.number, json.encode({}))
      await host.waitUntil(() => after.received.replies.length >= 3, 'a seat')
    },
  },
  {
    name: 'pushes go on over a second login of the same player, which another player cannot have here',
    run: async (host) => {
      const uid = uniqueName('ada')
      const one = await loginRawSession(host, uid)
      const herald = await openRawSession(host, 'gatehouse', '')
      herald.sendCall(1, 1, tell.number, { uid, n: 1 })
      await host.waitUntil(() => pushedEvents(one).length === 1, 'the first push')
      one.sendCall(1, 2, login.number, json.encode({ uid }))
      await host.waitUntil(() => one.received.replies.length === 2, 'the second login')
      herald.sendCall(1, 2, tell.number, { uid, n: 2 })
      await host.waitUntil(() => pushedEvents(one).length === 2, 'the second push')
      const numbers = one.received.events.filter(({ channel }) => channel === 0).map(({ sequence }) => sequence)
      assert.deepEqual(numbers, [1, 2])
      one.sendCall(1, 3, login.number, json.encode({ uid: uniqueName('bob') }))
      await host.waitUntil(() => one.received.errors.length === 1, 'the refusal')
      assert.deepEqual(errorCodes(one), ['FORBIDDEN'])
      assert.deepEqual(await readUid(host, one, 4), { uid })
    },
  },
  {
    name: 'a second login of the same player leaves its earlier tokens as they were',
    run: async (host) => {
      const uid = uniqueName('ada')
      const one = await loginRawSession(host, uid)
      const from = one.credentials
      one.sendCall(1, 2, login.number, json.encode({ uid }))
      await host.waitUntil(() => one.received.replies.length === 2, 'the second login')
      one.client.close()
      // Whatever the second login has brought was lost.
      const after = await openRawSession(host, 'gatehouse', '', from)
      assert.deepEqual(await readUid(host, after, 3), { uid })
    },
  },
  {
    name: 'a login of which nothing was heard, and that another one has taken over since, is not made again',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = await openRawSession(host, 'gatehouse', '')
      const from = before.credentials
      before.sendCall(1, 1, login.number, json.encode({ uid }))
      await host.waitUntil(() => before.received.replies.length === 1, 'it is done')
      before.client.close()
      const newer = await loginRawSession(host, uid)
      const back = new RawSession(await host.rawClient())
      back.sendHello(from).openChannel(1, 'gatehouse', '')
      back.sendCall(1, 1, login.number, json.encode({ uid }))
      await host.waitUntil(() => back.client.isClosed, 'it is told')
      assert.deepEqual(errorCodes(back), ['REPLACED'])
      assert.deepEqual(await readUid(host, newer, 2), { uid })
    },
  },
  {
    name: 'a kick ends the tokens of before the login as well',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = await openRawSession(host, 'gatehouse', '')
      const from = before.credentials
      before.sendCall(1, 1, login.number, json.encode({ uid }))
      await host.waitUntil(() => before.received.replies.length === 1, 'the login')
      const judge = await openRawSession(host, 'gatehouse', '')
      judge.sendCall(1, 1, kick.number, { uid, reason: 'CHEATING' })
      await host.waitUntil(() => before.client.isClosed, 'it is closed')
      await host.sleep(100)
      const back = new RawSession(await host.rawClient())
      back.sendHello(from)
      await host.waitUntil(() => back.client.isClosed, 'it is refused')
      assert.deepEqual(
        back.received.errors.map(({ code, message }) => [code, message]),
        [['KICKED', 'CHEATING']],
      )
    },
  },
  {
    name: 'of two connections with one token the later one has the session, and the token of the other is dead',
    run: async (host) => {
      const one = await loginRawSession(host, uniqueName('ada'))
      const from = one.credentials
      one.client.close()
      const a = await openRawSession(host, 'gatehouse', '', from)
      const b = await openRawSession(host, 'gatehouse', '', from)
      await host.waitUntil(() => a.client.isClosed, 'the first is replaced')
      const back = new RawSession(await host.rawClient())
      back.sendHello(a.credentials)
      await host.waitUntil(() => back.client.isClosed, 'its token is refused')
      assert.deepEqual(errorCodes(back), ['BAD_TOKEN'])
      assert.equal(b.client.isClosed, false)
    },
  },
  {
    name: 'a player who was kicked hears why when it comes back',
    run: async (host) => {
      const uid = uniqueName('ada')
      const one = await loginRawSession(host, uid)
      one.client.close()
      const judge = await openRawSession(host, 'gatehouse', '')
      judge.sendCall(1, 1, kick.number, { uid, reason: 'CHEATING' })
      await host.waitUntil(() => judge.received.replies.length === 1, 'said')
      await host.sleep(100)
      const back = new RawSession(await host.rawClient())
      back.sendHello(one.credentials)
      await host.waitUntil(() => back.client.isClosed, 'it is refused')
      assert.deepEqual(
        back.received.errors.map(({ code, message }) => [code, message]),
        [['KICKED', 'CHEATING']],
      )
      const anew = await loginRawSession(host, uid)
      assert.deepEqual(await readUid(host, anew, 2), { uid })
    },
  },
]
