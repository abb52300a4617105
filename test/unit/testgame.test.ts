// The test kit 'firefly-game/testing', as an author uses it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, event, firefly, service, shard, t, table } from '../../core/game/index.ts'
import { testGame } from '../../edge/testing/index.ts'

const uid = t.string(120)
const gold = t.int(0, 1_000_000)
const Chat = contract(
  'chat',
  {
    join: command(1, {}, { seat: t.u16 }),
    say: command(2, { text: t.string(200) }, {}),
    mumble: command(3, { text: t.string(200) }),
    remind: command(4, { ms: t.u32, durable: t.bool }, {}),
    fetch: command(5, { ms: t.u32 }, { ms: t.u32 }),
    bug: command(6, {}, {}),
    forbidden: command(7, {}, {}),
    reminders: command(8, {}, { lines: t.u32, times: t.array(t.f64, 9) }),
    said: event(10, { uid, text: t.string(200) }),
    reminded: event(11, { atMs: t.f64 }),
    gone: event(12, { uid }),
  },
  { refuses: ['NO'] },
)
const Purse = contract(
  'purse',
  {
    read: command(20, {}, { gold, answers: t.u32 }),
    give: command(21, { to: uid, amount: gold }, { gold }, { durable: true }),
    receive: command(22, { amount: gold }, {}, { durable: true, internal: true }),
    came: event(30, { amount: gold }),
  },
  { refuses: ['TOO_POOR'] },
)
const Gate = contract('gate', { enter: command(40, { name: uid }, { uid }) })

const purses = table('kit_purse', { uid, gold }, { key: 'uid', owner: Purse, class: 'critical' })

const chat = shard(Chat)
  .public()
  .state(() => ({ lines: 0 }))
  .kv({ times: t.array(t.f64, 9) })
  .timer('remind', {}, (c) => {
    c.kv.set('times', [...(c.kv.get('times') ?? []), c.now])
    c.broadcast.reminded({ atMs: c.now })
  })
  .on('reminders', (c) => ({ lines: c.state.lines, times: c.kv.get('times') ?? [] }))
  .on('join', (c) => ({ seat: c.join() }))
  .on('say', (c, { text }) => {
    c.state.lines++
    c.broadcast.said({ uid: c.uid, text })
    return {}
  })
  .on('mumble', (c, { text }) => c.broadcast.said({ uid: c.uid, text }))
  .on('remind', (c, { ms, durable }) => {
    if (durable) c.schedule(ms, 'remind')
    else c.setTimer(ms, 'remind')
    return {}
  })
  .on('fetch', async (_c, { ms }) => {
    const startMs = performance.now()
    await new Promise((resolve) => setTimeout(resolve, ms))
    return { ms: Math.round(performance.now() - startMs) }
  })
  .on('bug', () => {
    throw new Error('the bug of the test')
  })
  .on('forbidden', (c) => {
    throw c.fail('NO', 'not now')
  })
  .onLeave((c) => c.broadcast.gone({ uid: c.uid }))

const purse = shard(Purse)
  .players()
  .tables({ purses })
  .kv({ answers: t.u32 })
  .answer('given', Purse.entries.receive, {}, (c) => c.kv.set('answers', (c.kv.get('answers') ?? 0) + 1))
  .on('read', (c) => ({ gold: c.rows.purses.get()?.gold ?? 100, answers: c.kv.get('answers') ?? 0 }))
  .on('give', (c, { to, amount }) => {
    const row = c.rows.purses.get() ?? c.rows.purses.insert({ gold: 100 })
    if (row.gold < amount) throw c.fail('TOO_POOR')
    row.increment('gold', -amount)
    c.at(Purse, to).cast.receive({ amount }, { answer: 'given' })
    return { gold: row.gold }
  })
  .on('receive', (c, { amount }) => {
    const row = c.rows.purses.get() ?? c.rows.purses.insert({ gold: 100 })
    row.increment('gold', amount)
    c.user(c.key).push.came({ amount })
    return {}
  })

