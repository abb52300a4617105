// What one channel says to its connections: in order, once, and never without OPENED before it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { firefly, shard, contract, command, event, t } from '../../core/game/index.ts'
import { Engine } from '../../core/run/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/run/memory.ts'
import { NEWCOMER, type ChannelIn, type ChannelOut } from '../../core/run/ports.ts'
import { msgpack } from '../../core/wire/codec.ts'

const Hall = contract('hall', {
  enter: command(1, {}, {}),
  beats: command(2, { count: t.u32, thing: t.u32 }),
  beat: event(3, { n: t.u32 }),
  place: event(4, { thing: t.u32, n: t.u32 }, { latest: 'thing' }),
})

/** A hall, and connections to it that note what they hear. */
function stage(limits = {}): {
  connect(activation: number, eventAck: number, generation?: number, legacy?: boolean): Connection
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
  const connect = (activation: number, eventAck: number, generation = 1, legacy = false): Connection => {
    const said: string[] = []
    const out: ChannelOut = {
      opened: (life, _mark, lost) => said.push(`opened ${life}${lost ? ' lost' : ''}`),
      reply: (sequence) => said.push(`reply ${sequence}`),
      error: (sequence, _command, _kind, code) => said.push(`error ${sequence} ${code}`),
      event: (sequence, _event, body) =>
        said.push(`${sequence}:${(msgpack.decode(body) as { n: number }).n}`),
      applied: () => {},
      memo: () => {},
      bind: () => {},
      login: () => {},
      resync: (events) => said.push(`resync ${events}`),
      closed: (code) => said.push(`closed ${code}`),
    }
    const channel = engine.open(
      {
        ...NEWCOMER,
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
    const say = (number: number, input: unknown): void =>
      channel.call(++sequence, number, 1, sequence - 1, msgpack.encode(input))
    return {
      said,
      channel,
      enter: () => say(1, {}),
      beats: (count, thing = 0) => say(2, { count, thing }),
      heard: () => said.filter((line) => /^\d|resync/.test(line)),
    }
  }
  return { connect, clock }
}

interface Connection {
  readonly said: string[]
  readonly channel: ChannelIn
  enter(): void
  beats(count: number, thing?: number): void
  heard(): string[]
}

test('a reader that is held hears nothing meanwhile, and then all of it, the newest of each thing', () => {
  const { connect } = stage()
  const one = connect(0, 0)
  one.enter()
  one.beats(1)
  one.channel.hold(true)
  one.beats(2)
  one.beats(50, 7)
  one.beats(50, 8)
  assert.deepEqual(one.heard(), ['1:1'])
  one.channel.hold(false)
  assert.deepEqual(one.heard(), ['1:1', '2:2', '3:3', '53:53', '103:103'])
  one.beats(1)
  assert.equal(one.heard().at(-1), '104:104')
})

test('a reader that is held for too long hears RESYNC once, then fresh state, then what follows', () => {
  const { connect } = stage({ maxUnackedEvents: 10 })
  const one = connect(0, 0)
  one.enter()
  one.channel.hold(true)
  one.beats(11)
  one.channel.hold(false)
  one.beats(1)
  assert.deepEqual(one.heard(), ['resync 11', '12:1000000', '13:12'])
  one.channel.hold(true)
  one.channel.hold(false)
  assert.equal(one.heard().length, 3)
})

test('a connection that is held and let go before it is introduced misses nothing', () => {
  const { connect } = stage()
  const before = connect(0, 0)
  before.enter()
  before.beats(3)
  before.channel.close(false)
  const after = connect(1, 1, 2)
  after.channel.hold(true)
  after.channel.hold(false)
  after.beats(1)
  assert.deepEqual(after.heard(), ['2:2', '3:3', '4:4'])
  assert.equal(after.said[0], 'opened 1')
})

test('a connection that is held across RESYNC is told once', () => {
  const { connect } = stage({ maxUnackedEvents: 4 })
  const before = connect(0, 0)
  before.enter()
  before.beats(1)
  before.channel.close(false)
  const other = connect(0, 0, 2)
  other.beats(9)
  other.channel.close(false)
  const after = connect(1, 1, 3)
  after.channel.hold(true)
  after.channel.hold(false)
  assert.deepEqual(
    after.heard().filter((line) => line.startsWith('resync')),
    ['resync 10'],
  )
})

test('the link of an older connection takes nothing over from a newer one', () => {
  const { connect } = stage()
  const newer = connect(0, 0, 5)
  newer.enter()
  const older = connect(0, 0, 4)
  assert.deepEqual(older.said, ['closed REPLACED'])
  newer.beats(1)
  assert.deepEqual(newer.heard(), ['1:1'])
  const newest = connect(1, 1, 6)
  assert.equal(newer.said.at(-1), 'closed REPLACED')
  newest.beats(1)
  assert.deepEqual(newest.heard(), ['2:2'])
})

test('a legacy reader that is held keeps its events, and one that misses some is told to go', () => {
  const { connect } = stage({ maxUnackedEvents: 10 })
  const one = connect(0, 0, 1, true)
  one.enter()
  one.beats(2)
  one.channel.hold(true)
  one.beats(3)
  one.channel.hold(false)
  assert.deepEqual(one.heard(), ['1:1', '2:2', '3:3', '4:4', '5:5'])
  one.channel.hold(true)
  one.beats(30)
  one.channel.hold(false)
  assert.match(one.heard().at(-2)!, /^resync/)
})

test('a member without connection leaves when it has lingered, unless it is back', () => {
  const { connect, clock } = stage()
  const before = connect(0, 0)
  before.enter()
  before.channel.close(false)
  clock.advance(29_000)
  const back = connect(1, 0, 2)
  clock.advance(5_000)
  back.beats(1)
  assert.deepEqual(back.heard(), ['1:1'])
  back.channel.close(false)
  clock.advance(31_000)
  const late = connect(1, 1, 3)
  late.beats(1)
  assert.deepEqual(late.heard(), ['resync 2'])
})
