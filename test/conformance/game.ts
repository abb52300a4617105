// The game under test: one kind of shard for each behaviour that the suite asks about. It runs on every host, so
// it waits without timers: at a gate that another call opens.

import { firefly, service, shard, t } from '../../core/game/index.ts'
import { bank, lobby, locker } from './castshards.ts'
import { alarm, album, brittle, hop, march, errorText, pulse, vault } from './timershards.ts'
import { Bytes, Crew, Desk, Gate, Hop, Ledger, Room } from './contracts.ts'
import { rowScript } from './rowshards.ts'
import { auth, gatehouse, hall, study } from './sessionshards.ts'

const echo = (_c: unknown, body: Uint8Array): Uint8Array => body

const bytes = shard(Bytes, {})
  .public()
  .handlers({ c0: echo, c1: echo, c2: echo, c3: echo, c4: echo, c5: echo, c6: echo, c7: echo })
  .handlers({ c101: echo, c10001: echo, high: echo })
  .on('mute', () => undefined)
  .on('cast', () => {})
  .on('refuse', (c) => {
    throw c.fail('NO')
  })
  .on('bug', () => {
    throw new Error('the bug of the suite')
  })
  .on('slow', async (c, body) => {
    await c.at(Gate).call.ping({ n: 1 })
    return body
  })
  .on('reuse', (c) => {
    c.join()
    const buffer = new Uint8Array([1])
    c.broadcast.frame(buffer)
    buffer[0] = 2
    c.broadcast.frame(buffer)
    buffer[0] = 3
    return buffer
  })

const desk = shard(Desk)
  .public()
  .kv({ sum: t.u32 })
  .on('add', (c, { n }) => {
    const sum = (c.kv.get('sum') ?? 0) + n
    c.kv.set('sum', sum)
    c.broadcast.added({ sum })
    return { sum }
  })
  .on('keep', (c, { n }) => {
    const sum = (c.kv.get('sum') ?? 0) + n
    c.kv.set('sum', sum)
    return { sum }
  })
  .on('slow', async (c, { n }) => await c.at(Gate).call.ping({ n }))
  .on('poor', (c) => {
    c.kv.set('sum', 999)
    throw c.fail('POOR')
  })
  .on('undeclared', (c) => {
    throw c.fail('RICH' as never)
  })
  .on('bug', (c) => {
    c.kv.set('sum', 999)
    throw new Error('the bug of the suite')
  })
  .on('limited', (_c, { text }) => ({ size: text.length }))
  .on('quiet', (c, { n }) => {
    c.kv.set('sum', (c.kv.get('sum') ?? 0) + n)
  })
  .on('watch', (c) => ({ seat: c.join() }))
  .on('hold', async (c, { gate }) => {
    await c.at(Gate).call.wait({ name: gate })
    return { n: 1 }
  })

interface SavedContext {
  broadcast: { said(data: { text: string }): void }
}
const room = shard(Room)
  .public()
  .state(() => ({ n: 0, lines: [] as string[], kept: null as SavedContext | null }))
  .on('join', (c, { groups }) => ({ seat: c.join(...groups), size: c.size }))
  .on('leave', (c, { groups }) => {
    c.leave(...groups)
    return { size: c.size }
  })
  .on('who', (c) => ({
    seat: c.joined ? c.seat : -1,
    size: c.size,
    session: c.session,
    lines: c.state.lines,
  }))
  .on('say', (c, { text }) => {
    c.broadcast.said({ text })
    return {}
  })
  .on('others', (c, { text }) => {
    c.others.said({ text })
    return {}
  })
  .on('seat', (c, { seat, text }) => {
    c.to(seat).said({ text })
    return {}
  })
  .on('group', (c, { group, text }) => {
    c.group(group).said({ text })
    return {}
  })
  .on('push', (c, { texts }) => {
    for (const text of texts) c.push.said({ text })
    return {}
  })
  .on('slow', async (c, { tag, gate }) => {
    c.state.lines.push(`${tag}<`)
    if (gate) await c.at(Gate).call.wait({ name: gate })
    else await c.at(Gate).call.ping({ n: 1 })
    c.state.lines.push(`${tag}>`)
    return { tag }
  })
  .on('grow', async (c) => {
    const { n } = c.state
    await c.at(Gate).call.ping({ n })
    c.state.n = n + 1
    return { n: n + 1 }
  })
  .on('keep', (c) => {
    c.state.kept = c
    return {}
  })
  .on('useKept', (c) => {
    c.state.kept?.broadcast.said({ text: 'from a turn that is over' })
    return {}
  })
  .on('joinThenThrow', (c) => {
    c.join('red')
    throw new Error('the bug of the suite')
  })
  .on('leaveThenThrow', (c) => {
    c.leave()
    throw new Error('the bug of the suite')
  })
  .on('echo', (_c, input) => input)
  .on('nothing', () => undefined)
  .on('line', (c, { text }) => {
    c.state.lines.push(text)
  })
  .on('sneak', async (c, { gate }) => {
    c.join()
    c.broadcast.said({ text: 'sneaked' })
    await c.at(Gate).call.wait({ name: gate })
    throw new Error('the bug of the suite')
  })
  .leave((c) => {
    c.state.lines.push(`left ${c.seat}`)
    c.broadcast.left({ seat: c.seat })
  })
  .rejoin((c) => {
    c.state.lines.push(`back ${c.seat}`)
    c.push.back({ seat: c.seat })
  })

