import assert from 'node:assert/strict'
import test from 'node:test'
import { command, contract, event, firefly, shard, t } from '../../core/game/index.ts'
import { memoryHost } from '../conformance/memory.ts'
const Echo = contract(
  'echo',
  {
    raw: command(1, t.bytes(), t.bytes(), { codec: 'raw' }),
    add: command(2, { n: t.u32 }, { sum: t.u32 }, { durable: true }),
    poor: command(3, {}, {}),
    bug: command(4, {}, {}),
    slow: command(6, {}, { n: t.u32 }),
    said: event(50, { n: t.u32 }),
  },
  { refuses: ['TOO_POOR'] },
)
const echo = shard(Echo)
  .public()
  .kv({ sum: t.u32 })
  .state(() => ({ n: 0 }))
  .on('raw', (_c, body) => body)
  .on('add', (c, { n }) => {
    const sum = (c.kv.get('sum') ?? 0) + n
    c.kv.set('sum', sum)
    c.join()
    c.broadcast.said({ n: sum })
    return { sum }
  })
  .on('poor', (c) => {
    throw c.fail('TOO_POOR')
  })
  .on('bug', () => {
    throw new Error('bug')
  })
  .on('slow', async (c) => {
    await Promise.resolve()
    return { n: ++c.state.n }
  })
const game = firefly({ echo })
test('smoke', async () => {
  const host = memoryHost(game)
  const g = await host.client()
  const e = g.at(Echo)
  let got: unknown
  const said: number[] = []
  e.on('said', ({ n }) => said.push(n))
  e.add({ n: 5 }).then((x) => (got = x))
  await host.until(() => got !== undefined, 'reply')
  assert.deepEqual(got, { sum: 5 })
  assert.deepEqual(said, [5])
  let err: any
  e.poor().catch((x) => (err = x))
  await host.until(() => err, 'refusal')
  assert.equal(err.code, 'TOO_POOR')
  err = null
  e.bug().catch((x) => (err = x))
  await host.until(() => err, 'bug')
  assert.equal(err.code, 'INTERNAL')
  let slow: any
  e.slow().then((x) => (slow = x))
  await host.until(() => slow, 'slow')
  assert.equal(slow.n, 1)
  await host.abort('echo', 'main')
  let again: any
  e.add({ n: 1 }).then((x) => (again = x))
  await host.until(() => again, 'after abort')
  assert.equal(again.sum, 6)
  assert.deepEqual(said, [5, 6])
  const raw = await host.raw()
  raw.send(Buffer.from('00000000000000000000000009000000016173646665', 'hex'))
  await host.until(() => raw.frames.length > 0, 'raw')
  assert.equal(Buffer.from(raw.frames[0]!.body).toString(), 'asdfe')
  await g.close()
})
