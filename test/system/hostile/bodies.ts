// Attacks inside a body: values that codec or schema must reject, and unusual values that are valid. A legacy client and
// a version 2 session send each of them to the shard that the control players use.

import assert from 'node:assert/strict'
import { json, msgpack } from '../../../core/wire/codec.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { closeCounter, errorCounter, type Attack } from './attack.ts'
import { bodyOf, callFrame, frame, helloAndOpen, type Body } from './frames.ts'
import { COMMAND } from './game.ts'

const { RAW } = COMMAND
const { maxStrikes } = DEFAULT_LIMITS
/** One strike less closes no legacy client. */
const BODIES_PER_CONNECTION = maxStrikes - 1
/** Properties that every object inherits, or that JavaScript reads by itself. */
export const INHERITED = ['constructor', 'then', 'toString', 'hasOwnProperty', 'prototype', 'length']

/** A legacy client receives nothing and gets a strike; a session receives BAD_INPUT and continues. */
export function rejectedBodies(name: string, command: number, bodies: readonly Body[]): Attack {
  return {
    name,
    receives: 'BAD_INPUT; legacy: no answer, a strike',
    counters: {
      firefly_bad_inputs_total: 2 * bodies.length,
      firefly_strikes_total: bodies.length,
      ...errorCounter('BAD_INPUT', bodies.length),
    },
    run: async (harness) => {
      for (let start = 0; start < bodies.length; start += BODIES_PER_CONNECTION) {
        const legacy = await harness.dialTcp()
        const part = bodies.slice(start, start + BODIES_PER_CONNECTION)
        await legacy.send(...part.map((body) => frame(command, body)))
        await legacy.send(frame(RAW, 'alive'))
        await legacy.waitForFrames(1)
        assert.deepEqual(legacy.frameTexts(), [[RAW, 'alive']])
      }
      const session = await harness.dialTcp()
      await session.send(helloAndOpen, ...bodies.map((body, i) => callFrame(1, i + 1, command, body)))
      await session.send(callFrame(1, bodies.length + 1, RAW, 'alive'))
      await session.waitForFrames(2 + bodies.length + 1)
      assert.deepEqual(
        session.errors(),
        bodies.map((_, i) => `1/${i + 1} BAD_INPUT`),
      )
      assert.equal(session.replyText(bodies.length + 1), 'alive')
      await harness.controls.readGameCount()
    },
  }
}

/** Each body is answered with its value. */
export function acceptedBodies(
  name: string,
  command: number,
  receives: string,
  pairs: readonly (readonly [body: Body, value: unknown])[],
): Attack {
  const { decode } = command === COMMAND.JSON ? json : msgpack
  return {
    name,
    receives,
    counters: { firefly_turns_total: 2 * pairs.length },
    run: async (harness) => {
      const legacy = await harness.dialTcp()
      await legacy.send(...pairs.map(([body]) => frame(command, body)))
      await legacy.waitForFrames(pairs.length)
      const session = await harness.dialTcp()
      await session.send(helloAndOpen, ...pairs.map(([body], i) => callFrame(1, i + 1, command, body)))
      await session.waitForFrames(2 + pairs.length)
      assert.deepEqual(session.errors(), [])
      for (const [i, [body, value]] of pairs.entries()) {
        const description = Buffer.from(bodyOf(body)).toString('latin1').slice(0, 80)
        for (const reply of [legacy.frames[i]!.body, session.replies().get(i + 1)!])
          assert.deepEqual(ownEntries(decode(reply)), ownEntries(value), description)
      }
      await harness.controls.readGameCount()
    },
  }
}

/** Compares own keys only, whatever their names are. */
function ownEntries(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Date || Array.isArray(value)) return value
  return Object.entries(value).map(([key, part]) => [key, ownEntries(part)])
}

/** Each frame, sent 10 times, closes a legacy client. */
export function closedByStrikes(name: string, frames: readonly Uint8Array[]): Attack {
  return {
    name,
    receives: 'no answer, a strike; the 10th: close STRIKES',
    counters: { ...closeCounter('STRIKES', frames.length), firefly_strikes_total: maxStrikes * frames.length },
    run: async (harness) => {
      for (const bytes of frames) {
        const repeated = new Array<Uint8Array>(maxStrikes).fill(bytes)
        const peer = await harness.sendUntilClosed(...repeated, frame(RAW, 'after it'))
        assert.equal(peer.receivedBytes, 0)
      }
    },
  }
}
