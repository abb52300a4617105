// Attacks by not reading: what waits for a peer is bounded, and then it is let go.

import assert from 'node:assert/strict'
import { MESSAGE } from '../../../core/wire/message.ts'
import { waitUntil } from '../../support/sockets.ts'
import { callFrame, frame } from './frames.ts'
import type { RawPeer } from './peer.ts'
import { closeCounter, type Attack, type AttackHarness } from './harness.ts'
import { clientMessage } from './websocket.ts'

const PAD = 4
const JOIN = 9
const SHOUT = 10
const MOVE = 11
const MOVED = 51
const FRESH = 52
/** Who moves; the newest of all of them together may wait. */
const MOVERS = 4
const BIG_BYTES = 60_000
/** Far more than what the kernel takes for both ends of a loopback connection. */
const ROUNDS = 100
/** Broadcasts of BIG: 60 MB. */
const SHOUTS = 1_024
/** What they may leave in memory. */
const MAX_BUFFER_BYTES = 2_000_000
const SLOW = 'firefly_closes_total{reason="SLOW_CONSUMER"}'

/** Says `ask` again and again until somebody was let go for not reading. */
async function sendUntilSlowConsumer(stage: AttackHarness, ask: () => Promise<void>): Promise<void> {
  const slowConsumers = async (): Promise<number> => (await stage.readMetrics()).get(SLOW) ?? 0
  const before = await slowConsumers()
  for (let round = 0; round < ROUNDS; round++) {
    await ask()
    if ((await slowConsumers()) > before) return
  }
  assert.fail(`${ROUNDS} rounds of 1 MB were let wait`)
}

const SIXTEEN_CALLS = Buffer.concat(Array.from({ length: 16 }, () => frame(PAD, { bytes: BIG_BYTES })))

interface PausedReader {
  readonly paused: RawPeer
  /** Says what it has not read. */
  readonly mover: RawPeer
  /** Moves so many times; how often in all. */
  readonly move: (times: number) => Promise<number>
}

/** A member with a session who does not read, when the server has noticed. */
export async function openPausedReader(stage: AttackHarness): Promise<PausedReader> {
  const [paused, mover] = [await stage.openSession(), await stage.dialTcp()]
  await paused.send(callFrame(1, 1, JOIN, {}))
  await paused.waitForFrames(3)
  paused.pauseReading()
  let n = 0
  const move = async (times: number): Promise<number> => {
    for (let left = times; left > 0; left--, n++) await mover.send(frame(MOVE, { who: n % MOVERS, n, bytes: 50_000 }))
    await mover.waitForFrames(n)
    return n
  }
  const holds = async (): Promise<number> => (await stage.readMetrics()).get('firefly_holds_total')!
  const before = await holds()
  while ((await holds()) === before) {
    // It is there as long as it says so.
    await paused.send(frame(MESSAGE.PING))
    await move(8 * MOVERS)
    assert.ok(n < 32 * ROUNDS, 'everything was let wait')
  }
  return { paused, mover, move }
}

/** It has read all, its numbers rise, and it is answered. */
async function assertCaughtUp(reader: RawPeer): Promise<void> {
  await reader.send(callFrame(1, 2, PAD, { bytes: 1 }, 1))
  await waitUntil(() => reader.replies().has(2), 'an answer')
  assert.deepEqual(reader.errors(), [])
  const numbers = reader.events().map(({ sequence }) => sequence)
  assert.ok(numbers.every((number, i) => i === 0 || number > numbers[i - 1]!))
}

const decodeMoved = (body: Buffer): { who: number; n: number } => JSON.parse(body.toString()) as never

