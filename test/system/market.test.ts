// examples/market on both hosts, with and without MySQL: the answers to a player, the purses of two players at the end,
// and the rows in the database.

import assert from 'node:assert/strict'
import test from 'node:test'

import { connect } from '../../client/index.ts'
import { Market, MAX_GOLD, Purse } from '../../examples/market/contract.ts'
import { startPlanetscale } from '../support/planetscale/server.ts'
import { startWorkers } from '../support/workers.ts'
import { openTestDatabase, openClient, sql, waitUntil } from '../support/database.ts'
import { exchangeFrames } from '../support/legacyclient.ts'
import { runToEnd, serve } from '../support/program.ts'
import { webSocketClient } from '../support/sockets.ts'

interface Running {
  /** `ws://…/ws` */
  readonly url: string
  stop(): Promise<unknown>
}

const APP = 'examples/market'
const { url: mysql, skip } = await openTestDatabase()

const node = async (...args: string[]): Promise<Running> => {
  const program = await serve(APP, args)
  return { url: `${program.http.replace('http', 'ws')}/ws`, stop: () => program.stop() }
}
const workerd = async (coreVars: Record<string, string> = {}): Promise<Running> => {
  const entry = new URL('../../examples/market/worker.ts', import.meta.url).pathname
  const workers = await startWorkers({ entry, coreVars })
  return { url: workers.url, stop: () => workers.close() }
}

/** A client that uses only frames and JSON. */
async function connectTool(url: string) {
  const client = await webSocketClient(url)
  /** Sends all commands together and returns one answer per command. */
  const ask = async (...commands: readonly (readonly [number, unknown])[]): Promise<[number, unknown][]> => {
    const frames = commands.map(([command, body]) => [command, Buffer.from(JSON.stringify(body))] as const)
    const answers = await exchangeFrames(client, frames)
    return answers.map(([command, body]) => [command, JSON.parse(body.toString())])
  }
  return { ask, close: () => client.close() }
}

async function assertMarketWorks(url: string, run: string): Promise<void> {
  const [ada, bob] = [`ada.${run}`, `bob.${run}`]
  const tool = await connectTool(url)
  // The later commands do not wait for the answer of the first one, which opens the purse.
  assert.deepEqual(
    await tool.ask(
      [401, { player: ada }],
      [402, { amount: 100, id: 'first' }],
      [402, { amount: 100, id: 'first' }],
      [402, { amount: 5, id: 'second' }],
      [402, { amount: 7, id: 'first' }],
      [404, {}],
    ),
    [
      [401, { player: ada, gold: 0 }],
      [402, { gold: 100 }],
      [402, { gold: 100 }],
      [402, { gold: 105 }],
      [402, { gold: 100 }],
      [404, { gold: 105 }],
    ],
  )
  const refused = [
    [402, { amount: 0, id: 'x' }, 'BAD_AMOUNT'],
    [402, { amount: -1, id: 'x' }, 'BAD_AMOUNT'],
    [402, { amount: 1.5, id: 'x' }, 'BAD_AMOUNT'],
    [402, { amount: '7', id: 'x' }, 'BAD_AMOUNT'],
    [402, { amount: MAX_GOLD + 1, id: 'x' }, 'BAD_AMOUNT'],
    [402, { id: 'x' }, 'BAD_AMOUNT'],
    [402, { amount: MAX_GOLD, id: 'x' }, 'PURSE_FULL'],
    [402, { amount: 1 }, 'BAD_ID'],
    [402, { amount: 1, id: '' }, 'BAD_ID'],
    [402, { amount: 1, id: { a: 1 } }, 'BAD_ID'],
    [403, { to: bob, amount: 106, id: 'x' }, 'TOO_POOR'],
    [403, { to: ada, amount: 1, id: 'x' }, 'BAD_RECEIVER'],
    [403, { to: 'no/such', amount: 1, id: 'x' }, 'BAD_RECEIVER'],
    [403, { amount: 1, id: 'x' }, 'BAD_RECEIVER'],
    [405, { limit: -1 }, 'BAD_LIMIT'],
  ] as const
  assert.deepEqual(
    await tool.ask(...refused.map(([command, body]) => [command, body] as const)),
    refused.map(([command, , error]) => [command, { error }]),
  )
  assert.deepEqual(await tool.ask([403, { to: bob, amount: 30, id: 1 }], [403, { to: bob, amount: 30, id: 1 }]), [
    [403, { gold: 75 }],
    [403, { gold: 75 }],
  ])

  // Bob by the SDK, with a purse that is nearly full.
  await using game = await connect(url)
  await assert.rejects(game.at(Purse).balance(), /FORBIDDEN/)
  await game.at(Market).open({ player: bob })
  const purse = game.at(Purse)
  await waitUntil(async () => (await purse.balance()).gold === 30)
  assert.deepEqual(await purse.deposit({ amount: MAX_GOLD - 40, id: 'salary' }), { gold: MAX_GOLD - 10 })
  await assert.rejects(purse.deposit({ amount: 11, id: 'more' }), { code: 'PURSE_FULL' })
  await assert.rejects(purse.receive({ from: ada, amount: 1, id: 'forged' }), { code: 'UNKNOWN_COMMAND' })

  // The gold that exceeds the receiver's purse is returned.
  assert.deepEqual(await tool.ask([403, { to: bob, amount: 50, id: 'big' }]), [[403, { gold: 25 }]])
  await waitUntil(async () => (await goldOf(tool)) === 65)
  assert.deepEqual(await purse.balance(), { gold: MAX_GOLD })
  assert.deepEqual(await tool.ask([405, { limit: 3 }]), [
    [
      405,
      {
        entries: [
          { id: 'big', kind: 'returned', amount: 40, gold: 65 },
          { id: 'big', kind: 'sent', amount: 50, gold: 25 },
          { id: '1', kind: 'sent', amount: 30, gold: 75 },
        ],
      },
    ],
  ])
  const { entries } = await purse.history({})
  assert.deepEqual(
    entries.map(({ kind, amount }) => [kind, amount]),
    [
      ['received', 10],
      ['deposit', MAX_GOLD - 40],
      ['received', 30],
    ],
  )
  tool.close()
}

