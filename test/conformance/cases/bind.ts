// Sessions that a login binds to a shard of their own: no session reaches that shard before, no other session ever, and
// a legacy client need not wait for the reply to its login.

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
  waitForJsons,
  openRawSession,
  waitForTurnsAtGate,
  type Case,
  type RawSession,
  type ResumeCredentials,
} from './case.ts'

const LOGIN = 1540
const PUT = 1550
const READ = 1551
const JOIN = 1552
const NOTIFY = 1553
const AUDIT = 1554
const NOTIFIED = 1555
const PING = 202

/** A session with the lobby on channel 1. */
function openLobbySession(host: Host, from?: ResumeCredentials): Promise<RawSession> {
  return openRawSession(host, 'lobby', '', from)
}
function login(session: RawSession, sequence: number, name: string): Promise<Uint8Array> {
  return session.call(1, sequence, LOGIN, json.encode({ name }))
}
/** Opens a channel to a locker and returns the key of the shard that answers. */
async function openLocker(session: RawSession, channel: number, key: string): Promise<unknown> {
  return readLockerKey(await session.open(channel, 'locker', key), channel, 1)
}
async function readLockerKey(session: RawSession, channel: number, sequence: number): Promise<unknown> {
  const body = await session.call(channel, sequence, READ, json.encode({}))
  return (json.decode(body) as { key: string }).key
}

