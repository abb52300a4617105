// Sessions that are bound to a shard of their own: nobody reaches it before, nobody else ever, and clients that know
// nothing of keys need not wait for anything.

import assert from 'node:assert/strict'
import { Desk, Gate } from '../contracts.ts'
import { Lobby, Locker } from '../castshards.ts'
import type { Host, RawClient } from '../host.ts'
import { RowScript } from '../rowshards.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { json } from '../../../core/wire/codec.ts'
import {
  awaitOn,
  awaitFailure,
  frame,
  uniqueName,
  callWithRetry,
  jsons,
  openRawSession,
  RawSession,
  waitForTurnsAtGate,
  type Case,
  type ResumeCredentials,
} from './case.ts'

const LOGIN = 1540
const PUT = 1550
const MINE = 1551
const JOIN = 1552
const TELL = 1553
const AUDIT = 1554
const TOLD = 1555
const PING = 202

async function waitForFrames(host: Host, client: RawClient, count: number): Promise<[number, unknown][]> {
  await host.waitUntil(() => client.frames.length >= count, `${count} frames`)
  return jsons(client)
}
/** A session spoken by hand in JSON, with the lobby on channel 1. */
async function openLobbySession(host: Host, from?: ResumeCredentials): Promise<RawSession> {
  return openRawSession(host, 'lobby', '', from)
}
function jsonBody(value: unknown): Uint8Array {
  return json.encode(value)
}
async function loginAndWait(host: Host, speaker: RawSession, sequence: number, name: string): Promise<void> {
  speaker.sendCall(1, sequence, LOGIN, jsonBody({ name }))
  await host.waitUntil(() => speaker.received.replies.some((reply) => reply.sequence === sequence), 'the login')
}
/** Opens a channel to a locker and asks it whose it is. */
async function openLockerAndReadKey(host: Host, speaker: RawSession, channel: number, key: string): Promise<unknown> {
  speaker.openChannel(channel, 'locker', key)
  await host.waitUntil(() => speaker.received.opened.some((opened) => opened.channel === channel), 'OPENED')
  return readLockerKey(host, speaker, channel, 1)
}
async function readLockerKey(host: Host, speaker: RawSession, channel: number, sequence: number): Promise<unknown> {
  speaker.sendCall(channel, sequence, MINE, jsonBody({}))
  const found = () => speaker.received.replies.find((one) => one.channel === channel && one.sequence === sequence)
  await host.waitUntil(() => found() !== undefined, 'whose it is')
  return (json.decode(found()!.body) as { key: string }).key
}