interface LedgerContext {
  kv: {
    get(name: 'sum' | 'count'): number | undefined
    set(name: 'sum' | 'luck' | 'count', value: number): void
  }
  random(): number
  broadcast: { changed(data: { sum: number }): void }
}
function addToLedger(c: LedgerContext, n: number): { sum: number; luck: number; count: number } {
  const sum = (c.kv.get('sum') ?? 0) + n
  const count = (c.kv.get('count') ?? 0) + 1
  const luck = Math.floor(c.random() * 4_294_967_296)
  c.kv.set('sum', sum)
  c.kv.set('count', count)
  c.kv.set('luck', luck)
  c.broadcast.changed({ sum })
  return { sum, luck, count }
}

const ledger = shard(Ledger)
  .public()
  .kv({ sum: t.u32, luck: t.u32, count: t.u32, doom: t.u32, text: t.string(200_000) })
  .state(() => ({ bumps: 0 }))
  .timer('soon', {}, (c) => c.kv.set('sum', 666))
  .on('add', (c, { n }) => addToLedger(c, n))
  .on('put', (c, { n }) => addToLedger(c, n))
  .on('quiet', (c, { n }) => {
    addToLedger(c, n)
  })
  .on('doom', (c, { n }) => {
    c.kv.set('doom', n)
    return addToLedger(c, n)
  })
  .on('slowAdd', async (c, { n, gate }) => {
    await c.at(Gate).call.wait({ name: gate })
    return addToLedger(c, n)
  })
  .on('read', (c) => ({
    sum: c.kv.get('sum') ?? 0,
    luck: c.kv.get('luck') ?? 0,
    count: c.kv.get('count') ?? 0,
    bumps: c.state.bumps,
    size: c.size,
  }))
  .on('bump', (c) => ({ n: ++c.state.bumps }))
  .on('again', (c) => ({ n: ++c.state.bumps }))
  .on('forget', (c) => {
    c.kv.delete('sum')
    return {}
  })
  .on('hoard', (c, { size }) => {
    try {
      c.kv.set('text', 'x'.repeat(size))
      return { error: '' }
    } catch (error) {
      return { error: errorText(error) }
    }
  })
  .on('watch', (c) => ({ seat: c.join() }))
  .on('refuse', (c) => {
    addToLedger(c, 1)
    throw c.fail('NO', 'not today')
  })
  .on('breakAll', (c, { how }) => {
    addToLedger(c, 7)
    c.kv.delete('luck')
    c.join('red')
    c.push.changed({ sum: 7 })
    c.at(Hop, c.key).cast.note({ text: 'from a turn that threw' })
    c.after(1, 'soon')
    c.later(1, 'soon')
    if (how === 'refuse') throw c.fail('NO')
    if (how === 'undeclared') throw c.fail('MAYBE' as never)
    if (how === 'output') return { n: -1 }
    throw new Error('the bug of the suite')
  })

/** Gates live beside the shards, not in one: who waits must not hold the mailbox that `open` comes through. */
const gates = new Map<string, { isOpen: boolean; waiting: (() => void)[] }>()
function gateState(name: string): { isOpen: boolean; waiting: (() => void)[] } {
  const gate = gates.get(name) ?? { isOpen: false, waiting: [] }
  gates.set(name, gate)
  return gate
}

const gate = service(Gate, { concurrency: 256 })
  .public()
  .on('wait', async (_c, { name }) => {
    const gate = gateState(name)
    // A promise for each: on Workers one that another object made may belong to a life that is over.
    if (!gate.isOpen) await new Promise<void>((resolve) => gate.waiting.push(resolve))
    return {}
  })
  .on('open', (_c, { name }) => {
    const gate = gateState(name)
    gate.isOpen = true
    for (const resolve of gate.waiting.splice(0)) resolve()
    return {}
  })
  .on('waiting', (_c, { name }) => ({ n: gates.get(name)?.waiting.length ?? 0 }))
  .on('ping', (_c, { n }) => ({ n }))

const crew = service(Crew, { concurrency: 3 })
  .public()
  .on('work', async (c, { gate }) => {
    await c.at(Gate).call.wait({ name: gate })
    return {}
  })

export const game = firefly(
  {
    bytes,
    desk,
    room,
    ledger,
    gate,
    crew,
    hop,
    vault,
    alarm,
    pulse,
    march,
    album,
    brittle,
    keep: rowScript,
    bank,
    lobby,
    locker,
    hall,
    gatehouse,
    study,
  },
  { auth },
)
