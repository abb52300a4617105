// Identity: logins (the newest login of a uid replaces the older one), kicks and pushes that reach a player on any
// connection, and shards with an admission rule.

import assert from 'node:assert/strict'
import { json } from '../../../core/wire/codec.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeAck, MESSAGE } from '../../../core/wire/message.ts'
import type { Host, RawClient } from '../host.ts'
import { Accounts, Hall, PlayerRoom } from '../sessionshards.ts'
import {
  awaitAllOn,
  awaitFailure,
  awaitOn,
  callJson,
  frame,
  uniqueName,
  waitForJsons,
  openRawSession,
  pollUntil,
  RawSession,
  type Case,
  type ResumeCredentials,
} from './case.ts'

const { loginAndPush, login, currentUid, kick, push, pushed } = Accounts.entries
const { enter } = PlayerRoom.entries

/** A session with the accounts service on channel 1. */
function openSession(host: Host, from?: ResumeCredentials): Promise<RawSession> {
  return openRawSession(host, 'accounts', '', from)
}

/** A session of version 2 that has logged in. */
async function openPlayer(host: Host, uid: string): Promise<RawSession> {
  const session = await openSession(host)
  await callJson(session, 1, 1, login.number, { uid })
  return session
}

/** A legacy client that has logged in. */
async function openLegacyPlayer(host: Host, uid: string): Promise<RawClient> {
  const client = await host.rawClient()
  client.send(frame(login.number, { uid }))
  await host.waitUntil(() => client.frames.length === 1, 'the login')
  return client
}

/** Opens a player room on the channel and enters it. */
function enterRoom(session: RawSession, channel: number, key: string): Promise<unknown> {
  session.openChannel(channel, 'playerroom', key)
  return callJson(session, channel, 1, enter.number)
}

async function readUid(session: RawSession, sequence: number, channel = 1): Promise<unknown> {
  return ((await callJson(session, channel, sequence, currentUid.number)) as { uid: unknown }).uid
}

/** Resumes with credentials that are refused; returns the errors, as code and message. */
async function failToResume(host: Host, from: ResumeCredentials): Promise<string[][]> {
  const session = (await RawSession.connect(host)).sendHello(from)
  await session.waitForClose()
  assert.equal(session.received.welcome.length, 0)
  return session.received.errors.map(({ code, message }) => [code, message])
}

/** Bodies of the events that were pushed to the session itself. */
function pushedEvents(session: RawSession): unknown[] {
  return session.received.events.filter(({ channel }) => channel === 0).map(({ body }) => json.decode(body))
}
async function waitForPushes(host: Host, session: RawSession, count: number): Promise<unknown[]> {
  await host.waitUntil(() => pushedEvents(session).length === count, `${count} pushes`)
  return pushedEvents(session)
}

