// What one channel sends to its connections: in order, once, and nothing before `channelOpened`.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { firefly, shard, contract, command, event, t } from '../../core/game/index.ts'
import { Channel, type ChannelState } from '../../core/channel/channel.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { NEW_CHANNEL_DEFAULTS, type ChannelIn, type ChannelOut } from '../../core/ports/link.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { IGNORING_CHANNEL_OUT } from '../support/channelout.ts'

const Hall = contract('hall', {
  enter: command(1, {}, {}),
  beats: command(2, { count: t.u32, thing: t.u32 }),
  beat: event(3, { n: t.u32 }),
  place: event(4, { thing: t.u32, n: t.u32 }, { latest: 'thing' }),
})

/** An engine with one shard, and connections to it that record what they receive. */
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
    .onResync((c) => c.push.beat({ n: 1_000_000 }))
  const engine = new Engine(firefly({ hall }), { clock, log: new MemoryLog(), store: new MemoryStore() }, { limits })
  const connect = (activation: number, eventAck: number, generation = 1, legacy = false): TestConnection => {
    const received: string[] = []
    const out: ChannelOut = {
      ...IGNORING_CHANNEL_OUT,
      channelOpened: (activation, _mark, lost) => received.push(`opened ${activation}${lost ? ' lost' : ''}`),
      reply: (sequence) => received.push(`reply ${sequence}`),
      error: (sequence, _command, _kind, code) => received.push(`error ${sequence} ${code}`),
      event: (sequence, _event, body) => received.push(`${sequence}:${(msgpack.decode(body) as { n: number }).n}`),
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

test('a paused channel sends nothing, and on resume every event but those that a newer one replaces', () => {
  const { connect } = createFixture()
  const connection = connect(0, 0)
  connection.enter()
  connection.beats(1)
  connection.channel.pauseEvents(true)
  connection.beats(2)
  connection.beats(50, 7)
  connection.beats(50, 8)
  assert.deepEqual(connection.receivedEvents(), ['1:1'])
  connection.channel.pauseEvents(false)
  assert.deepEqual(connection.receivedEvents(), ['1:1', '2:2', '3:3', '53:53', '103:103'])
  connection.beats(1)
  assert.equal(connection.receivedEvents().at(-1), '104:104')
})

test('a channel that drops events while paused sends RESYNC once, then fresh state, then new events', () => {
  const { connect } = createFixture({ maxUnackedEvents: 10 })
  const connection = connect(0, 0)
  connection.enter()
  connection.channel.pauseEvents(true)
  connection.beats(11)
  connection.channel.pauseEvents(false)
  connection.beats(1)
  assert.deepEqual(connection.receivedEvents(), ['resync 11', '12:1000000', '13:12'])
  connection.channel.pauseEvents(true)
  connection.channel.pauseEvents(false)
  assert.equal(connection.receivedEvents().length, 3)
})

test('a connection that pauses and resumes before its introduction misses nothing', () => {
  const { connect } = createFixture()
  const first = connect(0, 0)
  first.enter()
  first.beats(3)
  first.channel.closeChannel(false)
  const second = connect(1, 1, 2)
  second.channel.pauseEvents(true)
  second.channel.pauseEvents(false)
  second.beats(1)
  assert.deepEqual(second.receivedEvents(), ['2:2', '3:3', '4:4'])
  assert.equal(second.received[0], 'opened 1')
})

test('a connection that pauses and resumes after dropped events receives RESYNC once', () => {
  const { connect } = createFixture({ maxUnackedEvents: 4 })
  const first = connect(0, 0)
  first.enter()
  first.beats(1)
  first.channel.closeChannel(false)
  const second = connect(0, 0, 2)
  second.beats(9)
  second.channel.closeChannel(false)
  const third = connect(1, 1, 3)
  third.channel.pauseEvents(true)
  third.channel.pauseEvents(false)
  const resyncs = third.receivedEvents().filter((line) => line.startsWith('resync'))
  assert.deepEqual(resyncs, ['resync 10'])
})

test('the link of an older connection takes over nothing from a newer one', () => {
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

test('a paused legacy channel retains its events, and sends RESYNC when it drops some', () => {
  const { connect } = createFixture({ maxUnackedEvents: 10 })
  const connection = connect(0, 0, 1, true)
  connection.enter()
  connection.beats(2)
  connection.channel.pauseEvents(true)
  connection.beats(3)
  connection.channel.pauseEvents(false)
  assert.deepEqual(connection.receivedEvents(), ['1:1', '2:2', '3:3', '4:4', '5:5'])
  connection.channel.pauseEvents(true)
  connection.beats(30)
  connection.channel.pauseEvents(false)
  assert.match(connection.receivedEvents().at(-2)!, /^resync/)
})

test('a detached member loses its seat after its time, unless it resumes', () => {
  const { connect, clock } = createFixture()
  const first = connect(0, 0)
  first.enter()
  first.channel.closeChannel(false)
  clock.advance(29_000)
  const second = connect(1, 0, 2)
  clock.advance(5_000)
  second.beats(1)
  assert.deepEqual(second.receivedEvents(), ['1:1'])
  second.channel.closeChannel(false)
  clock.advance(31_000)
  const third = connect(1, 1, 3)
  third.beats(1)
  assert.deepEqual(third.receivedEvents(), ['resync 2'])
})

/** A channel without an engine, and what it sends to its connections and to its host. */
function createChannel(legacy = false) {
  const sent: string[] = []
  const channel = new Channel(
    {
      limits: { maxUnackedEvents: 4, maxUnackedEventBytes: 1_000 },
      handleCall: () => {},
      loginChanged: () => {},
      requestResync: () => sent.push('request resync'),
      detachChannel: () => {},
    },
    { session: new Uint8Array(16), channel: 1, legacy },
  )
  const out: ChannelOut = {
    ...IGNORING_CHANNEL_OUT,
    channelOpened: (activation, _mark, lost) => sent.push(`opened ${activation}${lost ? ' lost' : ''}`),
    event: (sequence) => sent.push(`event ${sequence}`),
    resyncRequired: (events) => sent.push(`resync ${events}`),
  }
  const shard = { contract: 'hall', key: 'k' }
  /** A connection whose client has received event `eventAck` of `activation`. */
  const attach = (activation: number, eventAck: number): void =>
    channel.attach(out, {
      ...NEW_CHANNEL_DEFAULTS,
      shard,
      session: new Uint8Array(16),
      channel: 1,
      activation,
      eventAck,
    })
  return {
    channel,
    attach,
    emit: () => channel.emit({ event: 1, body: new Uint8Array(1), latest: '' }),
    takeSent: () => sent.splice(0),
  }
}
type TestChannel = ReturnType<typeof createChannel>

/** Brings a channel of activation 1 into a state. Its client has received event 1; event 2 has left only in `sending`. */
function channelInState(state: ChannelState, legacy = false): TestChannel {
  const fixture = createChannel(legacy)
  const { channel, attach, emit } = fixture
  attach(0, 0)
  channel.introduce(1, 0)
  emit()
  if (state === 'detached' || state === 'attaching') channel.detach(0)
  if (state === 'paused') channel.pauseEvents(true)
  emit()
  if (state === 'attaching') attach(1, 1)
  assert.equal(channel.state, state)
  fixture.takeSent()
  return fixture
}

const EVENTS = {
  attach: ({ attach }) => attach(1, 1),
  introduce: ({ channel }) => void channel.introduce(1, 0),
  'introduce after a pause': ({ channel }) => {
    channel.pauseEvents(true)
    channel.introduce(1, 0)
  },
  'introduce after dropped events': ({ channel }) => {
    channel.expireHistory()
    channel.introduce(1, 0)
  },
  pause: ({ channel }) => channel.pauseEvents(true),
  resume: ({ channel }) => channel.pauseEvents(false),
  'resume after dropped events': ({ channel }) => {
    channel.expireHistory()
    channel.pauseEvents(false)
  },
  detach: ({ channel }) => channel.detach(0),
  endActivation: ({ channel }) => channel.endActivation(),
  eventsMissed: ({ channel }) => channel.eventsMissed(),
  emit: ({ emit }) => emit(),
} satisfies Record<string, (fixture: TestChannel) => void>

/**
 * The transition table: state, event, next state, what is sent, and what a connection that has received event 1 is sent
 * afterwards.
 */
const TRANSITIONS: readonly [ChannelState, keyof typeof EVENTS, ChannelState, string[], string[]][] = [
  ['detached', 'attach', 'attaching', [], ['opened 1', 'event 2']],
  ['detached', 'introduce', 'detached', [], ['opened 1', 'event 2']],
  ['detached', 'introduce after a pause', 'detached', [], ['opened 1', 'event 2']],
  ['detached', 'introduce after dropped events', 'detached', [], ['opened 1', 'resync 3']],
  ['detached', 'pause', 'detached', [], ['opened 1', 'event 2']],
  ['detached', 'resume', 'detached', [], ['opened 1', 'event 2']],
  ['detached', 'resume after dropped events', 'detached', [], ['opened 1', 'resync 3']],
  ['detached', 'detach', 'detached', [], ['opened 1', 'event 2']],
  ['detached', 'endActivation', 'detached', [], ['opened 2 lost']],
  ['detached', 'eventsMissed', 'detached', [], ['opened 1', 'resync 3']],
  ['detached', 'emit', 'detached', [], ['opened 1', 'event 2', 'event 3']],
  ['attaching', 'attach', 'attaching', [], ['opened 1', 'event 2']],
  ['attaching', 'introduce', 'sending', ['opened 1', 'event 2'], ['opened 1', 'event 2']],
  ['attaching', 'introduce after a pause', 'paused', ['opened 1'], ['opened 1', 'event 2']],
  ['attaching', 'introduce after dropped events', 'sending', ['opened 1', 'resync 3'], ['opened 1', 'resync 3']],
  ['attaching', 'pause', 'attaching', [], ['opened 1', 'event 2']],
  ['attaching', 'resume', 'attaching', [], ['opened 1', 'event 2']],
  ['attaching', 'resume after dropped events', 'attaching', [], ['opened 1', 'resync 3']],
  ['attaching', 'detach', 'detached', [], ['opened 1', 'event 2']],
  ['attaching', 'endActivation', 'attaching', [], ['opened 2 lost']],
  ['attaching', 'eventsMissed', 'attaching', [], ['opened 1', 'resync 3']],
  ['attaching', 'emit', 'attaching', [], ['opened 1', 'event 2', 'event 3']],
  ['sending', 'attach', 'attaching', [], ['opened 1', 'event 2']],
  ['sending', 'introduce', 'sending', [], ['opened 1', 'event 2']],
  ['sending', 'introduce after a pause', 'paused', [], ['opened 1', 'event 2']],
  ['sending', 'introduce after dropped events', 'sending', [], ['opened 1', 'resync 3']],
  ['sending', 'pause', 'paused', [], ['opened 1', 'event 2']],
  ['sending', 'resume', 'sending', [], ['opened 1', 'event 2']],
  ['sending', 'resume after dropped events', 'sending', [], ['opened 1', 'resync 3']],
  ['sending', 'detach', 'detached', [], ['opened 1', 'event 2']],
  ['sending', 'endActivation', 'attaching', [], ['opened 2 lost']],
  ['sending', 'eventsMissed', 'sending', ['resync 3'], ['opened 1', 'resync 3']],
  ['sending', 'emit', 'sending', ['event 3'], ['opened 1', 'event 2', 'event 3']],
  ['paused', 'attach', 'attaching', [], ['opened 1', 'event 2']],
  ['paused', 'introduce', 'paused', [], ['opened 1', 'event 2']],
  ['paused', 'introduce after a pause', 'paused', [], ['opened 1', 'event 2']],
  ['paused', 'introduce after dropped events', 'paused', [], ['opened 1', 'resync 3']],
  ['paused', 'pause', 'paused', [], ['opened 1', 'event 2']],
  ['paused', 'resume', 'sending', ['event 2'], ['opened 1', 'event 2']],
  ['paused', 'resume after dropped events', 'sending', ['resync 3', 'request resync'], ['opened 1', 'resync 3']],
  ['paused', 'detach', 'detached', [], ['opened 1', 'event 2']],
  ['paused', 'endActivation', 'attaching', [], ['opened 2 lost']],
  ['paused', 'eventsMissed', 'paused', ['resync 3'], ['opened 1', 'resync 3']],
  ['paused', 'emit', 'paused', [], ['opened 1', 'event 2', 'event 3']],
]

for (const [state, event, next, expected, expectedLater] of TRANSITIONS)
  test(`${state}, ${event}: ${next}, sends ${expected.join(', ') || 'nothing'}`, () => {
    const fixture = channelInState(state)
    EVENTS[event](fixture)
    assert.equal(fixture.channel.state, next)
    assert.deepEqual(fixture.takeSent(), expected)
    fixture.attach(1, 1)
    fixture.channel.introduce(event === 'endActivation' ? 2 : 1, 0)
    assert.deepEqual(fixture.takeSent(), expectedLater)
  })

test('the transition table has every state with every event', () => {
  const cells = new Set(TRANSITIONS.map(([state, event]) => `${state} ${event}`))
  assert.equal(cells.size, 4 * Object.keys(EVENTS).length)
})

const LEGACY_EMITS: readonly [ChannelState, string[], string[]][] = [
  ['detached', [], ['opened 1']],
  ['attaching', [], ['opened 1']],
  ['sending', ['event 3'], ['opened 1']],
  ['paused', [], ['opened 1', 'event 2', 'event 3']],
]

for (const [state, expected, expectedLater] of LEGACY_EMITS)
  test(`${state}, emit on a legacy channel: sends ${expected.join(', ') || 'nothing'}`, () => {
    const fixture = channelInState(state, true)
    fixture.emit()
    assert.equal(fixture.channel.state, state)
    assert.deepEqual(fixture.takeSent(), expected)
    fixture.attach(1, 1)
    fixture.channel.introduce(1, 0)
    assert.deepEqual(fixture.takeSent(), expectedLater)
  })

/** What the client reports, the last event number of a removed channel, and what the introduction to activation 3 sends. */
const INTRODUCTIONS: readonly [string, [number, number], number, string[]][] = [
  ['a client without position', [0, 0], 0, ['opened 3']],
  ['a client without position of a removed channel', [0, 0], 5, ['opened 3', 'resync 5']],
  ['a client of an earlier activation', [2, 9], 0, ['opened 3 lost']],
  ['a client of this activation whose channel was removed', [3, 9], 5, ['opened 3 lost', 'resync 10']],
]

for (const [name, position, lastEventNumber, expected] of INTRODUCTIONS)
  test(`introduces ${name}`, () => {
    const { channel, attach, takeSent } = createChannel()
    attach(...position)
    assert.equal(channel.introduce(3, lastEventNumber), expected.length === 1)
    assert.deepEqual(takeSent(), expected)
  })

test('a channel that is detached while the Store is read stays detached and retains its events', () => {
  const { channel, attach, emit, takeSent } = createChannel()
  attach(0, 0)
  channel.detach(0)
  assert.equal(channel.introduce(1, 5), false)
  emit()
  assert.equal(channel.state, 'detached')
  assert.deepEqual(takeSent(), [])
  attach(1, 5)
  channel.introduce(1, 5)
  assert.deepEqual(takeSent(), ['opened 1', 'event 6'])
})

test('a channel that resumes between two activations sends no event before its introduction', () => {
  const { channel, emit, takeSent } = channelInState('paused')
  channel.endActivation()
  channel.pauseEvents(false)
  emit()
  assert.deepEqual(takeSent(), [])
  channel.introduce(2, 0)
  assert.deepEqual(takeSent(), ['opened 2', 'event 1'])
})

test('a channel that pauses between two activations retains the events before the pause', () => {
  const { channel, emit, takeSent } = channelInState('sending')
  channel.endActivation()
  emit()
  channel.pauseEvents(true)
  channel.introduce(2, 0)
  channel.pauseEvents(false)
  assert.deepEqual(takeSent(), ['opened 2', 'event 1'])
})
