// What a legacy client may do wrong, and that it stays its own fault.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { MESSAGE } from '../../../core/wire/message.ts'
import { Ledger } from '../contracts.ts'
import { answer, eventually, frame, fresh, hex, jsons, Speaker, texts, type Case } from './probe.ts'

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
        const client = await host.raw()
        for (let i = 1; i < maxStrikes; i++) client.send(bad)
        client.send(frame(1, 'echo'))
        await host.until(() => client.frames.length === 1, `${what}: the echo`)
        assert.deepEqual(texts(client), [[1, 'echo']], what)
        assert.equal(client.closed, false, what)
        client.send(bad)
        await host.until(() => client.closed, `${what}: closed`)
        assert.equal(client.frames.length, 1, what)
      }
    },
  },
  {
    name: 'what one client does wrong is not felt by its neighbours',
    run: async (host) => {
      const key = fresh()
      const good = await host.client()
      const states: string[] = []
      good.on('state', (state) => states.push(state))
      await answer(host, good.at(Ledger, key).watch())
      const legacy = await host.raw()
      for (const [, bad] of STRIKES) {
        const client = await host.raw()
        for (let i = 0; i < DEFAULT_LIMITS.maxStrikes; i++) client.send(bad)
        const rude = new Speaker(await host.raw())
        rude.hello().open(1, 'ledger', key).call(1, 1, 411).hello()
        await host.until(() => client.closed && rude.client.closed, 'both are closed')
        legacy.send(frame(202, { n: 1 }))
        await answer(host, good.at(Ledger, key).add({ n: 1 }))
      }
      await host.until(() => legacy.frames.length === STRIKES.length, 'the legacy neighbour')
      assert.deepEqual(jsons(legacy)[0], [202, { n: 1 }])
      const ask = (): Promise<{ size: number }> => good.at(Ledger, key).read()
      await eventually(host, ask, ({ size }) => size === 1, 'the rude ones are gone')
      assert.deepEqual([states, legacy.closed], [[], false])
    },
  },
]