const gate = service(Gate)
  .public()
  .on('enter', async (c, { name }) => {
    await c.login(name)
    return { uid: name }
  })

const server = firefly({ chat, purse, gate }, { auth: ({ ticket }) => (ticket[0] === 0x21 ? 'platform-player' : null) })

test('two players talk, and each event is taken once', async () => {
  await using game = await testGame(server)
  const [ada, bob] = [await game.player('ada'), await game.player('bob')]
  const [adas, bobs] = [ada.open(Chat, 'lobby'), bob.open(Chat, 'lobby')]
  assert.deepEqual(await adas.call.join(), { seat: 0 })
  assert.deepEqual(await bobs.call.join(), { seat: 1 })
  await adas.call.say({ text: 'hi' })
  await bobs.call.mumble({ text: 'ho' })
  assert.deepEqual(await bobs.next('said'), { uid: 'ada', text: 'hi' })
  assert.deepEqual(await bobs.next('said'), { uid: 'bob', text: 'ho' })
  assert.deepEqual(await adas.next('said', { where: ({ text }) => text === 'ho' }), { uid: 'bob', text: 'ho' })
  assert.equal(adas.received('said').length, 2)
  const missing = 'no such event chat.said within 1000 ms; none arrived'
  await assert.rejects(adas.next('said'), { message: missing })
  await adas.call.say({ text: 'again' })
  await assert.rejects(
    bobs.next('said', { where: ({ uid }) => uid === 'eve', withinMs: 10 }),
    /1 others arrived: {"uid":"ada"/,
  )
})

test('an hour passes in a moment, and timers fire at their time', async () => {
  await using game = await testGame(server)
  const room = (await game.player('ada')).open(Chat, 'lobby')
  await room.call.join()
  const startMs = game.now
  await room.call.remind({ ms: 3_600_000, durable: false })
  await game.advance(3_599_000)
  assert.deepEqual(room.received('reminded'), [])
  await game.advance(2_000)
  const { atMs } = await room.next('reminded')
  assert.ok(atMs - startMs >= 3_600_000 && atMs - startMs < 3_600_100, String(atMs - startMs))
  await assert.rejects(game.advance(-1), RangeError)
})

test('a killed server loses volatile state and keeps durable timers; sessions resume', async () => {
  await using game = await testGame(server)
  const room = (await game.player('ada')).open(Chat, 'lobby')
  await room.call.join()
  await room.call.say({ text: 'hi' })
  await room.call.remind({ ms: 500, durable: false })
  await room.call.remind({ ms: 5_000, durable: true })
  await game.kill()
  await assert.rejects(game.kill(), /does not run/)
  await game.advance(60_000)
  await game.start()
  assert.equal(room.count('restart'), 1)
  const { lines, times } = await room.call.reminders()
  assert.deepEqual([lines, times.length], [0, 1])
  await game.restart()
  await game.evict(Chat, 'lobby')
  assert.deepEqual(await room.call.reminders(), { lines: 0, times })
  await assert.rejects(game.start(), /runs already/)
})

test('a player loses the connection and misses nothing; one that stays away leaves', async () => {
  await using game = await testGame(server)
  const [ada, bob] = [await game.player('ada'), await game.player('bob')]
  const [adas, bobs] = [ada.open(Chat, 'lobby'), bob.open(Chat, 'lobby')]
  await adas.call.join()
  await bobs.call.join()
  await bob.disconnect()
  assert.equal(bob.state, 'paused')
  await adas.call.say({ text: 'missed' })
  await bob.reconnect()
  assert.deepEqual(await bobs.next('said'), { uid: 'ada', text: 'missed' })
  await bob.disconnect()
  await game.advance(31_000)
  assert.deepEqual(await adas.next('gone'), { uid: 'bob' })
  await ada.leave()
  assert.equal(ada.state, 'closed')
})

test('gold moves between two shards exactly once, also when the database fails and the server is killed', async () => {
  await using game = await testGame(server)
  const [ada, bob] = [await game.player('ada'), await game.player('bob')]
  const [adas, bobs] = [ada.open(Purse, 'ada'), bob.open(Purse, 'bob')]
  const came = bob.next(Purse, 'came')
  assert.deepEqual(await adas.call.give({ to: 'bob', amount: 30 }), { gold: 70 })
  assert.deepEqual(await came, { amount: 30 })
  await game.advance(1_000)
  assert.deepEqual(await bobs.call.read(), { gold: 130, answers: 0 })
  assert.deepEqual(await adas.call.read(), { gold: 70, answers: 1 })
  assert.deepEqual(game.mysql.rows(purses), [
    { uid: 'ada', gold: 70 },
    { uid: 'bob', gold: 130 },
  ])
  await assert.rejects(adas.call.give({ to: 'bob', amount: 71 }), { name: 'Refusal', code: 'TOO_POOR' })

  game.mysql.stop()
  await assert.rejects(adas.call.give({ to: 'bob', amount: 10 }), { code: 'RETRY_LATER' })
  await game.kill()
  game.mysql.start()
  await game.start()
  await game.advance(60_000)
  assert.equal((await adas.call.read()).gold + (await bobs.call.read()).gold, 200)

  game.mysql.refuse(purses, ({ gold }) => (Number(gold) < 50 ? 'too little' : null))
  await assert.rejects(adas.call.give({ to: 'bob', amount: 30 }), { code: 'REJECTED' })
})

test('errors of the server reach the test with their cause', async () => {
  await using game = await testGame({ default: server })
  const room = (await game.player('ada')).open(Chat)
  await assert.rejects(room.call.forbidden(), { name: 'Refusal', code: 'NO', message: 'chat.forbidden: not now' })
  // @ts-expect-error -- a number is no text
  await assert.rejects(room.call.say({ text: 5 }), { name: 'InputError' })
  const error = await room.call.bug().catch((error: unknown) => error as Error)
  assert.match(String((error as Error).cause), /the bug of the test[^]*testgame\.test\.ts/)
  assert.equal(game.log.filter(({ level }) => level === 'error').length, 1)
})

test('handlers may wait for real input and output', async () => {
  await using game = await testGame(server)
  const room = (await game.player('ada')).open(Chat)
  assert.ok((await room.call.fetch({ ms: 300 })).ms >= 299)
})

test('players log in by name, by ticket, by a command, or not at all', async () => {
  await using game = await testGame(server)
  const ada = await game.player('ada')
  const platform = await game.player('?', { ticket: '!' })
  await platform.open(Chat).call.join()
  await platform.open(Chat).call.say({ text: 'x' })
  await assert.rejects(game.player('?', { ticket: 'wrong' }), { code: 'BAD_TICKET' })
  const guest = await game.player('guest', { ticket: null })
  await assert.rejects(guest.open(Purse, 'guest').call.read(), { code: 'FORBIDDEN' })
  assert.deepEqual(await guest.open(Gate).call.enter({ name: 'ada' }), { uid: 'ada' })
  await game.until(() => ada.state === 'closed', 'the first session ends')
  assert.equal(ada.closeCode, 'REPLACED')
  assert.throws(() => ada.open(Chat).received('nothing' as never), /no event "nothing"/)
})

test('the same test has the same outcome in every run', async () => {
  const run = async (): Promise<readonly number[]> => {
    await using game = await testGame(server, { seed: 7 })
    const room = (await game.player('ada')).open(Chat)
    await room.call.join()
    await room.call.remind({ ms: 1_234, durable: true })
    await game.restart()
    await game.advance(10_000)
    return (await room.call.reminders()).times
  }
  const times = await run()
  assert.equal(times.length, 1)
  assert.deepEqual(await run(), times)
})
