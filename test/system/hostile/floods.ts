// Attacks by speed: who is above the budget is not read for a while, and closed when that does not help. The budget is
// small here, and so is the patience (suites.ts).

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { encodeClose, MESSAGE } from '../../../core/wire/message.ts'
import { ack, call, frame, hello, open, opening, resume } from './frames.ts'
import { closes, errors, type Attack, type Stage } from './stage.ts'
import { message, OPCODE } from './websocket.ts'

/** Of a connection; its bucket holds two seconds of each. */
export const BUDGET = { maxCostPerSecond: 4_000, maxBytesPerSecond: 1_000_000 }
export const FLOOD_MS = 1_000
const RAW = 1
const COUNT = 5
const DEAR = 12
const ENTER = 30
const BROOD = 41
const COST = 100
const THROTTLES = 'firefly_throttles_total'
/** Far more than a bucket holds. */
const MANY = 40_000

const flooded = (connections = 1): Record<string, number> => ({
  [THROTTLES]: connections,
  ...closes('FLOOD', connections),
})
const slowed = 'slowed down, then close FLOOD'
/** Far more than `FLOOD_MS` in one read. */
const atOnce = 'close FLOOD'
const times = (count: number, make: (n: number) => Uint8Array): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, n) => make(n)))

/** A legacy client floods with these bytes. */
async function legacy(stage: Stage, bytes: Uint8Array): Promise<void> {
  const peer = await stage.dial()
  void peer.send(bytes)
  await peer.ends()
}

/** A session with channel 1 open floods, and is told why it is over. */
async function session(stage: Stage, bytes: Uint8Array): Promise<void> {
  const peer = await stage.session()
  void peer.send(bytes)
  await peer.ends()
  assert.equal(peer.errors().at(-1), '0/0 FLOOD')
}

/** The same on a WebSocket, each part a message. */
async function web(stage: Stage, parts: readonly Uint8Array[]): Promise<string> {
  const one = await stage.web()
  void one.send(...parts)
  const close = await one.ends()
  assert.equal(close.code, 1008)
  return close.reason
}

const flood = (name: string, bytes: () => Uint8Array): Attack => ({
  name,
  verdict: slowed,
  counters: flooded(),
  run: (stage) => session(stage, bytes()),
})

const deluge = (name: string, bytes: () => Uint8Array, more: Record<string, number> = {}): Attack => ({
  name,
  verdict: atOnce,
  counters: { ...closes('FLOOD'), ...more },
  run: (stage) => session(stage, bytes()),
})

/** More WebSocket control frames than a second has room for. */
const controls = (name: string, one: Uint8Array): Attack => ({
  name,
  verdict: 'close FLOOD',
  counters: closes('FLOOD'),
  run: async (stage) => {
    assert.match(
      await web(
        stage,
        Array.from({ length: 200 }, () => one),
      ),
      /^FLOOD: /,
    )
  },
})

const small = frame(RAW, 'x')
const close = (channel: number): Buffer => frame(MESSAGE.CLOSE, encodeClose({ channel, code: 'CLOSED' }))

