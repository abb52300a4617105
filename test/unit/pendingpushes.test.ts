// What is pushed to a uid between its login and the moment its gateway says that it is there.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, firefly, service } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { NEW_CHANNEL_DEFAULTS, type ChannelOut } from '../../core/ports/link.ts'
import { hexOf } from '../../core/wire/bytes.ts'
import { msgpack } from '../../core/wire/codec.ts'
import type { AnyCommand } from '../../core/wire/contract.ts'
import { DEFAULT_LIMITS, TIMES, type Limits } from '../../core/wire/limits.ts'
import { Session } from '../../core/wire/systemcontract.ts'

const { attach, login, push } = Session.entries
const ADA = new Uint8Array(16).fill(0xad)
const BOB = new Uint8Array(16).fill(0xb0)
const loginInput = (session: Uint8Array): object => ({
  session: hexOf(session),
  jti: '',
  expiresMs: 0,
  wasNobody: true,
})

/** The shard of one uid, and lines to it. */
function createFixture(limits: Partial<Limits> = {}) {
  const clock = new ManualClock(1)
  const store = new MemoryStore()
  const game = firefly({ lobby: service(contract('lobby', { look: command(1, {}) })).on('look', () => {}) })
  const start = (): Engine => new Engine(game, { clock, log: new MemoryLog(), store }, { limits })
  let engine = start()
  let channelCount = 0
  /** Channel 0 is the session's own, any other is for questions. */
  const openChannel = (channel: number, session: Uint8Array, epoch = 0, key = 'u:ada') => {
    const said: string[] = []
    const out: ChannelOut = {
      channelOpened: () => {},
      reply: (_sequence, _command, body) => said.push(`reply ${JSON.stringify(msgpack.decode(body))}`),
      error: (_sequence, _command, _kind, code) => said.push(`error ${code}`),
      event: (sequence, event) => said.push(`${sequence}:${event}`),
      callsApplied: () => {},
      membershipToken: () => {},
      keyBound: () => {},
      loggedIn: () => {},
      resyncRequired: (events) => said.push(`resync ${events}`),
      channelClosed: (code) => said.push(`closed ${code}`),
    }
    const opened = engine.open(
      {
        ...NEW_CHANNEL_DEFAULTS,
        shard: { contract: Session.name, key },
        session,
        channel,
        uid: channel === 0 ? 'ada' : '',
        epoch,
        generation: channel === 0 ? 1 : 0,
      },
      out,
    )
    let sequence = 0
    const ask = (entry: AnyCommand, input: unknown): void =>
      opened.submitCall(++sequence, entry.number, 0, 0, msgpack.encode(input))
    return { said, ask, close: () => opened.closeChannel(false) }
  }
  const askOnNewChannel = (entry: AnyCommand, input: unknown, key?: string): string[] => {
    const one = openChannel(++channelCount, new Uint8Array(16).fill(channelCount), 0, key)
    one.ask(entry, input)
    return one.said
  }
  return {
    clock,
    question: askOnNewChannel,
    push: (event: number) => void askOnNewChannel(push, { event, body: new Uint8Array(1), latest: '' }),
    /** The gateway of a session brings its channel, and says then that it is there. */
    bring: (session: Uint8Array, epoch: number) => openChannel(0, session, epoch),
    arrive: (session: Uint8Array, epoch: number) => {
      const own = openChannel(0, session, epoch)
      own.ask(attach, { session: hexOf(session), epoch })
      return own
    },
    restart: () => void (engine = start()),
  }
}

test('what is pushed between a login and its gateway waits, and is numbered from 1', () => {
  const { question, push, arrive } = createFixture()
  push(1)
  assert.deepEqual(question(login, loginInput(ADA)), ['reply {"epoch":1}'])
  push(2)
  push(3)
  const ada = arrive(ADA, 1)
  push(4)
  assert.deepEqual(ada.said, ['1:2', '2:3', 'reply {}', '3:4'])
})

test('more than is kept ends in RESYNC, as for any member that is away', () => {
  const { question, push, arrive } = createFixture()
  question(login, loginInput(ADA))
  const count = DEFAULT_LIMITS.maxUnackedEvents + 1
  for (let i = 0; i < count; i++) push(1)
  const ada = arrive(ADA, 1)
  push(2)
  assert.deepEqual(ada.said, [`resync ${count}`, 'reply {}', `${count + 1}:2`])
})

