// The checks of the soak itself: a planted gap, duplicate, reordering or wrong byte is detected, and the fault proxy
// forwards exactly the planned number of bytes.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'

import { Random } from '../support/random.ts'
import { DEADLINE_MS, until } from '../support/wait.ts'
import { EventSequence, pushedBetween, type NumberedEvent } from '../drill/soak/eventsequence.ts'
import { FaultProxy, randomCuts, type Cut } from '../drill/soak/faultproxy.ts'
import { answerOf, charsOf, MAX_CHARS, textOf } from '../drill/soak/payload.ts'

const NAME = 'lane-7'
const ACTIVATION = 9

function eventOf(i: number, activation = ACTIVATION): NumberedEvent {
  const chars = charsOf(NAME, i)
  return { activation, i, chars, text: textOf(NAME, i, chars) }
}
function eventsOf(from: number, to: number): NumberedEvent[] {
  return Array.from({ length: to - from + 1 }, (_, n) => eventOf(from + n))
}
/** The sequence of a player that joined and received these events. */
function sequenceWith(events: readonly NumberedEvent[], next = 0): EventSequence {
  const sequence = new EventSequence(NAME)
  sequence.joined({ activation: ACTIVATION, next })
  for (const event of events) sequence.receive(event)
  return sequence
}
function faultCounts({ gaps, duplicates, reordered, wrong }: EventSequence) {
  return { gaps, duplicates, reordered, wrong }
}
const CLEAN = { gaps: 0, duplicates: 0, reordered: 0, wrong: 0 }

test('a complete sequence has no fault, with the answer to the join before or after its events', () => {
  const earlyJoin = sequenceWith(eventsOf(5, 90), 5)
  const lateJoin = new EventSequence(NAME)
  for (const event of eventsOf(5, 90)) lateJoin.receive(event)
  lateJoin.joined({ activation: ACTIVATION, next: 5 })
  for (const sequence of [earlyJoin, lateJoin]) {
    assert.ok(sequence.reaches({ activation: ACTIVATION, next: 91 }))
    sequence.endAt({ activation: ACTIVATION, next: 91 })
    assert.deepEqual(faultCounts(sequence), CLEAN)
    assert.equal(sequence.events, 86)
  }
})

test('counts every missing event as a gap: the first, one in the middle, and the last', () => {
  for (let missing = 0; missing < 20; missing++) {
    const sequence = sequenceWith(eventsOf(0, 19).filter(({ i }) => i !== missing))
    assert.equal(sequence.reaches({ activation: ACTIVATION, next: 20 }), missing !== 19)
    sequence.endAt({ activation: ACTIVATION, next: 20 })
    assert.deepEqual(faultCounts(sequence), { ...CLEAN, gaps: 1 }, `without ${missing}`)
  }
  const lateJoin = new EventSequence(NAME)
  for (const event of eventsOf(3, 9)) lateJoin.receive(event)
  lateJoin.joined({ activation: ACTIVATION, next: 0 })
  assert.equal(lateJoin.gaps, 3)
})

test('counts every event received twice as a duplicate, at once or later', () => {
  for (let twin = 0; twin < 10; twin++) {
    for (let at = twin + 1; at <= 10; at++) {
      const sequence = sequenceWith(eventsOf(0, 9).toSpliced(at, 0, eventOf(twin)))
      assert.deepEqual(faultCounts(sequence), { ...CLEAN, duplicates: 1 }, `${twin} again at ${at}`)
    }
  }
})

test('counts two events in the wrong order as one reordering and no gap', () => {
  for (let i = 1; i < 9; i++) {
    const events = eventsOf(0, 9)
    const sequence = sequenceWith(events.toSpliced(i, 2, events[i + 1]!, events[i]!))
    assert.deepEqual(faultCounts(sequence), { ...CLEAN, reordered: 1 }, `${i + 1} before ${i}`)
  }
})

test('counts an event of another number, shard or activation, or with another text, as wrong', () => {
  const texts = [textOf(NAME, 2, eventOf(1).chars), textOf('lane-8', 1, eventOf(1).chars), `${eventOf(1).text}x`, '']
  for (const text of texts) assert.equal(sequenceWith([eventOf(0), { ...eventOf(1), text }]).wrong, 1, text)
  assert.equal(sequenceWith([eventOf(0), eventOf(1, ACTIVATION + 1)]).wrong, 1)
  assert.equal(sequenceWith([eventOf(2)], 5).duplicates, 1)
})

