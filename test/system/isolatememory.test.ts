// The memory of a Worker isolate while its objects write far more rows than it could hold.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'

import { connect } from '../../client/index.ts'
import { temporaryFolder } from '../support/program.ts'
import { serveWorkerd, type RawWorkerd } from '../support/workerd.ts'
import { Hoard } from './fixtures/manyrows.ts'

const MIB = 1_048_576
const ROW_BYTES = 10_000
const ROWS_PER_CALL = 100
/** 200 MiB in all. */
const CALLS = 210
/** Two objects of the same isolate. */
const KEYS = ['gold', 'silver'] as const
/** The sum of what V8 has not collected, the caches and SQLite's pages. With the bound of Node the process grew by 258 MB. */
const MAX_GROWTH_BYTES = 96 * MIB

let running: RawWorkerd | null = null
after(() => running?.child.kill('SIGKILL'))

function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!
  return Number(kilobytes) * 1_024
}

test('objects that write 210 MB of rows take a part of the isolate, and read every row again', async (t) => {
  running = await serveWorkerd(new URL('fixtures/manyrowsworker.ts', import.meta.url).pathname, temporaryFolder())
  const { pid } = running.child
  const game = await connect(`ws://127.0.0.1:${running.port}/ws`)
  const hoards = KEYS.map((key) => game.at(Hoard, key))
  for (const hoard of hoards) await hoard.read({ id: 0 })
  const beforeBytes = residentBytes(pid!)
  let largestBytes = beforeBytes
  for (let call = 0; call < CALLS; call++) {
    await hoards[call % 2]!.put({ from: call * ROWS_PER_CALL, count: ROWS_PER_CALL, bytes: ROW_BYTES })
    largestBytes = Math.max(largestBytes, residentBytes(pid!))
  }
  const growthBytes = largestBytes - beforeBytes
  t.diagnostic(
    `workerd: ${Math.round(beforeBytes / MIB)} MiB before, ${Math.round(growthBytes / MIB)} MiB more at most`,
  )
  for (let id = 0; id < CALLS * ROWS_PER_CALL; id += 97) {
    const row = await hoards[Math.floor(id / ROWS_PER_CALL) % 2]!.read({ id })
    assert.deepEqual(row, { bytes: ROW_BYTES, first: 97 + (id % 26) })
  }
  assert.ok(growthBytes < MAX_GROWTH_BYTES, `${growthBytes} bytes more, must be below ${MAX_GROWTH_BYTES}`)
  await game.close()
})
