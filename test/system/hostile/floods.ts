// Attacks by speed: who is above the budget is not read for a while, and closed when that does not help. The budget is
// small here, and so is the patience (suites.ts).

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { encodeClose, MESSAGE } from '../../../core/wire/message.ts'
import { ackFrame, callFrame, frame, helloFrame, openFrame, openFields, resumeFrame } from './frames.ts'
import { closeCounter, errorCounter, type Attack, type AttackHarness } from './harness.ts'
import { clientMessage, OPCODE } from './websocket.ts'

/** Of a connection; its bucket holds two seconds of each. */
export const RATE_LIMITS = { maxCostPerSecond: 4_000, maxBytesPerSecond: 1_000_000 }
export const FLOOD_MS = 1_000
const RAW = 1
const COUNT = 5
const COSTLY = 12
const ENTER = 30
const MEMBER_COSTLY = 41
const COST = 100
const THROTTLES = 'firefly_throttles_total'
/** Far more than a bucket holds. */
const FLOOD_FRAMES = 40_000

const floodCounters = (connections = 1): Record<string, number> => ({
  [THROTTLES]: connections,
  ...closeCounter('FLOOD', connections),
})
const SLOWED_VERDICT = 'slowed down, then close FLOOD'
/** Far more than `FLOOD_MS` in one read. */
const CLOSED_VERDICT = 'close FLOOD'
const repeated = (count: number, make: (n: number) => Uint8Array): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, n) => make(n)))

/** A legacy client floods with these bytes. */
async function floodLegacy(stage: AttackHarness, bytes: Uint8Array): Promise<void> {
  const peer = await stage.dialTcp()
  void peer.send(bytes)
  await peer.waitForClose()
}

/** A session with channel 1 open floods, and is told why it is over. */
async function floodSession(stage: AttackHarness, bytes: Uint8Array): Promise<void> {
  const peer = await stage.openSession()
  void peer.send(bytes)
  await peer.waitForClose()
  assert.equal(peer.errors().at(-1), '0/0 FLOOD')
}

/** The same on a WebSocket, each part a message. */
async function floodWebSocket(stage: AttackHarness, parts: readonly Uint8Array[]): Promise<string> {
  const one = await stage.dialWebSocket()
  void one.send(...parts)
  const close = await one.waitForCloseFrame()
  assert.equal(close.code, 1008)
  return close.reason
}

const floodAttack = (name: string, bytes: () => Uint8Array): Attack => ({
  name,
  verdict: SLOWED_VERDICT,
  counters: floodCounters(),
  run: (stage) => floodSession(stage, bytes()),
})

const burstAttack = (name: string, bytes: () => Uint8Array, more: Record<string, number> = {}): Attack => ({
  name,
  verdict: CLOSED_VERDICT,
  counters: { ...closeCounter('FLOOD'), ...more },
  run: (stage) => floodSession(stage, bytes()),
})

/** More WebSocket control frames than a second has room for. */
const controlFrameAttack = (name: string, one: Uint8Array): Attack => ({
  name,
  verdict: 'close FLOOD',
  counters: closeCounter('FLOOD'),
  run: async (stage) => {
    assert.match(
      await floodWebSocket(
        stage,
        Array.from({ length: 200 }, () => one),
      ),
      /^FLOOD: /,
    )
  },
})

const small = frame(RAW, 'x')
const closeFrame = (channel: number): Buffer => frame(MESSAGE.CLOSE, encodeClose({ channel, code: 'CLOSED' }))

