// Attacks on a game whose clients encrypt bodies themselves: what cannot be opened was not made by a client of ours.

import assert from 'node:assert/strict'
import { KEYLESS, open as opened, seal } from './cipher.ts'
import { bodyOf, call, frame, hello, hex, open } from './frames.ts'
import type { Peer } from './peer.ts'
import { closes, type Attack } from './stage.ts'
import { message } from './websocket.ts'

const RAW = 1
const JSON_COMMAND = 2
const COUNT = 5
const JOIN = 9
const SHOUT = 10
const ENTER = 30
const WHISPER = 40
const HEARD = 50
const good = seal(bodyOf('a secret'))
const broken = (at: number): Uint8Array => good.map((byte, i) => (i === at ? byte ^ 1 : byte))
/** The mark alone, cut anywhere, and with one bit wrong in any byte behind the mark. */
const bad = [
  hex('c1'),
  ...Array.from({ length: good.length - 3 }, (_, n) => good.subarray(0, n + 2)),
  ...Array.from({ length: good.length - 1 }, (_, n) => broken(n + 1)),
]

export const sealed: readonly Attack[] = [
  {
    name: 'a sealed body that cannot be opened closes',
    verdict: 'ERROR BAD_MESSAGE, close',
    counters: closes('BAD_MESSAGE', 2 * bad.length),
    run: async (stage) => {
      for (const body of bad) {
        const [legacy, session] = [await stage.dial(), await stage.session()]
        await legacy.send(frame(RAW, good), frame(RAW, body), frame(RAW, good))
        await legacy.ends()
        assert.deepEqual(
          legacy.heard.map((one) => Buffer.from(opened(one.body)).toString()),
          ['a secret'],
        )
        await session.send(call(1, 1, RAW, good), call(1, 2, RAW, body), call(1, 3, RAW, good))
        await session.ends()
        assert.deepEqual(session.errors(), ['0/0 BAD_MESSAGE'])
        assert.deepEqual([...session.replies().keys()], [1])
      }
    },
  },
  {
    name: 'a sealed body that is refused inside is refused like any other',
    verdict: 'BAD_INPUT; legacy: silence and a strike',
    counters: { firefly_strikes_total: 1, 'firefly_errors_total{code="BAD_INPUT"}': 1 },
    run: async (stage) => {
      const [legacy, session] = [await stage.dial(), await stage.dial()]
      const inside = seal(bodyOf('{"n":'))
      await legacy.send(frame(JSON_COMMAND, inside), frame(RAW, good))
      await legacy.hears(1)
      await session.send(hello(), open(1), call(1, 1, JSON_COMMAND, inside), call(1, 2, RAW, good))
      await session.hears(4)
      assert.deepEqual(session.errors(), ['1/1 BAD_INPUT'])
    },
  },
  {
    name: 'a body that waits for a login and cannot be opened closes as well, and what came behind it is void',
    verdict: 'what came before it is answered, close BAD_MESSAGE',
    counters: closes('BAD_MESSAGE', bad.length),
    run: async (stage) => {
      for (const [n, body] of bad.entries()) {
        const peer = await stage.dial()
        const entering = frame(ENTER, { uid: `waits ${n}` })
        await peer.send(entering, frame(WHISPER, good), frame(WHISPER, body), frame(WHISPER, good))
        await peer.ends()
        assert.deepEqual(
          peer.heard.map(({ command }) => command),
          [ENTER, WHISPER],
        )
        assert.equal(Buffer.from(opened(peer.heard[1]!.body)).toString(), 'a secret')
      }
    },
  },
  {
    name: 'whoever an answer cannot be sealed for is closed, and nobody else',
    verdict: 'close UNAVAILABLE',
    counters: closes('UNAVAILABLE', 3),
    run: async (stage) => {
      const [legacy, session, web] = [await stage.dial(), await stage.session(), await stage.web()]
      await legacy.send(frame(RAW, KEYLESS))
      await session.send(call(1, 1, RAW, KEYLESS))
      await web.send(message(frame(RAW, KEYLESS)))
      await Promise.all([legacy.ends(), session.ends()])
      assert.equal((await web.ends()).code, 1013)
    },
  },
  {
    name: 'whoever an event cannot be sealed for is closed, and all others hear it',
    verdict: 'close UNAVAILABLE',
    counters: closes('UNAVAILABLE', 2),
    run: async (stage) => {
      const members = [await stage.dial(), await stage.session(), await stage.dial(), await stage.dial()]
      const [legacy, session, witness, shouter] = members as [Peer, Peer, Peer, Peer]
      for (const peer of [legacy, witness, shouter]) {
        await peer.send(frame(JOIN, {}))
        await peer.hears(1)
      }
      await session.send(call(1, 1, JOIN, {}))
      await session.hears(3)
      const counted = await stage.neighbours.tally()
      // Nothing is to be answered.
      await legacy.send(frame(COUNT, KEYLESS))
      await session.send(call(1, 2, COUNT, KEYLESS))
      while ((await stage.neighbours.tally()) < counted + 2);
      await shouter.send(frame(SHOUT, { bytes: 3 }))
      await Promise.all([legacy.ends(), session.ends(), witness.hears(2), shouter.hears(3)])
      assert.deepEqual(witness.texts().at(-1), [HEARD, '{"text":"xxx"}'])
      assert.deepEqual(
        shouter.texts().map(([command]) => command),
        [JOIN, HEARD, SHOUT],
      )
      for (const { heard } of [legacy, session]) assert.ok(heard.every(({ command }) => command !== HEARD))
    },
  },
]
