// The conformance game: the counterpart of an SDK under test. Invariant: every command's effect can be observed by another command.

import { firefly, service, shard, t } from 'firefly-game'
import { Account, Counter, Locked, Lounge, Room } from './contract.ts'

const account = service(Account)
  .public()
  .on('login', async (c, { uid }) => {
    await c.login(uid)
    return {}
  })
  .on('notify', (c, { uid, text }) => {
    c.user(uid).push.notice({ text })
    return {}
  })
  .on('kick', (c, { uid, reason }) => {
    c.user(uid).kick(reason)
    return {}
  })

const room = shard(Room, { onBug: 'reset' })
  .public()
  .state(() => ({ count: 0 }))
  .kv({ total: t.u32 })
  .on('join', (c) => {
    const isNew = !c.joined
    const seat = c.join()
    if (isNew) c.others.member({ seat, state: 'joined' })
    return { seat }
  })
  .on('leave', (c) => {
    if (c.joined) c.leave()
    return {}
  })
  .on('say', (c, { text }) => {
    if (c.joined) c.broadcast.said({ seat: c.seat, text })
  })
  .on('add', (c, { amount }) => {
    const total = (c.kv.get('total') ?? 0) + amount
    c.kv.set('total', total)
    return { total }
  })
  .on('addLater', (c, { amount }) => c.kv.set('total', (c.kv.get('total') ?? 0) + amount))
  .on('total', (c) => ({ total: c.kv.get('total') ?? 0 }))
  .on('touch', (c) => ({ count: ++c.state.count }))
  .on('count', (c) => ({ count: ++c.state.count }))
  .on('flood', (c, { events, size }) => {
    const bytes = new Uint8Array(size)
    for (let i = 0; i < events; i++) c.push.filler(bytes)
    return {}
  })
  .on('move', (c, { steps }) => {
    for (let step = 1; step <= steps; step++) c.push.position({ step })
    return {}
  })
  .on('echo', (_c, input) => input)
  .on('refuse', (c) => {
    throw c.fail('NO')
  })
  .on('wait', async (_c, { ms }) => {
    await new Promise((resolve) => setTimeout(resolve, ms))
    return {}
  })
  .on('reset', () => {
    throw new Error('the client asked for a reset')
  })
  .onDisconnect((c) => c.others.member({ seat: c.seat, state: 'away' }))
  .onReconnect((c) => c.others.member({ seat: c.seat, state: 'back' }))
  .onLeave((c) => c.others.member({ seat: c.seat, state: 'left' }))

const counter = shard(Counter, { onBug: 'reset' })
  .public()
  .kv({ sum: t.u32 })
  .state(() => ({ bumps: 0, beats: 0 }))
  .on('add', (c, { n }) => {
    const sum = (c.kv.get('sum') ?? 0) + n
    c.kv.set('sum', sum)
    return { sum }
  })
  .on('addCast', (c, { n }) => c.kv.set('sum', (c.kv.get('sum') ?? 0) + n))
  .on('bump', (c) => ({ n: ++c.state.bumps }))
  .on('bumpAgain', (c) => ({ n: ++c.state.bumps }))
  .on('bumpCast', (c) => void c.state.bumps++)
  .on('read', (c) => ({ sum: c.kv.get('sum') ?? 0, bumps: c.state.bumps }))
  .on('join', (c) => ({ seat: c.join() }))
  .on('emit', (c, { count }) => {
    for (let i = 0; i < count; i++) c.broadcast.beat({ n: ++c.state.beats })
    return { n: c.state.beats }
  })
  .on('place', (c, place) => {
    c.broadcast.placed(place)
    return {}
  })
  .on('refuse', (c) => {
    c.kv.set('sum', 1_000_000)
    throw c.fail('NO')
  })
  .on('crash', () => {
    throw new Error('the client asked for a crash')
  })
  .on('small', () => ({}))

const lounge = shard(Lounge)
  .players()
  .on('enter', (c) => ({ uid: c.uid }))

const locked = shard(Locked)
  .public()
  .admit(() => false)
  .on('enter', () => ({}))

export default firefly({ account, room, counter, lounge, locked })
