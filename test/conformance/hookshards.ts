// A shard with the hooks at the begin and the end of its activations, and a journal that outlives it. A hook waits at the gate
// that the shard's key names, until the gate is open.

import { command, contract, shard, t } from '../../core/game/index.ts'
import { Gate } from './contracts.ts'

const text = t.string(200)
const lines = { lines: t.array(text, 100) }

export const Journal = contract('journal', {
  note: command(1800, { text }, {}, { durable: true }),
  read: command(1801, {}, lines),
})

/** What its key contains decides what its hooks do: `brittle`, `waits`, `throws`. */
export const Tenant = contract('tenant', {
  /** What ran in this activation. */
  read: command(1810, {}, lines),
  join: command(1811, {}, lines),
  schedule: command(1812, { ms: t.u32 }, {}),
})

export const journal = shard(Journal)
  .public()
  .state((): { lines: string[] } => ({ lines: [] }))
  .kv({ lines: t.array(text, 100) })
  .on('note', (c, { text }) => {
    c.kv.set('lines', [...(c.kv.get('lines') ?? []), text])
    return {}
  })
  .on('read', (c) => ({ lines: c.kv.get('lines') ?? [] }))

export const tenant = shard(Tenant)
  .public()
  .state(() => ({ lines: [] as string[] }))
  .kv({ activations: t.u32, ended: t.u32 })
  .timer('late', {}, (c) => void c.state.lines.push('late'))
  .onActivate(async (c) => {
    const n = (c.kv.get('activations') ?? 0) + 1
    c.kv.set('activations', n)
    if (c.key.includes('brittle') && (await c.at(Journal, c.key).call.read()).lines.length === 0)
      throw new Error('intended bug')
    if (c.key.includes('waits')) await c.at(Gate).call.ping({ n })
    c.state.lines.push(`activated ${n}, ended ${c.kv.get('ended') ?? 0}, size ${c.size}`)
  })
  .onDeactivate(async (c) => {
    const n = c.kv.get('activations') ?? 0
    c.kv.set('ended', n)
    c.at(Journal, c.key).cast.note({ text: `ended ${n}` })
    if (c.key.includes('waits')) await c.at(Gate).call.wait({ name: c.key })
    if (c.key.includes('throws')) throw new Error('intended bug')
  })
  .onRejoin((c) => void c.state.lines.push(`rejoined ${c.seat}, size ${c.size}`))
  .on('read', (c) => ({ lines: c.state.lines }))
  .on('join', (c) => {
    c.join()
    return { lines: c.state.lines }
  })
  .on('schedule', (c, { ms }) => {
    c.schedule(ms, 'late')
    return {}
  })
