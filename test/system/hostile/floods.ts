// Attacks by speed. The server delays a connection above its rate limit and closes one that stays above it. The limits are
// low here (suites.ts).

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { encodeClose, MESSAGE } from '../../../core/wire/message.ts'
import { closeCounter, errorCounter, type Attack } from './attack.ts'
import { ackFrame, callFrame, frame, helloAndOpen, openFields, openFrame, resumeFrame } from './frames.ts'
import { COMMAND, COST } from './game.ts'
import type { AttackHarness } from './harness.ts'
import { clientMessage, OPCODE } from './websocket.ts'

/** Per connection; the bucket holds two seconds of each. */
export const RATE_LIMITS = { maxCostPerSecond: 4_000, maxBytesPerSecond: 1_000_000 }
export const FLOOD_MS = 1_000
const { COSTLY, COUNT, LOGIN, PLAYER_COSTLY, RAW } = COMMAND
const THROTTLES = 'firefly_throttles_total'
/** Far more than a bucket holds. */
const FLOOD_FRAMES = 40_000

const floodCounters = (connections = 1): Record<string, number> => ({
  [THROTTLES]: connections,
  ...closeCounter('FLOOD', connections),
})
const DELAY_AND_CLOSE = 'a delay, then close FLOOD'
const repeated = (count: number, make: (n: number) => Uint8Array): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, n) => make(n)))

async function floodLegacy(harness: AttackHarness, bytes: Uint8Array): Promise<void> {
  const peer = await harness.dialTcp()
  void peer.send(bytes)
  await peer.waitForClose()
}

/** A session with channel 1 open, which receives the reason. */
async function floodSession(harness: AttackHarness, bytes: Uint8Array): Promise<void> {
  const peer = await harness.openSession()
  void peer.send(bytes)
  await peer.waitForClose()
  assert.equal(peer.errors().at(-1), '0/0 FLOOD')
}

async function floodWebSocket(harness: AttackHarness, messages: readonly Uint8Array[]): Promise<void> {
  const web = await harness.dialWebSocket()
  void web.send(...messages)
  await web.assertClosed(1008, 'FLOOD')
}

/** The session is throttled before it is closed. */
const floodAttack = (name: string, bytes: () => Uint8Array): Attack => ({
  name,
  receives: DELAY_AND_CLOSE,
  counters: floodCounters(),
  run: (harness) => floodSession(harness, bytes()),
})

/** One write exceeds the limit for longer than `FLOOD_MS`. */
const burstAttack = (name: string, bytes: () => Uint8Array, errors: Record<string, number> = {}): Attack => ({
  name,
  receives: 'close FLOOD',
  counters: { ...closeCounter('FLOOD'), ...errors },
  run: (harness) => floodSession(harness, bytes()),
})

/** 200 WebSocket messages at once. */
const webSocketAttack = (name: string, message: Uint8Array): Attack => ({
  name,
  receives: 'close FLOOD',
  counters: closeCounter('FLOOD'),
  run: (harness) => floodWebSocket(harness, new Array<Uint8Array>(200).fill(message)),
})

const small = frame(RAW, 'x')
const closeFrame = (channel: number): Buffer => frame(MESSAGE.CLOSE, encodeClose({ channel, code: 'CLOSED' }))

