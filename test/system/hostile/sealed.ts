// Attacks on a game whose clients encrypt bodies themselves: what cannot be opened was not made by a client of ours.

import assert from 'node:assert/strict'
import { open as opened, seal } from './cipher.ts'
import { bodyOf, call, frame, hello, hex, open } from './frames.ts'
import { closes, type Attack } from './stage.ts'

const RAW = 1
const JSON_COMMAND = 2
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
]
