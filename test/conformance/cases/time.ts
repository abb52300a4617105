// Timers, ticks and steps.

import assert from 'node:assert/strict'
import { Alarm, Gate, Stepper, Ticker } from '../contracts.ts'
import type { Host } from '../host.ts'
import { assertConsecutive, awaitOn, awaitFailure, pollUntil, uniqueName, type Case } from './case.ts'

type AlarmClient = Awaited<ReturnType<typeof openAlarmClient>>
/** A client that is a member of an alarm shard and collects its events. */
async function openAlarmClient(host: Host, key = uniqueName()) {
  const client = await host.sdkClient()
  const alarm = client.at(Alarm, key)
  const fired: string[] = []
  alarm.on('fired', ({ text }) => fired.push(text))
  await awaitOn(host, alarm.watch())
  return { client, alarm, fired, key }
}

/** Asserts the texts of the fired timers, as events and as stored by the shard. */
async function assertFired(host: Host, { alarm, fired }: AlarmClient, expected: readonly string[]): Promise<void> {
  await host.waitUntil(() => fired.length >= expected.length, `fired: ${expected.join(', ')}`)
  await host.sleep(100)
  assert.deepEqual(fired, expected)
  assert.deepEqual((await awaitOn(host, alarm.read())).fired, expected)
}

const hasFired = ({ fired }: { fired: string[] }): boolean => fired.length > 0

