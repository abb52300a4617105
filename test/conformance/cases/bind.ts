// Sessions that are bound to a shard of their own: nobody reaches it before, nobody else ever, and clients that know
// nothing of keys need not wait for anything.

import assert from 'node:assert/strict'
import { Desk, Gate } from '../contracts.ts'
import { Lobby, Locker } from '../bank.ts'
import type { Host, RawClient } from '../host.ts'
import { Keep } from '../keep.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { json } from '../../../core/wire/codec.ts'
import {
  answer,
  failure,
  frame,
  fresh,
  insist,
  jsons,
  speak,
  Speaker,
  waiting,
  type Case,
  type Return,
} from './probe.ts'

const LOGIN = 1540
const PUT = 1550
const MINE = 1551
const JOIN = 1552
const TELL = 1553
const AUDIT = 1554
const TOLD = 1555
const PING = 202

async function heard(host: Host, client: RawClient, count: number): Promise<[number, unknown][]> {
  await host.until(() => client.frames.length >= count, `${count} frames`)
  return jsons(client)
}
/** A session spoken by hand in JSON, with the lobby on channel 1. */
async function visitor(host: Host, from?: Return): Promise<Speaker> {
  return speak(host, 'lobby', '', from)
}
function body(value: unknown): Uint8Array {
  return json.encode(value)
}
async function login(host: Host, speaker: Speaker, sequence: number, name: string): Promise<void> {
  speaker.call(1, sequence, LOGIN, body({ name }))
  await host.until(() => speaker.said.replies.some((reply) => reply.sequence === sequence), 'the login')
}
/** Opens a channel to a locker and asks it whose it is. */
async function ask(host: Host, speaker: Speaker, channel: number, key: string): Promise<unknown> {
  speaker.open(channel, 'locker', key)
  await host.until(() => speaker.said.opened.some((opened) => opened.channel === channel), 'OPENED')
  return askAgain(host, speaker, channel, 1)
}
async function askAgain(host: Host, speaker: Speaker, channel: number, sequence: number): Promise<unknown> {
  speaker.call(channel, sequence, MINE, body({}))
  const found = () => speaker.said.replies.find((one) => one.channel === channel && one.sequence === sequence)
  await host.until(() => found() !== undefined, 'whose it is')
  return (json.decode(found()!.body) as { key: string }).key
}