test('allows one jump forward after RESYNC, counts it as skipped, and awaits the position', () => {
  const sequence = sequenceWith(eventsOf(0, 9))
  sequence.resync()
  assert.ok(sequence.awaitsPosition)
  for (const event of eventsOf(50, 59)) sequence.receive(event)
  sequence.resyncedAt({ activation: ACTIVATION, next: 60 })
  for (const event of eventsOf(60, 62)) sequence.receive(event)
  assert.deepEqual(faultCounts(sequence), CLEAN)
  assert.deepEqual([sequence.resyncs, sequence.skipped, sequence.awaitsPosition], [1, 40, false])
  sequence.receive(eventOf(70))
  assert.equal(sequence.gaps, 7)
  // An event that was reported as missed arrives lateJoin.
  sequence.receive(eventOf(20))
  assert.deepEqual([sequence.reordered, sequence.duplicates], [1, 0])
})

test('continues at the position after RESYNC and counts any later missing event as a gap', () => {
  const sequence = sequenceWith(eventsOf(0, 9))
  sequence.resync()
  sequence.resyncedAt({ activation: ACTIVATION, next: 100 })
  assert.deepEqual([sequence.skipped, sequence.reaches({ activation: ACTIVATION, next: 100 })], [90, true])
  sequence.receive(eventOf(101))
  assert.deepEqual(faultCounts(sequence), { ...CLEAN, gaps: 1 })
  sequence.resyncedAt({ activation: ACTIVATION, next: 102 })
  assert.equal(sequence.wrong, 1)
})

test('excuses missed first events that were reported before the answer to the join, and no later ones', () => {
  const report = (sequence: EventSequence): void => sequence.missedReported()
  const receive = (i: number) => (sequence: EventSequence) => sequence.receive(eventOf(i))
  const join = (sequence: EventSequence): void => sequence.joined({ activation: ACTIVATION, next: 0 })
  const orders = [
    [report, receive(83), receive(84), join],
    [receive(83), report, receive(84), join],
    [receive(83), receive(84), report, join],
    [report, join, receive(83), receive(84)],
  ]
  for (const [n, order] of orders.entries()) {
    const sequence = new EventSequence(NAME)
    for (const step of order) step(sequence)
    assert.deepEqual([faultCounts(sequence), sequence.skipped], [CLEAN, 83], `order ${n}`)
    for (const i of [85, 87]) sequence.receive(eventOf(i))
    assert.equal(sequence.gaps, 1, `order ${n}`)
    sequence.receive(eventOf(5))
    assert.equal(sequence.reordered, 1, `order ${n}`)
  }
  const unreported = new EventSequence(NAME)
  for (const step of [receive(83), join, report]) step(unreported)
  assert.deepEqual([unreported.gaps, unreported.skipped], [0, 83])
})

test('counts the pushes of a burst by the totals of the lane', () => {
  // As when the player does not know yet that the lane follows it.
  assert.equal(pushedBetween({ activation: 9, pushes: 2 }, { activation: 9, pushes: 83 }), 81)
  assert.equal(pushedBetween({ activation: 9, pushes: 83 }, { activation: 9, pushes: 83 }), 0)
  assert.equal(pushedBetween({ activation: 9, pushes: 83 }, { activation: 10, pushes: 0 }), 0)
})

test('counts a seat as expired when a player joins again after RESYNC without a position', () => {
  const reserved = sequenceWith(eventsOf(0, 9))
  reserved.resync()
  reserved.resyncedAt({ activation: ACTIVATION, next: 20 })
  reserved.rejoined({ activation: ACTIVATION, next: 20 })
  assert.deepEqual([reserved.seatsExpired, reserved.skipped], [0, 10])
  const expired = sequenceWith(eventsOf(0, 9))
  expired.resync()
  expired.rejoined({ activation: ACTIVATION, next: 30 })
  assert.deepEqual([expired.seatsExpired, expired.skipped, expired.awaitsPosition], [1, 20, false])
  for (const event of [eventOf(30), eventOf(32)]) expired.receive(event)
  assert.deepEqual(faultCounts(expired), { ...CLEAN, gaps: 1 })
})

test('starts again after a reported restart and keeps the count of earlier gaps', () => {
  const sequence = sequenceWith([eventOf(0), eventOf(2)])
  sequence.restart()
  sequence.receive(eventOf(0, ACTIVATION + 1))
  sequence.joined({ activation: ACTIVATION + 1, next: 0 })
  sequence.receive(eventOf(1, ACTIVATION + 1))
  assert.deepEqual(faultCounts(sequence), { ...CLEAN, gaps: 1 })
  assert.equal(sequence.restarts, 1)
})

