// Calls and casts between shards. Invariant: a call never hangs: it has a deadline, and a cycle of calls is rejected.

import assert from 'node:assert/strict'
import type { Remote } from '../../../client/index.ts'
import { Crew, Gate, Hop } from '../contracts.ts'
import type { Host } from '../host.ts'
import {
  assertConsecutive,
  awaitOn,
  awaitAllOn,
  pollUntil,
  awaitFailure,
  uniqueName,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

/** Waits until a hop has so many notes. */
export async function waitForNotes(host: Host, hop: Remote<(typeof Hop)['entries']>, count: number): Promise<string[]> {
  const hasNotes = ({ notes }: { notes: string[] }): boolean => notes.length >= count
  return (await pollUntil(host, () => hop.notes(), hasNotes, `${count} casts`)).notes
}

export const cases: readonly Case[] = [
  {
    name: 'a call to a shard that is not public is answered',
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      assert.deepEqual(await awaitOn(host, hop.takeFromVault({ n: 30 })), { left: 70, error: '' })
      assert.deepEqual(await awaitOn(host, hop.takeFromVault({ n: 30 })), { left: 40, error: '' })
    },
  },
  {
    name: 'a refusal of the called shard reaches the caller with its code',
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      assert.deepEqual(await awaitOn(host, hop.takeFromVault({ n: 1_000 })), {
        left: 0,
        error: 'EMPTY EMPTY',
      })
      assert.deepEqual(await awaitOn(host, hop.takeFromVault({ n: 100 })), { left: 0, error: '' })
    },
  },
  {
    name: 'a bug in the called shard is INTERNAL for the caller',
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      assert.match((await awaitOn(host, hop.callThrowError({ to: uniqueName() }))).error, /^INTERNAL /)
    },
  },
  {
    name: 'a call passes through a chain of four shards and back',
    run: async (host) => {
      const path = [uniqueName('a'), uniqueName('b'), uniqueName('c'), uniqueName('d')]
      const hop = (await host.sdkClient()).at(Hop, path[0])
      assert.deepEqual(await awaitOn(host, hop.relay({ path: path.slice(1) })), { trail: path, error: '' })
    },
  },
  {
    name: 'a cycle of calls is rejected at once, and its message names the shards in order',
    run: async (host) => {
      const [a, b, c] = [uniqueName('a'), uniqueName('b'), uniqueName('c')]
      const client = await host.sdkClient()
      const two = await awaitOn(host, client.at(Hop, a).relay({ path: [b, a] }))
      assert.deepEqual(two.trail, [a, b])
      assert.match(two.error, /^CYCLE /)
      assert.ok(two.error.includes(`hop/${a} > hop/${b} > hop/${a}`), two.error)
      const three = await awaitOn(host, client.at(Hop, a).relay({ path: [b, c, b] }))
      assert.deepEqual(three.trail, [a, b, c])
      assert.ok(three.error.includes('CYCLE'), three.error)
      assert.deepEqual(await awaitOn(host, client.at(Hop, a).count()), { n: 1 })
    },
  },
  {
    name: 'a call of a shard to itself is rejected at once',
    run: async (host) => {
      const key = uniqueName()
      const { error } = await awaitOn(host, (await host.sdkClient()).at(Hop, key).relay({ path: [key] }))
      assert.match(error, /^CYCLE /)
      assert.ok(error.includes(`hop/${key} > hop/${key}`), error)
    },
  },
  {
    name: 'a shard can call another shard repeatedly',
    run: async (host) => {
      const [a, b] = [uniqueName('a'), uniqueName('b')]
      const hop = (await host.sdkClient()).at(Hop, a)
      assert.deepEqual(await awaitOn(host, hop.callCount({ to: b })), { n: 1, error: '' })
      assert.deepEqual(await awaitOn(host, hop.callCount({ to: b })), { n: 2, error: '' })
    },
  },
  {
    name: 'a call without a reply fails with DEADLINE',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.sdkClient()
      const { error } = await awaitOn(host, client.at(Hop, uniqueName()).waitAtGate({ gate }))
      assert.match(error, /^DEADLINE /)
      await awaitOn(host, client.at(Gate).open({ name: gate }))
    },
  },
  {
    name: 'two shards that wait for each other continue after the deadline',
    run: async (host) => {
      const [a, b, gate] = [uniqueName('a'), uniqueName('b'), uniqueName('gate')]
      const client = await host.sdkClient()
      const both = [client.at(Hop, a).callAfterGate({ gate, to: b }), client.at(Hop, b).callAfterGate({ gate, to: a })]
      await waitForTurnsAtGate(host, client.at(Gate), gate, 2)
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      const ends = await awaitAllOn(host, both)
      assert.ok(
        ends.some(({ error }) => error.startsWith('DEADLINE ')),
        JSON.stringify(ends),
      )
      await awaitAllOn(host, [client.at(Hop, a).count(), client.at(Hop, b).count()])
    },
  },
  {
    name: 'a call whose deadline passed in the mailbox does not run',
    run: async (host) => {
      const [a, b, gate] = [uniqueName('a'), uniqueName('b'), uniqueName('gate')]
      const client = await host.sdkClient()
      assert.deepEqual(await awaitOn(host, client.at(Hop, a).callCount({ to: b })), { n: 1, error: '' })
      // Two, because the first one's own call to the gate reaches its deadline before the call of shard a does.
      const turns = [client.at(Hop, b).holdAtGate({ gate }), client.at(Hop, b).holdAtGate({ gate })]
      const ends = Promise.allSettled(turns)
      await waitForTurnsAtGate(host, client.at(Gate), gate, 1)
      const { error } = await awaitOn(host, client.at(Hop, a).callCount({ to: b }))
      assert.match(error, /^DEADLINE /)
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      await awaitOn(host, ends)
      assert.deepEqual(await awaitOn(host, client.at(Hop, b).count()), { n: 2 })
    },
  },
  {
    name: 'a cast of a shard to itself runs after the turn that sent it',
    run: async (host) => {
      const key = uniqueName()
      const hop = (await host.sdkClient()).at(Hop, key)
      await awaitOn(host, hop.castNotes({ to: key, texts: ['one', 'two'] }))
      assert.deepEqual(await waitForNotes(host, hop, 2), ['one', 'two'])
    },
  },
  {
    name: 'a cast is not sent when its turn throws',
    run: async (host) => {
      const [a, b] = [uniqueName('a'), uniqueName('b')]
      const client = await host.sdkClient()
      const { code } = await awaitFailure(host, client.at(Hop, a).castThenThrow({ to: b, text: 'no' }))
      assert.equal(code, 'INTERNAL')
      await awaitOn(host, client.at(Hop, a).castNotes({ to: b, texts: ['yes'] }))
      assert.deepEqual(await waitForNotes(host, client.at(Hop, b), 1), ['yes'])
    },
  },
  {
    name: 'calls of many shards to one shard all get replies, one turn at a time',
    run: async (host) => {
      const to = uniqueName('to')
      const client = await host.sdkClient()
      const calls = Array.from({ length: 20 }, () => client.at(Hop, uniqueName()).callCount({ to }))
      const counts = (await awaitAllOn(host, calls)).map(({ n }) => n)
      assertConsecutive(counts.sort((a, b) => a - b))
    },
  },
  {
    name: 'a service runs as many concurrent turns as it declares, and the others after them',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.sdkClient()
      const works = Array.from({ length: 5 }, () => client.at(Crew).work({ gate }))
      await waitForTurnsAtGate(host, client.at(Gate), gate, 3)
      await host.sleep(50)
      await waitForTurnsAtGate(host, client.at(Gate), gate, 3)
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      assert.equal((await awaitAllOn(host, works)).length, 5)
    },
  },
  {
    name: 'a service replies to a call while another call of the same session waits',
    run: async (host) => {
      const gate = uniqueName('gate')
      const service = (await host.sdkClient()).at(Gate)
      const pending = service.wait({ name: gate })
      assert.deepEqual(await awaitOn(host, service.ping({ n: 7 })), { n: 7 })
      await awaitOn(host, service.open({ name: gate }))
      await awaitOn(host, pending)
    },
  },
]