export const cases: readonly Case[] = [
  {
    name: 'a legacy client that is bound to nothing is met with silence and strikes by shards of their own',
    run: async (host) => {
      const client = await host.raw()
      for (let i = 1; i < DEFAULT_LIMITS.maxStrikes; i++) client.send(frame(MINE, {}))
      client.send(frame(PING, { n: 1 }))
      assert.deepEqual(await heard(host, client, 1), [[PING, { n: 1 }]])
      assert.equal(client.closed, false)
      client.send(frame(MINE, {}))
      await host.until(() => client.closed, 'closed')
      assert.equal(client.frames.length, 1)
    },
  },
  {
    name: 'after its login a legacy client reaches its own shard, and no other',
    run: async (host) => {
      const names = [fresh('ada'), fresh('bob')]
      const clients = [await host.raw(), await host.raw()]
      for (const [i, client] of clients.entries()) {
        client.send(frame(LOGIN, { name: names[i] }))
        assert.deepEqual(await heard(host, client, 1), [[LOGIN, { name: names[i] }]])
      }
      for (const [i, client] of clients.entries()) client.send(frame(PUT, { n: i + 7 }))
      for (const client of clients) await heard(host, client, 2)
      for (const [i, client] of clients.entries()) {
        client.send(frame(MINE, {}))
        assert.deepEqual((await heard(host, client, 3))[2], [MINE, { key: names[i], n: i + 7 }])
      }
      const lobby = (await host.client()).at(Lobby)
      assert.deepEqual(await answer(host, lobby.peek({ name: names[0]! })), { n: 7 })
    },
  },
  {
    name: 'a legacy client need not wait for the answer of its login',
    run: async (host) => {
      const [name, gate] = [fresh('ada'), fresh('gate')]
      const [client, gates] = [await host.raw(), (await host.client()).at(Gate)]
      client.send(frame(LOGIN, { name, gate }))
      for (let i = 1; i <= 5; i++) client.send(frame(PUT, { n: i }))
      client.send(frame(PING, { n: 9 }))
      client.send(frame(MINE, {}))
      await waiting(host, gates, gate)
      assert.deepEqual(jsons(client), [])
      await answer(host, gates.open({ name: gate }))
      const frames = await heard(host, client, 8)
      const key = name
      assert.deepEqual(frames[0], [LOGIN, { name }])
      const own = frames.slice(1).filter(([command]) => command !== PING)
      assert.deepEqual(
        own.slice(0, 5),
        [1, 2, 3, 4, 5].map((n) => [PUT, { key, n }]),
      )
      assert.deepEqual(own[5], [MINE, { key, n: 5 }])
      assert.equal(client.closed, false)
    },
  },
  {
    name: 'what a legacy client sent behind a login that is refused is met with silence, and the next login counts',
    run: async (host) => {
      const name = fresh('ada')
      const client = await host.raw()
      client.send(frame(LOGIN, { name, no: true }))
      client.send(frame(MINE, {}))
      client.send(frame(PING, { n: 1 }))
      assert.deepEqual(await heard(host, client, 2), [
        [LOGIN, { error: 'NO' }],
        [PING, { n: 1 }],
      ])
      client.send(frame(MINE, {}))
      client.send(frame(LOGIN, { name }))
      client.send(frame(MINE, {}))
      assert.deepEqual((await heard(host, client, 4)).slice(2), [
        [LOGIN, { name }],
        [MINE, { key: name, n: 0 }],
      ])
    },
  },
  {
    name: 'a legacy client that sends too much behind its login is closed',
    run: async (host) => {
      const client = await host.raw()
      client.send(frame(LOGIN, { name: fresh('ada'), gate: fresh('gate') }))
      for (let i = 0; i < 8; i++) client.send(frame(PUT, new Uint8Array(10_000).fill(0x20)))
      await host.until(() => client.closed, 'closed')
    },
  },
  {
    name: 'a legacy client that is bound anew moves; what it asked before is answered, events of before are not heard',
    run: async (host) => {
      const [one, two, gate] = [fresh('one'), fresh('two'), fresh('gate')]
      const [client, other] = [await host.raw(), await host.raw()]
      for (const each of [client, other]) {
        each.send(frame(LOGIN, { name: one }))
        each.send(frame(JOIN, {}))
        await heard(host, each, 2)
      }
      client.send(frame(PUT, { n: 1, gate }))
      await waiting(host, (await host.client()).at(Gate), gate)
      client.send(frame(LOGIN, { name: two }))
      await heard(host, client, 3)
      client.send(frame(MINE, {}))
      assert.deepEqual((await heard(host, client, 4)).slice(2), [
        [LOGIN, { name: two }],
        [MINE, { key: two, n: 0 }],
      ])
      await answer(host, (await host.client()).at(Gate).open({ name: gate }))
      assert.deepEqual((await heard(host, client, 5))[4], [PUT, { key: one, n: 1 }])
      // That turn has told everybody who has joined.
      const events = (each: RawClient): unknown[] => jsons(each).filter(([command]) => command === TOLD)
      await host.until(() => events(other).length === 1, 'the event')
      other.send(frame(TELL, {}))
      await host.until(() => events(other).length === 2, 'the next event')
      client.send(frame(PING, { n: 2 }))
      await heard(host, client, 6)
      assert.deepEqual(events(client), [])
      // Bound to what it is bound to already, it stays.
      other.send(frame(LOGIN, { name: one }))
      other.send(frame(TELL, {}))
      await host.until(() => events(other).length === 3, 'one more')
    },
  },
  {
    name: 'a legacy client may be bound to a key of a public shard as well',
    run: async (host) => {
      const key = fresh('desk')
      const client = await host.raw()
      const desk = (await host.client()).at(Desk, key)
      const KEEP = 208
      client.send(frame(KEEP, { n: 0 }))
      await heard(host, client, 1)
      assert.deepEqual(await answer(host, desk.keep({ n: 5 })), { sum: 5 })
      client.send(frame(LOGIN, { name: key, desk: true }))
      await heard(host, client, 2)
      client.send(frame(KEEP, { n: 5 }))
      assert.deepEqual((await heard(host, client, 3))[2], [KEEP, { sum: 10 }])
    },
  },
  {
    name: 'a client of version 2 is FORBIDDEN to open a bound shard before its login, whatever key it names',
    run: async (host) => {
      const name = fresh('ada')
      const owner = await visitor(host)
      await login(host, owner, 1, name)
      const stranger = await visitor(host)
      for (const [i, key] of [name, 'main', ''].entries()) stranger.open(2 + i, 'locker', key)
      stranger.call(2, 1, MINE, body({}))
      await host.until(() => stranger.said.errors.length === 4, 'all errors')
      const codes = stranger.said.errors.map(
        ({ channel, sequence, code }) => `${channel} ${sequence} ${code}`,
      )
      assert.deepEqual(codes.toSorted(), ['2 0 FORBIDDEN', '2 1 CLOSED', '3 0 FORBIDDEN', '4 0 FORBIDDEN'])
      const locker = (await host.client()).at(Locker, name)
      assert.equal((await failure(host, locker.mine())).code, 'CLOSED')
    },
  },
  {
    name: 'after its login a client of version 2 reaches its own shard, whatever key it names',
    run: async (host) => {
      const names = [fresh('ada'), fresh('bob')]
      const speakers = [await visitor(host), await visitor(host)]
      for (const [i, speaker] of speakers.entries()) await login(host, speaker, 1, names[i]!)
      for (const [i, speaker] of speakers.entries()) {
        for (const [n, key] of [names[1 - i]!, names[i]!, 'main', ''].entries())
          assert.equal(await ask(host, speaker, 2 + n, key), names[i], `names ${key}`)
      }
    },
  },
  {
    name: 'the SDK: a player logs in, and the shard that it reaches is its own',
    run: async (host) => {
      const name = fresh('ada')
      const client = await host.client()
      assert.equal((await failure(host, client.at(Locker).mine())).code, 'CLOSED')
      await answer(host, client.at(Lobby).login({ name }))
      assert.deepEqual(await answer(host, client.at(Locker).put({ n: 3 })), { key: name, n: 3 })
      assert.deepEqual(await insist(host, () => client.at(Locker).mine()), { key: name, n: 3 })
    },
  },
  {
    name: 'a session of version 2 that is bound anew reaches the new key by channels that it opens from then on',
    run: async (host) => {
      const [one, two] = [fresh('one'), fresh('two')]
      const speaker = await visitor(host)
      await login(host, speaker, 1, one)
      assert.equal(await ask(host, speaker, 2, one), one)
      await login(host, speaker, 2, two)
      assert.equal(await askAgain(host, speaker, 2, 2), one)
      assert.equal(await ask(host, speaker, 3, one), two)
    },
  },
  {
    name: 'a session that comes back on another connection is still bound, and nobody else is',
    run: async (host) => {
      const name = fresh('ada')
      const before = await visitor(host)
      await login(host, before, 1, name)
      before.client.close()
      await host.pass(20)
      const after = await visitor(host, before.return)
      assert.equal(await ask(host, after, 2, 'main'), name)
      const other = await visitor(host)
      other.open(2, 'locker', name)
      await host.until(() => other.said.errors.length === 1, 'the error')
      assert.equal(other.said.errors[0]!.code, 'FORBIDDEN')
    },
  },
  {
    name: 'a login that is refused after it has bound binds nothing',
    run: async (host) => {
      const speaker = await visitor(host)
      speaker.call(1, 1, LOGIN, body({ name: fresh('ada'), no: true }))
      await host.until(() => speaker.said.errors.length === 1, 'the refusal')
      speaker.open(2, 'locker', 'main')
      await host.until(() => speaker.said.errors.length === 2, 'the error')
      assert.deepEqual(
        speaker.said.errors.map(({ code }) => code),
        ['NO', 'FORBIDDEN'],
      )
    },
  },
  {
    name: 'a command that is internal is unknown to clients, and not to shards',
    run: async (host) => {
      const name = fresh('ada')
      const keep = await speak(host, 'keep', fresh())
      keep.call(1, 1, Keep.entries.secret.number)
      await host.until(() => keep.said.errors.length === 1, 'an error')
      assert.equal(keep.said.errors[0]!.code, 'UNKNOWN_COMMAND')
      const speaker = await visitor(host)
      await login(host, speaker, 1, name)
      assert.equal(await ask(host, speaker, 2, name), name)
      speaker.call(2, 2, AUDIT, body({}))
      await host.until(() => speaker.said.errors.length === 1, 'an error of its own shard')
      assert.equal(speaker.said.errors[0]!.code, 'UNKNOWN_COMMAND')
      assert.deepEqual(await answer(host, (await host.client()).at(Lobby).peek({ name })), { n: 0 })
    },
  },
  {
    name: 'a legacy client that sends internal commands is met with silence and strikes',
    run: async (host) => {
      const client = await host.raw()
      client.send(frame(LOGIN, { name: fresh('ada') }))
      await heard(host, client, 1)
      const commands = [AUDIT, Keep.entries.secret.number]
      for (let i = 1; i < DEFAULT_LIMITS.maxStrikes; i++) client.send(frame(commands[i % 2]!, {}))
      client.send(frame(PING, { n: 1 }))
      assert.equal((await heard(host, client, 2)).length, 2)
      assert.equal(client.closed, false)
      client.send(frame(AUDIT, {}))
      await host.until(() => client.closed, 'closed')
      assert.equal(client.frames.length, 2)
    },
  },
]
