// Shards for sessions: a hall whose members disconnect and resume, a login service, and shards with an admission rule.

import { command, contract, event, service, shard, t, type AuthRequest } from '../../core/game/index.ts'

const name = t.string(64)
const number = { n: t.u32 }

/** Events numbered by the game, so that a case sees which are missing. */
export const Hall = contract('hall', {
  enter: command(1600, {}, { seat: t.u32 }),
  /** Broadcasts `beat` `count` times. */
  broadcastBeats: command(1601, { count: t.u32, pad: t.u32 }, number),
  /** Broadcasts `place` `count` times for each entity. */
  broadcastPlaces: command(1602, { count: t.u32, entities: t.u32 }, number),
  log: command(1603, {}, { lines: t.array(name, 1_000), size: t.u32, uid: name }),
  leave: command(1604, {}, {}),
  costly: command(1605, {}, number, { cost: 1_000 }),
  /** A reply of this size. */
  pad: command(1606, { bytes: t.u32 }, { pad: t.string(4_000_000) }),
  beat: event(1640, { n: t.u32, pad: t.string(60_000) }),
  place: event(1641, { entity: t.u32, n: t.u32 }, { latest: 'entity' }),
  freshState: event(1642, { n: t.u32 }),
})

export const hall = shard(Hall)
  .public()
  .linger(2_000)
  .state(() => ({ beats: 0, lines: [] as string[] }))
  .on('enter', (c) => ({ seat: c.join() }))
  .on('broadcastBeats', (c, { count, pad }) => {
    for (let i = 0; i < count; i++) c.broadcast.beat({ n: ++c.state.beats, pad: 'x'.repeat(pad) })
    return { n: c.state.beats }
  })
  .on('broadcastPlaces', (c, { count, entities }) => {
    for (let n = 1; n <= count; n++) for (let entity = 0; entity < entities; entity++) c.broadcast.place({ entity, n })
    return { n: count }
  })
  .on('log', (c) => ({ lines: c.state.lines, size: c.size, uid: c.uid }))
  .on('costly', (c) => ({ n: ++c.state.beats }))
  .on('pad', (_, { bytes }) => ({ pad: 'x'.repeat(bytes) }))
  .on('leave', (c) => {
    c.leave()
    return {}
  })
  .onDisconnect((c) => c.state.lines.push(`away ${c.seat}`))
  .onReconnect((c) => c.state.lines.push(`back ${c.seat}`))
  .onLeave((c) => c.state.lines.push(`left ${c.seat}`))
  .onResync((c) => {
    c.state.lines.push(`resync ${c.seat}`)
    c.push.freshState({ n: c.state.beats })
  })

/** Logins, kicks and pushes. */
export const Accounts = contract('accounts', {
  login: command(1610, { uid: name }, { uid: name }, { codec: 'json' }),
  currentUid: command(1611, {}, { uid: name }, { codec: 'json' }),
  kick: command(1612, { uid: name, reason: name }, {}),
  push: command(1613, { uid: name, n: t.u32 }, {}),
  /** Logs in, and pushes to the new uid in the same turn. */
  loginAndPush: command(1614, { uid: name, pushes: t.u32 }, { uid: name }),
  pushed: event(1650, number, { codec: 'json' }),
})

export const accounts = service(Accounts)
  .public()
  .on('login', async (c, { uid }) => {
    await c.login(uid)
    return { uid: c.uid }
  })
  .on('currentUid', (c) => ({ uid: c.uid }))
  .on('kick', (c, { uid, reason }) => {
    c.user(uid).kick(reason)
    return {}
  })
  .on('loginAndPush', async (c, { uid, pushes }) => {
    await c.login(uid)
    for (let n = 1; n <= pushes; n++) c.user(uid).push.pushed({ n })
    return { uid: c.uid }
  })
  .on('push', (c, { uid, n }) => {
    c.user(uid).push.pushed({ n })
    return {}
  })

/** For logged-in players: each may open its own key, all may open `shared-…`, the first to open `once-…` may. */
export const PlayerRoom = contract('playerroom', {
  enter: command(1620, {}, { uid: name, n: t.u32 }, { codec: 'json' }),
})

/** Keys that admit one session. */
const usedOnceKeys = new Set<string>()

export const playerRoom = shard(PlayerRoom)
  .players()
  .state(() => ({ n: 0 }))
  .admit(async (who, key) => {
    await Promise.resolve()
    if (key === 'broken') throw new Error('intended bug')
    if (key.startsWith('once-')) return usedOnceKeys.size < usedOnceKeys.add(key).size
    return key === who.uid || key.startsWith('shared-') || key === 'main'
  })
  .on('enter', (c) => ({ uid: c.uid, n: ++c.state.n }))

/** The client's address as the game receives it. */
const address = t.string(64)
export const Visits = contract('visits', {
  /** `remote`: of this call; `admitted`: of the admission of this key. */
  read: command(1660, {}, { remote: address, admitted: address }, { codec: 'json' }),
  /** Reads it by a call from another shard. */
  readFromShard: command(1661, { key: name }, { remote: address, admitted: address }, { codec: 'json' }),
})
/** By key. */
const admittedAddresses = new Map<string, string>()

export const visits = shard(Visits)
  .public()
  .admit((who, key) => {
    admittedAddresses.set(key, who.remote)
    return true
  })
  .on('read', (c) => ({ remote: c.remote, admitted: admittedAddresses.get(c.key) ?? '' }))
  .on('readFromShard', (c, { key }) => c.at(Visits, key).call.read())

/** A ticket is the uid itself, except `broken` and `forged`; that of `address` is the client's address. */
export async function auth({ ticket, remote, log }: AuthRequest): Promise<string | null> {
  const uid = new TextDecoder().decode(ticket)
  log.info('ticket received', { bytes: ticket.length })
  await Promise.resolve()
  if (uid === 'broken') throw new Error('intended bug')
  if (uid === 'address') return `at ${remote}`
  return uid === 'forged' ? null : uid
}