export const floods: readonly Attack[] = [
  {
    name: 'throttles a flood of frames, then closes',
    receives: DELAY_AND_CLOSE,
    counters: floodCounters(3),
    run: async (harness) => {
      const cast = frame(COUNT, 'x')
      const frames = repeated(FLOOD_FRAMES, () => cast)
      const calls = repeated(FLOOD_FRAMES, (n) => callFrame(1, n + 1, COUNT, 'x', n))
      await floodLegacy(harness, frames)
      await floodSession(harness, calls)
      const singles = Array.from({ length: FLOOD_FRAMES }, () => clientMessage(cast))
      await floodWebSocket(harness, [clientMessage(repeated(3_000, () => cast)), ...singles])
    },
  },
  {
    name: 'throttles a flood of bytes in few frames, then closes',
    receives: DELAY_AND_CLOSE,
    counters: floodCounters(2),
    run: async (harness) => {
      const big = new Uint8Array(60_000)
      const frames = repeated(200, () => frame(RAW, big))
      const calls = repeated(200, (n) => callFrame(1, n + 1, RAW, big, n))
      await Promise.all([floodLegacy(harness, frames), floodSession(harness, calls)])
    },
  },
  {
    name: 'answers a burst within the rate limit immediately',
    receives: 'answers',
    counters: { firefly_frames_in_total: 6_000 },
    run: async (harness) => {
      const throttlesBefore = await harness.readMetric(THROTTLES)
      const peer = await harness.dialTcp()
      await peer.send(repeated(6_000, () => small))
      await peer.waitForFrames(6_000)
      assert.equal(await harness.readMetric(THROTTLES), throttlesBefore)
    },
  },
  {
    name: 'only delays a client that exceeds the rate limit briefly, on TCP and on a WebSocket',
    receives: 'a delay, then answers',
    counters: { [THROTTLES]: 2, firefly_frames_in_total: 188 },
    run: async (harness) => {
      const [tcp, web] = [await harness.dialTcp(), await harness.dialWebSocket()]
      const costly = frame(COSTLY, {})
      const parts = [repeated(70, () => costly), ...Array.from({ length: 24 }, () => costly)]
      const startMs = performance.now()
      await Promise.all([tcp.send(...parts), web.send(...parts.map((part) => clientMessage(part)))])
      await Promise.all([tcp.waitForFrames(94), web.peer.waitForFrames(94)])
      // The debt is repaid after 350 ms.
      const elapsedMs = performance.now() - startMs
      assert.ok(elapsedMs < 1_500, `${elapsedMs} ms`)
    },
  },
  floodAttack('throttles a flood of PINGs, then closes', () =>
    repeated(FLOOD_FRAMES, () => frame(MESSAGE.PING, 'ping')),
  ),
  floodAttack('throttles a flood of messages without effect, then closes', () =>
    repeated(FLOOD_FRAMES / 4, () =>
      Buffer.concat([ackFrame(9, 1, 1), frame(MESSAGE.PONG), closeFrame(9), frame(MESSAGE.PONG, 'pong')]),
    ),
  ),
  {
    name: 'charges commands their declared cost',
    receives: DELAY_AND_CLOSE,
    counters: floodCounters(),
    run: async (harness) => {
      const peer = await harness.openSession()
      for (let sent = 0; !peer.isClosed; sent += 10) {
        assert.ok(sent * COST < 100 * RATE_LIMITS.maxCostPerSecond, 'the server ran all calls')
        await peer.send(repeated(10, (n) => callFrame(1, sent + n + 1, COSTLY, {}, sent + n)))
        await sleep(5)
      }
      assert.equal(peer.errors().at(-1), '0/0 FLOOD')
    },
  },
  {
    name: 'closes immediately on a write that exceeds the rate limit for too long, on TCP and on a WebSocket',
    receives: 'close FLOOD',
    counters: closeCounter('FLOOD', 2),
    run: async (harness) => {
      const costly = repeated(200, (n) => callFrame(1, n + 1, COSTLY, {}, n))
      const throttlesBefore = await harness.readMetric(THROTTLES)
      await floodSession(harness, costly)
      await floodWebSocket(harness, [clientMessage(Buffer.concat([helloAndOpen, costly]))])
      assert.equal(await harness.readMetric(THROTTLES), throttlesBefore)
    },
  },
  {
    name: 'charges commands that are queued for a login their declared cost',
    receives: 'answers, then close FLOOD',
    counters: closeCounter('FLOOD'),
    run: async (harness) => {
      const peer = await harness.sendUntilClosed(
        frame(LOGIN, { uid: 'player' }),
        repeated(200, () => frame(PLAYER_COSTLY, {})),
      )
      assert.equal(peer.frames.length, 1 + 200)
    },
  },
  burstAttack(
    'charges 20 for each OPEN, rejected or not',
    () => repeated(FLOOD_FRAMES / 20, (n) => openFrame(2 + n, 'room', `key ${n}`)),
    errorCounter('TOO_MANY_CHANNELS', 600),
  ),
  burstAttack(
    'charges the same for each OPEN of an unknown contract',
    () => repeated(FLOOD_FRAMES / 20, (n) => openFrame(2 + n, 'nope')),
    errorCounter('UNKNOWN_CONTRACT', 600),
  ),
  burstAttack('charges the same for a channel that is opened and closed repeatedly', () =>
    repeated(FLOOD_FRAMES / 20, () => Buffer.concat([openFrame(2, 'room', 'other'), closeFrame(2)])),
  ),
  burstAttack(
    'charges the same for each channel of a RESUME',
    () => resumeFrame(...Array.from({ length: 3_000 }, (_, n) => openFields(2 + n, { contract: '' }))),
    errorCounter('UNKNOWN_CONTRACT', 3_000),
  ),
  {
    name: 'releases connections that open a session and reset repeatedly',
    receives: 'answers',
    counters: { firefly_accepted_total: 300, ...closeCounter('PEER', 300) },
    run: async (harness) => {
      const openAndReset = async (): Promise<void> => {
        for (let n = 0; n < 30; n++) {
          const peer = await harness.dialTcp()
          await peer.send(helloAndOpen)
          await peer.waitForFrames(2)
          peer.sendReset()
        }
      }
      await Promise.all(Array.from({ length: 10 }, openAndReset))
      await harness.waitForMetric('firefly_connections', (count) => count === 2)
      await harness.waitForMetric('firefly_sessions', (count) => count === 1)
    },
  },
  webSocketAttack('closes on a flood of WebSocket pings', clientMessage(undefined, { opcode: OPCODE.PING })),
  webSocketAttack('closes on a flood of WebSocket pongs', clientMessage(undefined, { opcode: OPCODE.PONG })),
  webSocketAttack('closes on a flood of empty WebSocket messages', clientMessage()),
]
