// What a legacy client may do wrong, and that it stays its own fault.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { MESSAGE } from '../../../core/wire/message.ts'
import { Ledger } from '../contracts.ts'
import { awaitOn, pollUntil, frame, uniqueName, hex, jsons, RawSession, texts, type Case } from './case.ts'

/** More strikes than a legacy client may have, and what they are made of. */
const STRIKES: readonly (readonly [string, Uint8Array])[] = [
  ['unknown commands', frame(999_999, 'x')],
  ['bodies that are no JSON', frame(201, '{"n":')],
  ['bodies of a wrong type', frame(201, { n: 'much' })],
  ['bodies over the maximum of their command', frame(206, { text: 'x'.repeat(100) })],
  ['commands of a shard that is not public', frame(580, hex('81a16e01'))],
  ['session messages before HELLO', frame(MESSAGE.CALL, new Uint8Array(24))],
  ['MessagePack bombs', frame(403, hex('dd7fffffff'))],
  ['deep MessagePack', frame(403, new Uint8Array(60_000).fill(0x91))],
]

export const cases: readonly Case[] = [
  {
    name: 'a legacy client is met with silence, and closed after so many strikes',
    run: async (host) => {
      const { maxStrikes } = DEFAULT_LIMITS
      for (const [what, bad] of STRIKES) {
        const client = await host.rawClient()
        for (let i = 1; i < maxStrikes; i++) client.send(bad)
        client.send(frame(1, 'echo'))
        await host.waitUntil(() => client.frames.length === 1, `${what}: the echo`)
        assert.deepEqual(texts(client), [[1, 'echo']], what)
        assert.equal(client.isClosed, false, what)
        client.send(bad)
        await host.waitUntil(() => client.isClosed, `${what}: closed`)
        assert.equal(client.frames.length, 1, what)
      }
    },
  },
  {
    name: 'what one client does wrong is not felt by its neighbours',
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
        const rude = new RawSession(await host.rawClient())
        rude.sendHello().openChannel(1, 'ledger', key).sendCall(1, 1, 411).sendHello()
        await host.waitUntil(() => client.isClosed && rude.client.isClosed, 'both are closed')
        legacy.send(frame(202, { n: 1 }))
        await awaitOn(host, good.at(Ledger, key).add({ n: 1 }))
      }
      await host.waitUntil(() => legacy.frames.length === STRIKES.length, 'the legacy neighbour')
      assert.deepEqual(jsons(legacy)[0], [202, { n: 1 }])
      const ask = (): Promise<{ size: number }> => good.at(Ledger, key).read()
      await pollUntil(host, ask, ({ size }) => size === 1, 'the rude ones are gone')
      assert.deepEqual([states, legacy.isClosed], [[], false])
    },
  },
]
