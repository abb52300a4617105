// Attacks inside a body: values that codec and schema must refuse, and those that look dangerous and are carried. Each
// is said by a legacy client and by a version 2 session, on the same shard that the players beside it use.

import assert from 'node:assert/strict'
import { json, msgpack } from '../../../core/wire/codec.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { bodyOf, callFrame, frame, helloFrame, openFrame, type Body } from './frames.ts'
import { closeCounter, errorCounter, type Attack } from './harness.ts'

const RAW = 1
/** A legacy client is closed by so many strikes. */
const BODIES_PER_CONNECTION = DEFAULT_LIMITS.maxStrikes - 1

export const COMMAND = { JSON: 2, PACK: 3, LATER: 8 } as const

/** Bodies that are refused: silence and a strike for a legacy client, BAD_INPUT for a session, which goes on. */
export function refusedBodies(name: string, command: number, bodies: readonly Body[]): Attack {
  return {
    name,
    verdict: 'BAD_INPUT; legacy: silence and a strike',
    counters: {
      firefly_bad_inputs_total: 2 * bodies.length,
      firefly_strikes_total: bodies.length,
      ...errorCounter('BAD_INPUT', bodies.length),
    },
    run: async (stage) => {
      for (let from = 0; from < bodies.length; from += BODIES_PER_CONNECTION) {
        const legacy = await stage.dialTcp()
        await legacy.send(...bodies.slice(from, from + BODIES_PER_CONNECTION).map((body) => frame(command, body)))
        await legacy.send(frame(RAW, 'still there'))
        await legacy.waitForFrames(1)
        assert.deepEqual(legacy.frameTexts(), [[RAW, 'still there']])
      }
      const session = await stage.dialTcp()
      await session.send(helloFrame(), openFrame(1), ...bodies.map((body, i) => callFrame(1, i + 1, command, body)))
      await session.send(callFrame(1, bodies.length + 1, RAW, 'still there'))
      await session.waitForFrames(2 + bodies.length + 1)
      assert.deepEqual(
        session.errors(),
        bodies.map((_, i) => `1/${i + 1} BAD_INPUT`),
      )
      assert.equal(
        session
          .replies()
          .get(bodies.length + 1)!
          .toString(),
        'still there',
      )
      await stage.controls.readGameCount()
    },
  }
}

/** Bodies that are answered, each by this value. */
export function answeredBodies(
  name: string,
  command: number,
  verdict: string,
  pairs: readonly (readonly [body: Body, answer: unknown])[],
): Attack {
  const { decode } = command === COMMAND.JSON ? json : msgpack
  return {
    name,
    verdict,
    counters: { firefly_turns_total: 2 * pairs.length },
    run: async (stage) => {
      const legacy = await stage.dialTcp()
      await legacy.send(...pairs.map(([body]) => frame(command, body)))
      await legacy.waitForFrames(pairs.length)
      const session = await stage.dialTcp()
      await session.send(helloFrame(), openFrame(1), ...pairs.map(([body], i) => callFrame(1, i + 1, command, body)))
      await session.waitForFrames(2 + pairs.length)
      assert.deepEqual(session.errors(), [])
      for (const [i, [body, answer]] of pairs.entries()) {
        const what = Buffer.from(bodyOf(body)).toString('latin1').slice(0, 80)
        assertEqualData(decode(legacy.frames[i]!.body), answer, what)
        assertEqualData(decode(session.replies().get(i + 1)!), answer, what)
      }
      await stage.controls.readGameCount()
    },
  }
}

/** Of own keys alone, whatever they are called. */
function assertEqualData(got: unknown, wanted: unknown, what: string): void {
  assert.deepEqual(ownEntries(got), ownEntries(wanted), what)
}

function ownEntries(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Date || Array.isArray(value)) return value
  return Object.entries(value).map(([key, part]) => [key, ownEntries(part)])
}

/** Ten of the same end a legacy client. */
export function closedByStrikes(name: string, bytes: readonly Uint8Array[]): Attack {
  return {
    name,
    verdict: 'silence and a strike, the 10th closes: STRIKES',
    counters: {
      ...closeCounter('STRIKES', bytes.length),
      firefly_strikes_total: DEFAULT_LIMITS.maxStrikes * bytes.length,
    },
    run: async (stage) => {
      for (const one of bytes) {
        const peer = await stage.dialTcp()
        await peer.send(...Array.from({ length: DEFAULT_LIMITS.maxStrikes }, () => one), frame(RAW, 'behind'))
        await peer.waitForClose()
        assert.equal(peer.receivedBytes, 0)
      }
    },
  }
}