async function assertMarketWorksOn(running: Running, run: string): Promise<void> {
  try {
    await assertMarketWorks(running.url, run)
  } finally {
    await running.stop()
  }
}

async function goldOf(tool: Awaited<ReturnType<typeof connectTool>>): Promise<unknown> {
  const [answer] = await tool.ask([404, {}])
  return (answer![1] as { gold: number }).gold
}

test('runs the market on Node without MySQL', async () => {
  const running = await node()
  await assertMarketWorksOn(running, 'n')
})

test('runs the market on workerd without MySQL', async () => {
  const running = await workerd()
  await assertMarketWorksOn(running, 'w')
})

test('refuses to start before the migration, with the command to run', { skip }, async () => {
  const { code, stderr } = await runToEnd(['serve', '--app', APP, '--mysql', mysql, '--http', '0', '--tcp', '0'])
  assert.equal(code, 2)
  assert.match(stderr, /^firefly: the database is not ready .*run: firefly migrate apply/)
})

test('runs the market on Node and on workerd with MySQL', { skip }, async (t) => {
  const migration = await runToEnd(['migrate', 'apply', '--app', APP, '--mysql', mysql])
  assert.equal(migration.code, 0, migration.stderr)
  await using client = openClient(mysql)
  const sum = async (run: string): Promise<unknown> => {
    const text = 'SELECT COUNT(*), SUM(gold), SUM(pending), SUM(entries) FROM purse WHERE player LIKE ?'
    const { rows } = await client.query(sql(text, `%.${run}`))
    return rows[0]
  }
  const total = ['2', String(MAX_GOLD + 65), '0', '8']
  const reset = async (): Promise<void> => {
    await client.query(sql('DELETE FROM firefly_setting'))
  }

  await t.test('class local, on Node', async () => {
    const running = await node('--mysql', mysql)
    await assertMarketWorksOn(running, 'l')
    assert.deepEqual(await sum('l'), total)
  })

  await t.test('class critical, on Node: loses nothing with a lost disk', async () => {
    const running = await node('--mysql', mysql, '--critical')
    await assertMarketWorks(running.url, 'c')
    assert.deepEqual(await sum('c'), total)
    await running.stop()
    const fresh = await node('--mysql', mysql, '--critical')
    const tool = await connectTool(fresh.url)
    assert.deepEqual(await tool.ask([401, { player: 'ada.c' }], [402, { amount: 100, id: 'first' }]), [
      [401, { player: 'ada.c', gold: 65 }],
      [402, { gold: 100 }],
    ])
    await fresh.stop()
  })

  await t.test('on workerd, with the HTTP API of PlanetScale', async () => {
    await reset()
    const endpoint = await startPlanetscale({ mysql })
    const running = await workerd({ DATABASE_URL: endpoint.url })
    await assertMarketWorks(running.url, 'w')
    await waitUntil(async () => JSON.stringify(await sum('w')) === JSON.stringify(total))
    await running.stop()
    await endpoint.close()
  })
})

test('refuses critical tables without MySQL', async () => {
  const { code, stderr } = await runToEnd(['serve', '--app', APP, '--critical', '--http', '0', '--tcp', '0'])
  assert.equal(code, 2)
  assert.match(stderr, /^firefly: table purse is critical: start with --mysql/)
})
