// The fuzzed game: echoes, state, rows, members, casts, timers, a service, a bound shard. Invariant: no handler throws
// on an input that its contract accepts.

import { CallError, firefly, service, shard, t, table } from '../../../core/game/index.ts'
import { BoundShard, ControlContract, LoginService, Members, Opaque, Pack, Private, Text } from './contract.ts'

const items = table(
  'fuzz_item',
  { pack: t.string(128), id: t.int(0, 63), text: t.string(200), blob: t.bytes(256) },
  { key: ['pack', 'id'], shardKey: 'pack', owner: Pack },
)

type Nothing = Record<never, never>
const U32 = 2 ** 32
const LATE_MS = 2
/** Seats are reserved, but shorter than a drill would have to wait for. */
const LINGER_MS = 300

const opaque = shard(Opaque)
  .public()
  .on('echo', (_c, body) => body)
  .on('short', (_c, body) => body)
  .on('cast', () => {})
  .on('deny', (c) => {
    throw c.fail('NO')
  })
  .on('limited', (_c, body) => body)
  .on('maybe', (_c, body) => (body.length % 2 === 0 ? body : undefined))
  .on('hidden', (_c, body) => body)
  .on('barrier', (_c, body) => body)
  .on('high', (_c, body) => body)

const text = shard(Text)
  .public()
  .kv({ sum: t.u32 })
  .on('echo', (_c, input) => input)
  .on('mirror', (_c, { n, text: content }) => ({ n: (n + 1) % U32, text: reversed(content) }))
  .on('deny', (c, { n }) => {
    if (n % 2 === 0) throw c.fail('NO', `${n}`)
    return { n }
  })
  .on('cast', () => {})
  .on('keep', (c, { n }) => {
    const sum = ((c.kv.get('sum') ?? 0) + n) % U32
    c.kv.set('sum', sum)
    return { sum }
  })
  .on('keepQuietly', (c, { n }) => c.kv.set('sum', n))
  .on('empty', () => {})
  .on('late', async (_c, input) => {
    await new Promise((resolve) => setTimeout(resolve, LATE_MS))
    return input
  })

const pack = shard(Pack)
  .public()
  .tables({ items })
  .kv({ sum: t.u32 })
  .state(() => ({ count: 0 }))
  .timer('ring', { n: t.u32 }, (c, { n }) => c.broadcast.counted({ n }))
  .answer('given', Pack.entries.receive, { n: t.u32 }, (c, { n }) => c.kv.set('sum', n))
  .on('echo', (_c, input) => input)
  .on('count', (c) => {
    c.push.counted({ n: c.state.count })
    return { n: c.state.count++ }
  })
  .on('keep', (c, { n }) => {
    const sum = ((c.kv.get('sum') ?? 0) + n) % U32
    c.kv.set('sum', sum)
    return { sum }
  })
  .on('put', (c, { id, text: content, blob }) => {
    const row = c.rows.items.get(id)
    if (row) row.update({ text: content, blob })
    else c.rows.items.insert({ pack: c.key, id, text: content, blob })
    return { rows: c.rows.items.all().length }
  })
  .on('take', (c, { id }) => {
    const row = c.rows.items.get(id)
    row?.delete()
    return { found: row !== undefined }
  })
  .on('all', (c, { limit = 64 }) => ({
    texts: c.rows.items.all({}, { limit: Math.min(Math.max(limit, 1), 64) }).map((row) => row.text),
  }))
  .on('join', (c, { groups }) => ({ seat: c.join(...groups) }))
  .on('leave', (c) => {
    const { joined } = c
    if (joined) c.leave()
    return { joined }
  })
  .on('say', (c, { text: content, group }) => {
    if (group) c.group(group).said({ text: content })
    else c.others.said({ text: content })
    return {}
  })
  .on('ask', async (c, { to }) => {
    try {
      return { n: (await c.at(Pack, to).call.again()).n, error: '' }
    } catch (error) {
      if (error instanceof CallError) return { n: 0, error: error.code }
      throw error
    }
  })
  .on('give', (c, { to, n }) => {
    c.at(Pack, to).cast.receive({ n }, { answer: 'given', data: { n } })
    return {}
  })
  .on('receive', (c, { n }) => {
    c.kv.set('sum', n)
    return { n }
  })
  .on('remind', (c, { ms, durable }) => {
    if (durable) c.schedule(ms, 'ring', { n: ms })
    else c.setTimer(ms, 'ring', { n: ms })
    return {}
  })
  .on('deny', (c): Nothing => {
    throw c.fail('NO')
  })
  .on('again', (c) => ({ n: c.state.count }))
  .on('poke', (c, { uid }) => {
    c.user(uid).push.counted({ n: 1 })
    return {}
  })
  .on('kick', (c, { uid }) => {
    c.user(uid).kick('bye')
    return {}
  })
  .linger(LINGER_MS)
  .onLeave((c) => c.broadcast.counted({ n: c.seat }))
  .onDisconnect((c) => c.broadcast.counted({ n: c.seat }))
  .onReconnect((c) => c.broadcast.counted({ n: c.seat }))
  .onResync((c) => c.push.counted({ n: c.seat }))

const login = service(LoginService)
  .public()
  .on('enter', (c, { player }) => {
    c.bind(BoundShard, player)
    return { player }
  })
  .on('wait', async (_c, input) => {
    await new Promise((resolve) => setTimeout(resolve, LATE_MS))
    return input
  })
  .on('login', async (c, { uid }) => {
    try {
      await c.login(uid)
      return { uid, error: '' }
    } catch (error) {
      if (error instanceof CallError) return { uid, error: error.code }
      throw error
    }
  })

const members = shard(Members)
  .players()
  .on('touch', (c) => ({ uid: c.uid }))

const bound = shard(BoundShard)
  .bound()
  .state(() => ({ n: 0 }))
  .on('touch', (c) => {
    c.push.mine({ n: c.state.n })
    return { n: c.state.n++ }
  })

const control = shard(ControlContract)
  .public()
  .kv({ sum: t.u32 })
  .state(() => ({ count: 0 }))
  .on('ask', (c, { n, text: content }) => {
    c.join()
    const count = ++c.state.count
    c.push.counted({ count })
    return { n: (n + 1) % U32, text: reversed(content), count }
  })
  .on('keep', (c, { n }) => {
    const sum = ((c.kv.get('sum') ?? 0) + n) % U32
    c.kv.set('sum', sum)
    return { sum }
  })

const hidden = shard(Private).on('open', () => ({}))

export default firefly({ opaque, text, pack, login, members, bound, control, private: hidden })

/** The characters of the text from the last to the first. */
export function reversed(content: string): string {
  return Array.from(content).toReversed().join('')
}
