// Many clients at once that do not read, each within its own bounds: what they have unread together is bounded on both hosts,
// and a client beside them that reads is answered.

import assert from 'node:assert/strict'
import test, { after } from 'node:test'

import { connect, CallError } from '../../client/index.ts'
import { ISOLATE_BUDGET } from '../../core/durable/budget.ts'
import { start } from '../../edge/node/server.ts'
import { Drill, game } from '../conformance/fixtures/resetgame.ts'
import { temporaryFolder } from '../support/program.ts'
import { waitUntil, webSocketClient } from '../support/sockets.ts'
import { waitFor } from '../support/wait.ts'
import { serveWorkerd, type RawWorkerd } from '../support/workerd.ts'

const CLIENTS = 40
/** 12 MB for each client: more than the kernel buffers, and fewer calls than may be pending. */
const CALLS = 200
const PAD_CHARS = 60_000
const MAX_BYTES = ISOLATE_BUDGET.outboundBytes
/** Large ones are written to up to twice the bound; small ones together may have as much as the bound again. */
const MAX_SUM_BYTES = 3 * MAX_BYTES

let workerd: RawWorkerd | null = null
after(() => workerd?.child.kill('SIGKILL'))

/** Plays beside clients that request answers and read none, until `isOver`. */
async function playBeside(url: string, isOver: () => boolean): Promise<void> {
  const player = await connect(url)
  const room = player.at(Drill, 'beside')
  const crowd = await Promise.all(Array.from({ length: CLIENTS }, () => webSocketClient(url)))
  for (const client of crowd) {
    client.setReading(false)
    for (let i = 0; i < CALLS; i++) client.sendFrame(Drill.entries.pad.number, { bytes: PAD_CHARS })
  }
  const isAnswered = async (): Promise<boolean> => {
    try {
      return (await room.echo({ text: 'beside' })).text === 'beside'
    } catch (error) {
      // A busy machine sheds calls.
      if (error instanceof CallError && error.code === 'OVERLOADED') return false
      throw error
    }
  }
  await waitFor(async () => (await isAnswered()) && isOver(), 'half of the crowd is closed')
  for (const client of crowd) client.setReading(true)
  await waitUntil(() => crowd.some(({ isClosed }) => isClosed), 'a client learns that it was closed')
  await waitFor(isAnswered, 'the player is answered')
  for (const client of crowd) client.close()
  await player.close()
}

test('Node: what a crowd has unread stays near the bound', async (t) => {
  const limits = { maxTotalUnreadBytes: MAX_BYTES }
  const server = await start({ game, dir: temporaryFolder(), http: 0, tcp: 0, logLevel: 'silent', limits })
  t.after(() => server.stop())
  const { unreadBudget, meter } = server.gateway
  let largest = 0
  await playBeside(`ws://127.0.0.1:${server.http.port}/ws`, () => {
    largest = Math.max(largest, unreadBudget.bytes)
    return (meter.closes.get('SLOW_CONSUMER') ?? 0) >= CLIENTS / 2
  })
  assert.ok(largest <= MAX_SUM_BYTES, `${largest} bytes`)
})

test('workerd: the edges of an isolate share the bound', async () => {
  workerd = await serveWorkerd(
    new URL('../conformance/fixtures/resetworker.ts', import.meta.url).pathname,
    temporaryFolder(),
  )
  const { port, lines } = workerd
  const closed = (): string[] => lines.filter((line) => line.includes('SLOW_CONSUMER'))
  await playBeside(`ws://127.0.0.1:${port}/ws`, () => closed().length >= CLIENTS / 2)
  const sums = closed().flatMap((line) => /of the (\d+) unread bytes of all/.exec(line)?.[1] ?? [])
  assert.ok(sums.length > 0, closed().slice(0, 5).join('\n'))
  for (const sum of sums) assert.ok(Number(sum) <= MAX_SUM_BYTES, `${sum} bytes`)
})
