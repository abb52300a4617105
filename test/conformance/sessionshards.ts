// Sessions that come and go, and who they are: a hall that counts what its members miss, a login, and shards that not
// everybody may open. The fourth part of the game under test.

import { command, contract, event, service, shard, t, type AuthRequest } from '../../core/game/index.ts'

const name = t.string(64)
const number = { n: t.u32 }

/** Events with a number of the game's own, so that a case sees what is missing. */
export const Hall = contract('hall', {
  enter: command(1600, {}, { seat: t.u32 }),
  /** So many `beat` to all members. */
  beats: command(1601, { count: t.u32, pad: t.u32 }, number),
  /** So many `place` of each of so many things. */
  places: command(1602, { count: t.u32, things: t.u32 }, number),
  log: command(1603, {}, { lines: t.array(name, 1_000), size: t.u32, uid: name }),
  quit: command(1604, {}, {}),
  costly: command(1605, {}, number, { cost: 1_000 }),
  beat: event(1640, { n: t.u32, pad: t.string(60_000) }),
  place: event(1641, { thing: t.u32, n: t.u32 }, { latest: 'thing' }),
  fresh: event(1642, { n: t.u32 }),
})

export const hall = shard(Hall)
  .public()
  .linger(2_000)
  .state(() => ({ beats: 0, lines: [] as string[] }))
  .on('enter', (c) => ({ seat: c.join() }))
  .on('beats', (c, { count, pad }) => {
    for (let i = 0; i < count; i++) c.broadcast.beat({ n: ++c.state.beats, pad: 'x'.repeat(pad) })
    return { n: c.state.beats }
  })
  .on('places', (c, { count, things }) => {
    for (let n = 1; n <= count; n++) for (let thing = 0; thing < things; thing++) c.broadcast.place({ thing, n })
    return { n: count }
  })
  .on('log', (c) => ({ lines: c.state.lines, size: c.size, uid: c.uid }))
  .on('costly', (c) => ({ n: ++c.state.beats }))
  .on('quit', (c) => {
    c.leave()
    return {}
  })
  .away((c) => c.state.lines.push(`away ${c.seat}`))
  .back((c) => c.state.lines.push(`back ${c.seat}`))
  .leave((c) => c.state.lines.push(`left ${c.seat}`))
  .resync((c) => {
    c.state.lines.push(`resync ${c.seat}`)
    c.push.fresh({ n: c.state.beats })
  })

/** Who a session is. */
export const Gatehouse = contract('gatehouse', {
  login: command(1610, { uid: name }, { uid: name }, { codec: 'json' }),
  who: command(1611, {}, { uid: name }, { codec: 'json' }),
  kick: command(1612, { uid: name, reason: name }, {}),
  tell: command(1613, { uid: name, n: t.u32 }, {}),
  /** Logs in, and pushes at once to whom it has let in. */
  arrive: command(1614, { uid: name, greetings: t.u32 }, { uid: name }),
  told: event(1650, number, { codec: 'json' }),
})

export const gatehouse = service(Gatehouse)
  .public()
  .on('login', async (c, { uid }) => {
    await c.login(uid)
    return { uid: c.uid }
  })
  .on('who', (c) => ({ uid: c.uid }))
  .on('kick', (c, { uid, reason }) => {
    c.user(uid).kick(reason)
    return {}
  })
  .on('arrive', async (c, { uid, greetings }) => {
    await c.login(uid)
    for (let n = 1; n <= greetings; n++) c.user(uid).push.told({ n })
    return { uid: c.uid }
  })
  .on('tell', (c, { uid, n }) => {
    c.user(uid).push.told({ n })
    return {}
  })

/** For those who have logged in, each their own key; `shared-…` is everybody's, `once-…` that of the first to ask. */
export const Study = contract('study', { sit: command(1620, {}, { uid: name, n: t.u32 }, { codec: 'json' }) })

/** Keys that let in once. */
const usedOnceKeys = new Set<string>()

export const study = shard(Study)
  .players()
  .state(() => ({ n: 0 }))
  .admit(async (who, key) => {
    await Promise.resolve()
    if (key === 'broken') throw new Error('the bug of the suite')
    if (key.startsWith('once-')) return usedOnceKeys.size < usedOnceKeys.add(key).size
    return key === who.uid || key.startsWith('shared-') || key === 'main'
  })
  .on('sit', (c) => ({ uid: c.uid, n: ++c.state.n }))

/** A ticket is the uid itself, but for those that say what is wrong with them. */
export async function auth({ ticket, log }: AuthRequest): Promise<string | null> {
  const uid = new TextDecoder().decode(ticket)
  log.info('a ticket is shown', { bytes: ticket.length })
  await Promise.resolve()
  if (uid === 'broken') throw new Error('the bug of the suite')
  return uid === 'forged' ? null : uid
}