export const cases: readonly Case[] = [
  {
    name: 'commands of an unbound legacy client to a bound shard get no reply and count as strikes',
    run: async (host) => {
      const client = await host.rawClient()
      for (let i = 1; i < DEFAULT_LIMITS.maxStrikes; i++) client.send(frame(READ, {}))
      client.send(frame(PING, { n: 1 }))
      assert.deepEqual(await waitForJsons(host, client, 1), [[PING, { n: 1 }]])
      assert.equal(client.isClosed, false)
      client.send(frame(READ, {}))
      await host.waitUntil(() => client.isClosed, 'closed')
      assert.equal(client.frames.length, 1)
    },
  },
  {
    name: 'after its login a legacy client reaches its own shard only',
    run: async (host) => {
      const names = [uniqueName('ada'), uniqueName('bob')]
      const clients = [await host.rawClient(), await host.rawClient()]
      for (const [i, client] of clients.entries()) {
        client.send(frame(LOGIN, { name: names[i] }))
        assert.deepEqual(await waitForJsons(host, client, 1), [[LOGIN, { name: names[i] }]])
      }
      for (const [i, client] of clients.entries()) client.send(frame(PUT, { n: i + 7 }))
      for (const client of clients) await waitForJsons(host, client, 2)
      for (const [i, client] of clients.entries()) {
        client.send(frame(READ, {}))
        assert.deepEqual((await waitForJsons(host, client, 3))[2], [READ, { key: names[i], n: i + 7 }])
      }
      const lobby = (await host.sdkClient()).at(Lobby)
      assert.deepEqual(await awaitOn(host, lobby.peek({ name: names[0]! })), { n: 7 })
    },
  },
  {
    name: 'commands that a legacy client sends before the reply to its login run after it',
    run: async (host) => {
      const [name, gate] = [uniqueName('ada'), uniqueName('gate')]
      const [client, gates] = [await host.rawClient(), (await host.sdkClient()).at(Gate)]
      client.send(frame(LOGIN, { name, gate }))
      for (let i = 1; i <= 5; i++) client.send(frame(PUT, { n: i }))
      client.send(frame(PING, { n: 9 }))
      client.send(frame(READ, {}))
      await waitForTurnsAtGate(host, gates, gate)
      assert.deepEqual(jsons(client), [])
      await awaitOn(host, gates.open({ name: gate }))
      const [reply, ...rest] = await waitForJsons(host, client, 8)
      assert.deepEqual(reply, [LOGIN, { name }])
      const puts = [1, 2, 3, 4, 5].map((n) => [PUT, { key: name, n }])
      assert.deepEqual(
        rest.filter(([command]) => command !== PING),
        [...puts, [READ, { key: name, n: 5 }]],
      )
      assert.equal(client.isClosed, false)
    },
  },
  {
    name: 'commands that a legacy client sends after a refused login get no reply, and its next login succeeds',
    run: async (host) => {
      const name = uniqueName('ada')
      const client = await host.rawClient()
      client.send(frame(LOGIN, { name, no: true }))
      client.send(frame(READ, {}))
      client.send(frame(PING, { n: 1 }))
      assert.deepEqual(await waitForJsons(host, client, 2), [
        [LOGIN, { error: 'NO' }],
        [PING, { n: 1 }],
      ])
      client.send(frame(READ, {}))
      client.send(frame(LOGIN, { name }))
      client.send(frame(READ, {}))
      assert.deepEqual((await waitForJsons(host, client, 4)).slice(2), [
        [LOGIN, { name }],
        [READ, { key: name, n: 0 }],
      ])
    },
  },
  {
    name: 'a legacy client that sends too many bytes while its login is pending is closed',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(LOGIN, { name: uniqueName('ada'), gate: uniqueName('gate') }))
      for (let i = 0; i < 8; i++) client.send(frame(PUT, new Uint8Array(10_000).fill(0x20)))
      await host.waitUntil(() => client.isClosed, 'closed')
    },
  },
  {
    name: 'a legacy client that is rebound receives pending replies of its old shard, but no more events',
    run: async (host) => {
      const [oldKey, newKey, gate] = [uniqueName('old'), uniqueName('new'), uniqueName('gate')]
      const [client, other] = [await host.rawClient(), await host.rawClient()]
      const gates = (await host.sdkClient()).at(Gate)
      for (const each of [client, other]) {
        each.send(frame(LOGIN, { name: oldKey }))
        each.send(frame(JOIN, {}))
        await waitForJsons(host, each, 2)
      }
      client.send(frame(PUT, { n: 1, gate }))
      await waitForTurnsAtGate(host, gates, gate)
      client.send(frame(LOGIN, { name: newKey }))
      await waitForJsons(host, client, 3)
      client.send(frame(READ, {}))
      assert.deepEqual((await waitForJsons(host, client, 4)).slice(2), [
        [LOGIN, { name: newKey }],
        [READ, { key: newKey, n: 0 }],
      ])
      await awaitOn(host, gates.open({ name: gate }))
      assert.deepEqual((await waitForJsons(host, client, 5))[4], [PUT, { key: oldKey, n: 1 }])
      // That turn also broadcast an event to the members.
      const events = (each: RawClient): unknown[] => jsons(each).filter(([command]) => command === NOTIFIED)
      await host.waitUntil(() => events(other).length === 1, 'the event')
      other.send(frame(NOTIFY, {}))
      await host.waitUntil(() => events(other).length === 2, 'the next event')
      client.send(frame(PING, { n: 2 }))
      await waitForJsons(host, client, 6)
      assert.deepEqual(events(client), [])
      // A login to the same shard changes nothing.
      other.send(frame(LOGIN, { name: oldKey }))
      other.send(frame(NOTIFY, {}))
      await host.waitUntil(() => events(other).length === 3, 'one more')
    },
  },
  {
    name: 'a legacy client can be bound to a key of a public shard',
    run: async (host) => {
      const key = uniqueName('desk')
      const client = await host.rawClient()
      const desk = (await host.sdkClient()).at(Desk, key)
      const ADD_DURABLE = 208
      client.send(frame(ADD_DURABLE, { n: 0 }))
      await waitForJsons(host, client, 1)
      assert.deepEqual(await awaitOn(host, desk.addDurable({ n: 5 })), { sum: 5 })
      client.send(frame(LOGIN, { name: key, desk: true }))
      await waitForJsons(host, client, 2)
      client.send(frame(ADD_DURABLE, { n: 5 }))
      assert.deepEqual((await waitForJsons(host, client, 3))[2], [ADD_DURABLE, { sum: 10 }])
    },
  },
  {
    name: 'before its login a version 2 client is FORBIDDEN to open a bound shard by any key',
    run: async (host) => {
      const name = uniqueName('ada')
      const owner = await openLobbySession(host)
      await login(owner, 1, name)
      const unbound = await openLobbySession(host)
      for (const [i, key] of [name, 'main', ''].entries()) unbound.openChannel(2 + i, 'locker', key)
      unbound.sendCall(2, 1, READ, json.encode({}))
      const errors = await unbound.waitFor('errors', 4)
      const codes = errors.map(({ channel, sequence, code }) => `${channel} ${sequence} ${code}`)
      assert.deepEqual(codes.toSorted(), ['2 0 FORBIDDEN', '2 1 CLOSED', '3 0 FORBIDDEN', '4 0 FORBIDDEN'])
      const locker = (await host.sdkClient()).at(Locker, name)
      assert.equal((await awaitFailure(host, locker.read())).code, 'FORBIDDEN')
    },
  },
  {
    name: 'after its login a version 2 client reaches its own shard by any key',
    run: async (host) => {
      const names = [uniqueName('ada'), uniqueName('bob')]
      const sessions = [await openLobbySession(host), await openLobbySession(host)]
      for (const [i, session] of sessions.entries()) await login(session, 1, names[i]!)
      for (const [i, session] of sessions.entries()) {
        for (const [n, key] of [names[1 - i]!, names[i]!, 'main', ''].entries())
          assert.equal(await openLocker(session, 2 + n, key), names[i], `opened by ${key}`)
      }
    },
  },
  {
    name: 'after its login an SDK client reaches its own shard',
    run: async (host) => {
      const name = uniqueName('ada')
      const client = await host.sdkClient()
      assert.equal((await awaitFailure(host, client.at(Locker).read())).code, 'FORBIDDEN')
      await awaitOn(host, client.at(Lobby).login({ name }))
      assert.deepEqual(await awaitOn(host, client.at(Locker).put({ n: 3 })), { key: name, n: 3 })
      assert.deepEqual(await callWithRetry(host, () => client.at(Locker).read()), { key: name, n: 3 })
    },
  },
  {
    name: 'channels that a version 2 session opens after it was rebound reach the new shard',
    run: async (host) => {
      const [oldKey, newKey] = [uniqueName('old'), uniqueName('new')]
      const session = await openLobbySession(host)
      await login(session, 1, oldKey)
      assert.equal(await openLocker(session, 2, oldKey), oldKey)
      await login(session, 2, newKey)
      assert.equal(await readLockerKey(session, 2, 2), oldKey)
      assert.equal(await openLocker(session, 3, oldKey), newKey)
    },
  },
  {
    name: 'a session that resumes on another connection is still bound, and no other session is',
    run: async (host) => {
      const name = uniqueName('ada')
      const before = await openLobbySession(host)
      await login(before, 1, name)
      before.client.close()
      await host.sleep(20)
      const after = await openLobbySession(host, before.credentials)
      assert.equal(await openLocker(after, 2, 'main'), name)
      const other = await openLobbySession(host)
      other.openChannel(2, 'locker', name)
      await other.waitFor('errors')
      assert.deepEqual(other.errorCodes, ['FORBIDDEN'])
    },
  },
  {
    name: 'a login handler that binds and then refuses does not bind',
    run: async (host) => {
      const session = await openLobbySession(host)
      session.sendCall(1, 1, LOGIN, json.encode({ name: uniqueName('ada'), no: true }))
      await session.waitFor('errors')
      session.openChannel(2, 'locker', 'main')
      await session.waitFor('errors', 2)
      assert.deepEqual(session.errorCodes, ['NO', 'FORBIDDEN'])
    },
  },
  {
    name: 'an internal command is UNKNOWN_COMMAND for clients, and works between shards',
    run: async (host) => {
      const name = uniqueName('ada')
      const scripts = await openRawSession(host, 'rows', uniqueName())
      scripts.sendCall(1, 1, RowScript.entries.secret.number)
      await scripts.waitFor('errors')
      assert.deepEqual(scripts.errorCodes, ['UNKNOWN_COMMAND'])
      const session = await openLobbySession(host)
      await login(session, 1, name)
      assert.equal(await openLocker(session, 2, name), name)
      session.sendCall(2, 2, AUDIT, json.encode({}))
      await session.waitFor('errors')
      assert.deepEqual(session.errorCodes, ['UNKNOWN_COMMAND'])
      assert.deepEqual(await awaitOn(host, (await host.sdkClient()).at(Lobby).peek({ name })), { n: 0 })
    },
  },
  {
    name: 'internal commands of a legacy client get no reply and count as strikes',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(LOGIN, { name: uniqueName('ada') }))
      await waitForJsons(host, client, 1)
      const commands = [AUDIT, RowScript.entries.secret.number]
      for (let i = 1; i < DEFAULT_LIMITS.maxStrikes; i++) client.send(frame(commands[i % 2]!, {}))
      client.send(frame(PING, { n: 1 }))
      assert.equal((await waitForJsons(host, client, 2)).length, 2)
      assert.equal(client.isClosed, false)
      client.send(frame(AUDIT, {}))
      await host.waitUntil(() => client.isClosed, 'closed')
      assert.equal(client.frames.length, 2)
    },
  },
]
