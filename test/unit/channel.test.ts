// What one channel says to its connections: in order, once, and never without OPENED before it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { firefly, shard, contract, command, event, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { NEW_CHANNEL_DEFAULTS, type ChannelIn, type ChannelOut } from '../../core/ports/link.ts'
import { msgpack } from '../../core/wire/codec.ts'

const Hall = contract('hall', {
  enter: command(1, {}, {}),
  beats: command(2, { count: t.u32, thing: t.u32 }),
  beat: event(3, { n: t.u32 }),
  place: event(4, { thing: t.u32, n: t.u32 }, { latest: 'thing' }),
})

/** A hall, and connections to it that note what they hear. */
function createFixture(limits = {}): {
  connect(activation: number, eventAck: number, generation?: number, legacy?: boolean): TestConnection
  readonly clock: ManualClock
} {
  const clock = new ManualClock(1)
  const hall = shard(Hall)
    .public()
    .state(() => ({ n: 0 }))
    .on('enter', (c) => {
      c.join()
      return {}
    })
    .on('beats', (c, { count, thing }) => {
      for (let i = 0; i < count; i++) {
        if (thing === 0) c.broadcast.beat({ n: ++c.state.n })
        else c.broadcast.place({ thing, n: ++c.state.n })
      }
    })
    .resync((c) => c.push.beat({ n: 1_000_000 }))
  const engine = new Engine(
    firefly({ hall }),
    { clock, log: new MemoryLog(), store: new MemoryStore() },
    { limits },
  )
  const connect = (activation: number, eventAck: number, generation = 1, legacy = false): TestConnection => {
    const received: string[] = []
    const out: ChannelOut = {
      channelOpened: (life, _mark, lost) => received.push(`opened ${life}${lost ? ' lost' : ''}`),
      reply: (sequence) => received.push(`reply ${sequence}`),
      error: (sequence, _command, _kind, code) => received.push(`error ${sequence} ${code}`),
      event: (sequence, _event, body) =>
        received.push(`${sequence}:${(msgpack.decode(body) as { n: number }).n}`),
      callsApplied: () => {},
      membershipToken: () => {},
      keyBound: () => {},
      loggedIn: () => {},
      resyncRequired: (events) => received.push(`resync ${events}`),
      channelClosed: (code) => received.push(`closed ${code}`),
    }
    const channel = engine.open(
      {
        ...NEW_CHANNEL_DEFAULTS,
        shard: { contract: 'hall', key: 'k' },
        session: new Uint8Array(16),
        channel: 1,
        legacy,
        activation,
        eventAck,
        generation,
      },
      out,
    )
    let sequence = 1_000 * generation
    const sendCall = (number: number, input: unknown): void =>
      channel.submitCall(++sequence, number, 1, sequence - 1, msgpack.encode(input))
    return {
      received,
      channel,
      enter: () => sendCall(1, {}),
      beats: (count, thing = 0) => sendCall(2, { count, thing }),
      receivedEvents: () => received.filter((line) => /^\d|resync/.test(line)),
    }
  }
  return { connect, clock }
}

interface TestConnection {
  readonly received: string[]
  readonly channel: ChannelIn
  enter(): void
  beats(count: number, thing?: number): void
  receivedEvents(): string[]
}

test('a reader that is held hears nothing meanwhile, and then all of it, the newest of each thing', () => {
  const { connect } = createFixture()
  const one = connect(0, 0)
  one.enter()
  one.beats(1)
  one.channel.pauseEvents(true)
  one.beats(2)
  one.beats(50, 7)
  one.beats(50, 8)
  assert.deepEqual(one.receivedEvents(), ['1:1'])
  one.channel.pauseEvents(false)
  assert.deepEqual(one.receivedEvents(), ['1:1', '2:2', '3:3', '53:53', '103:103'])
  one.beats(1)
  assert.equal(one.receivedEvents().at(-1), '104:104')
})

test('a reader that is held for too long hears RESYNC once, then fresh state, then what follows', () => {
  const { connect } = createFixture({ maxUnackedEvents: 10 })
  const one = connect(0, 0)
  one.enter()
  one.channel.pauseEvents(true)
  one.beats(11)
  one.channel.pauseEvents(false)
  one.beats(1)
  assert.deepEqual(one.receivedEvents(), ['resync 11', '12:1000000', '13:12'])
  one.channel.pauseEvents(true)
  one.channel.pauseEvents(false)
  assert.equal(one.receivedEvents().length, 3)
})

test('a connection that is held and let go before it is introduced misses nothing', () => {
  const { connect } = createFixture()
  const before = connect(0, 0)
  before.enter()
  before.beats(3)
  before.channel.closeChannel(false)
  const after = connect(1, 1, 2)
  after.channel.pauseEvents(true)
  after.channel.pauseEvents(false)
  after.beats(1)
  assert.deepEqual(after.receivedEvents(), ['2:2', '3:3', '4:4'])
  assert.equal(after.received[0], 'opened 1')
})

test('a connection that is held across RESYNC is told once', () => {
  const { connect } = createFixture({ maxUnackedEvents: 4 })
  const before = connect(0, 0)
  before.enter()
  before.beats(1)
  before.channel.closeChannel(false)
  const other = connect(0, 0, 2)
  other.beats(9)
  other.channel.closeChannel(false)
  const after = connect(1, 1, 3)
  after.channel.pauseEvents(true)
  after.channel.pauseEvents(false)
  assert.deepEqual(
    after.receivedEvents().filter((line) => line.startsWith('resync')),
    ['resync 10'],
  )
})

test('the link of an older connection takes nothing over from a newer one', () => {
  const { connect } = createFixture()
  const newer = connect(0, 0, 5)
  newer.enter()
  const older = connect(0, 0, 4)
  assert.deepEqual(older.received, ['closed REPLACED'])
  newer.beats(1)
  assert.deepEqual(newer.receivedEvents(), ['1:1'])
  const newest = connect(1, 1, 6)
  assert.equal(newer.received.at(-1), 'closed REPLACED')
  newest.beats(1)
  assert.deepEqual(newest.receivedEvents(), ['2:2'])
})

test('a legacy reader that is held keeps its events, and one that misses some is told to go', () => {
  const { connect } = createFixture({ maxUnackedEvents: 10 })
  const one = connect(0, 0, 1, true)
  one.enter()
  one.beats(2)
  one.channel.pauseEvents(true)
  one.beats(3)
  one.channel.pauseEvents(false)
  assert.deepEqual(one.receivedEvents(), ['1:1', '2:2', '3:3', '4:4', '5:5'])
  one.channel.pauseEvents(true)
  one.beats(30)
  one.channel.pauseEvents(false)
  assert.match(one.receivedEvents().at(-2)!, /^resync/)
})

test('a member without connection leaves when it has lingered, unless it is back', () => {
  const { connect, clock } = createFixture()
  const before = connect(0, 0)
  before.enter()
  before.channel.closeChannel(false)
  clock.advance(29_000)
  const back = connect(1, 0, 2)
  clock.advance(5_000)
  back.beats(1)
  assert.deepEqual(back.receivedEvents(), ['1:1'])
  back.channel.closeChannel(false)
  clock.advance(31_000)
  const late = connect(1, 1, 3)
  late.beats(1)
  assert.deepEqual(late.receivedEvents(), ['resync 2'])
})
