// Attacks on a game whose clients encrypt bodies themselves: what cannot be opened was not made by a client of ours.

import assert from 'node:assert/strict'
import { KEYLESS, openBody as opened, sealBody } from './cipher.ts'
import { bodyOf, callFrame, frame, helloFrame, hex, openFrame } from './frames.ts'
import type { RawPeer } from './peer.ts'
import { closeCounter, type Attack } from './harness.ts'
import { clientMessage } from './websocket.ts'

const RAW = 1
const JSON_COMMAND = 2
const COUNT = 5
const JOIN = 9
const SHOUT = 10
const ENTER = 30
const WHISPER = 40
const HEARD = 50
const sealedBody = sealBody(bodyOf('a secret'))
const withBrokenByte = (at: number): Uint8Array => sealedBody.map((byte, i) => (i === at ? byte ^ 1 : byte))
/** The mark alone, cut anywhere, and with one bit wrong in any byte behind the mark. */
const unopenableBodies = [
  hex('c1'),
  ...Array.from({ length: sealedBody.length - 3 }, (_, n) => sealedBody.subarray(0, n + 2)),
  ...Array.from({ length: sealedBody.length - 1 }, (_, n) => withBrokenByte(n + 1)),
]

export const sealed: readonly Attack[] = [
  {
    name: 'a sealed body that cannot be opened closes',
    verdict: 'ERROR BAD_MESSAGE, close',
    counters: closeCounter('BAD_MESSAGE', 2 * unopenableBodies.length),
    run: async (stage) => {
      for (const body of unopenableBodies) {
        const [legacy, session] = [await stage.dialTcp(), await stage.openSession()]
        await legacy.send(frame(RAW, sealedBody), frame(RAW, body), frame(RAW, sealedBody))
        await legacy.waitForClose()
        assert.deepEqual(
          legacy.frames.map((one) => Buffer.from(opened(one.body)).toString()),
          ['a secret'],
        )
        await session.send(
          callFrame(1, 1, RAW, sealedBody),
          callFrame(1, 2, RAW, body),
          callFrame(1, 3, RAW, sealedBody),
        )
        await session.waitForClose()
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
      const [legacy, session] = [await stage.dialTcp(), await stage.dialTcp()]
      const inside = sealBody(bodyOf('{"n":'))
      await legacy.send(frame(JSON_COMMAND, inside), frame(RAW, sealedBody))
      await legacy.waitForFrames(1)
      await session.send(
        helloFrame(),
        openFrame(1),
        callFrame(1, 1, JSON_COMMAND, inside),
        callFrame(1, 2, RAW, sealedBody),
      )
      await session.waitForFrames(4)
      assert.deepEqual(session.errors(), ['1/1 BAD_INPUT'])
    },
  },
  {
    name: 'a body that waits for a login and cannot be opened closes as well, and what came behind it is void',
    verdict: 'what came before it is answered, close BAD_MESSAGE',
    counters: closeCounter('BAD_MESSAGE', unopenableBodies.length),
    run: async (stage) => {
      for (const [n, body] of unopenableBodies.entries()) {
        const peer = await stage.dialTcp()
        const entering = frame(ENTER, { uid: `waits ${n}` })
        await peer.send(entering, frame(WHISPER, sealedBody), frame(WHISPER, body), frame(WHISPER, sealedBody))
        await peer.waitForClose()
        assert.deepEqual(
          peer.frames.map(({ command }) => command),
          [ENTER, WHISPER],
        )
        assert.equal(Buffer.from(opened(peer.frames[1]!.body)).toString(), 'a secret')
      }
    },
  },
  {
    name: 'whoever an answer cannot be sealed for is closed, and nobody else',
    verdict: 'close UNAVAILABLE',
    counters: closeCounter('UNAVAILABLE', 3),
    run: async (stage) => {
      const [legacy, session, web] = [await stage.dialTcp(), await stage.openSession(), await stage.dialWebSocket()]
      await legacy.send(frame(RAW, KEYLESS))
      await session.send(callFrame(1, 1, RAW, KEYLESS))
      await web.send(clientMessage(frame(RAW, KEYLESS)))
      await Promise.all([legacy.waitForClose(), session.waitForClose()])
      assert.equal((await web.waitForCloseFrame()).code, 1013)
    },
  },
  {
    name: 'whoever an event cannot be sealed for is closed, and all others hear it',
    verdict: 'close UNAVAILABLE',
    counters: closeCounter('UNAVAILABLE', 2),
    run: async (stage) => {
      const members = [await stage.dialTcp(), await stage.openSession(), await stage.dialTcp(), await stage.dialTcp()]
      const [legacy, session, witness, shouter] = members as [RawPeer, RawPeer, RawPeer, RawPeer]
      for (const peer of [legacy, witness, shouter]) {
        await peer.send(frame(JOIN, {}))
        await peer.waitForFrames(1)
      }
      await session.send(callFrame(1, 1, JOIN, {}))
      await session.waitForFrames(3)
      const counted = await stage.controls.readGameCount()
      // Nothing is to be answered.
      await legacy.send(frame(COUNT, KEYLESS))
      await session.send(callFrame(1, 2, COUNT, KEYLESS))
      while ((await stage.controls.readGameCount()) < counted + 2);
      await shouter.send(frame(SHOUT, { bytes: 3 }))
      await Promise.all([
        legacy.waitForClose(),
        session.waitForClose(),
        witness.waitForFrames(2),
        shouter.waitForFrames(3),
      ])
      assert.deepEqual(witness.frameTexts().at(-1), [HEARD, '{"text":"xxx"}'])
      assert.deepEqual(
        shouter.frameTexts().map(([command]) => command),
        [JOIN, HEARD, SHOUT],
      )
      for (const { frames: heard } of [legacy, session]) assert.ok(heard.every(({ command }) => command !== HEARD))
    },
  },
]
