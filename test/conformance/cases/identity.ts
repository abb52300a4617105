// Who a session is: logins, of which the newest of a uid lives, kicks and pushes that find a player anywhere, and shards
// that do not let everybody in.

import assert from 'node:assert/strict'
import { json } from '../../../core/wire/codec.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeAck, MESSAGE } from '../../../core/wire/message.ts'
import type { Host, RawClient } from '../host.ts'
import { Gatehouse, Study } from '../stage.ts'
import { frame, fresh, jsons, speak, Speaker, type Case } from './probe.ts'

const { arrive, login, who, kick, tell, told } = Gatehouse.entries
const { sit } = Study.entries

/** A session of version 2 that has logged in. */
async function player(host: Host, uid: string): Promise<Speaker> {
  const speaker = await speak(host, 'gatehouse', '')
  speaker.call(1, 1, login.number, json.encode({ uid }))
  await host.until(() => speaker.said.replies.length === 1, 'the login')
  return speaker
}

/** A legacy client that has logged in. */
async function legacyPlayer(host: Host, uid: string): Promise<RawClient> {
  const client = await host.raw()
  client.send(frame(login.number, { uid }))
  await host.until(() => client.frames.length === 1, 'the login')
  return client
}

async function identityOf(host: Host, speaker: Speaker, sequence: number): Promise<unknown> {
  speaker.call(1, sequence, who.number, json.encode({}))
  await host.until(() => speaker.said.replies.some((reply) => reply.sequence === sequence), 'who it is')
  return json.decode(speaker.said.replies.find((reply) => reply.sequence === sequence)!.body)
}

function codes(speaker: Speaker): string[] {
  return speaker.said.errors.map(({ code }) => code)
}

/** Numbers of the `told` that were pushed to a session itself. */
function toldOf(speaker: Speaker): unknown[] {
  return speaker.said.events.filter(({ channel }) => channel === 0).map(({ body }) => json.decode(body))
}

