// Attacks on a game whose clients encrypt bodies themselves.

import assert from 'node:assert/strict'
import { closeCounter, type Attack } from './attack.ts'
import { DROP_KEY, openBody, sealBody } from './cipher.ts'
import { bodyOf, callFrame, frame, helloAndOpen, hex } from './frames.ts'
import { COMMAND, EVENT } from './game.ts'
import { clientMessage } from './websocket.ts'

const { COUNT, JOIN, LOGIN, PLAYER_RAW, RAW, SHOUT } = COMMAND
const { SHOUTED } = EVENT
const sealedBody = sealBody(bodyOf('a secret'))
const withWrongBit = (at: number): Uint8Array => sealedBody.map((byte, i) => (i === at ? byte ^ 1 : byte))
/** The prefix alone, each truncation, and a wrong bit in each byte after the prefix. */
const damagedBodies = [
  hex('c1'),
  ...Array.from({ length: sealedBody.length - 3 }, (_, n) => sealedBody.subarray(0, n + 2)),
  ...Array.from({ length: sealedBody.length - 1 }, (_, n) => withWrongBit(n + 1)),
]

export const sealed: readonly Attack[] = [
  {
    name: 'closes on an encrypted body that cannot be decrypted',
    receives: 'ERROR BAD_MESSAGE, close',
    counters: closeCounter('BAD_MESSAGE', 2 * damagedBodies.length),
    run: async (harness) => {
      for (const body of damagedBodies) {
        const [legacy, session] = [await harness.dialTcp(), await harness.openSession()]
        await legacy.send(frame(RAW, sealedBody), frame(RAW, body), frame(RAW, sealedBody))
        await legacy.waitForClose()
        const replies = legacy.frames.map(({ body: reply }) => Buffer.from(openBody(reply)).toString())
        assert.deepEqual(replies, ['a secret'])
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
    name: 'rejects invalid input inside an encrypted body like any other',
    receives: 'BAD_INPUT; legacy: no answer, a strike',
    counters: { firefly_strikes_total: 1, 'firefly_errors_total{code="BAD_INPUT"}': 1 },
    run: async (harness) => {
      const [legacy, session] = [await harness.dialTcp(), await harness.dialTcp()]
      const malformed = sealBody(bodyOf('{"n":'))
      await legacy.send(frame(COMMAND.JSON, malformed), frame(RAW, sealedBody))
      await legacy.waitForFrames(1)
      await session.send(helloAndOpen, callFrame(1, 1, COMMAND.JSON, malformed), callFrame(1, 2, RAW, sealedBody))
      await session.waitForFrames(4)
      assert.deepEqual(session.errors(), ['1/1 BAD_INPUT'])
    },
  },
  {
    name: 'closes on a queued body that cannot be decrypted, and drops the bodies after it',
    receives: 'answers to earlier bodies, then close BAD_MESSAGE',
    counters: closeCounter('BAD_MESSAGE', damagedBodies.length),
    run: async (harness) => {
      for (const [n, body] of damagedBodies.entries()) {
        const peer = await harness.sendUntilClosed(
          frame(LOGIN, { uid: `player ${n}` }),
          frame(PLAYER_RAW, sealedBody),
          frame(PLAYER_RAW, body),
          frame(PLAYER_RAW, sealedBody),
        )
        assert.deepEqual(peer.frameCommands(), [LOGIN, PLAYER_RAW])
        assert.equal(Buffer.from(openBody(peer.frames[1]!.body)).toString(), 'a secret')
      }
    },
  },
  {
    name: 'closes only the connection whose reply cannot be encrypted',
    receives: 'close UNAVAILABLE',
    counters: closeCounter('UNAVAILABLE', 3),
    run: async (harness) => {
      const [legacy, session, web] = [
        await harness.dialTcp(),
        await harness.openSession(),
        await harness.dialWebSocket(),
      ]
      await legacy.send(frame(RAW, DROP_KEY))
      await session.send(callFrame(1, 1, RAW, DROP_KEY))
      await web.send(clientMessage(frame(RAW, DROP_KEY)))
      await Promise.all([legacy.waitForClose(), session.waitForClose(), web.assertClosed(1013)])
    },
  },
  {
    name: 'closes only the connections whose event cannot be encrypted, and delivers it to the others',
    receives: 'close UNAVAILABLE',
    counters: closeCounter('UNAVAILABLE', 2),
    run: async (harness) => {
      const [legacy, session] = [await harness.dialTcp(), await harness.openSession()]
      const [listener, shouter] = [await harness.dialTcp(), await harness.dialTcp()]
      for (const peer of [legacy, listener, shouter]) {
        await peer.send(frame(JOIN, {}))
        await peer.waitForFrames(1)
      }
      await session.send(callFrame(1, 1, JOIN, {}))
      await session.waitForFrames(3)
      const countBefore = await harness.controls.readGameCount()
      // COUNT has no reply, so the key is missing first for the event.
      await legacy.send(frame(COUNT, DROP_KEY))
      await session.send(callFrame(1, 2, COUNT, DROP_KEY))
      while ((await harness.controls.readGameCount()) < countBefore + 2);
      await shouter.send(frame(SHOUT, { bytes: 3 }))
      await Promise.all([
        legacy.waitForClose(),
        session.waitForClose(),
        listener.waitForFrames(2),
        shouter.waitForFrames(3),
      ])
      assert.deepEqual(listener.frameTexts().at(-1), [SHOUTED, '{"text":"xxx"}'])
      assert.deepEqual(shouter.frameCommands(), [JOIN, SHOUTED, SHOUT])
      for (const peer of [legacy, session]) assert.ok(!peer.frameCommands().includes(SHOUTED))
    },
  },
]
