// Violations of a legacy client. Invariant: they affect no other client.

import assert from 'node:assert/strict'
import { bytesOfHex } from '../../../core/wire/bytes.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { MESSAGE } from '../../../core/wire/message.ts'
import { Ledger } from '../contracts.ts'
import { awaitOn, pollUntil, frame, uniqueName, waitForJsons, RawSession, waitForTexts, type Case } from './case.ts'

/** Frames that each count as a strike. */
const STRIKES: readonly (readonly [string, Uint8Array])[] = [
  ['unknown commands', frame(999_999, 'x')],
  ['bodies that are not JSON', frame(201, '{"n":')],
  ['bodies of a wrong type', frame(201, { n: 'much' })],
  ['bodies above the maximum of their command', frame(206, { text: 'x'.repeat(100) })],
  ['commands of a shard that is not public', frame(580, bytesOfHex('81a16e01'))],
  ['session messages before HELLO', frame(MESSAGE.CALL, new Uint8Array(24))],
  ['MessagePack bombs', frame(403, bytesOfHex('dd7fffffff'))],
  ['deep MessagePack', frame(403, new Uint8Array(60_000).fill(0x91))],
]

export const cases: readonly Case[] = [
  {
    name: 'a violation of a legacy client gets no reply, and the last allowed strike closes the connection',
    run: async (host) => {
      const { maxStrikes } = DEFAULT_LIMITS
      for (const [what, bad] of STRIKES) {
        const client = await host.rawClient()
        for (let i = 1; i < maxStrikes; i++) client.send(bad)
        client.send(frame(1, 'echo'))
        assert.deepEqual(await waitForTexts(host, client, 1), [[1, 'echo']], what)
        assert.equal(client.isClosed, false, what)
        client.send(bad)
        await host.waitUntil(() => client.isClosed, `${what}: closed`)
        assert.equal(client.frames.length, 1, what)
      }
    },
  },
  {
    name: 'violations of one client do not affect other clients',
    run: async (host) => {
      const key = uniqueName()
      const good = await host.sdkClient()
      const states: string[] = []
      good.on('state', (state) => states.push(state))
      await awaitOn(host, good.at(Ledger, key).watch())
      const legacy = await host.rawClient()
      for (const [, bad] of STRIKES) {
        const client = await host.rawClient()
        for (let i = 0; i < DEFAULT_LIMITS.maxStrikes; i++) client.send(bad)
        const session = await RawSession.connect(host)
        session.sendHello().openChannel(1, 'ledger', key).sendCall(1, 1, 411).sendHello()
        await host.waitUntil(() => client.isClosed && session.client.isClosed, 'both are closed')
        legacy.send(frame(202, { n: 1 }))
        await awaitOn(host, good.at(Ledger, key).add({ n: 1 }))
      }
      assert.deepEqual((await waitForJsons(host, legacy, STRIKES.length))[0], [202, { n: 1 }])
      const read = (): Promise<{ size: number }> => good.at(Ledger, key).read()
      await pollUntil(host, read, ({ size }) => size === 1, 'the closed clients left')
      assert.deepEqual([states, legacy.isClosed], [[], false])
    },
  },
]
