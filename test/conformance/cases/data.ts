// The game's own data is not bounded like a body of a peer: what it declares is stored and sent whole, and what cannot be
// stored is refused with the reason.

import assert from 'node:assert/strict'
import { Archive, Lists } from '../datashards.ts'
import {
  awaitFailure,
  awaitOn,
  callWithRetry,
  END_NAMES,
  endActivation,
  uniqueName,
  type ActivationEnd,
  type Case,
} from './case.ts'

const ENDS: readonly ActivationEnd[] = ['evict', 'abort', 'kill']

const survivesEnd = ENDS.map((end): Case => ({
  name: `a snapshot with values of every kind and 5,000 numbers survives ${END_NAMES[end]}`,
  needs: [end],
  run: async (host) => {
    const key = uniqueName()
    const archive = (await host.sdkClient()).at(Archive, key)
    await awaitOn(host, archive.collect({ n: 5_000, bytes: 10 }))
    const before = await awaitOn(host, archive.describe())
    assert.match(before.text, /map=Map\("a":Map\(1:"b"\),null:Array\(undefined\)\) set=Set\("x",1n,0\)/)
    await host.sleep(400)
    await endActivation(host, end, 'archive', key)
    const after = await callWithRetry(host, () => archive.describe())
    assert.deepEqual(after, before)
    assert.equal(after.numbers, 5_000)
  },
}))

export const cases: readonly Case[] = [
  ...survivesEnd,
  {
    name: 'a snapshot above the row limit of a host is saved in parts; one above its own limit leaves the last one',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const archive = (await host.sdkClient()).at(Archive, key)
      await awaitOn(host, archive.collect({ n: 0, bytes: 5_000_000 }))
      await host.evictShard('archive', key)
      assert.equal((await awaitOn(host, archive.describe())).bytes, 5_000_000)
      await awaitOn(host, archive.collect({ n: 0, bytes: 9_000_000 }))
      await host.sleep(400)
      assert.equal((await awaitOn(host, archive.describe())).bytes, 9_000_000)
      await host.evictShard('archive', key)
      assert.equal((await awaitOn(host, archive.describe())).bytes, 5_000_000)
    },
  },
  {
    name: 'a state that no snapshot can hold fails the first turn of its activation',
    run: async (host) => {
      const client = await host.sdkClient()
      for (const how of ['class', 'function', 'cycle', 'sparse'] as const)
        assert.equal((await awaitFailure(host, client.at(Archive, uniqueName()).spoil({ how }))).code, 'INTERNAL')
      const later = client.at(Archive, uniqueName())
      await awaitOn(host, later.collect({ n: 1, bytes: 1 }))
      await awaitOn(host, later.spoil({ how: 'class' }))
      assert.equal((await awaitOn(host, later.describe())).numbers, 1)
    },
  },
  {
    name: 'a list of 20,000 numbers passes input, output, event, kv, row, timer, call, durable cast and its answer',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const lists = (await host.sdkClient()).at(Lists, key)
      const list = Array.from({ length: 20_000 }, (_, i) => i % 100)
      const events: number[][] = []
      lists.on('listed', (event) => events.push(event.list))
      assert.deepEqual(await awaitOn(host, lists.put({ list })), { list })
      await host.waitUntil(() => events.length === 1, 'the event')
      assert.deepEqual(events[0], list)
      const counts = { kv: 20_000, row: 20_000, timer: 20_000, castOutput: 20_000, castData: 20_000, called: 20_000 }
      for (let tries = 0; ; tries++) {
        const { received: _received, ...now } = await awaitOn(host, lists.counts())
        if (now.timer > 0 && now.castOutput > 0) {
          assert.deepEqual(now, counts)
          break
        }
        assert.ok(tries < 200, 'timer and cast have ended')
        await host.sleep(50)
      }
      await host.evictShard('lists', key)
      const { received: _received, ...stored } = await awaitOn(host, lists.counts())
      assert.deepEqual(stored, counts)
    },
  },
  {
    name: 'more data than a row of the store holds is refused in its turn, and the shard goes on',
    run: async (host) => {
      const lists = (await host.sdkClient()).at(Lists, uniqueName())
      const refusal = async (path: 'timer' | 'cast' | 'kv') => (await awaitOn(host, lists.tooMuch({ path }))).text
      assert.match(await refusal('timer'), /^timer keepText: 2500\d+ bytes of data exceed 1048576$/)
      assert.match(await refusal('cast'), /^a durable cast of 2500\d+ bytes with its data exceeds 1048576$/)
      assert.match(await refusal('kv'), /30000 items exceeds 20000|exceed/)
      assert.equal((await awaitFailure(host, lists.tooMuch({ path: 'reply' }))).code, 'INTERNAL')
      assert.equal((await awaitOn(host, lists.counts())).called, 0)
    },
  },
]