export const floods: readonly Attack[] = [
  {
    name: 'a flood of frames is slowed down, and then closed',
    verdict: SLOWED_VERDICT,
    counters: floodCounters(3),
    run: async (stage) => {
      const quiet = frame(COUNT, 'x')
      await floodLegacy(
        stage,
        repeated(FLOOD_FRAMES, () => quiet),
      )
      await floodSession(
        stage,
        repeated(FLOOD_FRAMES, (n) => callFrame(1, n + 1, COUNT, 'x', n)),
      )
      const singles = Array.from({ length: FLOOD_FRAMES }, () => clientMessage(quiet))
      const reason = await floodWebSocket(stage, [clientMessage(repeated(3_000, () => quiet)), ...singles])
      assert.match(reason, /^FLOOD: /)
    },
  },
  {
    name: 'a flood of bytes in few frames is slowed down, and then closed',
    verdict: SLOWED_VERDICT,
    counters: floodCounters(2),
    run: async (stage) => {
      const big = new Uint8Array(60_000)
      await Promise.all([
        floodLegacy(
          stage,
          repeated(200, () => frame(RAW, big)),
        ),
        floodSession(
          stage,
          repeated(200, (n) => callFrame(1, n + 1, RAW, big, n)),
        ),
      ])
    },
  },
  {
    name: 'a burst within the budget is answered at once',
    verdict: 'answers',
    counters: { firefly_frames_in_total: 6_000 },
    run: async (stage) => {
      const before = (await stage.readMetrics()).get(THROTTLES)
      const peer = await stage.dialTcp()
      await peer.send(repeated(6_000, () => small))
      await peer.waitForFrames(6_000)
      assert.equal((await stage.readMetrics()).get(THROTTLES), before)
    },
  },
  {
    name: 'who says too much for a moment only waits, on TCP and on a WebSocket',
    verdict: 'slowed down, answers',
    counters: { [THROTTLES]: 2, firefly_frames_in_total: 188 },
    run: async (stage) => {
      const [tcp, socket] = [await stage.dialTcp(), await stage.dialWebSocket()]
      const dear = frame(COSTLY, {})
      const parts = [repeated(70, () => dear), ...Array.from({ length: 24 }, () => dear)]
      const begun = performance.now()
      await Promise.all([tcp.send(...parts), socket.send(...parts.map((part) => clientMessage(part)))])
      await Promise.all([tcp.waitForFrames(94), socket.peer.waitForFrames(94)])
      // They are due after 350 ms.
      assert.ok(performance.now() - begun < 1_500, `${performance.now() - begun} ms`)
    },
  },
  floodAttack('a flood of PINGs is slowed down, and then closed', () =>
    repeated(FLOOD_FRAMES, () => frame(MESSAGE.PING, 'ping')),
  ),
  floodAttack('a flood of messages that mean nothing is slowed down, and then closed', () =>
    repeated(FLOOD_FRAMES / 4, () =>
      Buffer.concat([ackFrame(9, 1, 1), frame(MESSAGE.PONG), closeFrame(9), frame(MESSAGE.PONG, 'pong')]),
    ),
  ),
  {
    name: 'dear commands count for what they cost',
    verdict: SLOWED_VERDICT,
    counters: floodCounters(),
    run: async (stage) => {
      const peer = await stage.openSession()
      for (let sent = 0; !peer.isClosed; sent += 10) {
        assert.ok(sent * COST < 100 * RATE_LIMITS.maxCostPerSecond, 'all were let pass')
        await peer.send(repeated(10, (n) => callFrame(1, sent + n + 1, COSTLY, {}, sent + n)))
        await pause(5)
      }
      assert.equal(peer.errors().at(-1), '0/0 FLOOD')
    },
  },
  {
    name: 'one write that costs more than a flooder is waited for is a flood at once, on TCP and on a WebSocket',
    verdict: CLOSED_VERDICT,
    counters: closeCounter('FLOOD', 2),
    run: async (stage) => {
      const dears = repeated(200, (n) => callFrame(1, n + 1, COSTLY, {}, n))
      const before = (await stage.readMetrics()).get(THROTTLES)
      await floodSession(stage, dears)
      const reason = await floodWebSocket(stage, [clientMessage(Buffer.concat([helloFrame(), openFrame(1), dears]))])
      assert.match(reason, /^FLOOD: /)
      assert.equal((await stage.readMetrics()).get(THROTTLES), before, 'nobody waited for their debt')
    },
  },
  {
    name: 'commands that wait for a login count for what they cost',
    verdict: 'answers, close FLOOD',
    counters: closeCounter('FLOOD'),
    run: async (stage) => {
      const peer = await stage.dialTcp()
      await peer.send(
        frame(ENTER, { uid: 'in a hurry' }),
        repeated(200, () => frame(MEMBER_COSTLY, {})),
      )
      await peer.waitForClose()
      assert.equal(peer.frames.length, 1 + 200)
    },
  },
  burstAttack(
    'a flood of channel opens counts twenty for each, refused or not',
    () => repeated(FLOOD_FRAMES / 20, (n) => openFrame(2 + n, 'yard', `key ${n}`)),
    errorCounter('TOO_MANY_CHANNELS', 600),
  ),
  burstAttack(
    'a flood of opens of what is not there counts the same',
    () => repeated(FLOOD_FRAMES / 20, (n) => openFrame(2 + n, 'nope')),
    errorCounter('UNKNOWN_CONTRACT', 600),
  ),
  burstAttack('a channel that is opened and closed without end counts the same', () =>
    repeated(FLOOD_FRAMES / 20, () => Buffer.concat([openFrame(2, 'yard', 'other'), closeFrame(2)])),
  ),
  burstAttack(
    'a RESUME of thousands of channels counts for each of them',
    () => resumeFrame(...Array.from({ length: 3_000 }, (_, n) => openFields(2 + n, { contract: '' }))),
    errorCounter('UNKNOWN_CONTRACT', 3_000),
  ),
  {
    name: 'connections that are opened, greeted and dropped without end leave nothing',
    verdict: 'answers',
    counters: { firefly_accepted_total: 300, ...closeCounter('PEER', 300) },
    run: async (stage) => {
      const one = async (): Promise<void> => {
        for (let n = 0; n < 30; n++) {
          const peer = await stage.dialTcp()
          await peer.send(helloFrame(), openFrame(1))
          await peer.waitForFrames(2)
          peer.sendReset()
        }
      }
      await Promise.all(Array.from({ length: 10 }, one))
      assert.equal(await stage.waitForMetric('firefly_connections', (count) => count === 2), 2)
      assert.equal(await stage.waitForMetric('firefly_sessions', (count) => count === 1), 1)
    },
  },
  controlFrameAttack('a flood of WebSocket pings closes', clientMessage(undefined, { opcode: OPCODE.PING })),
  controlFrameAttack('a flood of WebSocket pongs closes', clientMessage(undefined, { opcode: OPCODE.PONG })),
  controlFrameAttack('a flood of empty WebSocket messages closes', clientMessage()),
]
