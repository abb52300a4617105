// The soak's own eyes: a gap, a duplicate, a reordering or a wrong byte that is planted is seen, and a line passes on
// exactly as many bytes as it was told to.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'

import { Random } from '../support/random.ts'
import { until } from '../support/wait.ts'
import { Line, randomPlan, type Cut } from '../drill/soak/cutter.ts'
import { Stream, type Beat } from '../drill/soak/stream.ts'
import { answerOf, charsOf, MAX_CHARS, textOf } from '../drill/soak/text.ts'

const NAME = 'lane-7'
const LIFE = 9
const TIMEOUT_MS = 5_000

function beat(i: number, life = LIFE): Beat {
  const chars = charsOf(NAME, i)
  return { life, i, chars, text: textOf(NAME, i, chars) }
}
function beats(from: number, to: number): Beat[] {
  return Array.from({ length: to - from + 1 }, (_, n) => beat(from + n))
}
/** A player who has joined, and has heard these. */
function streamWith(events: readonly Beat[], next = 0): Stream {
  const stream = new Stream(NAME)
  stream.begins({ life: LIFE, next })
  for (const event of events) stream.hear(event)
  return stream
}
function faultCounts({ gaps, duplicates, reordered, wrong }: Stream) {
  return { gaps, duplicates, reordered, wrong }
}
const CLEAN = { gaps: 0, duplicates: 0, reordered: 0, wrong: 0 }

test('a stream without fault has none, whether the answer to its join is heard before its events or after', () => {
  const early = streamWith(beats(5, 90), 5)
  const late = new Stream(NAME)
  for (const event of beats(5, 90)) late.hear(event)
  late.begins({ life: LIFE, next: 5 })
  for (const stream of [early, late]) {
    assert.ok(stream.reaches({ life: LIFE, next: 91 }))
    stream.ends({ life: LIFE, next: 91 })
    assert.deepEqual(faultCounts(stream), CLEAN)
    assert.equal(stream.events, 86)
  }
})

test('every event that is left out is a gap: the first, one in the middle, and the last', () => {
  for (let missing = 0; missing < 20; missing++) {
    const stream = streamWith(beats(0, 19).filter(({ i }) => i !== missing))
    assert.equal(stream.reaches({ life: LIFE, next: 20 }), missing !== 19)
    stream.ends({ life: LIFE, next: 20 })
    assert.deepEqual(faultCounts(stream), { ...CLEAN, gaps: 1 }, `without ${missing}`)
  }
  const late = new Stream(NAME)
  for (const event of beats(3, 9)) late.hear(event)
  late.begins({ life: LIFE, next: 0 })
  assert.equal(late.gaps, 3)
})

test('every event that comes twice is a duplicate, at once or later', () => {
  for (let twin = 0; twin < 10; twin++) {
    for (let at = twin + 1; at <= 10; at++) {
      const stream = streamWith(beats(0, 9).toSpliced(at, 0, beat(twin)))
      assert.deepEqual(faultCounts(stream), { ...CLEAN, duplicates: 1 }, `${twin} again at ${at}`)
    }
  }
})

test('two events in the wrong order are one reordering and no gap', () => {
  for (let i = 1; i < 9; i++) {
    const events = beats(0, 9)
    const stream = streamWith(events.toSpliced(i, 2, events[i + 1]!, events[i]!))
    assert.deepEqual(faultCounts(stream), { ...CLEAN, reordered: 1 }, `${i + 1} before ${i}`)
  }
})

test('an event of another number, another shard, another life or with a flipped character is wrong', () => {
  const texts = [textOf(NAME, 2, beat(1).chars), textOf('lane-8', 1, beat(1).chars), `${beat(1).text}x`, '']
  for (const text of texts) assert.equal(streamWith([beat(0), { ...beat(1), text }]).wrong, 1, text)
  assert.equal(streamWith([beat(0), beat(1, LIFE + 1)]).wrong, 1)
  assert.equal(streamWith([beat(2)], 5).duplicates, 1)
})

test('RESYNC allows one jump forward, which is counted apart, and asks for fresh state', () => {
  const stream = streamWith(beats(0, 9))
  stream.resync()
  assert.ok(stream.awaitsFresh)
  for (const event of beats(50, 59)) stream.hear(event)
  stream.fresh({ life: LIFE, next: 60 })
  for (const event of beats(60, 62)) stream.hear(event)
  assert.deepEqual(faultCounts(stream), CLEAN)
  assert.deepEqual([stream.resyncs, stream.skipped, stream.awaitsFresh], [1, 40, false])
  stream.hear(beat(70))
  assert.equal(stream.gaps, 7)
  // What was told to be missed has come all the same.
  stream.hear(beat(20))
  assert.deepEqual([stream.reordered, stream.duplicates], [1, 0])
})

test('fresh state behind RESYNC says where the events go on, and nothing after it may be missed', () => {
  const stream = streamWith(beats(0, 9))
  stream.resync()
  stream.fresh({ life: LIFE, next: 100 })
  assert.deepEqual([stream.skipped, stream.reaches({ life: LIFE, next: 100 })], [90, true])
  stream.hear(beat(101))
  assert.deepEqual(faultCounts(stream), { ...CLEAN, gaps: 1 })
  stream.fresh({ life: LIFE, next: 102 })
  assert.equal(stream.wrong, 1)
})

