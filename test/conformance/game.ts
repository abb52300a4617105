// The game under test: one kind of shard for each tested behaviour. It runs on every host. Invariant: handlers wait
// without timers, at a gate that another call opens.

import { firefly, service, shard, t } from '../../core/game/index.ts'
import { bank, lobby, locker } from './castshards.ts'
import { alarm, snapshots, resetOnBug, hop, stepper, errorText, ticker, vault } from './timershards.ts'
import { Bytes, Crew, Desk, Gate, Hop, Ledger, Room } from './contracts.ts'
import { archive, listShard } from './datashards.ts'
import { journal, tenant } from './hookshards.ts'
import { rowScript } from './rowshards.ts'
import { auth, accounts, hall, playerRoom, visits } from './sessionshards.ts'

const echo = (_c: unknown, body: Uint8Array): Uint8Array => body

const bytes = shard(Bytes, {})
  .public()
  .handlers({ c0: echo, c1: echo, c2: echo, c3: echo, c4: echo, c5: echo, c6: echo, c7: echo })
  .handlers({ c101: echo, c10001: echo, high: echo })
  .on('noReply', () => undefined)
  .on('cast', () => {})
  .on('refuse', (c) => {
    throw c.fail('NO')
  })
  .on('bug', () => {
    throw new Error('intended bug')
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
  .on('addDurable', (c, { n }) => {
    const sum = (c.kv.get('sum') ?? 0) + n
    c.kv.set('sum', sum)
    return { sum }
  })
  .on('slow', async (c, { n }) => await c.at(Gate).call.ping({ n }))
  .on('refuse', (c) => {
    c.kv.set('sum', 999)
    throw c.fail('POOR')
  })
  .on('undeclared', (c) => {
    throw c.fail('RICH' as never)
  })
  .on('bug', (c) => {
    c.kv.set('sum', 999)
    throw new Error('intended bug')
  })
  .on('limited', (_c, { text }) => ({ size: text.length }))
  .on('addNoReply', (c, { n }) => {
    c.kv.set('sum', (c.kv.get('sum') ?? 0) + n)
  })
  .on('watch', (c) => ({ seat: c.join() }))
  .on('waitAtGate', async (c, { gate }) => {
    await c.at(Gate).call.wait({ name: gate })
    return { n: 1 }
  })

interface SavedContext {
  broadcast: { message(data: { text: string }): void }
}
const room = shard(Room)
  .public()
  .state(() => ({ n: 0, lines: [] as string[], savedContext: null as SavedContext | null }))
  .on('join', (c, { groups }) => ({ seat: c.join(...groups), size: c.size }))
  .on('leave', (c, { groups }) => {
    c.leave(...groups)
    return { size: c.size }
  })
  .on('info', (c) => ({
    seat: c.joined ? c.seat : -1,
    size: c.size,
    session: c.session,
    lines: c.state.lines,
  }))
  .on('say', (c, { text }) => {
    c.broadcast.message({ text })
    return {}
  })
  .on('sayToOthers', (c, { text }) => {
    c.others.message({ text })
    return {}
  })
  .on('sayToSeat', (c, { seat, text }) => {
    c.to(seat).message({ text })
    return {}
  })
  .on('sayToGroup', (c, { group, text }) => {
    c.group(group).message({ text })
    return {}
  })
  .on('pushTexts', (c, { texts }) => {
    for (const text of texts) c.push.message({ text })
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
  .on('saveContext', (c) => {
    c.state.savedContext = c
    return {}
  })
  .on('useSavedContext', (c) => {
    c.state.savedContext?.broadcast.message({ text: 'from an ended turn' })
    return {}
  })
  .on('joinThenThrow', (c) => {
    c.join('red')
    throw new Error('intended bug')
  })
  .on('leaveThenThrow', (c) => {
    c.leave()
    throw new Error('intended bug')
  })
  .on('echo', (_c, input) => input)
  .on('returnUndefined', () => undefined)
  .on('appendLine', (c, { text }) => {
    c.state.lines.push(text)
  })
  .on('joinThenThrowLater', async (c, { gate }) => {
    c.join()
    c.broadcast.message({ text: 'joined' })
    await c.at(Gate).call.wait({ name: gate })
    throw new Error('intended bug')
  })
  .onLeave((c) => {
    c.state.lines.push(`left ${c.seat}`)
    c.broadcast.left({ seat: c.seat })
  })
  .onRejoin((c) => {
    c.state.lines.push(`back ${c.seat}`)
    c.push.rejoined({ seat: c.seat })
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
  .kv({ sum: t.u32, luck: t.u32, count: t.u32, crashAfterCommit: t.u32, text: t.string(200_000) })
  .state(() => ({ bumps: 0 }))
  .timer('soon', {}, (c) => c.kv.set('sum', 666))
  .on('add', (c, { n }) => addToLedger(c, n))
  .on('addVolatile', (c, { n }) => addToLedger(c, n))
  .on('addNoReply', (c, { n }) => {
    addToLedger(c, n)
  })
  .on('addThenCrash', (c, { n }) => {
    c.kv.set('crashAfterCommit', n)
    return addToLedger(c, n)
  })
  .on('addAfterGate', async (c, { n, gate }) => {
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
  .on('bumpWithResend', (c) => ({ n: ++c.state.bumps }))
  .on('deleteSum', (c) => {
    c.kv.delete('sum')
    return {}
  })
  .on('setText', (c, { size }) => {
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
  .on('changeAllThenFail', (c, { how }) => {
    addToLedger(c, 7)
    c.kv.delete('luck')
    c.join('red')
    c.push.changed({ sum: 7 })
    c.at(Hop, c.key).cast.note({ text: 'from a turn that threw' })
    c.schedule(1, 'soon')
    c.setTimer(1, 'soon')
    if (how === 'refuse') throw c.fail('NO')
    if (how === 'undeclared') throw c.fail('MAYBE' as never)
    if (how === 'output') return { n: -1 }
    throw new Error('intended bug')
  })

/** Outside of the shards: a waiting turn must not block the mailbox through which `open` arrives. */
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
    // One promise per waiting turn: on Workers, a promise of another object may belong to an ended activation.
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
    ticker,
    stepper,
    snapshots,
    resetOnBug,
    rows: rowScript,
    bank,
    lobby,
    locker,
    hall,
    accounts,
    playerroom: playerRoom,
    visits,
    archive,
    lists: listShard,
    journal,
    tenant,
  },
  { auth },
)
