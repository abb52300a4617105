// The hooks at the begin and the end of an activation. Invariant: `onActivate` precedes everything else of its activation, and
// nothing but calls of a drain follows `onDeactivate`.

import assert from 'node:assert/strict'
import { Gate } from '../contracts.ts'
import { Journal, Tenant } from '../hookshards.ts'
import {
  abortAndWaitForRestart,
  awaitAllOn,
  awaitFailure,
  awaitOn,
  callWithRetry,
  pollUntil,
  uniqueName,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'
import type { Host } from '../host.ts'

export const cases: readonly Case[] = [
  {
    name: 'onActivate runs once per activation, before the first call, and its writes are committed',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const tenant = (await host.sdkClient()).at(Tenant, key)
      for (let i = 0; i < 2; i++)
        assert.deepEqual(await awaitOn(host, tenant.read()), { lines: ['activated 1, ended 0, size 0'] })
      await abortAndWaitForRestart(host, 'tenant', key, tenant)
      const after = await callWithRetry(host, () => tenant.read())
      assert.deepEqual(after, { lines: ['activated 2, ended 0, size 0'] })
    },
  },
  {
    name: 'calls wait for an asynchronous onActivate',
    run: async (host) => {
      const tenant = (await host.sdkClient()).at(Tenant, uniqueName('waits'))
      const expected = { lines: ['activated 1, ended 0, size 0'] }
      const all = await awaitAllOn(host, [tenant.read(), tenant.read(), tenant.read()])
      assert.deepEqual(all, [expected, expected, expected])
    },
  },
  {
    name: 'onActivate precedes the hooks of members of the last activation',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const tenant = (await host.sdkClient()).at(Tenant, key)
      await awaitOn(host, tenant.join())
      await host.evictShard('tenant', key)
      const { lines } = await callWithRetry(host, () => tenant.read())
      assert.deepEqual(lines, ['activated 2, ended 1, size 0', 'rejoined 0, size 1'].map(anyEnded(lines)))
    },
  },
  {
    name: 'an onActivate that throws refuses the activation with UNAVAILABLE, leaves no trace, and is tried again',
    run: async (host) => {
      const key = uniqueName('brittle')
      const client = await host.sdkClient()
      const tenant = client.at(Tenant, key)
      for (let i = 0; i < 2; i++) assert.equal((await awaitFailure(host, tenant.read())).code, 'UNAVAILABLE')
      await awaitOn(host, client.at(Journal, key).note({ text: 'go' }))
      const read = (): Promise<{ lines: string[] }> => tenant.read().catch(() => ({ lines: [] }))
      const { lines } = await pollUntil(host, read, ({ lines }) => lines.length > 0, 'the shard is active')
      assert.deepEqual(lines, ['activated 1, ended 0, size 0'])
    },
  },
  {
    name: 'onDeactivate runs when the shard is idle, not at an abort, and commits writes and durable casts',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const client = await host.sdkClient()
      const tenant = client.at(Tenant, key)
      await awaitOn(host, tenant.schedule({ ms: 3_600_000 }))
      await abortAndWaitForRestart(host, 'tenant', key, tenant)
      await callWithRetry(host, () => tenant.read())
      assert.deepEqual(await endIdleActivation(host, client, key), ['ended 2'])
      const again = (await host.sdkClient()).at(Tenant, key)
      assert.deepEqual(await awaitOn(host, again.read()), { lines: ['activated 3, ended 2, size 0'] })
    },
  },
  {
    name: 'an onDeactivate that throws is rolled back, and the activation ends all the same',
    run: async (host) => {
      const key = uniqueName('throws')
      const client = await host.sdkClient()
      await awaitOn(host, client.at(Tenant, key).read())
      client.at(Tenant, key).close()
      await host.idleShard('tenant', key)
      const read = async (): Promise<string[]> => {
        const { lines } = await (await host.sdkClient()).at(Tenant, key).read()
        return lines
      }
      // Where the host takes a while to detect an idle shard, each call postpones it: one call after that time.
      if (host.idleMs > 0) await host.sleep(host.idleMs + 1_000)
      assert.deepEqual(await awaitOn(host, read()), ['activated 2, ended 0, size 0'])
    },
  },
  {
    name: 'a call that arrives during onDeactivate runs in the next activation',
    run: async (host) => {
      const key = uniqueName('waits')
      const client = await host.sdkClient()
      const gates = client.at(Gate)
      await awaitOn(host, client.at(Tenant, key).read())
      client.at(Tenant, key).close()
      const evicted = host.idleShard('tenant', key)
      await waitForTurnsAtGate(host, gates, key)
      const late = (await host.sdkClient()).at(Tenant, key).read()
      await awaitOn(host, gates.open({ name: key }))
      assert.deepEqual(await awaitOn(host, late), { lines: ['activated 2, ended 1, size 0'] })
      await awaitOn(host, evicted)
    },
  },
]

/** Where the platform evicts an object, no `onDeactivate` has run. */
function anyEnded(lines: readonly string[]): (line: string) => string {
  const ended = /ended \d/.exec(lines[0] ?? '')?.[0] ?? ''
  return (line) => line.replace(/ended \d/, ended)
}

/** Closes the client's channel, waits until the idle activation has ended, and returns the journal. */
async function endIdleActivation(
  host: Host,
  client: Awaited<ReturnType<Host['sdkClient']>>,
  key: string,
): Promise<string[]> {
  client.at(Tenant, key).close()
  const evicted = host.idleShard('tenant', key)
  const journal = client.at(Journal, key)
  const { lines } = await pollUntil(
    host,
    () => journal.read(),
    ({ lines }) => lines.length > 0,
    'onDeactivate',
  )
  await awaitOn(host, evicted)
  return lines
}