test('who joins again behind RESYNC has lost its seat only if no fresh state came, and misses nothing from there on', () => {
  const kept = streamWith(beats(0, 9))
  kept.resync()
  kept.fresh({ life: LIFE, next: 20 })
  kept.rejoins({ life: LIFE, next: 20 })
  assert.deepEqual([kept.seatsLost, kept.skipped], [0, 10])
  const lost = streamWith(beats(0, 9))
  lost.resync()
  lost.rejoins({ life: LIFE, next: 30 })
  assert.deepEqual([lost.seatsLost, lost.skipped, lost.awaitsFresh], [1, 20, false])
  for (const event of [beat(30), beat(32)]) lost.hear(event)
  assert.deepEqual(faultCounts(lost), { ...CLEAN, gaps: 1 })
})

test('a restart that was told begins anew, and the gaps before it stay counted', () => {
  const stream = streamWith([beat(0), beat(2)])
  stream.restart()
  stream.hear(beat(0, LIFE + 1))
  stream.begins({ life: LIFE + 1, next: 0 })
  stream.hear(beat(1, LIFE + 1))
  assert.deepEqual(faultCounts(stream), { ...CLEAN, gaps: 1 })
  assert.equal(stream.restarts, 1)
})

test('texts and answers are those of one name and number', () => {
  const some = Array.from({ length: 1_000 }, (_, i) => textOf(NAME, i, 20))
  assert.equal(new Set(some).size, 1_000)
  assert.equal(textOf(NAME, 1, MAX_CHARS).length, MAX_CHARS)
  assert.notEqual(answerOf('lane-1', 1), answerOf('lane-2', 1))
})

interface ProxiedConnection {
  readonly line: Line
  readonly player: Socket
  /** Of the server. */
  readonly peer: Socket
  /** What each has got. */
  readonly receivedBytes: { player: number; server: number }
}

/** A player on a line to a server. */
async function connectThroughProxy(t: TestContext, cut: Cut | null): Promise<ProxiedConnection> {
  const server = createServer({ allowHalfOpen: false }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const got = { player: 0, server: 0 }
  server.on('connection', (peer) => {
    peer.on('error', () => {}).on('data', (chunk) => (got.server += chunk.length))
  })
  const line = await Line.open((server.address() as AddressInfo).port, () => cut)
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const player = connect(line.port, '127.0.0.1')
  const [peer] = await accepted
  player.on('error', () => {}).on('data', (chunk) => (got.player += chunk.length))
  t.after(() => {
    line.close()
    server.close()
    player.destroy()
    peer.destroy()
  })
  return { line, player, peer, receivedBytes: got }
}

test('a line passes on exactly the planned bytes of a direction, then both sides end', async (t) => {
  for (const towards of ['server', 'player'] as const) {
    for (const bytes of [1, 2, 999, 1_000, 1_001, 70_000]) {
      const cut: Cut = { towards, bytes, way: 'end', stallMs: 0 }
      const { line, player, peer, receivedBytes: got } = await connectThroughProxy(t, cut)
      const from = towards === 'server' ? player : peer
      for (let sent = 0; sent <= 70_000; sent += 1_000) from.write(new Uint8Array(1_000))
      assert.ok(await until(() => player.closed && peer.closed, TIMEOUT_MS))
      assert.equal(got[towards], bytes)
      assert.equal(line.cuts, 1)
    }
  }
})

test('a half-open line swallows both directions: the player hears of it after its stall, the server does not', async (t) => {
  const {
    line,
    player,
    peer,
    receivedBytes: got,
  } = await connectThroughProxy(t, {
    towards: 'player',
    bytes: 10,
    way: 'half',
    stallMs: 100,
  })
  peer.write(new Uint8Array(20))
  assert.ok(await until(() => got.player === 10, TIMEOUT_MS))
  player.write(new Uint8Array(5))
  assert.ok(await until(() => player.closed, TIMEOUT_MS))
  assert.deepEqual([got.server, peer.closed, line.cuts], [0, false, 1])
})

test('a reset reaches both sides', async (t) => {
  const { player, peer } = await connectThroughProxy(t, {
    towards: 'server',
    bytes: 1,
    way: 'reset',
    stallMs: 0,
  })
  player.write(new Uint8Array(1))
  assert.ok(await until(() => player.closed && peer.closed, TIMEOUT_MS))
})

test('a held line lets nobody through until it is released, and a calm one cuts no more', async (t) => {
  const cut: Cut = { towards: 'server', bytes: 100, way: 'end', stallMs: 0 }
  const { line, player, peer, receivedBytes: got } = await connectThroughProxy(t, cut)
  line.hold()
  assert.ok(await until(() => player.closed && peer.closed, TIMEOUT_MS))
  const refused = connect(line.port, '127.0.0.1').on('error', () => {})
  assert.ok(await until(() => refused.closed, TIMEOUT_MS))
  line.release()
  line.calm()
  const calm = connect(line.port, '127.0.0.1')
  t.after(() => calm.destroy())
  calm.write(new Uint8Array(1_000))
  assert.ok(await until(() => got.server === 1_000, TIMEOUT_MS))
  assert.deepEqual([line.cuts, calm.closed], [1, false])
})

test('the plans of a seed repeat', () => {
  const plan = (seed: number): unknown[] => {
    const next = randomPlan(new Random(seed), { down: 10_000, up: 1_000 })
    return Array.from({ length: 50 }, next)
  }
  assert.deepEqual(plan(3), plan(3))
  assert.notDeepEqual(plan(3), plan(4))
})