test('texts and answers depend on name and number', () => {
  const some = Array.from({ length: 1_000 }, (_, i) => textOf(NAME, i, 20))
  assert.equal(new Set(some).size, 1_000)
  assert.equal(textOf(NAME, 1, MAX_CHARS).length, MAX_CHARS)
  assert.notEqual(answerOf('lane-1', 1), answerOf('lane-2', 1))
})

interface ProxiedConnection {
  readonly proxy: FaultProxy
  readonly player: Socket
  /** Of the server. */
  readonly peer: Socket
  /** By receiver. */
  readonly receivedBytes: { player: number; server: number }
}

/** A player, connected to a server through a proxy. */
async function connectThroughProxy(t: TestContext, cut: Cut | null): Promise<ProxiedConnection> {
  const server = createServer({ allowHalfOpen: false }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const receivedBytes = { player: 0, server: 0 }
  server.on('connection', (peer) => {
    peer.on('error', () => {}).on('data', (chunk) => (receivedBytes.server += chunk.length))
  })
  const proxy = await FaultProxy.open((server.address() as AddressInfo).port, () => cut)
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const player = connect(proxy.port, '127.0.0.1')
  const [peer] = await accepted
  player.on('error', () => {}).on('data', (chunk) => (receivedBytes.player += chunk.length))
  t.after(() => {
    proxy.close()
    server.close()
    player.destroy()
    peer.destroy()
  })
  return { proxy, player, peer, receivedBytes }
}

test('the proxy forwards exactly the planned bytes of a direction, then ends both sides', async (t) => {
  for (const towards of ['server', 'player'] as const) {
    for (const bytes of [1, 2, 999, 1_000, 1_001, 70_000]) {
      const cut: Cut = { towards, bytes, mode: 'end', stallMs: 0 }
      const { proxy, player, peer, receivedBytes } = await connectThroughProxy(t, cut)
      const from = towards === 'server' ? player : peer
      for (let sent = 0; sent <= 70_000; sent += 1_000) from.write(new Uint8Array(1_000))
      assert.ok(await until(() => player.closed && peer.closed, DEADLINE_MS))
      assert.equal(receivedBytes[towards], bytes)
      assert.equal(proxy.cuts, 1)
    }
  }
})

test('a half-open cut discards both directions and closes the side of the player after its stall', async (t) => {
  const { proxy, player, peer, receivedBytes } = await connectThroughProxy(t, {
    towards: 'player',
    bytes: 10,
    mode: 'half',
    stallMs: 100,
  })
  peer.write(new Uint8Array(20))
  assert.ok(await until(() => receivedBytes.player === 10, DEADLINE_MS))
  player.write(new Uint8Array(5))
  assert.ok(await until(() => player.closed, DEADLINE_MS))
  assert.deepEqual([receivedBytes.server, peer.closed, proxy.cuts], [0, false, 1])
})

test('a reset closes both sides', async (t) => {
  const { player, peer } = await connectThroughProxy(t, { towards: 'server', bytes: 1, mode: 'reset', stallMs: 0 })
  player.write(new Uint8Array(1))
  assert.ok(await until(() => player.closed && peer.closed, DEADLINE_MS))
})

test('a blocked proxy accepts no connection until it is unblocked, and stopCutting cancels the plan', async (t) => {
  const cut: Cut = { towards: 'server', bytes: 100, mode: 'end', stallMs: 0 }
  const { proxy, player, peer, receivedBytes } = await connectThroughProxy(t, cut)
  proxy.blockAll()
  assert.ok(await until(() => player.closed && peer.closed, DEADLINE_MS))
  const refused = connect(proxy.port, '127.0.0.1').on('error', () => {})
  assert.ok(await until(() => refused.closed, DEADLINE_MS))
  proxy.unblock()
  proxy.stopCutting()
  const uncut = connect(proxy.port, '127.0.0.1')
  t.after(() => uncut.destroy())
  uncut.write(new Uint8Array(1_000))
  assert.ok(await until(() => receivedBytes.server === 1_000, DEADLINE_MS))
  assert.deepEqual([proxy.cuts, uncut.closed], [1, false])
})

test('a seed repeats its cuts', () => {
  const plan = (seed: number): unknown[] => {
    const next = randomCuts(new Random(seed), { towardsPlayer: 10_000, towardsServer: 1_000 })
    return Array.from({ length: 50 }, next)
  }
  assert.deepEqual(plan(3), plan(3))
  assert.notDeepEqual(plan(3), plan(4))
})
