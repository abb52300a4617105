// Events that are pushed to a uid between its login and the attach of its gateway.

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
import { IGNORING_CHANNEL_OUT } from '../support/channelout.ts'

const { attach, login, push } = Session.entries
const ADA = new Uint8Array(16).fill(0xad)
const BOB = new Uint8Array(16).fill(0xb0)
const loginInput = (session: Uint8Array): object => ({
  session: hexOf(session),
  jti: '',
  expiresMs: 0,
  wasNobody: true,
})

/** The session shard of one uid, and channels to it. */
function createFixture(limits: Partial<Limits> = {}) {
  const clock = new ManualClock(1)
  const store = new MemoryStore()
  const game = firefly({ lobby: service(contract('lobby', { look: command(1, {}) })).on('look', () => {}) })
  const start = (): Engine => new Engine(game, { clock, log: new MemoryLog(), store }, { limits })
  let engine = start()
  let channelCount = 0
  /** Channel 0 is the session's own, any other is for single requests. */
  const openChannel = (channel: number, session: Uint8Array, epoch = 0, key = 'u:ada') => {
    const received: string[] = []
    const out: ChannelOut = {
      ...IGNORING_CHANNEL_OUT,
      reply: (_sequence, _command, body) => received.push(`reply ${JSON.stringify(msgpack.decode(body))}`),
      error: (_sequence, _command, _kind, code) => received.push(`error ${code}`),
      event: (sequence, event) => received.push(`${sequence}:${event}`),
      resyncRequired: (events) => received.push(`resync ${events}`),
      channelClosed: (code) => received.push(`closed ${code}`),
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
    const call = (entry: AnyCommand, input: unknown): void =>
      opened.submitCall(++sequence, entry.number, 0, 0, msgpack.encode(input))
    return { received, call, close: () => opened.closeChannel(false) }
  }
  const callOnNewChannel = (entry: AnyCommand, input: unknown, key?: string): string[] => {
    const channel = openChannel(++channelCount, new Uint8Array(16).fill(channelCount), 0, key)
    channel.call(entry, input)
    return channel.received
  }
  return {
    clock,
    callOnce: callOnNewChannel,
    push: (event: number) => void callOnNewChannel(push, { event, body: new Uint8Array(1), latest: '' }),
    /** The gateway of a session opens its channel. */
    open: (session: Uint8Array, epoch: number) => openChannel(0, session, epoch),
    /** The same, and attaches the session. */
    openAndAttach: (session: Uint8Array, epoch: number) => {
      const own = openChannel(0, session, epoch)
      own.call(attach, { session: hexOf(session), epoch })
      return own
    },
    restart: () => void (engine = start()),
  }
}

test('events between a login and the attach are retained, and numbered from 1', () => {
  const { callOnce, push, openAndAttach } = createFixture()
  push(1)
  assert.deepEqual(callOnce(login, loginInput(ADA)), ['reply {"epoch":1}'])
  push(2)
  push(3)
  const ada = openAndAttach(ADA, 1)
  push(4)
  assert.deepEqual(ada.received, ['1:2', '2:3', 'reply {}', '3:4'])
})

test('more events than the bound end in RESYNC, as for every away member', () => {
  const { callOnce, push, openAndAttach } = createFixture()
  callOnce(login, loginInput(ADA))
  const count = DEFAULT_LIMITS.maxUnackedEvents + 1
  for (let i = 0; i < count; i++) push(1)
  const ada = openAndAttach(ADA, 1)
  push(2)
  assert.deepEqual(ada.received, [`resync ${count}`, 'reply {}', `${count + 1}:2`])
})

test('events are retained as long as for every away member, and a later attach receives RESYNC', () => {
  const { clock, callOnce, push, openAndAttach } = createFixture()
  callOnce(login, loginInput(ADA))
  push(1)
  clock.advance(TIMES.lingerMs + 1)
  const ada = openAndAttach(ADA, 1)
  push(2)
  assert.deepEqual(ada.received, ['resync 3', 'reply {}', '4:2'])
})

test('a shard that restarts before the attach sends RESYNC, because the events are lost', () => {
  const { callOnce, push, openAndAttach, restart } = createFixture()
  callOnce(login, loginInput(ADA))
  push(1)
  restart()
  push(2)
  const ada = openAndAttach(ADA, 1)
  push(3)
  assert.deepEqual(ada.received, ['resync 1', 'reply {}', '2:3'])
})

test('a gateway that attaches to another activation receives RESYNC, even without events in the last one', () => {
  const { callOnce, push, openAndAttach, restart } = createFixture()
  callOnce(login, loginInput(ADA))
  push(1)
  openAndAttach(ADA, 1).close()
  restart()
  push(2)
  const ada = openAndAttach(ADA, 1)
  push(3)
  assert.deepEqual(ada.received, ['resync 1', 'reply {}', '2:3'])
})

test('events between the open and the attach of a gateway are reported as missed', () => {
  const { callOnce, push, openAndAttach, open, restart } = createFixture()
  callOnce(login, loginInput(ADA))
  openAndAttach(ADA, 1).close()
  restart()
  const ada = open(ADA, 1)
  push(1)
  ada.call(attach, { session: hexOf(ADA), epoch: 1 })
  push(2)
  assert.deepEqual(ada.received, ['resync 1', 'reply {}', '2:2'])
})

test('a login that is repeated in another activation has no retained events', () => {
  const { callOnce, push, openAndAttach, restart } = createFixture()
  callOnce(login, loginInput(ADA))
  push(1)
  restart()
  assert.deepEqual(callOnce(login, loginInput(ADA)), ['reply {"epoch":1}'])
  const ada = openAndAttach(ADA, 1)
  push(2)
  assert.deepEqual(ada.received, ['resync 1', 'reply {}', '2:2'])
})

test('an abandoned login leaves no events for the next login', () => {
  for (const idleMs of [TIMES.lingerMs + 1, 3 * TIMES.lingerMs]) {
    const { clock, callOnce, push, openAndAttach } = createFixture()
    callOnce(login, loginInput(ADA))
    push(1)
    clock.advance(idleMs)
    callOnce(login, loginInput(ADA))
    push(2)
    const ada = openAndAttach(ADA, 1)
    assert.deepEqual(ada.received, ['1:2', 'reply {}'], `${idleMs}`)
  }
})

test('a channel that is evicted because too many are detached receives RESYNC, even before its first event', () => {
  const { callOnce, push, openAndAttach } = createFixture({ maxAbsent: 1 })
  callOnce(login, loginInput(ADA))
  openAndAttach(ADA, 1).close()
  // The shard of another uid, with an away member as well.
  callOnce(login, loginInput(BOB), 'u:bob')
  push(2)
  const ada = openAndAttach(ADA, 1)
  push(3)
  assert.deepEqual(ada.received, ['resync 1', 'reply {}', '2:3'])
})

test('a newer login does not receive the events of an older one', () => {
  const { callOnce, push, openAndAttach } = createFixture()
  callOnce(login, loginInput(ADA))
  push(1)
  assert.deepEqual(callOnce(login, loginInput(BOB)), ['reply {"epoch":2}'])
  push(2)
  const ada = openAndAttach(ADA, 1)
  const bob = openAndAttach(BOB, 2)
  assert.deepEqual(ada.received, ['error SUPERSEDED', 'closed SUPERSEDED'])
  assert.deepEqual(bob.received, ['1:2', 'reply {}'])
})

test('a second login of an attached session changes nothing in its events', () => {
  const { callOnce, push, openAndAttach } = createFixture()
  callOnce(login, loginInput(ADA))
  const ada = openAndAttach(ADA, 1)
  push(1)
  assert.deepEqual(callOnce(login, loginInput(ADA)), ['reply {"epoch":1}'])
  ada.call(attach, { session: hexOf(ADA), epoch: 1 })
  push(2)
  assert.deepEqual(ada.received, ['reply {}', '1:1', 'reply {}', '2:2'])
})