export const cases: readonly Case[] = [
  {
    name: 'a handle that was FORBIDDEN before the login works after it, and the error has that code',
    run: async (host) => {
      const client = await host.sdkClient()
      const uid = uniqueName('uid')
      const room = client.at(PlayerRoom, uid)
      const closed: string[] = []
      room.onClose((code) => closed.push(code))
      for (let i = 0; i < 2; i++) assert.equal((await awaitFailure(host, room.enter())).code, 'FORBIDDEN')
      assert.equal(client.at(PlayerRoom, uid), room)
      await awaitOn(host, client.at(Accounts).login({ uid }))
      assert.deepEqual(await awaitAllOn(host, [room.enter(), room.enter()]), [
        { uid, n: 1 },
        { uid, n: 2 },
      ])
      assert.deepEqual(closed, ['FORBIDDEN', 'FORBIDDEN'])
    },
  },
  {
    name: 'a login sets the uid of the session on all its channels, including open ones',
    run: async (host) => {
      const uid = uniqueName('ada')
      const session = await (await openSession(host)).open(2, 'accounts', '')
      assert.equal(await readUid(session, 1), '')
      assert.deepEqual(await callJson(session, 1, 2, login.number, { uid }), { uid })
      assert.equal(await readUid(session, 1, 2), uid)
    },
  },
  {
    name: 'the newest login of a uid replaces the older session, which receives REPLACED',
    run: async (host) => {
      const uid = uniqueName('ada')
      const [older, newer] = [await openPlayer(host, uid), await openPlayer(host, uid)]
      assert.deepEqual(await older.waitForClose(), ['REPLACED'])
      assert.equal(await readUid(newer, 2), uid)
      assert.equal(newer.client.isClosed, false)
    },
  },
  {
    name: 'a login of a legacy client replaces a version 2 session, and the reverse',
    run: async (host) => {
      const uid = uniqueName('ada')
      const first = await openPlayer(host, uid)
      const second = await openLegacyPlayer(host, uid)
      await first.waitForClose()
      const third = await openPlayer(host, uid)
      await host.waitUntil(() => second.isClosed, 'the second is closed')
      assert.equal(await readUid(third, 2), uid)
    },
  },
  {
    name: 'a replaced session cannot resume with its token',
    run: async (host) => {
      const uid = uniqueName('ada')
      const [older, newer] = [await openPlayer(host, uid), await openPlayer(host, uid)]
      await older.waitForClose()
      assert.equal((await failToResume(host, older.credentials))[0]![0], 'REPLACED')
      assert.equal(await readUid(newer, 2), uid)
    },
  },
  {
    name: 'a kick closes any connection of the player with its reason, and the session cannot resume',
    run: async (host) => {
      const [uid, legacyUid] = [uniqueName('ada'), uniqueName('bob')]
      const [player, legacy] = [await openPlayer(host, uid), await openLegacyPlayer(host, legacyUid)]
      const sender = await openSession(host)
      sender.sendCall(1, 1, kick.number, { uid, reason: 'REPLACED' })
      sender.sendCall(1, 2, kick.number, { uid: legacyUid, reason: 'IDLE' })
      await player.waitForClose()
      await host.waitUntil(() => legacy.isClosed, 'the legacy client is closed')
      assert.deepEqual(
        player.received.errors.map(({ code, message }) => [code, message]),
        [['KICKED', 'REPLACED']],
      )
      await failToResume(host, player.credentials)
      assert.equal(sender.client.isClosed, false)
    },
  },
  {
    name: 'a kick releases the seats of the session immediately',
    run: async (host) => {
      const [uid, key] = [uniqueName('ada'), uniqueName()]
      const [member, sender] = [await openPlayer(host, uid), await openSession(host)]
      await (await member.open(2, 'hall', key)).call(2, 1, Hall.entries.enter.number)
      sender.sendCall(1, 1, kick.number, { uid, reason: 'CHEATING' })
      await member.waitForClose()
      const room = (await host.sdkClient()).at(Hall, key)
      const hasLine = (log: { readonly lines: readonly string[] }): boolean => log.lines.length > 0
      assert.deepEqual((await pollUntil(host, () => room.log(), hasLine, 'a change of the seat')).lines, ['left 0'])
    },
  },
  {
    name: 'a push reaches a player on any connection, and is retained while the player is disconnected',
    run: async (host) => {
      const [uid, legacyUid] = [uniqueName('ada'), uniqueName('bob')]
      const [before, legacy] = [await openPlayer(host, uid), await openLegacyPlayer(host, legacyUid)]
      const sender = await openSession(host)
      const sendPush = (n: number, to: string): unknown => sender.sendCall(1, n, push.number, { uid: to, n })
      sendPush(1, uid)
      sendPush(2, legacyUid)
      assert.deepEqual(await waitForPushes(host, before, 1), [{ n: 1 }])
      assert.deepEqual((await waitForJsons(host, legacy, 2)).at(-1), [pushed.number, { n: 2 }])
      before.send(MESSAGE.ACK, encodeAck({ channel: 0, calls: 0, events: 1 }))
      assert.equal(await readUid(before, 2), uid)
      before.client.close()
      await host.sleep(50)
      sendPush(3, uid)
      sendPush(4, uid)
      await sender.waitFor('replies', 4)
      await host.sleep(50)
      const after = await openSession(host, before.credentials)
      assert.deepEqual(await waitForPushes(host, after, 2), [{ n: 3 }, { n: 4 }])
      assert.ok(after.received.opened.some(({ channel }) => channel === 0))
    },
  },
  {
    name: 'pushes from the turn of the login arrive, although the gateway attaches after that turn',
    run: async (host) => {
      const uid = uniqueName('ada')
      const session = await openSession(host)
      session.sendCall(1, 1, loginAndPush.number, { uid, pushes: 3 })
      await waitForPushes(host, session, 3)
      session.sendCall(1, 2, push.number, { uid, n: 4 })
      assert.deepEqual(await waitForPushes(host, session, 4), [{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }])
      const sequences = session.received.events.map(({ sequence }) => sequence)
      assert.deepEqual(sequences, [1, 2, 3, 4])
      assert.deepEqual(session.received.resyncs, [])
    },
  },
  {
    name: 'more pushes at a login than are retained all arrive, or cause RESYNC',
    run: async (host) => {
      const uid = uniqueName('ada')
      const session = await openSession(host)
      const pushes = DEFAULT_LIMITS.maxUnackedEvents + 1
      session.sendCall(1, 1, loginAndPush.number, { uid, pushes })
      const isComplete = (): boolean => session.received.resyncs.length === 1 || pushedEvents(session).length === pushes
      await host.waitUntil(isComplete, 'all pushes or RESYNC')
      session.sendCall(1, 2, push.number, { uid, n: 0 })
      const isLast = (event: unknown): boolean => (event as { n: number }).n === 0
      await host.waitUntil(() => pushedEvents(session).some(isLast), 'a later push')
      const missed = session.received.resyncs[0]?.events ?? 0
      assert.deepEqual(
        session.received.events.map(({ sequence }) => sequence),
        Array.from({ length: pushes + 1 - missed }, (_, i) => missed + 1 + i),
      )
    },
  },
  {
    name: 'an eviction of the session shard loses no push and closes no legacy client',
    needs: ['evict'],
    run: async (host) => {
      const [uid, legacyUid] = [uniqueName('ada'), uniqueName('bob')]
      const [player, legacy] = [await openPlayer(host, uid), await openLegacyPlayer(host, legacyUid)]
      const sender = await openSession(host)
      for (const n of [1, 2]) {
        sender.sendCall(1, 2 * n - 1, push.number, { uid, n })
        sender.sendCall(1, 2 * n, push.number, { uid: legacyUid, n })
        await waitForPushes(host, player, n)
        await host.waitUntil(() => legacy.frames.length === 1 + n, 'the push to the legacy client')
        await host.evictShard('@session', `u:${uid}`)
        await host.evictShard('@session', `u:${legacyUid}`)
      }
      assert.deepEqual(pushedEvents(player), [{ n: 1 }, { n: 2 }])
      assert.deepEqual(player.received.resyncs, [])
      assert.equal(legacy.isClosed, false)
    },
  },
  {
    name: 'a push and a kick to an unknown uid have no effect',
    run: async (host) => {
      const sender = await openSession(host)
      await sender.call(1, 1, push.number, { uid: uniqueName('unknown'), n: 1 })
      await sender.call(1, 2, kick.number, { uid: uniqueName('unknown'), reason: 'GONE' })
    },
  },
  {
    name: 'a shard for players rejects sessions without a login and accepts those that have logged in',
    run: async (host) => {
      const uid = uniqueName('ada')
      const anonymous = await openSession(host)
      anonymous.openChannel(2, 'playerroom', 'main')
      await anonymous.waitFor('errors')
      assert.deepEqual(anonymous.errorCodes, ['FORBIDDEN'])
      assert.deepEqual(await enterRoom(await openPlayer(host, uid), 2, uid), { uid, n: 1 })
    },
  },
  {
    name: 'a key to which the game does not admit the session is rejected, and so are calls to it',
    run: async (host) => {
      const session = await openPlayer(host, uniqueName('ada'))
      session.openChannel(2, 'playerroom', uniqueName('bob'))
      session.sendCall(2, 1, enter.number, json.encode({}))
      await session.waitFor('errors')
      // An admission rule that throws.
      session.openChannel(3, 'playerroom', 'broken')
      assert.deepEqual(await session.waitFor('closes'), [{ channel: 3, code: 'UNAVAILABLE' }])
      const errors = session.received.errors.map(({ channel, sequence, code }) => [channel, sequence, code])
      assert.deepEqual(errors.shift(), [2, 0, 'FORBIDDEN'])
      // A call after the rejection gets CLOSED; a call before it is dropped.
      if (errors.length > 0) assert.deepEqual(errors, [[2, 1, 'CLOSED']])
      await enterRoom(session, 4, `shared-${uniqueName()}`)
      assert.equal(session.client.isClosed, false)
    },
  },
  {
    name: 'after an eviction an admitted session is not checked again, and a new session is',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName('once')
      const session = await openPlayer(host, uniqueName('ada'))
      await enterRoom(session, 2, key)
      for (const sequence of [2, 3]) {
        await host.evictShard('playerroom', key)
        await callJson(session, 2, sequence, enter.number)
      }
      const other = await openPlayer(host, uniqueName('bob'))
      other.openChannel(2, 'playerroom', key)
      await other.waitFor('errors')
      assert.deepEqual(other.errorCodes, ['FORBIDDEN'])
      assert.deepEqual(session.errorCodes, [])
    },
  },
  {
    name: 'a legacy client reaches a shard for players after its login, also with commands sent before the reply',
    run: async (host) => {
      const uid = uniqueName('ada')
      const client = await host.rawClient()
      client.send(frame(enter.number, {}))
      client.send(frame(login.number, { uid }))
      client.send(frame(enter.number, {}))
      const [first, second] = await waitForJsons(host, client, 2)
      assert.deepEqual(first, [login.number, { uid }])
      assert.deepEqual((second![1] as { uid: string }).uid, uid)
    },
  },
  {
    name: 'a login with an invalid uid is a bug of the game and does not log in',
    run: async (host) => {
      const session = await openSession(host)
      session.sendCall(1, 1, login.number, json.encode({ uid: ' ada' }))
      await session.waitFor('errors')
      assert.deepEqual(session.errorCodes, ['INTERNAL'])
      assert.equal(await readUid(session, 2), '')
    },
  },
  {
    name: 'an accepted ticket logs the session in before WELCOME, and the login survives a resume',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = (await RawSession.connect(host)).sendTicket(uid).openChannel(1, 'accounts', '')
      before.openChannel(2, 'playerroom', uid)
      assert.equal(await readUid(before, 1), uid)
      await callJson(before, 2, 1, enter.number)
      before.client.close()
      const resumed = await openSession(host, before.credentials)
      assert.equal(await readUid(resumed, 2), uid)
      const newer = (await RawSession.connect(host)).sendTicket(uid).openChannel(1, 'accounts', '')
      assert.deepEqual(await resumed.waitForClose(), ['REPLACED'])
      assert.equal(await readUid(newer, 1), uid)
    },
  },
  {
    name: 'a rejected ticket closes the connection, and a ticket that makes the game throw gets UNAVAILABLE',
    run: async (host) => {
      for (const [ticket, code] of [
        ['forged', 'BAD_TICKET'],
        ['broken', 'UNAVAILABLE'],
        [' ', 'UNAVAILABLE'],
      ] as const) {
        const session = (await RawSession.connect(host)).sendTicket(ticket).openChannel(1, 'accounts', '')
        assert.deepEqual(await session.waitForClose(), [code])
        assert.deepEqual([session.received.welcome.length, session.received.opened.length], [0, 0])
      }
    },
  },
  {
    name: 'a login whose reply and token were lost with the connection is valid on the next one',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = await openSession(host)
      const from = before.credentials
      await callJson(before, 1, 1, login.number, { uid })
      before.client.close()
      // As a client that received neither: it resumes with the token of WELCOME and resends the call.
      const after = await openSession(host, from)
      assert.deepEqual(await callJson(after, 1, 1, login.number, { uid }), { uid })
      assert.equal(await readUid(after, 2), uid)
      await enterRoom(after, 2, uid)
    },
  },
  {
    name: 'pushes continue after a second login of the same uid, and a login of another uid is FORBIDDEN',
    run: async (host) => {
      const uid = uniqueName('ada')
      const session = await openPlayer(host, uid)
      const sender = await openSession(host)
      sender.sendCall(1, 1, push.number, { uid, n: 1 })
      await waitForPushes(host, session, 1)
      await callJson(session, 1, 2, login.number, { uid })
      sender.sendCall(1, 2, push.number, { uid, n: 2 })
      await waitForPushes(host, session, 2)
      const pushes = session.received.events.filter(({ channel }) => channel === 0)
      assert.deepEqual(
        pushes.map(({ sequence }) => sequence),
        [1, 2],
      )
      session.sendCall(1, 3, login.number, json.encode({ uid: uniqueName('bob') }))
      await session.waitFor('errors')
      assert.deepEqual(session.errorCodes, ['FORBIDDEN'])
      assert.equal(await readUid(session, 4), uid)
    },
  },
  {
    name: 'a second login of the same uid does not invalidate earlier tokens',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = await openPlayer(host, uid)
      const from = before.credentials
      await callJson(before, 1, 2, login.number, { uid })
      before.client.close()
      // As if the token of the second login was lost.
      assert.equal(await readUid(await openSession(host, from), 3), uid)
    },
  },
  {
    name: 'a resent login whose reply was lost is not applied after another session has logged in',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = await openSession(host)
      const from = before.credentials
      await callJson(before, 1, 1, login.number, { uid })
      before.client.close()
      const newer = await openPlayer(host, uid)
      const resumed = (await RawSession.connect(host)).sendHello(from).openChannel(1, 'accounts', '')
      resumed.sendCall(1, 1, login.number, json.encode({ uid }))
      assert.deepEqual(await resumed.waitForClose(), ['REPLACED'])
      assert.equal(await readUid(newer, 2), uid)
    },
  },
  {
    name: 'a kick also invalidates the tokens from before the login',
    run: async (host) => {
      const uid = uniqueName('ada')
      const session = await openSession(host)
      const from = session.credentials
      await callJson(session, 1, 1, login.number, { uid })
      await (await openSession(host)).call(1, 1, kick.number, { uid, reason: 'CHEATING' })
      await session.waitForClose()
      await host.sleep(100)
      assert.deepEqual(await failToResume(host, from), [['KICKED', 'CHEATING']])
    },
  },
  {
    name: 'of two connections that resume with one token the later gets the session, and its first frame revokes the other token',
    run: async (host) => {
      const before = await openPlayer(host, uniqueName('ada'))
      before.client.close()
      const earlier = await openSession(host, before.credentials)
      const later = await openSession(host, before.credentials)
      await earlier.waitForClose()
      await readUid(later, 2)
      assert.equal((await failToResume(host, earlier.credentials))[0]![0], 'BAD_TOKEN')
      assert.equal(later.client.isClosed, false)
    },
  },
  {
    name: 'a player who was kicked while disconnected receives the reason when it resumes',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = await openPlayer(host, uid)
      before.client.close()
      await (await openSession(host)).call(1, 1, kick.number, { uid, reason: 'CHEATING' })
      await host.sleep(100)
      assert.deepEqual(await failToResume(host, before.credentials), [['KICKED', 'CHEATING']])
      assert.equal(await readUid(await openPlayer(host, uid), 2), uid)
    },
  },
]