test('it waits as long as for any member that is away; who comes later hears RESYNC', () => {
  const { clock, question, push, arrive } = createFixture()
  question(login, loginInput(ADA))
  push(1)
  clock.advance(TIMES.lingerMs + 1)
  const ada = arrive(ADA, 1)
  push(2)
  assert.deepEqual(ada.said, ['resync 3', 'reply {}', '4:2'])
})

test('a shard that died in between says RESYNC, because nobody knows what was pushed', () => {
  const { question, push, arrive, restart } = createFixture()
  question(login, loginInput(ADA))
  push(1)
  restart()
  push(2)
  const ada = arrive(ADA, 1)
  push(3)
  assert.deepEqual(ada.said, ['resync 1', 'reply {}', '2:3'])
})

test('a gateway that comes to another life than the one it left hears RESYNC, also if it had heard nothing there', () => {
  const { question, push, arrive, restart } = createFixture()
  question(login, loginInput(ADA))
  push(1)
  arrive(ADA, 1).close()
  restart()
  push(2)
  const ada = arrive(ADA, 1)
  push(3)
  assert.deepEqual(ada.said, ['resync 1', 'reply {}', '2:3'])
})

test('what is pushed before a gateway has said that it is there is told to be missed, not passed over', () => {
  const { question, push, arrive, bring, restart } = createFixture()
  question(login, loginInput(ADA))
  arrive(ADA, 1).close()
  restart()
  const ada = bring(ADA, 1)
  push(1)
  ada.ask(attach, { session: hexOf(ADA), epoch: 1 })
  push(2)
  assert.deepEqual(ada.said, ['resync 1', 'reply {}', '2:2'])
})

test('a login that is asked again in another life has nothing that was kept', () => {
  const { question, push, arrive, restart } = createFixture()
  question(login, loginInput(ADA))
  push(1)
  restart()
  assert.deepEqual(question(login, loginInput(ADA)), ['reply {"epoch":1}'])
  const ada = arrive(ADA, 1)
  push(2)
  assert.deepEqual(ada.said, ['resync 1', 'reply {}', '2:2'])
})

test('a login that came to nothing leaves nothing behind for the next one', () => {
  for (const idleMs of [TIMES.lingerMs + 1, 3 * TIMES.lingerMs]) {
    const { clock, question, push, arrive } = createFixture()
    question(login, loginInput(ADA))
    push(1)
    clock.advance(idleMs)
    question(login, loginInput(ADA))
    push(2)
    const ada = arrive(ADA, 1)
    assert.deepEqual(ada.said, ['1:2', 'reply {}'], `${idleMs}`)
  }
})

test('who is let go because too many are away hears RESYNC, also before its first event', () => {
  const { question, push, arrive } = createFixture({ maxAbsent: 1 })
  question(login, loginInput(ADA))
  arrive(ADA, 1).close()
  // The shard of another uid, with somebody who is away as well.
  question(login, loginInput(BOB), 'u:bob')
  push(2)
  const ada = arrive(ADA, 1)
  push(3)
  assert.deepEqual(ada.said, ['resync 1', 'reply {}', '2:3'])
})

test('what waited for an older login is nothing for the newer one', () => {
  const { question, push, arrive } = createFixture()
  question(login, loginInput(ADA))
  push(1)
  assert.deepEqual(question(login, loginInput(BOB)), ['reply {"epoch":2}'])
  push(2)
  const ada = arrive(ADA, 1)
  const bob = arrive(BOB, 2)
  assert.deepEqual(ada.said, ['error SUPERSEDED', 'closed SUPERSEDED'])
  assert.deepEqual(bob.said, ['1:2', 'reply {}'])
})

test('a second login of a session that is there changes nothing of what it hears', () => {
  const { question, push, arrive } = createFixture()
  question(login, loginInput(ADA))
  const ada = arrive(ADA, 1)
  push(1)
  assert.deepEqual(question(login, loginInput(ADA)), ['reply {"epoch":1}'])
  ada.ask(attach, { session: hexOf(ADA), epoch: 1 })
  push(2)
  assert.deepEqual(ada.said, ['reply {}', '1:1', 'reply {}', '2:2'])
})
