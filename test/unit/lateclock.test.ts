// Timers of a busy process: a deadline does not expire over bytes that arrived while the process was busy, and timers keep
// their order. Both clocks, on real sockets.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { test } from 'node:test'

import { platformClock } from '../../client/socket.ts'
import { systemClock } from '../../core/node/clock.ts'

const DEADLINE_MS = 50

/** As garbage collection or a long turn does. */
function block(ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs;);
}

for (const [name, clock] of [
  ['server', systemClock],
  ['client', platformClock],
] as const)
  test(`a deadline of the ${name} that passed in a busy moment runs after the answer that arrived in it`, async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const peer = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [socket] = (await once(server, 'connection')) as [Socket]
    const order: string[] = []
    socket.on('data', () => order.push('answer'))
    await new Promise<void>((resolve) => {
      clock.after(DEADLINE_MS, () => {
        order.push('deadline')
        resolve()
      })
      // In the system's buffer when `write` returns.
      peer.write('answer')
      block(4 * DEADLINE_MS)
    })
    assert.deepEqual(order, ['answer', 'deadline'])
    peer.destroy()
    server.close()
  })

test('late timers of the server run in the order of their times, and a cancelled one does not run', async () => {
  const order: number[] = []
  await new Promise<void>((resolve) => {
    const timers = Array.from({ length: 10 }, (_, i) =>
      systemClock.after(10 * i, () => {
        order.push(i)
        if (i === 2) timers[3]!.cancel()
        if (i === 9) resolve()
      }),
    )
    block(100)
  })
  assert.deepEqual(order, [0, 1, 2, 4, 5, 6, 7, 8, 9])
})