export const slowReaders: readonly Attack[] = [
  {
    name: 'a legacy client that asks and never reads is let go',
    verdict: 'cut: SLOW_CONSUMER',
    counters: closeCounter('SLOW_CONSUMER'),
    run: async (stage) => {
      const peer = await stage.dialTcp()
      peer.pauseReading()
      await sendUntilSlowConsumer(stage, () => peer.send(SIXTEEN_CALLS))
      peer.socket.resume()
      await peer.waitForClose()
    },
  },
  {
    name: 'a WebSocket client that asks and never reads is let go',
    verdict: 'cut: SLOW_CONSUMER',
    counters: closeCounter('SLOW_CONSUMER'),
    run: async (stage) => {
      const web = await stage.dialWebSocket()
      web.peer.pauseReading()
      await sendUntilSlowConsumer(stage, () => web.send(clientMessage(SIXTEEN_CALLS)))
      web.peer.socket.resume()
      await web.peer.waitForClose()
    },
  },
  {
    name: 'a member who never reads what is broadcast keeps little waiting, and the others hear all of it',
    verdict: 'events wait, the oldest give way; when it reads on, cut: SLOW_CONSUMER',
    counters: { firefly_holds_total: 1, ...closeCounter('SLOW_CONSUMER') },
    run: async (stage) => {
      const [deaf, shouter] = [await stage.dialTcp(), await stage.dialTcp()]
      for (const peer of [deaf, shouter]) {
        await peer.send(frame(JOIN, {}))
        await peer.waitForFrames(1)
      }
      deaf.pauseReading()
      const earlier = await stage.bufferBytes()
      for (let said = 0; said < SHOUTS;) {
        // Few enough at a time to be held before they are too many.
        await shouter.send(frame(SHOUT, { bytes: BIG_BYTES }), frame(SHOUT, { bytes: BIG_BYTES }))
        said += 2
        await shouter.waitForFrames(1 + 2 * said)
      }
      assert.equal(shouter.frames.filter(({ body }) => body.length > BIG_BYTES).length, SHOUTS)
      shouter.frames.length = 0
      const most = earlier + MAX_BUFFER_BYTES
      const bytes = await stage.bufferBytes(most)
      assert.ok(bytes <= most, `${bytes - earlier} bytes wait`)
      deaf.socket.resume()
      // A legacy client cannot be told that it has missed something.
      await deaf.waitForClose()
    },
  },
  {
    name: 'a session that reads slowly hears the newest of each kind, and goes on',
    verdict: 'events, none lost but for what a later one says anew',
    counters: { firefly_holds_total: 1 },
    run: async (stage) => {
      const { paused: deaf, move } = await openPausedReader(stage)
      const all = await move(40 * MOVERS)
      const resyncs = (await stage.readMetrics()).get('firefly_resyncs_total')
      deaf.socket.resume()
      await assertCaughtUp(deaf)
      await waitUntil(() => deaf.events().at(-1)!.sequence === all, 'the last event')
      const events = deaf.events()
      assert.ok(events.every(({ event }) => event === MOVED))
      const newest = events.slice(-MOVERS)
      assert.deepEqual(
        newest.map(({ body }) => decodeMoved(body).who),
        [0, 1, 2, 3],
      )
      assert.equal(decodeMoved(events.at(-1)!.body).n, all - 1)
      assert.ok(events.length < all - 30 * MOVERS, `${events.length} of ${all} came`)
      assert.equal((await stage.readMetrics()).get('firefly_resyncs_total'), resyncs)
    },
  },
  {
    name: 'a session that reads so slowly that events are lost is told so, and goes on',
    verdict: 'events, RESYNC, what the game says anew, events',
    counters: { firefly_holds_total: 1, firefly_resyncs_total: 1 },
    run: async (stage) => {
      const { paused: deaf, move } = await openPausedReader(stage)
      const shouter = await stage.dialTcp()
      await shouter.send(...Array.from({ length: 20 }, () => frame(SHOUT, { bytes: BIG_BYTES })))
      await shouter.waitForFrames(20)
      deaf.socket.resume()
      await assertCaughtUp(deaf)
      await waitUntil(() => deaf.events().at(-1)!.event === FRESH, 'what is fresh')
      await move(1)
      await waitUntil(() => deaf.events().at(-1)!.event === MOVED, 'the next event')
      const [lost, fresh, next] = deaf.events().slice(-3)
      assert.equal(lost!.event, 0)
      assert.equal(fresh!.sequence, lost!.sequence + 1)
      assert.equal(next!.sequence, lost!.sequence + 2)
    },
  },
]