export const cases: readonly Case[] = [
  {
    name: 'a durable timer fires once',
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'ring', ms: 30, text: 'a', durable: true }))
      await assertFired(host, watched, ['a'])
    },
  },
  {
    name: 'a volatile timer fires once',
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'ring', ms: 30, text: 'a', durable: false }))
      await assertFired(host, watched, ['a'])
    },
  },
  {
    name: 'a timer of zero milliseconds fires after its turn',
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'ring', ms: 0, text: 'a', durable: true }))
      await awaitOn(host, watched.alarm.set({ name: 'chime', ms: 0, text: 'b', durable: false }))
      await assertFired(host, watched, ['a', 'b'])
    },
  },
  {
    name: 'setting a timer again replaces its time and its data',
    run: async (host) => {
      const watched = await openAlarmClient(host)
      for (const durable of [true, false]) {
        const name = durable ? 'ring' : 'chime'
        await awaitOn(host, watched.alarm.set({ name, ms: 60_000, text: 'old', durable }))
        await awaitOn(host, watched.alarm.set({ name, ms: 30, text: `new ${name}`, durable }))
        await host.waitUntil(() => watched.fired.includes(`new ${name}`), 'the timer fires')
      }
      await assertFired(host, watched, ['new ring', 'new chime'])
    },
  },
  {
    name: 'timers with different names fire at their own times',
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'ring', ms: 300, text: 'late', durable: true }))
      await awaitOn(host, watched.alarm.set({ name: 'chime', ms: 20, text: 'soon', durable: true }))
      await assertFired(host, watched, ['soon', 'late'])
    },
  },
  {
    name: 'a cancelled timer never fires, durable or volatile',
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'ring', ms: 150, text: 'a', durable: true }))
      await awaitOn(host, watched.alarm.set({ name: 'chime', ms: 150, text: 'b', durable: false }))
      await awaitOn(host, watched.alarm.cancel({ name: 'ring' }))
      await awaitOn(host, watched.alarm.cancel({ name: 'chime' }))
      await host.sleep(300)
      await assertFired(host, watched, [])
    },
  },
  {
    name: 'a durable timer survives an eviction',
    needs: ['evict'],
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'ring', ms: 400, text: 'a', durable: true }))
      await host.evictShard('alarm', watched.key)
      await assertFired(host, watched, ['a'])
    },
  },
  {
    name: 'a durable timer survives an abort, and a volatile one ends with its activation',
    needs: ['abort'],
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'chime', ms: 1_200, text: 'volatile', durable: false }))
      // Long enough for the link to reopen: an event without members is discarded.
      await awaitOn(host, watched.alarm.set({ name: 'ring', ms: 1_500, text: 'durable', durable: true }))
      await host.abortShard('alarm', watched.key)
      await assertFired(host, watched, ['durable'])
    },
  },
  {
    name: 'a durable timer of an evicted shard fires without connected clients',
    needs: ['evict'],
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'ring', ms: 300, text: 'a', durable: true }))
      await watched.client.close()
      await host.evictShard('alarm', watched.key)
      await host.sleep(500)
      const { alarm } = await openAlarmClient(host, watched.key)
      const { fired } = await pollUntil(host, () => alarm.read(), hasFired, 'the timer fired')
      assert.deepEqual(fired, ['a'])
    },
  },
  {
    name: 'a durable timer survives a killed process',
    needs: ['kill'],
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'ring', ms: 1_000, text: 'a', durable: true }))
      await host.killProcess!()
      await pollUntil(host, () => watched.alarm.read(), hasFired, 'the timer fired')
      await host.sleep(200)
      assert.deepEqual((await awaitOn(host, watched.alarm.read())).fired, ['a'])
    },
  },
  {
    name: 'a durable timer whose handler throws is retried and takes effect once',
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'throwing', ms: 10, text: 'a', durable: true }))
      await assertFired(host, watched, ['a'])
      assert.equal((await awaitOn(host, watched.alarm.read())).tries, 3)
    },
  },
  {
    name: 'a durable timer whose handler refuses is retried, because it has no caller',
    run: async (host) => {
      const watched = await openAlarmClient(host)
      await awaitOn(host, watched.alarm.set({ name: 'refusing', ms: 10, text: 'a', durable: true }))
      await assertFired(host, watched, ['a'])
      assert.equal((await awaitOn(host, watched.alarm.read())).tries, 2)
    },
  },
  {
    name: 'a shard ticks only while it has members',
    run: async (host) => {
      const ticker = (await host.sdkClient()).at(Ticker, uniqueName())
      await host.sleep(150)
      assert.equal((await awaitOn(host, ticker.read())).ticks, 0)
      await awaitOn(host, ticker.join())
      await host.sleep(500)
      await awaitOn(host, ticker.leave())
      const { ticks, seconds } = await awaitOn(host, ticker.read())
      assert.ok(ticks >= 4 && ticks <= 14, `${ticks} ticks`)
      assert.ok(seconds > 0.2 && seconds < 1.5, `${seconds} seconds`)
      await host.sleep(200)
      assert.equal((await awaitOn(host, ticker.read())).ticks, ticks)
    },
  },
  {
    name: 'ticks stop when the last member disconnects',
    run: async (host) => {
      const key = uniqueName()
      const [client, other] = [await host.sdkClient(), await host.sdkClient()]
      await awaitOn(host, client.at(Ticker, key).join())
      await awaitOn(host, other.at(Ticker, key).read())
      await client.close()
      await host.sleep(150)
      const { ticks } = await awaitOn(host, other.at(Ticker, key).read())
      await host.sleep(200)
      assert.equal((await awaitOn(host, other.at(Ticker, key).read())).ticks, ticks)
    },
  },
  {
    name: 'a rolled back join starts no ticks, and a rolled back leave stops none',
    run: async (host) => {
      const client = await host.sdkClient()
      const empty = client.at(Ticker, uniqueName())
      await awaitFailure(host, empty.joinThenThrow())
      const joined = client.at(Ticker, uniqueName())
      await awaitOn(host, joined.join())
      await awaitFailure(host, joined.leaveThenThrow())
      const { ticks } = await awaitOn(host, joined.read())
      await host.sleep(300)
      assert.equal((await awaitOn(host, empty.read())).ticks, 0)
      assert.ok((await awaitOn(host, joined.read())).ticks > ticks)
    },
  },
  {
    name: 'step numbers start at 1 and are consecutive, also after a turn that blocked the shard',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.sdkClient()
      const stepper = client.at(Stepper, uniqueName())
      await awaitOn(host, stepper.join())
      await host.sleep(200)
      const waiting = stepper.waitAtGate({ gate })
      await host.sleep(400)
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      await awaitOn(host, waiting)
      await host.sleep(200)
      const { steps } = await awaitOn(host, stepper.read())
      assert.ok(steps.length >= 6, `${steps.length} steps`)
      assertConsecutive(steps)
    },
  },
]
