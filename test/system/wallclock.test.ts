// A wall clock that jumps an hour forward or back delays nothing in a running server: timers, calls between shards,
// heartbeats, rates.

import assert from 'node:assert/strict'
import test from 'node:test'
import { connect } from '../../client/index.ts'
import { temporaryFolder } from '../support/program.ts'
import { ServerProcess } from '../support/serverprocess.ts'
import { waitFor, withDeadline } from '../support/wait.ts'
import { Alarm } from './fixtures/wallclock/contract.ts'
import type { WallClockOrder } from './fixtures/wallclock/server.ts'

const HEARTBEAT_MS = 400
/** Long enough for the jump to happen before, and far below an hour. */
const DELAY_MS = 1_500
const LATEST_MS = 20_000

type Jump = { readonly what: 'forward' } | { readonly what: 'back' }

test('a wall clock that jumps an hour delays no timer, call, heartbeat or rate limit', async (t) => {
  const order: WallClockOrder = { dir: temporaryFolder(), heartbeatMs: HEARTBEAT_MS }
  const program = new URL('./fixtures/wallclock/server.ts', import.meta.url)
  await using server = new ServerProcess<Jump>({
    program,
    order,
    log: (line, from) => t.diagnostic(`${from}: ${line}`),
  })
  const { http } = await server.ready
  await using game = await connect(`ws://127.0.0.1:${http}/ws`)
  let closed = 0
  game.on('paused', () => closed++)
  for (const jump of ['back', 'forward'] as const) {
    const alarm = game.at(Alarm, `${jump}${closed}${Math.random()}`)
    const rang: string[] = []
    alarm.on('rang', ({ name }) => rang.push(name))
    await alarm.set({ ms: DELAY_MS })
    const asked = [alarm.ask({ ms: DELAY_MS / 3 }), alarm.ask({ ms: 1 })]
    await server.request(jump)
    const startMs = performance.now()
    const answers = await withDeadline(Promise.all(asked), LATEST_MS)
    assert.deepEqual(answers, [{}, {}], `calls between shards after a jump ${jump}`)
    await waitFor(() => rang.length === 2, `both timers after a jump ${jump}`, LATEST_MS)
    assert.deepEqual(rang.toSorted(), ['durable', 'volatile'])
    // Several heartbeats of both sides pass.
    await waitFor(() => performance.now() - startMs > 4 * HEARTBEAT_MS, 'heartbeats')
    assert.deepEqual(await withDeadline(alarm.ask({ ms: 1 }), LATEST_MS), {})
  }
  assert.equal(closed, 0, 'the connection was lost')
})
