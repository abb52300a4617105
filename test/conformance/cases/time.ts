// Timers and ticks.

import assert from 'node:assert/strict'
import { Alarm, Gate, March, Pulse } from '../contracts.ts'
import type { Host } from '../host.ts'
import { awaitOn, pollUntil, uniqueName, type Case } from './case.ts'

type AlarmClient = Awaited<ReturnType<typeof openAlarmClient>>
async function openAlarmClient(host: Host, key = uniqueName()) {
  const client = await host.sdkClient()
  const alarm = client.at(Alarm, key)
  const rang: string[] = []
  alarm.on('rang', ({ text }) => rang.push(text))
  await awaitOn(host, alarm.watch())
  return { client, alarm, rang, key }
}

/** The rows are what the events said. */
async function assertRings(host: Host, { alarm, rang }: AlarmClient, expected: readonly string[]): Promise<void> {
  await host.waitUntil(() => rang.length >= expected.length, `rings: ${expected.join(', ')}`)
  await host.sleep(100)
  assert.deepEqual(rang, expected)
  assert.deepEqual((await awaitOn(host, alarm.fired())).rings, expected)
}

export const cases: readonly Case[] = [
  {
    name: 'a durable timer fires once',
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'ring', ms: 30, text: 'a', durable: true }))
      await assertRings(host, one, ['a'])
    },
  },
  {
    name: 'a volatile timer fires once',
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'ring', ms: 30, text: 'a', durable: false }))
      await assertRings(host, one, ['a'])
    },
  },
  {
    name: 'a timer of zero milliseconds fires after its turn',
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'ring', ms: 0, text: 'a', durable: true }))
      await awaitOn(host, one.alarm.set({ name: 'chime', ms: 0, text: 'b', durable: false }))
      await assertRings(host, one, ['a', 'b'])
    },
  },
  {
    name: 'a timer that is set again has moved, with its new data',
    run: async (host) => {
      const one = await openAlarmClient(host)
      for (const durable of [true, false]) {
        const name = durable ? 'ring' : 'chime'
        await awaitOn(host, one.alarm.set({ name, ms: 60_000, text: 'old', durable }))
        await awaitOn(host, one.alarm.set({ name, ms: 30, text: `new ${name}`, durable }))
        await host.waitUntil(() => one.rang.includes(`new ${name}`), 'it rings')
      }
      await assertRings(host, one, ['new ring', 'new chime'])
    },
  },
  {
    name: 'timers of different names fire by their own times',
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'ring', ms: 300, text: 'late', durable: true }))
      await awaitOn(host, one.alarm.set({ name: 'chime', ms: 20, text: 'soon', durable: true }))
      await assertRings(host, one, ['soon', 'late'])
    },
  },
  {
    name: 'a cancelled timer never fires, durable or volatile',
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'ring', ms: 150, text: 'a', durable: true }))
      await awaitOn(host, one.alarm.set({ name: 'chime', ms: 150, text: 'b', durable: false }))
      await awaitOn(host, one.alarm.cancel({ name: 'ring' }))
      await awaitOn(host, one.alarm.cancel({ name: 'chime' }))
      await host.sleep(300)
      await assertRings(host, one, [])
    },
  },
  {
    name: 'a durable timer survives an eviction',
    needs: ['evict'],
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'ring', ms: 400, text: 'a', durable: true }))
      await host.evictShard('alarm', one.key)
      await assertRings(host, one, ['a'])
    },
  },
  {
    name: 'a durable timer survives an abort, and a volatile one dies with its activation',
    needs: ['abort'],
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'chime', ms: 1_200, text: 'volatile', durable: false }))
      // Long enough for the players' links to be back: an event that nobody is there for is gone.
      await awaitOn(host, one.alarm.set({ name: 'ring', ms: 1_500, text: 'durable', durable: true }))
      await host.abortShard('alarm', one.key)
      await assertRings(host, one, ['durable'])
    },
  },
  {
    name: 'a durable timer fires when nobody is connected and the shard is out of memory',
    needs: ['evict'],
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'ring', ms: 300, text: 'a', durable: true }))
      await one.client.close()
      await host.evictShard('alarm', one.key)
      await host.sleep(500)
      const { alarm } = await openAlarmClient(host, one.key)
      const { rings: fired } = await pollUntil(
        host,
        () => alarm.fired(),
        ({ rings }) => rings.length > 0,
        'it rang',
      )
      assert.deepEqual(fired, ['a'])
    },
  },
  {
    name: 'a durable timer survives the death of the process',
    needs: ['kill'],
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'ring', ms: 1_000, text: 'a', durable: true }))
      await host.killProcess!()
      await pollUntil(
        host,
        () => one.alarm.fired(),
        ({ rings }) => rings.length > 0,
        'it rang',
      )
      await host.sleep(200)
      assert.deepEqual((await awaitOn(host, one.alarm.fired())).rings, ['a'])
    },
  },
  {
    name: 'a durable timer whose handler throws is tried again, and takes effect once',
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'bad', ms: 10, text: 'a', durable: true }))
      await assertRings(host, one, ['a'])
      assert.equal((await awaitOn(host, one.alarm.fired())).tries, 3)
    },
  },
  {
    name: 'a durable timer whose handler refuses is tried again: there is nobody to refuse',
    run: async (host) => {
      const one = await openAlarmClient(host)
      await awaitOn(host, one.alarm.set({ name: 'no', ms: 10, text: 'a', durable: true }))
      await assertRings(host, one, ['a'])
      assert.equal((await awaitOn(host, one.alarm.fired())).tries, 2)
    },
  },
  {
    name: 'a shard ticks while it has members, and only then',
    run: async (host) => {
      const pulse = (await host.sdkClient()).at(Pulse, uniqueName())
      await host.sleep(150)
      assert.equal((await awaitOn(host, pulse.read())).beats, 0)
      await awaitOn(host, pulse.join())
      await host.sleep(500)
      await awaitOn(host, pulse.leave())
      const { beats, seconds } = await awaitOn(host, pulse.read())
      assert.ok(beats >= 4 && beats <= 14, `${beats} beats`)
      assert.ok(seconds > 0.2 && seconds < 1.5, `${seconds} seconds`)
      await host.sleep(200)
      assert.equal((await awaitOn(host, pulse.read())).beats, beats)
    },
  },
  {
    name: 'ticks stop when the last member is disconnected',
    run: async (host) => {
      const key = uniqueName()
      const [client, other] = [await host.sdkClient(), await host.sdkClient()]
      await awaitOn(host, client.at(Pulse, key).join())
      await awaitOn(host, other.at(Pulse, key).read())
      await client.close()
      await host.sleep(150)
      const { beats } = await awaitOn(host, other.at(Pulse, key).read())
      await host.sleep(200)
      assert.equal((await awaitOn(host, other.at(Pulse, key).read())).beats, beats)
    },
  },
  {
    name: 'a join that was rolled back starts no ticks, and a leave that was rolled back stops none',
    run: async (host) => {
      const client = await host.sdkClient()
      const lonely = client.at(Pulse, uniqueName())
      await awaitOn(
        host,
        lonely.joinThenThrow().catch(() => null),
      )
      const joined = client.at(Pulse, uniqueName())
      await awaitOn(host, joined.join())
      await awaitOn(
        host,
        joined.leaveThenThrow().catch(() => null),
      )
      const { beats } = await awaitOn(host, joined.read())
      await host.sleep(300)
      assert.equal((await awaitOn(host, lonely.read())).beats, 0)
      assert.ok((await awaitOn(host, joined.read())).beats > beats)
    },
  },
  {
    name: 'step numbers start at 1 and never jump, also behind a turn that held the shard',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.sdkClient()
      const march = client.at(March, uniqueName())
      await awaitOn(host, march.join())
      await host.sleep(200)
      const held = march.hold({ gate })
      await host.sleep(400)
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      await awaitOn(host, held)
      await host.sleep(200)
      const { steps } = await awaitOn(host, march.read())
      assert.ok(steps.length >= 6, `${steps.length} steps`)
      assert.deepEqual(
        steps,
        steps.map((_, i) => i + 1),
      )
    },
  },
]
