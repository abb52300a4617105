// The busy share of a process: near one while a thread calculates, also when others take its processor, else near zero.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'

import { measureBusyShare } from '../support/busyshare.ts'
import { until } from '../support/wait.ts'

test('a thread that calculates is busy, whatever the machine does besides; a waiting process is not', async (t) => {
  if (process.platform !== 'linux') return t.skip('the times of threads are those of Linux')
  const worker = new Worker('for (;;);', { eval: true })
  await new Promise((resolve) => worker.once('online', resolve))
  const end = measureBusyShare([process.pid])
  const startMs = performance.now()
  await until(() => performance.now() - startMs > 300, 1_000)
  const busy = end()
  await worker.terminate()
  assert.ok(busy > 0.8 && busy < 1.2, `${busy} while a thread calculates`)
  assert.equal(measureBusyShare([0])(), 0, 'a process that does not exist')
})
