// Sessions whose connection is lost. Invariant: what was in flight arrives on the next connection, once and in order,
// or the client receives RESYNC or an error. The messages are encoded by hand, without the SDK.

import assert from 'node:assert/strict'
import type { Remote } from '../../../client/index.ts'
import { EMPTY_BYTES } from '../../../core/wire/bytes.ts'
import { json, msgpack } from '../../../core/wire/codec.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { encodeResume, MESSAGE } from '../../../core/wire/message.ts'
import type { Host } from '../host.ts'
import { Accounts, Hall } from '../sessionshards.ts'
import {
  awaitOn,
  pollUntil,
  uniqueName,
  openRawSession,
  RawSession,
  type Case,
  type ResumeCredentials,
} from './case.ts'

const { enter, log, beat, place, freshState } = Hall.entries

export interface HallMember {
  readonly key: string
  readonly session: RawSession
  /** Another client, which is not a member. */
  readonly hall: Remote<(typeof Hall)['entries']>
}
export async function joinHall(host: Host): Promise<HallMember> {
  const key = uniqueName()
  const session = await openRawSession(host, 'hall', key)
  await session.call(1, 1, enter.number)
  return { key, session, hall: (await host.sdkClient()).at(Hall, key) }
}

/** A member whose connection is closed, after its hall ran the hook for it. */
async function joinAndDisconnect(host: Host): Promise<HallMember> {
  const member = await joinHall(host)
  await disconnect(host, member)
  return member
}
async function disconnect(host: Host, { session, hall }: HallMember): Promise<void> {
  session.client.close()
  await waitForLogLine(host, hall, 'away 0')
}

/** Resumes the session on a new connection, with channel 1 open again and events acknowledged up to `eventAck`. */
export async function resumeSession(
  host: Host,
  { key, session: previous }: HallMember,
  eventAck = 0,
): Promise<RawSession> {
  const session = await RawSession.connect(host)
  const { activation } = previous.received.opened.at(-1)!
  const open = { channel: 1, activation, eventAck, contract: 'hall', key }
  session.sendHello(previous.credentials).send(MESSAGE.RESUME, encodeResume([open]))
  await session.waitFor('opened')
  return session
}

async function broadcastBeats(host: Host, { hall }: HallMember, count: number, pad = 0): Promise<void> {
  await awaitOn(host, hall.broadcastBeats({ count, pad }))
}

/** Waits for beats; returns the number by the game and the sequence of each. */
async function waitForBeats(host: Host, session: RawSession, count: number): Promise<[number, number][]> {
  const beats = (): [number, number][] =>
    session.received.events
      .filter(({ event }) => event === beat.number)
      .map(({ sequence, body }) => [(msgpack.decode(body) as { n: number }).n, sequence])
  await host.waitUntil(() => beats().length >= count, `${count} beats`)
  return beats()
}

async function waitForLogLine(host: Host, hall: HallMember['hall'], line: string): Promise<void> {
  const hasLine = ({ lines }: { lines: string[] }): boolean => lines.includes(line)
  await pollUntil(host, () => hall.log(), hasLine, `the log line ${line}`)
}

async function assertTokenRefused(host: Host, from: ResumeCredentials): Promise<void> {
  const session = await RawSession.connect(host)
  session.sendHello(from).openChannel(1, 'hall', 'x')
  assert.equal((await session.waitForClose())[0], 'BAD_TOKEN')
  assert.deepEqual([session.received.welcome.length, session.received.opened.length], [0, 0])
}

