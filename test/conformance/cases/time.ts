// Timers and ticks.

import assert from 'node:assert/strict'
import { Alarm, Gate, March, Pulse } from '../contracts.ts'
import type { Host } from '../host.ts'
import { answer, eventually, fresh, type Case } from './probe.ts'

type Alarms = Awaited<ReturnType<typeof alarmOf>>
async function alarmOf(host: Host, key = fresh()) {
  const client = await host.client()
  const alarm = client.at(Alarm, key)
  const rang: string[] = []
  alarm.on('rang', ({ text }) => rang.push(text))
  await answer(host, alarm.watch())
  return { client, alarm, rang, key }
}

/** The rows are what the events said. */
async function rings(host: Host, { alarm, rang }: Alarms, expected: readonly string[]): Promise<void> {
  await host.until(() => rang.length >= expected.length, `rings: ${expected.join(', ')}`)
  await host.pass(100)
  assert.deepEqual(rang, expected)
  assert.deepEqual((await answer(host, alarm.fired())).rings, expected)
}

export const cases: readonly Case[] = [
  {
    name: 'a durable timer fires once',
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'ring', ms: 30, text: 'a', durable: true }))
      await rings(host, one, ['a'])
    },
  },
  {
    name: 'a volatile timer fires once',
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'ring', ms: 30, text: 'a', durable: false }))
      await rings(host, one, ['a'])
    },
  },
  {
    name: 'a timer of zero milliseconds fires after its turn',
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'ring', ms: 0, text: 'a', durable: true }))
      await answer(host, one.alarm.set({ name: 'chime', ms: 0, text: 'b', durable: false }))
      await rings(host, one, ['a', 'b'])
    },
  },
  {
    name: 'a timer that is set again has moved, with its new data',
    run: async (host) => {
      const one = await alarmOf(host)
      for (const durable of [true, false]) {
        const name = durable ? 'ring' : 'chime'
        await answer(host, one.alarm.set({ name, ms: 60_000, text: 'old', durable }))
        await answer(host, one.alarm.set({ name, ms: 30, text: `new ${name}`, durable }))
        await host.until(() => one.rang.includes(`new ${name}`), 'it rings')
      }
      await rings(host, one, ['new ring', 'new chime'])
    },
  },
  {
    name: 'timers of different names fire by their own times',
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'ring', ms: 300, text: 'late', durable: true }))
      await answer(host, one.alarm.set({ name: 'chime', ms: 20, text: 'soon', durable: true }))
      await rings(host, one, ['soon', 'late'])
    },
  },
  {
    name: 'a cancelled timer never fires, durable or volatile',
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'ring', ms: 150, text: 'a', durable: true }))
      await answer(host, one.alarm.set({ name: 'chime', ms: 150, text: 'b', durable: false }))
      await answer(host, one.alarm.cancel({ name: 'ring' }))
      await answer(host, one.alarm.cancel({ name: 'chime' }))
      await host.pass(300)
      await rings(host, one, [])
    },
  },
  {
    name: 'a durable timer survives an eviction',
    needs: ['evict'],
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'ring', ms: 400, text: 'a', durable: true }))
      await host.evict('alarm', one.key)
      await rings(host, one, ['a'])
    },
  },
  {
    name: 'a durable timer survives an abort, and a volatile one dies with its activation',
    needs: ['abort'],
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'chime', ms: 1_200, text: 'volatile', durable: false }))
      // Long enough for the players' links to be back: an event that nobody is there for is gone.
      await answer(host, one.alarm.set({ name: 'ring', ms: 1_500, text: 'durable', durable: true }))
      await host.abort('alarm', one.key)
      await rings(host, one, ['durable'])
    },
  },
  {
    name: 'a durable timer fires when nobody is connected and the shard is out of memory',
    needs: ['evict'],
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'ring', ms: 300, text: 'a', durable: true }))
      await one.client.close()
      await host.evict('alarm', one.key)
      await host.pass(500)
      const { alarm } = await alarmOf(host, one.key)
      const { rings: fired } = await eventually(
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
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'ring', ms: 1_000, text: 'a', durable: true }))
      await host.kill!()
      await eventually(
        host,
        () => one.alarm.fired(),
        ({ rings }) => rings.length > 0,
        'it rang',
      )
      await host.pass(200)
      assert.deepEqual((await answer(host, one.alarm.fired())).rings, ['a'])
    },
  },
  {
    name: 'a durable timer whose handler throws is tried again, and takes effect once',
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'bad', ms: 10, text: 'a', durable: true }))
      await rings(host, one, ['a'])
      assert.equal((await answer(host, one.alarm.fired())).tries, 3)
    },
  },
  {
    name: 'a durable timer whose handler refuses is tried again: there is nobody to refuse',
    run: async (host) => {
      const one = await alarmOf(host)
      await answer(host, one.alarm.set({ name: 'no', ms: 10, text: 'a', durable: true }))
      await rings(host, one, ['a'])
      assert.equal((await answer(host, one.alarm.fired())).tries, 2)
    },
  },
  {
    name: 'a shard ticks while it has members, and only then',
    run: async (host) => {
      const pulse = (await host.client()).at(Pulse, fresh())
      await host.pass(150)
      assert.equal((await answer(host, pulse.read())).beats, 0)
      await answer(host, pulse.join())
      await host.pass(500)
      await answer(host, pulse.leave())
      const { beats, seconds } = await answer(host, pulse.read())
      assert.ok(beats >= 4 && beats <= 14, `${beats} beats`)
      assert.ok(seconds > 0.2 && seconds < 1.5, `${seconds} seconds`)
      await host.pass(200)
      assert.equal((await answer(host, pulse.read())).beats, beats)
    },
  },
  {
    name: 'ticks stop when the last member is disconnected',
    run: async (host) => {
      const key = fresh()
      const [client, other] = [await host.client(), await host.client()]
      await answer(host, client.at(Pulse, key).join())
      await answer(host, other.at(Pulse, key).read())
      await client.close()
      await host.pass(150)
      const { beats } = await answer(host, other.at(Pulse, key).read())
      await host.pass(200)
      assert.equal((await answer(host, other.at(Pulse, key).read())).beats, beats)
    },
  },
  {
    name: 'a join that was rolled back starts no ticks, and a leave that was rolled back stops none',
    run: async (host) => {
      const client = await host.client()
      const lonely = client.at(Pulse, fresh())
      await answer(
        host,
        lonely.joinThenThrow().catch(() => null),
      )
      const joined = client.at(Pulse, fresh())
      await answer(host, joined.join())
      await answer(
        host,
        joined.leaveThenThrow().catch(() => null),
      )
      const { beats } = await answer(host, joined.read())
      await host.pass(300)
      assert.equal((await answer(host, lonely.read())).beats, 0)
      assert.ok((await answer(host, joined.read())).beats > beats)
    },
  },
  {
    name: 'step numbers start at 1 and never jump, also behind a turn that held the shard',
    run: async (host) => {
      const gate = fresh('gate')
      const client = await host.client()
      const march = client.at(March, fresh())
      await answer(host, march.join())
      await host.pass(200)
      const held = march.hold({ gate })
      await host.pass(400)
      await answer(host, client.at(Gate).open({ name: gate }))
      await answer(host, held)
      await host.pass(200)
      const { steps } = await answer(host, march.read())
      assert.ok(steps.length >= 6, `${steps.length} steps`)
      assert.deepEqual(
        steps,
        steps.map((_, i) => i + 1),
      )
    },
  },
]