export const cases: readonly Case[] = [
  {
    name: 'a legacy client that is bound to nothing is met with silence and strikes by shards of their own',
    run: async (host) => {
      const client = await host.rawClient()
      for (let i = 1; i < DEFAULT_LIMITS.maxStrikes; i++) client.send(frame(MINE, {}))
      client.send(frame(PING, { n: 1 }))
      assert.deepEqual(await waitForFrames(host, client, 1), [[PING, { n: 1 }]])
      assert.equal(client.isClosed, false)
      client.send(frame(MINE, {}))
      await host.waitUntil(() => client.isClosed, 'closed')
      assert.equal(client.frames.length, 1)
    },
  },
  {
    name: 'after its login a legacy client reaches its own shard, and no other',
    run: async (host) => {
      const names = [uniqueName('ada'), uniqueName('bob')]
      const clients = [await host.rawClient(), await host.rawClient()]
      for (const [i, client] of clients.entries()) {
        client.send(frame(LOGIN, { name: names[i] }))
        assert.deepEqual(await waitForFrames(host, client, 1), [[LOGIN, { name: names[i] }]])
      }
      for (const [i, client] of clients.entries()) client.send(frame(PUT, { n: i + 7 }))
      for (const client of clients) await waitForFrames(host, client, 2)
      for (const [i, client] of clients.entries()) {
        client.send(frame(MINE, {}))
        assert.deepEqual((await waitForFrames(host, client, 3))[2], [MINE, { key: names[i], n: i + 7 }])
      }
      const lobby = (await host.sdkClient()).at(Lobby)
      assert.deepEqual(await awaitOn(host, lobby.peek({ name: names[0]! })), { n: 7 })
    },
  },
  {
    name: 'a legacy client need not wait for the answer of its login',
    run: async (host) => {
      const [name, gate] = [uniqueName('ada'), uniqueName('gate')]
      const [client, gates] = [await host.rawClient(), (await host.sdkClient()).at(Gate)]
      client.send(frame(LOGIN, { name, gate }))
      for (let i = 1; i <= 5; i++) client.send(frame(PUT, { n: i }))
      client.send(frame(PING, { n: 9 }))
      client.send(frame(MINE, {}))
      await waitForTurnsAtGate(host, gates, gate)
      assert.deepEqual(jsons(client), [])
      await awaitOn(host, gates.open({ name: gate }))
      const frames = await waitForFrames(host, client, 8)
      const key = name
      assert.deepEqual(frames[0], [LOGIN, { name }])
      const own = frames.slice(1).filter(([command]) => command !== PING)
      assert.deepEqual(
        own.slice(0, 5),
        [1, 2, 3, 4, 5].map((n) => [PUT, { key, n }]),
      )
      assert.deepEqual(own[5], [MINE, { key, n: 5 }])
      assert.equal(client.isClosed, false)
    },
  },
  {
    name: 'what a legacy client sent behind a login that is refused is met with silence, and the next login counts',
    run: async (host) => {
      const name = uniqueName('ada')
      const client = await host.rawClient()
      client.send(frame(LOGIN, { name, no: true }))
      client.send(frame(MINE, {}))
      client.send(frame(PING, { n: 1 }))
      assert.deepEqual(await waitForFrames(host, client, 2), [
        [LOGIN, { error: 'NO' }],
        [PING, { n: 1 }],
      ])
      client.send(frame(MINE, {}))
      client.send(frame(LOGIN, { name }))
      client.send(frame(MINE, {}))
      assert.deepEqual((await waitForFrames(host, client, 4)).slice(2), [
        [LOGIN, { name }],
        [MINE, { key: name, n: 0 }],
      ])
    },
  },
  {
    name: 'a legacy client that sends too much behind its login is closed',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(LOGIN, { name: uniqueName('ada'), gate: uniqueName('gate') }))
      for (let i = 0; i < 8; i++) client.send(frame(PUT, new Uint8Array(10_000).fill(0x20)))
      await host.waitUntil(() => client.isClosed, 'closed')
    },
  },
  {
    name: 'a legacy client that is bound anew moves; what it asked before is answered, events of before are not heard',
    run: async (host) => {
      const [one, two, gate] = [uniqueName('one'), uniqueName('two'), uniqueName('gate')]
      const [client, other] = [await host.rawClient(), await host.rawClient()]
      for (const each of [client, other]) {
        each.send(frame(LOGIN, { name: one }))
        each.send(frame(JOIN, {}))
        await waitForFrames(host, each, 2)
      }
      client.send(frame(PUT, { n: 1, gate }))
      await waitForTurnsAtGate(host, (await host.sdkClient()).at(Gate), gate)
      client.send(frame(LOGIN, { name: two }))
      await waitForFrames(host, client, 3)
      client.send(frame(MINE, {}))
      assert.deepEqual((await waitForFrames(host, client, 4)).slice(2), [
        [LOGIN, { name: two }],
        [MINE, { key: two, n: 0 }],
      ])
      await awaitOn(host, (await host.sdkClient()).at(Gate).open({ name: gate }))
      assert.deepEqual((await waitForFrames(host, client, 5))[4], [PUT, { key: one, n: 1 }])
      // That turn has told everybody who has joined.
      const events = (each: RawClient): unknown[] => jsons(each).filter(([command]) => command === TOLD)
      await host.waitUntil(() => events(other).length === 1, 'the event')
      other.send(frame(TELL, {}))
      await host.waitUntil(() => events(other).length === 2, 'the next event')
      client.send(frame(PING, { n: 2 }))
      await waitForFrames(host, client, 6)
      assert.deepEqual(events(client), [])
      // Bound to what it is bound to already, it stays.
      other.send(frame(LOGIN, { name: one }))
      other.send(frame(TELL, {}))
      await host.waitUntil(() => events(other).length === 3, 'one more')
    },
  },
  {
    name: 'a legacy client may be bound to a key of a public shard as well',
    run: async (host) => {
      const key = uniqueName('desk')
      const client = await host.rawClient()
      const desk = (await host.sdkClient()).at(Desk, key)
      const KEEP = 208
      client.send(frame(KEEP, { n: 0 }))
      await waitForFrames(host, client, 1)
      assert.deepEqual(await awaitOn(host, desk.keep({ n: 5 })), { sum: 5 })
      client.send(frame(LOGIN, { name: key, desk: true }))
      await waitForFrames(host, client, 2)
      client.send(frame(KEEP, { n: 5 }))
      assert.deepEqual((await waitForFrames(host, client, 3))[2], [KEEP, { sum: 10 }])
    },
  },
  {
    name: 'a client of version 2 is FORBIDDEN to open a bound shard before its login, whatever key it names',
    run: async (host) => {
      const name = uniqueName('ada')
      const owner = await openLobbySession(host)
      await loginAndWait(host, owner, 1, name)
      const stranger = await openLobbySession(host)
      for (const [i, key] of [name, 'main', ''].entries()) stranger.openChannel(2 + i, 'locker', key)
      stranger.sendCall(2, 1, MINE, jsonBody({}))
      await host.waitUntil(() => stranger.received.errors.length === 4, 'all errors')
      const codes = stranger.received.errors.map(({ channel, sequence, code }) => `${channel} ${sequence} ${code}`)
      assert.deepEqual(codes.toSorted(), ['2 0 FORBIDDEN', '2 1 CLOSED', '3 0 FORBIDDEN', '4 0 FORBIDDEN'])
      const locker = (await host.sdkClient()).at(Locker, name)
      assert.equal((await awaitFailure(host, locker.mine())).code, 'CLOSED')
    },
  },
  {
    name: 'after its login a client of version 2 reaches its own shard, whatever key it names',
    run: async (host) => {
      const names = [uniqueName('ada'), uniqueName('bob')]
      const speakers = [await openLobbySession(host), await openLobbySession(host)]
      for (const [i, speaker] of speakers.entries()) await loginAndWait(host, speaker, 1, names[i]!)
      for (const [i, speaker] of speakers.entries()) {
        for (const [n, key] of [names[1 - i]!, names[i]!, 'main', ''].entries())
          assert.equal(await openLockerAndReadKey(host, speaker, 2 + n, key), names[i], `names ${key}`)
      }
    },
  },
  {
    name: 'the SDK: a player logs in, and the shard that it reaches is its own',
    run: async (host) => {
      const name = uniqueName('ada')
      const client = await host.sdkClient()
      assert.equal((await awaitFailure(host, client.at(Locker).mine())).code, 'CLOSED')
      await awaitOn(host, client.at(Lobby).login({ name }))
      assert.deepEqual(await awaitOn(host, client.at(Locker).put({ n: 3 })), { key: name, n: 3 })
      assert.deepEqual(await callWithRetry(host, () => client.at(Locker).mine()), { key: name, n: 3 })
    },
  },
  {
    name: 'a session of version 2 that is bound anew reaches the new key by channels that it opens from then on',
    run: async (host) => {
      const [one, two] = [uniqueName('one'), uniqueName('two')]
      const speaker = await openLobbySession(host)
      await loginAndWait(host, speaker, 1, one)
      assert.equal(await openLockerAndReadKey(host, speaker, 2, one), one)
      await loginAndWait(host, speaker, 2, two)
      assert.equal(await readLockerKey(host, speaker, 2, 2), one)
      assert.equal(await openLockerAndReadKey(host, speaker, 3, one), two)
    },
  },
  {
    name: 'a session that comes back on another connection is still bound, and nobody else is',
    run: async (host) => {
      const name = uniqueName('ada')
      const before = await openLobbySession(host)
      await loginAndWait(host, before, 1, name)
      before.client.close()
      await host.sleep(20)
      const after = await openLobbySession(host, before.credentials)
      assert.equal(await openLockerAndReadKey(host, after, 2, 'main'), name)
      const other = await openLobbySession(host)
      other.openChannel(2, 'locker', name)
      await host.waitUntil(() => other.received.errors.length === 1, 'the error')
      assert.equal(other.received.errors[0]!.code, 'FORBIDDEN')
    },
  },
  {
    name: 'a login that is refused after it has bound binds nothing',
    run: async (host) => {
      const speaker = await openLobbySession(host)
      speaker.sendCall(1, 1, LOGIN, jsonBody({ name: uniqueName('ada'), no: true }))
      await host.waitUntil(() => speaker.received.errors.length === 1, 'the refusal')
      speaker.openChannel(2, 'locker', 'main')
      await host.waitUntil(() => speaker.received.errors.length === 2, 'the error')
      assert.deepEqual(
        speaker.received.errors.map(({ code }) => code),
        ['NO', 'FORBIDDEN'],
      )
    },
  },
  {
    name: 'a command that is internal is unknown to clients, and not to shards',
    run: async (host) => {
      const name = uniqueName('ada')
      const keep = await openRawSession(host, 'keep', uniqueName())
      keep.sendCall(1, 1, RowScript.entries.secret.number)
      await host.waitUntil(() => keep.received.errors.length === 1, 'an error')
      assert.equal(keep.received.errors[0]!.code, 'UNKNOWN_COMMAND')
      const speaker = await openLobbySession(host)
      await loginAndWait(host, speaker, 1, name)
      assert.equal(await openLockerAndReadKey(host, speaker, 2, name), name)
      speaker.sendCall(2, 2, AUDIT, jsonBody({}))
      await host.waitUntil(() => speaker.received.errors.length === 1, 'an error of its own shard')
      assert.equal(speaker.received.errors[0]!.code, 'UNKNOWN_COMMAND')
      assert.deepEqual(await awaitOn(host, (await host.sdkClient()).at(Lobby).peek({ name })), { n: 0 })
    },
  },
  {
    name: 'a legacy client that sends internal commands is met with silence and strikes',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(LOGIN, { name: uniqueName('ada') }))
      await waitForFrames(host, client, 1)
      const commands = [AUDIT, RowScript.entries.secret.number]
      for (let i = 1; i < DEFAULT_LIMITS.maxStrikes; i++) client.send(frame(commands[i % 2]!, {}))
      client.send(frame(PING, { n: 1 }))
      assert.equal((await waitForFrames(host, client, 2)).length, 2)
      assert.equal(client.isClosed, false)
      client.send(frame(AUDIT, {}))
      await host.waitUntil(() => client.isClosed, 'closed')
      assert.equal(client.frames.length, 2)
    },
  },
]
