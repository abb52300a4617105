// Attacks by not reading: the bytes queued for a peer are bounded, and a peer that reads nothing is cut.

import assert from 'node:assert/strict'
import { MESSAGE } from '../../../core/wire/message.ts'
import { waitUntil } from '../../support/sockets.ts'
import { closeCounter, type Attack } from './attack.ts'
import { callFrame, frame } from './frames.ts'
import { COMMAND, EVENT } from './game.ts'
import type { AttackHarness } from './harness.ts'
import type { RawPeer } from './peer.ts'
import { clientMessage } from './websocket.ts'

const { PAD, JOIN, SHOUT, MOVE } = COMMAND
const { MOVED, REFRESHED } = EVENT
/** Their newest events together fit into the queue of a member. */
const MOVERS = 4
const BIG_BYTES = 60_000
/** Far more than the kernel buffers for both ends of a loopback connection. */
const ROUNDS = 100
/** Broadcasts of BIG_BYTES: 60 MB. */
const SHOUTS = 1_024
/** What the events may occupy in memory. */
const MAX_BUFFER_BYTES = 2_000_000
const SLOW_CONSUMERS = 'firefly_closes_total{reason="SLOW_CONSUMER"}'
const HOLDS = 'firefly_holds_total'
const RESYNCS = 'firefly_resyncs_total'

/** Repeats `send` until the server has cut a slow consumer. */
async function sendUntilSlowConsumer(harness: AttackHarness, send: () => Promise<void>): Promise<void> {
  const before = await harness.readMetric(SLOW_CONSUMERS)
  const bytesBefore = await harness.bufferBytes()
  for (let round = 0; round < ROUNDS; round++) {
    await send()
    if (round % 10 === 0) await harness.waitForBufferBytes(bytesBefore + MAX_BUFFER_BYTES)
  }
  // It reads no more of the requests, and waits whether the client reads.
  await harness.waitForMetric(SLOW_CONSUMERS, (value) => value === before + 1)
}

const SIXTEEN_CALLS = Buffer.concat(Array.from({ length: 16 }, () => frame(PAD, { bytes: BIG_BYTES })))

interface PausedReader {
  readonly paused: RawPeer
  readonly mover: RawPeer
  /** Broadcasts this many `moved` events; returns the total. */
  readonly move: (times: number) => Promise<number>
}

/** A member with a session that does not read. Resolves when the server pauses its events. */
export async function openPausedReader(harness: AttackHarness): Promise<PausedReader> {
  const [paused, mover] = [await harness.openSession(), await harness.dialTcp()]
  await paused.send(callFrame(1, 1, JOIN, {}))
  await paused.waitForFrames(3)
  paused.pauseReading()
  let n = 0
  const move = async (times: number): Promise<number> => {
    for (let left = times; left > 0; left--, n++) await mover.send(frame(MOVE, { mover: n % MOVERS, n, bytes: 50_000 }))
    await mover.waitForFrames(n)
    return n
  }
  const before = await harness.readMetric(HOLDS)
  while ((await harness.readMetric(HOLDS)) === before) {
    // Prevents the idle timeout.
    await paused.send(frame(MESSAGE.PING))
    await move(8 * MOVERS)
    assert.ok(n < 32 * ROUNDS, 'the server never pauses the events')
  }
  return { paused, mover, move }
}

/** Asserts that the session is answered, without errors, and that the numbers of its events rise. */
async function assertCaughtUp(reader: RawPeer): Promise<void> {
  await reader.send(callFrame(1, 2, PAD, { bytes: 1 }, 1))
  await waitUntil(() => reader.replies().has(2), 'a reply')
  assert.deepEqual(reader.errors(), [])
  const numbers = reader.events().map(({ sequence }) => sequence)
  assert.ok(numbers.every((number, i) => i === 0 || number > numbers[i - 1]!))
}

const decodeMoved = (body: Buffer): { mover: number; n: number } => JSON.parse(body.toString()) as never

