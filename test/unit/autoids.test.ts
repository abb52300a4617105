// A handler that waits for an id of MySQL, in memory: the answer that its caller gets when MySQL returns none.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, firefly, shard, t, table } from '../../core/game/index.ts'
import { testGame } from '../../edge/testing/index.ts'

const Box = contract('box', {
  put: command(1, { name: t.string(20) }, { id: t.u32 }, { durable: true }),
  again: command(2, { id: t.u32 }, { name: t.string(20) }),
})
const mails = table(
  'mails',
  { box: t.string(64), id: t.u32, name: t.string(20) },
  { key: ['box', 'id'], unique: ['name'], ids: 'auto', owner: Box },
)
const server = firefly({
  box: shard(Box)
    .public()
    .tables({ mails })
    .on('put', async (c, { name }) => ({ id: (await c.rows.mails.insert({ name })).id }))
    .on('again', async (c, { id }) => ({ name: (await c.rows.mails.invalidate(id))?.name ?? '' })),
})

test('a call that needs an id is answered RETRY_LATER while MySQL is down, and works afterwards', async () => {
  await using game = await testGame(server, { mysql: true })
  const box = (await game.player('ada')).open(Box, 'ada')
  assert.deepEqual(await box.call.put({ name: 'a' }), { id: 1 })
  game.mysql.stop()
  await assert.rejects(box.call.put({ name: 'b' }), { name: 'CallError', code: 'RETRY_LATER' })
  await assert.rejects(box.call.again({ id: 1 }), { name: 'CallError', code: 'RETRY_LATER' })
  game.mysql.start()
  assert.deepEqual(await box.call.put({ name: 'b' }), { id: 2 })
  assert.deepEqual(
    game.log.filter(({ level }) => level === 'error'),
    [],
  )
})

test('a call whose row MySQL refuses when it gives the id is answered REJECTED, with the cause', async () => {
  await using game = await testGame(server, { mysql: true })
  const [ada, bob] = [await game.player('ada'), await game.player('bob')]
  await ada.open(Box, 'ada').call.put({ name: 'a' })
  await game.advance(1_000)
  const box = bob.open(Box, 'bob')
  await assert.rejects(box.call.put({ name: 'a' }), { code: 'REJECTED', message: /table mails: duplicate name/ })
  assert.deepEqual(game.mysql.rows(mails).length, 1)
  const [logged] = game.log.filter(({ level }) => level === 'error')
  assert.match(logged!.message, /MySQL refused/)
})
