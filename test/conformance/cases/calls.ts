// Shards that call and cast each other. A call never hangs: it has a deadline, and a circle is refused.

import assert from 'node:assert/strict'
import { Crew, Gate, Hop } from '../contracts.ts'
import { awaitOn, awaitAllOn, pollUntil, awaitFailure, uniqueName, waitForTurnsAtGate, type Case } from './case.ts'

export const cases: readonly Case[] = [
  {
    name: 'a call to a shard that is not public is answered',
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      assert.deepEqual(await awaitOn(host, hop.vault({ n: 30 })), { left: 70, error: '' })
      assert.deepEqual(await awaitOn(host, hop.vault({ n: 30 })), { left: 40, error: '' })
    },
  },
  {
    name: 'the refusal of a called shard reaches the caller with its code',
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      assert.deepEqual(await awaitOn(host, hop.vault({ n: 1_000 })), { left: 0, error: 'EMPTY EMPTY' })
      assert.deepEqual(await awaitOn(host, hop.vault({ n: 100 })), { left: 0, error: '' })
    },
  },
  {
    name: 'a bug of the called shard is INTERNAL to the caller',
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      assert.match((await awaitOn(host, hop.callBoom({ to: uniqueName() }))).error, /^INTERNAL /)
    },
  },
  {
    name: 'a call goes through a chain of four shards and back',
    run: async (host) => {
      const path = [uniqueName('a'), uniqueName('b'), uniqueName('c'), uniqueName('d')]
      const hop = (await host.sdkClient()).at(Hop, path[0])
      assert.deepEqual(await awaitOn(host, hop.relay({ path: path.slice(1) })), { trail: path, error: '' })
    },
  },
  {
    name: 'a circle of calls is refused at once, and its message names the shards in order',
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
    name: 'a shard that calls itself is refused at once',
    run: async (host) => {
      const key = uniqueName()
      const { error } = await awaitOn(host, (await host.sdkClient()).at(Hop, key).relay({ path: [key] }))
      assert.match(error, /^CYCLE /)
      assert.ok(error.includes(`hop/${key} > hop/${key}`), error)
    },
  },
  {
    name: 'a shard may be called twice by one turn, one call after the other',
    run: async (host) => {
      const [a, b] = [uniqueName('a'), uniqueName('b')]
      const hop = (await host.sdkClient()).at(Hop, a)
      assert.deepEqual(await awaitOn(host, hop.callCount({ to: b })), { n: 1, error: '' })
      assert.deepEqual(await awaitOn(host, hop.callCount({ to: b })), { n: 2, error: '' })
    },
  },
  {
    name: 'a call that is never answered ends with DEADLINE',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.sdkClient()
      const { error } = await awaitOn(host, client.at(Hop, uniqueName()).wait({ gate }))
      assert.match(error, /^DEADLINE /)
      await awaitOn(host, client.at(Gate).open({ name: gate }))
    },
  },
  {
    name: 'two shards that wait for each other are both free again at the deadline',
    run: async (host) => {
      const [a, b, gate] = [uniqueName('a'), uniqueName('b'), uniqueName('gate')]
      const client = await host.sdkClient()
      const both = [client.at(Hop, a).crossing({ gate, to: b }), client.at(Hop, b).crossing({ gate, to: a })]
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
    name: 'a call whose deadline has passed in the mailbox is not run',
    run: async (host) => {
      const [a, b, gate] = [uniqueName('a'), uniqueName('b'), uniqueName('gate')]
      const client = await host.sdkClient()
      const late = client.at(Hop, a).callCount({ to: b })
      const first = await awaitOn(host, late)
      assert.deepEqual(first, { n: 1, error: '' })
      // Two holds, because the first one's own call to the gate ends before that of the late caller.
      const held = [client.at(Hop, b).hold({ gate }), client.at(Hop, b).hold({ gate })]
      const ends = Promise.allSettled(held)
      await waitForTurnsAtGate(host, client.at(Gate), gate, 1)
      const { error } = await awaitOn(host, client.at(Hop, a).callCount({ to: b }))
      assert.match(error, /^DEADLINE /)
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      await awaitOn(host, ends)
      assert.deepEqual(await awaitOn(host, client.at(Hop, b).count()), { n: 2 })
    },
  },
  {
    name: 'a cast to oneself runs after the turn that sent it',
    run: async (host) => {
      const key = uniqueName()
      const hop = (await host.sdkClient()).at(Hop, key)
      await awaitOn(host, hop.tell({ to: key, texts: ['one', 'two'] }))
      const { notes } = await pollUntil(
        host,
        () => hop.notes(),
        (got) => got.notes.length >= 2,
        'the casts',
      )
      assert.deepEqual(notes, ['one', 'two'])
    },
  },
  {
    name: 'a cast of a turn that threw is never sent',
    run: async (host) => {
      const [a, b] = [uniqueName('a'), uniqueName('b')]
      const client = await host.sdkClient()
      assert.equal((await awaitFailure(host, client.at(Hop, a).tellThenThrow({ to: b, text: 'no' }))).code, 'INTERNAL')
      await awaitOn(host, client.at(Hop, a).tell({ to: b, texts: ['yes'] }))
      const { notes } = await pollUntil(
        host,
        () => client.at(Hop, b).notes(),
        (got) => got.notes.length >= 1,
        'the casts',
      )
      assert.deepEqual(notes, ['yes'])
    },
  },
  {
    name: 'calls of many shards to one are all answered, one turn at a time',
    run: async (host) => {
      const to = uniqueName('to')
      const client = await host.sdkClient()
      const calls = Array.from({ length: 20 }, () => client.at(Hop, uniqueName()).callCount({ to }))
      const counts = (await awaitAllOn(host, calls)).map(({ n }) => n)
      assert.deepEqual(
        counts.sort((a, b) => a - b),
        counts.map((_, i) => i + 1),
      )
    },
  },
  {
    name: 'a service runs as many turns at a time as it declares, and the rest after them',
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
    name: 'a service answers quick calls while others of the same session wait',
    run: async (host) => {
      const gate = uniqueName('gate')
      const service = (await host.sdkClient()).at(Gate)
      const held = service.wait({ name: gate })
      assert.deepEqual(await awaitOn(host, service.ping({ n: 7 })), { n: 7 })
      await awaitOn(host, service.open({ name: gate }))
      await awaitOn(host, held)
    },
  },
]