export const cases: readonly Case[] = [
  {
    name: 'a login makes the session that of a uid, for all its channels, also those that are open',
    run: async (host) => {
      const uid = fresh('ada')
      const speaker = await speak(host, 'gatehouse', '')
      speaker.open(2, 'gatehouse', '')
      await host.until(() => speaker.said.opened.length === 2, 'a second channel')
      assert.deepEqual(await identityOf(host, speaker, 1), { uid: '' })
      speaker.call(1, 2, login.number, json.encode({ uid }))
      await host.until(() => speaker.said.replies.length === 2, 'the login')
      assert.deepEqual(json.decode(speaker.said.replies[1]!.body), { uid })
      speaker.call(2, 1, who.number, json.encode({}))
      await host.until(() => speaker.said.replies.length === 3, 'who it is')
      assert.deepEqual(json.decode(speaker.said.replies[2]!.body), { uid })
    },
  },
  {
    name: 'the newest login of a uid lives, and the older one hears why it does not',
    run: async (host) => {
      const uid = fresh('ada')
      const older = await player(host, uid)
      const newer = await player(host, uid)
      await host.until(() => older.client.closed, 'the older one is closed')
      assert.deepEqual(codes(older), ['REPLACED'])
      assert.deepEqual(await identityOf(host, newer, 2), { uid })
      assert.equal(newer.client.closed, false)
    },
  },
  {
    name: 'a login of a legacy client takes over from one of version 2, and the other way round',
    run: async (host) => {
      const uid = fresh('ada')
      const first = await player(host, uid)
      const second = await legacyPlayer(host, uid)
      await host.until(() => first.client.closed, 'the first is closed')
      const third = await player(host, uid)
      await host.until(() => second.closed, 'the second is closed')
      assert.deepEqual(await identityOf(host, third, 2), { uid })
    },
  },
  {
    name: 'a session that was replaced cannot come back with its token',
    run: async (host) => {
      const uid = fresh('ada')
      const older = await player(host, uid)
      const newer = await player(host, uid)
      await host.until(() => older.client.closed, 'the older one is closed')
      const back = new Speaker(await host.raw())
      back.hello(older.return)
      await host.until(() => back.client.closed, 'it is refused')
      assert.deepEqual(codes(back), ['REPLACED'])
      assert.deepEqual(await identityOf(host, newer, 2), { uid })
    },
  },
  {
    name: 'a kick reaches a player wherever it is, with its reason, and for good',
    run: async (host) => {
      const [uid, other] = [fresh('ada'), fresh('bob')]
      const [one, legacy] = [await player(host, uid), await legacyPlayer(host, other)]
      const judge = await speak(host, 'gatehouse', '')
      judge.call(1, 1, kick.number, { uid, reason: 'REPLACED' })
      judge.call(1, 2, kick.number, { uid: other, reason: 'IDLE' })
      await host.until(() => one.client.closed && legacy.closed, 'both are closed')
      assert.deepEqual(
        one.said.errors.map(({ code, message }) => [code, message]),
        [['KICKED', 'REPLACED']],
      )
      const back = new Speaker(await host.raw())
      back.hello(one.return)
      await host.until(() => back.client.closed, 'it is refused')
      assert.equal(back.said.welcome.length, 0)
      assert.equal(judge.client.closed, false)
    },
  },
  {
    name: 'a push reaches a player on whatever connection it is, and is kept while it has none',
    run: async (host) => {
      const [uid, other] = [fresh('ada'), fresh('bob')]
      const [before, legacy] = [await player(host, uid), await legacyPlayer(host, other)]
      const herald = await speak(host, 'gatehouse', '')
      const say = (sequence: number, to: string, n: number): unknown =>
        herald.call(1, sequence, tell.number, { uid: to, n })
      say(1, uid, 1)
      say(2, other, 2)
      await host.until(() => toldOf(before).length === 1, 'the push')
      assert.deepEqual(toldOf(before), [{ n: 1 }])
      await host.until(() => legacy.frames.length === 2, 'the push to a legacy client')
      assert.deepEqual(jsons(legacy).at(-1), [told.number, { n: 2 }])
      before.say(MESSAGE.ACK, encodeAck({ channel: 0, calls: 0, events: 1 }))
      assert.deepEqual(await identityOf(host, before, 2), { uid })
      before.client.close()
      await host.pass(50)
      say(3, uid, 3)
      say(4, uid, 4)
      await host.until(() => herald.said.replies.length === 4, 'said')
      await host.pass(50)
      const after = await speak(host, 'gatehouse', '', before.return)
      await host.until(() => toldOf(after).length === 2, 'what was kept')
      assert.deepEqual(toldOf(after), [{ n: 3 }, { n: 4 }])
      assert.ok(after.said.opened.some(({ channel }) => channel === 0))
    },
  },
  {
    name: 'what is pushed to a uid from the moment of its login arrives, before its gateway could say that it is there',
    run: async (host) => {
      const uid = fresh('ada')
      const one = await speak(host, 'gatehouse', '')
      one.call(1, 1, arrive.number, { uid, greetings: 3 })
      await host.until(() => toldOf(one).length === 3, 'the greetings')
      one.call(1, 2, tell.number, { uid, n: 4 })
      await host.until(() => toldOf(one).length === 4, 'a later push')
      assert.deepEqual(toldOf(one), [{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }])
      const numbers = one.said.events.map(({ sequence }) => sequence)
      assert.deepEqual(numbers, [1, 2, 3, 4])
      assert.deepEqual(one.said.resyncs, [])
    },
  },
  {
    name: 'more pushes at a login than are kept all arrive, or end in RESYNC',
    run: async (host) => {
      const uid = fresh('ada')
      const one = await speak(host, 'gatehouse', '')
      const greetings = DEFAULT_LIMITS.maxUnackedEvents + 1
      one.call(1, 1, arrive.number, { uid, greetings })
      await host.until(() => one.said.resyncs.length === 1 || toldOf(one).length === greetings, 'an end')
      one.call(1, 2, tell.number, { uid, n: 0 })
      await host.until(() => toldOf(one).some((n) => (n as { n: number }).n === 0), 'a later push')
      const missed = one.said.resyncs[0]?.events ?? 0
      const numbers = one.said.events.map(({ sequence }) => sequence)
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
      const [uid, other] = [fresh('ada'), fresh('bob')]
      const [one, legacy] = [await player(host, uid), await legacyPlayer(host, other)]
      const herald = await speak(host, 'gatehouse', '')
      for (const n of [1, 2]) {
        herald.call(1, 2 * n - 1, tell.number, { uid, n })
        herald.call(1, 2 * n, tell.number, { uid: other, n })
        await host.until(() => toldOf(one).length === n && legacy.frames.length === 1 + n, 'the pushes')
        await host.evict('@session', `u:${uid}`)
        await host.evict('@session', `u:${other}`)
      }
      assert.deepEqual(toldOf(one), [{ n: 1 }, { n: 2 }])
      assert.deepEqual(one.said.resyncs, [])
      assert.equal(legacy.closed, false)
    },
  },
  {
    name: 'a push or a kick to nobody does nothing',
    run: async (host) => {
      const herald = await speak(host, 'gatehouse', '')
      herald.call(1, 1, tell.number, { uid: fresh('nobody'), n: 1 })
      herald.call(1, 2, kick.number, { uid: fresh('nobody'), reason: 'GONE' })
      await host.until(() => herald.said.replies.length === 2, 'both are answered')
    },
  },
  {
    name: 'a shard for players is closed to strangers, and open to who has logged in',
    run: async (host) => {
      const uid = fresh('ada')
      const stranger = await speak(host, 'gatehouse', '')
      stranger.open(2, 'study', 'main')
      await host.until(() => stranger.said.errors.length === 1, 'the refusal')
      assert.deepEqual(codes(stranger), ['FORBIDDEN'])
      const one = await player(host, uid)
      one.open(2, 'study', uid)
      one.call(2, 1, sit.number, json.encode({}))
      await host.until(() => one.said.replies.length === 2, 'a seat')
      assert.deepEqual(json.decode(one.said.replies[1]!.body), { uid, n: 1 })
    },
  },
  {
    name: 'a key that its game does not admit a session to is refused, and calls behind it are too',
    run: async (host) => {
      const uid = fresh('ada')
      const one = await player(host, uid)
      one.open(2, 'study', fresh('bob'))
      one.call(2, 1, sit.number, json.encode({}))
      await host.until(() => one.said.errors.length > 0, 'the refusal')
      one.open(3, 'study', 'broken')
      await host.until(() => one.said.closes.length === 1, 'an admit that throws')
      assert.deepEqual(one.said.closes, [{ channel: 3, code: 'UNAVAILABLE' }])
      const [first, ...behind] = one.said.errors.map(({ channel, sequence, code }) => [
        channel,
        sequence,
        code,
      ])
      assert.deepEqual(first, [2, 0, 'FORBIDDEN'])
      // A call that came after the refusal finds no channel; one that came before waited in vain.
      if (behind.length > 0) assert.deepEqual(behind, [[2, 1, 'CLOSED']])
      one.open(4, 'study', `shared-${fresh()}`)
      one.call(4, 1, sit.number, json.encode({}))
      await host.until(() => one.said.replies.length === 2, 'a seat elsewhere')
      assert.equal(one.client.closed, false)
    },
  },
  {
    name: 'who was admitted is not asked about again after an eviction, and who comes anew is',
    needs: ['evict'],
    run: async (host) => {
      const key = fresh('once')
      const one = await player(host, fresh('ada'))
      one.open(2, 'study', key)
      one.call(2, 1, sit.number, json.encode({}))
      await host.until(() => one.said.replies.length === 2, 'a seat')
      for (const sequence of [2, 3]) {
        await host.evict('study', key)
        one.call(2, sequence, sit.number, json.encode({}))
        await host.until(() => one.said.replies.length === sequence + 1, 'a seat again')
      }
      const other = await player(host, fresh('bob'))
      other.open(2, 'study', key)
      await host.until(() => other.said.errors.length === 1, 'the refusal')
      assert.deepEqual(codes(other), ['FORBIDDEN'])
      assert.deepEqual(codes(one), [])
    },
  },
  {
    name: 'a legacy client reaches a shard for players once it has logged in, also when it does not wait',
    run: async (host) => {
      const uid = fresh('ada')
      const client = await host.raw()
      client.send(frame(sit.number, {}))
      client.send(frame(login.number, { uid }))
      client.send(frame(sit.number, {}))
      await host.until(() => client.frames.length === 2, 'two answers')
      const [first, second] = jsons(client)
      assert.deepEqual(first, [login.number, { uid }])
      assert.deepEqual((second![1] as { uid: string }).uid, uid)
    },
  },
  {
    name: 'a bad uid is a bug of the game and logs nobody in',
    run: async (host) => {
      const speaker = await speak(host, 'gatehouse', '')
      speaker.call(1, 1, login.number, json.encode({ uid: ' ada' }))
      await host.until(() => speaker.said.errors.length === 1, 'an error')
      assert.deepEqual(codes(speaker), ['INTERNAL'])
      assert.deepEqual(await identityOf(host, speaker, 2), { uid: '' })
    },
  },
  {
    name: 'a ticket that its game takes logs the session in before WELCOME, and it stays so when it comes back',
    run: async (host) => {
      const uid = fresh('ada')
      const one = new Speaker(await host.raw())
      one.show(uid).open(1, 'gatehouse', '').open(2, 'study', uid)
      assert.deepEqual(await identityOf(host, one, 1), { uid })
      one.call(2, 1, sit.number, json.encode({}))
      await host.until(() => one.said.replies.length === 2, 'a seat')
      one.client.close()
      const back = await speak(host, 'gatehouse', '', one.return)
      assert.deepEqual(await identityOf(host, back, 2), { uid })
      const elsewhere = new Speaker(await host.raw())
      elsewhere.show(uid).open(1, 'gatehouse', '')
      await host.until(() => back.client.closed, 'the older login is closed')
      assert.deepEqual(codes(back), ['REPLACED'])
      assert.deepEqual(await identityOf(host, elsewhere, 1), { uid })
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
        const one = new Speaker(await host.raw())
        one.show(ticket).open(1, 'gatehouse', '')
        await host.until(() => one.client.closed, 'closed')
        assert.deepEqual(codes(one), [code])
        assert.deepEqual([one.said.welcome.length, one.said.opened.length], [0, 0])
      }
    },
  },
  {
    name: 'a login whose answer and token were lost with the connection holds on the next one',
    run: async (host) => {
      const uid = fresh('ada')
      const before = await speak(host, 'gatehouse', '')
      const from = before.return
      before.call(1, 1, login.number, json.encode({ uid }))
      await host.until(() => before.said.replies.length === 1, 'it is done')
      before.client.close()
      // The client has seen none of it: it shows the token of WELCOME and calls again.
      const after = await speak(host, 'gatehouse', '', from)
      after.call(1, 1, login.number, json.encode({ uid }))
      await host.until(() => after.said.replies.length >= 1, 'the same answer')
      assert.deepEqual(json.decode(after.said.replies[0]!.body), { uid })
      assert.deepEqual(await identityOf(host, after, 2), { uid })
      after.open(2, 'study', uid)
      after.call(2, 1, sit.number, json.encode({}))
      await host.until(() => after.said.replies.length >= 3, 'a seat')
    },
  },
  {
    name: 'pushes go on over a second login of the same player, which another player cannot have here',
    run: async (host) => {
      const uid = fresh('ada')
      const one = await player(host, uid)
      const herald = await speak(host, 'gatehouse', '')
      herald.call(1, 1, tell.number, { uid, n: 1 })
      await host.until(() => toldOf(one).length === 1, 'the first push')
      one.call(1, 2, login.number, json.encode({ uid }))
      await host.until(() => one.said.replies.length === 2, 'the second login')
      herald.call(1, 2, tell.number, { uid, n: 2 })
      await host.until(() => toldOf(one).length === 2, 'the second push')
      const numbers = one.said.events.filter(({ channel }) => channel === 0).map(({ sequence }) => sequence)
      assert.deepEqual(numbers, [1, 2])
      one.call(1, 3, login.number, json.encode({ uid: fresh('bob') }))
      await host.until(() => one.said.errors.length === 1, 'the refusal')
      assert.deepEqual(codes(one), ['FORBIDDEN'])
      assert.deepEqual(await identityOf(host, one, 4), { uid })
    },
  },
  {
    name: 'a second login of the same player leaves its earlier tokens as they were',
    run: async (host) => {
      const uid = fresh('ada')
      const one = await player(host, uid)
      const from = one.return
      one.call(1, 2, login.number, json.encode({ uid }))
      await host.until(() => one.said.replies.length === 2, 'the second login')
      one.client.close()
      // Whatever the second login has brought was lost.
      const after = await speak(host, 'gatehouse', '', from)
      assert.deepEqual(await identityOf(host, after, 3), { uid })
    },
  },
  {
    name: 'a login of which nothing was heard, and that another one has taken over since, is not made again',
    run: async (host) => {
      const uid = fresh('ada')
      const before = await speak(host, 'gatehouse', '')
      const from = before.return
      before.call(1, 1, login.number, json.encode({ uid }))
      await host.until(() => before.said.replies.length === 1, 'it is done')
      before.client.close()
      const newer = await player(host, uid)
      const back = new Speaker(await host.raw())
      back.hello(from).open(1, 'gatehouse', '')
      back.call(1, 1, login.number, json.encode({ uid }))
      await host.until(() => back.client.closed, 'it is told')
      assert.deepEqual(codes(back), ['REPLACED'])
      assert.deepEqual(await identityOf(host, newer, 2), { uid })
    },
  },
  {
    name: 'a kick ends the tokens of before the login as well',
    run: async (host) => {
      const uid = fresh('ada')
      const before = await speak(host, 'gatehouse', '')
      const from = before.return
      before.call(1, 1, login.number, json.encode({ uid }))
      await host.until(() => before.said.replies.length === 1, 'the login')
      const judge = await speak(host, 'gatehouse', '')
      judge.call(1, 1, kick.number, { uid, reason: 'CHEATING' })
      await host.until(() => before.client.closed, 'it is closed')
      await host.pass(100)
      const back = new Speaker(await host.raw())
      back.hello(from)
      await host.until(() => back.client.closed, 'it is refused')
      assert.deepEqual(
        back.said.errors.map(({ code, message }) => [code, message]),
        [['KICKED', 'CHEATING']],
      )
    },
  },
  {
    name: 'of two connections with one token the later one has the session, and the token of the other is dead',
    run: async (host) => {
      const one = await player(host, fresh('ada'))
      const from = one.return
      one.client.close()
      const a = await speak(host, 'gatehouse', '', from)
      const b = await speak(host, 'gatehouse', '', from)
      await host.until(() => a.client.closed, 'the first is replaced')
      const back = new Speaker(await host.raw())
      back.hello(a.return)
      await host.until(() => back.client.closed, 'its token is refused')
      assert.deepEqual(codes(back), ['BAD_TOKEN'])
      assert.equal(b.client.closed, false)
    },
  },
  {
    name: 'a player who was kicked hears why when it comes back',
    run: async (host) => {
      const uid = fresh('ada')
      const one = await player(host, uid)
      one.client.close()
      const judge = await speak(host, 'gatehouse', '')
      judge.call(1, 1, kick.number, { uid, reason: 'CHEATING' })
      await host.until(() => judge.said.replies.length === 1, 'said')
      await host.pass(100)
      const back = new Speaker(await host.raw())
      back.hello(one.return)
      await host.until(() => back.client.closed, 'it is refused')
      assert.deepEqual(
        back.said.errors.map(({ code, message }) => [code, message]),
        [['KICKED', 'CHEATING']],
      )
      const anew = await player(host, uid)
      assert.deepEqual(await identityOf(host, anew, 2), { uid })
    },
  },
]