export const floods: readonly Attack[] = [
  {
    name: 'a flood of frames is slowed down, and then closed',
    verdict: slowed,
    counters: flooded(3),
    run: async (stage) => {
      const quiet = frame(COUNT, 'x')
      await legacy(
        stage,
        times(MANY, () => quiet),
      )
      await session(
        stage,
        times(MANY, (n) => call(1, n + 1, COUNT, 'x', n)),
      )
      const singles = Array.from({ length: MANY }, () => message(quiet))
      const reason = await web(stage, [message(times(3_000, () => quiet)), ...singles])
      assert.match(reason, /^FLOOD: /)
    },
  },
  {
    name: 'a flood of bytes in few frames is slowed down, and then closed',
    verdict: slowed,
    counters: flooded(2),
    run: async (stage) => {
      const big = new Uint8Array(60_000)
      await Promise.all([
        legacy(
          stage,
          times(200, () => frame(RAW, big)),
        ),
        session(
          stage,
          times(200, (n) => call(1, n + 1, RAW, big, n)),
        ),
      ])
    },
  },
  {
    name: 'a burst within the budget is answered at once',
    verdict: 'answers',
    counters: { firefly_frames_in_total: 6_000 },
    run: async (stage) => {
      const before = (await stage.metrics()).get(THROTTLES)
      const peer = await stage.dial()
      await peer.send(times(6_000, () => small))
      await peer.hears(6_000)
      assert.equal((await stage.metrics()).get(THROTTLES), before)
    },
  },
  {
    name: 'who says too much for a moment only waits, on TCP and on a WebSocket',
    verdict: 'slowed down, answers',
    counters: { [THROTTLES]: 2, firefly_frames_in_total: 188 },
    run: async (stage) => {
      const [tcp, socket] = [await stage.dial(), await stage.web()]
      const dear = frame(DEAR, {})
      const parts = [times(70, () => dear), ...Array.from({ length: 24 }, () => dear)]
      const begun = performance.now()
      await Promise.all([tcp.send(...parts), socket.send(...parts.map((part) => message(part)))])
      await Promise.all([tcp.hears(94), socket.peer.hears(94)])
      // They are due after 350 ms.
      assert.ok(performance.now() - begun < 1_500, `${performance.now() - begun} ms`)
    },
  },
  flood('a flood of PINGs is slowed down, and then closed', () =>
    times(MANY, () => frame(MESSAGE.PING, 'ping')),
  ),
  flood('a flood of messages that mean nothing is slowed down, and then closed', () =>
    times(MANY / 4, () =>
      Buffer.concat([ack(9, 1, 1), frame(MESSAGE.PONG), close(9), frame(MESSAGE.PONG, 'pong')]),
    ),
  ),
  {
    name: 'dear commands count for what they cost',
    verdict: slowed,
    counters: flooded(),
    run: async (stage) => {
      const peer = await stage.session()
      for (let sent = 0; !peer.closed; sent += 10) {
        assert.ok(sent * COST < 100 * BUDGET.maxCostPerSecond, 'all were let pass')
        await peer.send(times(10, (n) => call(1, sent + n + 1, DEAR, {}, sent + n)))
        await pause(5)
      }
      assert.equal(peer.errors().at(-1), '0/0 FLOOD')
    },
  },
  {
    name: 'one write that costs more than a flooder is waited for is a flood at once, on TCP and on a WebSocket',
    verdict: atOnce,
    counters: closes('FLOOD', 2),
    run: async (stage) => {
      const dears = times(200, (n) => call(1, n + 1, DEAR, {}, n))
      const before = (await stage.metrics()).get(THROTTLES)
      await session(stage, dears)
      const reason = await web(stage, [message(Buffer.concat([hello(), open(1), dears]))])
      assert.match(reason, /^FLOOD: /)
      assert.equal((await stage.metrics()).get(THROTTLES), before, 'nobody waited for their debt')
    },
  },
  {
    name: 'commands that wait for a login count for what they cost',
    verdict: 'answers, close FLOOD',
    counters: closes('FLOOD'),
    run: async (stage) => {
      const peer = await stage.dial()
      await peer.send(
        frame(ENTER, { uid: 'in a hurry' }),
        times(200, () => frame(BROOD, {})),
      )
      await peer.ends()
      assert.equal(peer.heard.length, 1 + 200)
    },
  },
  deluge(
    'a flood of channel opens counts twenty for each, refused or not',
    () => times(MANY / 20, (n) => open(2 + n, 'yard', `key ${n}`)),
    errors('TOO_MANY_CHANNELS', 600),
  ),
  deluge(
    'a flood of opens of what is not there counts the same',
    () => times(MANY / 20, (n) => open(2 + n, 'nope')),
    errors('UNKNOWN_CONTRACT', 600),
  ),
  deluge('a channel that is opened and closed without end counts the same', () =>
    times(MANY / 20, () => Buffer.concat([open(2, 'yard', 'other'), close(2)])),
  ),
  deluge(
    'a RESUME of thousands of channels counts for each of them',
    () => resume(...Array.from({ length: 3_000 }, (_, n) => opening(2 + n, { contract: '' }))),
    errors('UNKNOWN_CONTRACT', 3_000),
  ),
  {
    name: 'connections that are opened, greeted and dropped without end leave nothing',
    verdict: 'answers',
    counters: { firefly_accepted_total: 300, ...closes('PEER', 300) },
    run: async (stage) => {
      const one = async (): Promise<void> => {
        for (let n = 0; n < 30; n++) {
          const peer = await stage.dial()
          await peer.send(hello(), open(1))
          await peer.hears(2)
          peer.reset()
        }
      }
      await Promise.all(Array.from({ length: 10 }, one))
      assert.equal(await stage.figure('firefly_connections', (count) => count === 2), 2)
      assert.equal(await stage.figure('firefly_sessions', (count) => count === 1), 1)
    },
  },
  controls('a flood of WebSocket pings closes', message(undefined, { opcode: OPCODE.PING })),
  controls('a flood of WebSocket pongs closes', message(undefined, { opcode: OPCODE.PONG })),
  controls('a flood of empty WebSocket messages closes', message()),
]