export const slowReaders: readonly Attack[] = [
  {
    name: 'cuts a legacy client that sends requests and never reads',
    receives: 'cut SLOW_CONSUMER',
    counters: closeCounter('SLOW_CONSUMER'),
    run: async (harness) => {
      const peer = await harness.dialTcp()
      peer.pauseReading()
      await sendUntilSlowConsumer(harness, () => peer.send(SIXTEEN_CALLS))
      peer.resumeReading()
      await peer.waitForClose()
    },
  },
  {
    name: 'cuts a WebSocket client that sends requests and never reads',
    receives: 'cut SLOW_CONSUMER',
    counters: closeCounter('SLOW_CONSUMER'),
    run: async (harness) => {
      const web = await harness.dialWebSocket()
      web.peer.pauseReading()
      await sendUntilSlowConsumer(harness, () => web.send(clientMessage(SIXTEEN_CALLS)))
      web.peer.resumeReading()
      await web.peer.waitForClose()
    },
  },
  {
    name: 'bounds the events of a member that never reads, and delivers all to the others',
    receives: 'delayed events, the oldest discarded; cut SLOW_CONSUMER when it reads again',
    counters: { [HOLDS]: 1, ...closeCounter('SLOW_CONSUMER') },
    run: async (harness) => {
      const [paused, shouter] = [await harness.dialTcp(), await harness.dialTcp()]
      for (const peer of [paused, shouter]) {
        await peer.send(frame(JOIN, {}))
        await peer.waitForFrames(1)
      }
      paused.pauseReading()
      const bytesBefore = await harness.bufferBytes()
      for (let sent = 2; sent <= SHOUTS; sent += 2) {
        // Two at a time: the server pauses the events before they exceed the outbound limit.
        await shouter.send(frame(SHOUT, { bytes: BIG_BYTES }), frame(SHOUT, { bytes: BIG_BYTES }))
        await shouter.waitForFrames(1 + 2 * sent)
      }
      assert.equal(shouter.frames.filter(({ body }) => body.length > BIG_BYTES).length, SHOUTS)
      shouter.frames.length = 0
      await harness.waitForBufferBytes(bytesBefore + MAX_BUFFER_BYTES)
      paused.resumeReading()
      // RESYNC cannot be sent to a legacy client, so it is cut.
      await paused.waitForClose()
    },
  },
  {
    name: 'delivers the newest events to a session that reads slowly',
    receives: 'events; only those that a later event replaces are missing',
    counters: { [HOLDS]: 1 },
    run: async (harness) => {
      const { paused, move } = await openPausedReader(harness)
      const total = await move(40 * MOVERS)
      const resyncs = await harness.readMetric(RESYNCS)
      paused.resumeReading()
      await assertCaughtUp(paused)
      await waitUntil(() => paused.events().at(-1)!.sequence === total, 'the last event')
      const events = paused.events()
      assert.ok(events.every(({ event }) => event === MOVED))
      const newest = events.slice(-MOVERS)
      const movers = newest.map(({ body }) => decodeMoved(body).mover)
      assert.deepEqual(movers, [0, 1, 2, 3])
      assert.equal(decodeMoved(events.at(-1)!.body).n, total - 1)
      assert.ok(events.length < total - 30 * MOVERS, `${events.length} of ${total} events`)
      assert.equal(await harness.readMetric(RESYNCS), resyncs)
    },
  },
  {
    name: 'sends RESYNC to a session that loses events by reading slowly',
    receives: 'events, RESYNC, fresh state, events',
    counters: { [HOLDS]: 1, [RESYNCS]: 1 },
    run: async (harness) => {
      const { paused, move } = await openPausedReader(harness)
      const shouter = await harness.dialTcp()
      await shouter.send(...Array.from({ length: 20 }, () => frame(SHOUT, { bytes: BIG_BYTES })))
      await shouter.waitForFrames(20)
      paused.resumeReading()
      await assertCaughtUp(paused)
      await waitUntil(() => paused.events().at(-1)!.event === REFRESHED, 'fresh state')
      await move(1)
      await waitUntil(() => paused.events().at(-1)!.event === MOVED, 'the next event')
      const [resync, refreshed, next] = paused.events().slice(-3)
      assert.equal(resync!.event, 0)
      assert.equal(refreshed!.sequence, resync!.sequence + 1)
      assert.equal(next!.sequence, resync!.sequence + 2)
    },
  },
]