export const cases: readonly Case[] = [
  {
    name: 'events for a disconnected member arrive on its next connection, once and in order',
    run: async (host) => {
      const member = await joinHall(host)
      await broadcastBeats(host, member, 5)
      await waitForBeats(host, member.session, 5)
      await disconnect(host, member)
      await broadcastBeats(host, member, 7)
      const resumed = await resumeSession(host, member, 3)
      assert.deepEqual(
        await waitForBeats(host, resumed, 9),
        [4, 5, 6, 7, 8, 9, 10, 11, 12].map((n) => [n, n]),
      )
      await broadcastBeats(host, member, 1)
      await waitForBeats(host, resumed, 10)
      assert.equal(resumed.received.welcome[0]!.resumed, true)
      assert.equal(resumed.received.opened[0]!.lost, false)
      assert.deepEqual(resumed.received.resyncs, [])
      const log = await awaitOn(host, member.hall.log())
      assert.deepEqual(log, { lines: ['away 0', 'back 0'], size: 1, uid: '' })
    },
  },
  {
    name: 'a reply that was lost with its connection arrives on the next one',
    run: async (host) => {
      const member = await joinHall(host)
      const beats = { count: 3, pad: 0 }
      await member.session.call(1, 2, Hall.entries.broadcastBeats.number, beats)
      member.session.client.close()
      const resumed = await resumeSession(host, member)
      resumed.sendCall(1, 2, Hall.entries.broadcastBeats.number, beats, 1)
      assert.deepEqual(await resumed.reply(2), { n: 3 })
      const numbers = (await waitForBeats(host, resumed, 3)).map(([n]) => n)
      assert.deepEqual(numbers, [1, 2, 3])
    },
  },
  {
    name: 'acknowledged events are not sent again',
    run: async (host) => {
      const member = await joinHall(host)
      await broadcastBeats(host, member, 9)
      await waitForBeats(host, member.session, 9)
      // The reply shows that the ACK has arrived.
      await member.session.sendAck(1, 1, 6).call(1, 2, log.number)
      member.session.client.close()
      const resumed = await resumeSession(host, member, 7)
      const numbers = (await waitForBeats(host, resumed, 2)).map(([n]) => n)
      assert.deepEqual(numbers, [8, 9])
      resumed.client.close()
      const again = await resumeSession(host, { ...member, session: resumed }, 5)
      await again.waitFor('events')
      assert.deepEqual(again.received.resyncs, [{ channel: 1, events: 9 }])
    },
  },
  {
    name: 'a client that missed more events than are retained receives RESYNC, and the game can send it fresh state',
    run: async (host) => {
      const member = await joinAndDisconnect(host)
      const count = DEFAULT_LIMITS.maxUnackedEvents + 1
      await broadcastBeats(host, member, count)
      const resumed = await resumeSession(host, member)
      const [first] = await resumed.waitFor('events')
      assert.deepEqual(resumed.received.resyncs, [{ channel: 1, events: count }])
      assert.deepEqual([first!.event, first!.sequence], [freshState.number, count + 1])
      await broadcastBeats(host, member, 1)
      assert.deepEqual(await waitForBeats(host, resumed, 1), [[count + 1, count + 2]])
      assert.ok((await awaitOn(host, member.hall.log())).lines.includes('resync 0'))
    },
  },
  {
    name: 'events above the byte limit cause RESYNC, and exactly as many as are retained do not',
    run: async (host) => {
      const member = await joinAndDisconnect(host)
      const count = DEFAULT_LIMITS.maxUnackedEvents
      await broadcastBeats(host, member, count, 100)
      const resumed = await resumeSession(host, member)
      await waitForBeats(host, resumed, count)
      assert.deepEqual(resumed.received.resyncs, [])
      resumed.client.close()
      await broadcastBeats(host, member, 6, 50_000)
      const again = await resumeSession(host, { ...member, session: resumed }, count)
      await again.waitFor('events')
      assert.equal(again.received.resyncs.length, 1)
    },
  },
  {
    name: 'of `latest` events only the newest of each key is retained for a disconnected client',
    run: async (host) => {
      const member = await joinAndDisconnect(host)
      await awaitOn(host, member.hall.broadcastPlaces({ count: 400, entities: 3 }))
      await broadcastBeats(host, member, 2)
      const resumed = await resumeSession(host, member)
      await waitForBeats(host, resumed, 2)
      assert.deepEqual(resumed.received.resyncs, [])
      const { events } = resumed.received
      assert.deepEqual(
        events.filter(({ event }) => event === place.number).map(({ body }) => msgpack.decode(body)),
        [0, 1, 2].map((entity) => ({ entity, n: 400 })),
      )
      assert.deepEqual(
        events.map(({ sequence }) => sequence),
        [1198, 1199, 1200, 1201, 1202],
      )
    },
  },
  {
    name: 'a member that does not resume in time leaves, and its seat is free',
    run: async (host) => {
      const member = await joinAndDisconnect(host)
      await host.sleep(2_200)
      await waitForLogLine(host, member.hall, 'left 0')
      assert.equal((await awaitOn(host, member.hall.log())).size, 0)
      const resumed = await resumeSession(host, member)
      resumed.sendCall(1, 5, enter.number)
      assert.deepEqual(await resumed.reply(5), { seat: 0 })
    },
  },
  {
    name: 'a member that resumed on another connection is still a member after an eviction',
    needs: ['evict'],
    run: async (host) => {
      const member = await joinAndDisconnect(host)
      const resumed = await resumeSession(host, member)
      await waitForLogLine(host, member.hall, 'back 0')
      await host.evictShard('hall', member.key)
      await broadcastBeats(host, member, 1)
      await waitForBeats(host, resumed, 1)
      assert.equal((await awaitOn(host, member.hall.log())).size, 1)
    },
  },
  {
    name: 'a member that closes its channel leaves at once',
    run: async (host) => {
      const { session, hall } = await joinHall(host)
      session.closeChannel(1)
      await waitForLogLine(host, hall, 'left 0')
      assert.deepEqual((await awaitOn(host, hall.log())).lines, ['left 0'])
    },
  },
  {
    name: 'a session that resumes after a shard restart receives the new activation, and event sequences start at 1',
    needs: ['abort'],
    run: async (host) => {
      const member = await joinHall(host)
      await broadcastBeats(host, member, 4)
      await waitForBeats(host, member.session, 4)
      await disconnect(host, member)
      await host.abortShard('hall', member.key)
      const resumed = await resumeSession(host, member, 4)
      const { activation, lost } = resumed.received.opened[0]!
      assert.notEqual(activation, member.session.received.opened[0]!.activation)
      assert.equal(lost, true)
      resumed.sendCall(1, 3, enter.number)
      resumed.sendCall(1, 4, Hall.entries.broadcastBeats.number, { count: 1, pad: 0 })
      assert.deepEqual(await waitForBeats(host, resumed, 1), [[1, 1]])
    },
  },
  {
    name: 'a token is valid until its successor is used, and never again',
    run: async (host) => {
      const member = await joinHall(host)
      const original = member.session.credentials
      member.session.client.close()
      const second = await resumeSession(host, member)
      assert.notDeepEqual(second.credentials.token, original.token)
      second.client.close()
      // WELCOME may have been lost, so the token that was used resumes once more.
      const third = (await RawSession.connect(host)).sendHello(original)
      await third.waitFor('welcome')
      third.client.close()
      const fourth = (await RawSession.connect(host)).sendHello(third.credentials)
      await fourth.waitFor('welcome')
      await assertTokenRefused(host, original)
      assert.equal(fourth.client.isClosed, false)
    },
  },
  {
    name: 'a forged, foreign, damaged or missing token resumes nothing',
    run: async (host) => {
      const { session, token } = (await joinHall(host)).session.credentials
      const { session: otherSession, token: otherToken } = (await joinHall(host)).session.credentials
      const damaged = token.slice()
      damaged[20]! ^= 1
      const invalid: ResumeCredentials[] = [
        { session, token: EMPTY_BYTES },
        { session, token: otherToken },
        { session: otherSession, token },
        { session, token: damaged },
        { session, token: token.subarray(0, token.length - 1) },
        { session, token: new Uint8Array(token.length) },
        { session: new Uint8Array(16), token },
        { session: crypto.getRandomValues(new Uint8Array(16)), token: new Uint8Array([1, 2, 3]) },
      ]
      for (const credentials of invalid) await assertTokenRefused(host, credentials)
    },
  },
  {
    name: 'a session that resumes closes its older connection and loses nothing',
    run: async (host) => {
      const member = await joinHall(host)
      const resumed = await resumeSession(host, member)
      assert.equal((await member.session.waitForClose()).at(-1) ?? 'REPLACED', 'REPLACED')
      await broadcastBeats(host, member, 1)
      await waitForBeats(host, resumed, 1)
      assert.equal((await awaitOn(host, member.hall.log())).size, 1)
    },
  },
  {
    name: 'a session that has logged in has the same uid after it resumes',
    run: async (host) => {
      const uid = uniqueName('ada')
      const before = await openRawSession(host, 'accounts', '')
      const { login, currentUid } = Accounts.entries
      await before.call(1, 1, login.number, json.encode({ uid }))
      const { session } = before.credentials
      const [firstToken, ...laterTokens] = before.received.tokens
      assert.equal(laterTokens.length, 1)
      before.client.close()
      const after = await openRawSession(host, 'accounts', '', before.credentials)
      assert.deepEqual(json.decode(await after.call(1, 2, currentUid.number, json.encode({}))), { uid })
      // The token from before the login became invalid when its successor was used.
      await assertTokenRefused(host, { session, token: firstToken! })
    },
  },
]
