// Shards that call each other, and shards with timers, ticks and snapshots.

import { CallError, Refusal, shard, t } from '../../core/game/index.ts'
import { Snapshots, Alarm, ResetOnBug, Gate, Hop, Stepper, Ticker, Vault } from './contracts.ts'

/** `CODE message`, at most 200 characters. */
export function errorText(error: unknown): string {
  const code = error instanceof CallError || error instanceof Refusal ? error.code : 'BUG'
  return `${code} ${error instanceof Error ? error.message : String(error)}`.slice(0, 200)
}

export const hop = shard(Hop)
  .public()
  .state(() => ({ n: 0, notes: [] as string[] }))
  .on('relay', async (c, { path: [next, ...path] }) => {
    if (next === undefined) return { trail: [c.key], error: '' }
    try {
      const { trail, error } = await c.at(Hop, next).call.relay({ path })
      return { trail: [c.key, ...trail], error }
    } catch (error) {
      return { trail: [c.key], error: errorText(error) }
    }
  })
  .on('castNotes', (c, { to, texts }) => {
    for (const text of texts) c.at(Hop, to).cast.note({ text })
    return {}
  })
  .on('castThenThrow', (c, { to, text }) => {
    c.at(Hop, to).cast.note({ text })
    throw new Error('intended bug')
  })
  .on('note', (c, { text }) => {
    c.state.notes.push(text)
  })
  .on('notes', (c) => ({ notes: c.state.notes }))
  .on('takeFromVault', async (c, { n }) => {
    try {
      const { left } = await c.at(Vault, c.key).call.take({ n })
      return { left, error: '' }
    } catch (error) {
      return { left: 0, error: errorText(error) }
    }
  })
  .on('takeUncaught', async (c, { n }) => {
    await c.at(Vault, c.key).call.take({ n })
    return {}
  })
  .on('waitAtGate', async (c, { gate }) => {
    try {
      await c.at(Gate).call.wait({ name: gate })
      return { error: '' }
    } catch (error) {
      return { error: errorText(error) }
    }
  })
  .on('callAfterGate', async (c, { gate, to }) => {
    await c.at(Gate).call.wait({ name: gate })
    try {
      await c.at(Hop, to).call.count()
      return { error: '' }
    } catch (error) {
      return { error: errorText(error) }
    }
  })
  .on('holdAtGate', async (c, { gate }) => {
    await c.at(Gate).call.wait({ name: gate })
    return {}
  })
  .on('count', (c) => ({ n: ++c.state.n }))
  .on('callCount', async (c, { to }) => {
    try {
      const { n } = await c.at(Hop, to).call.count()
      return { n, error: '' }
    } catch (error) {
      return { n: 0, error: errorText(error) }
    }
  })
  .on('throwError', () => {
    throw new Error('intended bug')
  })
  .on('callThrowError', async (c, { to }) => {
    try {
      await c.at(Hop, to).call.throwError()
      return { error: '' }
    } catch (error) {
      return { error: errorText(error) }
    }
  })

export const vault = shard(Vault)
  .kv({ left: t.u32 })
  .on('take', (c, { n }) => {
    const left = (c.kv.get('left') ?? 100) - n
    if (left < 0) throw c.fail('EMPTY')
    c.kv.set('left', left)
    return { left }
  })

interface AlarmContext {
  kv: { get(name: 'fired'): string[] | undefined; set(name: 'fired', value: string[]): void }
  broadcast: { fired(data: { text: string }): void }
}
function recordFired(c: AlarmContext, { text }: { text: string }): void {
  c.kv.set('fired', [...(c.kv.get('fired') ?? []), text])
  c.broadcast.fired({ text })
}

export const alarm = shard(Alarm)
  .public()
  .kv({ fired: t.array(t.string(200), 64), tries: t.u32 })
  .state(() => ({ tries: 0 }))
  .timer('ring', { text: t.string(200) }, recordFired)
  .timer('chime', { text: t.string(200) }, recordFired)
  .timer('throwing', { text: t.string(200) }, (c, data) => {
    recordFired(c, data)
    if (++c.state.tries < 3) throw new Error('intended bug')
  })
  .timer('refusing', { text: t.string(200) }, (c, data) => {
    recordFired(c, data)
    if (++c.state.tries < 2) throw c.fail('NO')
  })
  .on('set', (c, { name, ms, text, durable }) => {
    if (durable) c.schedule(ms, name, { text })
    else c.setTimer(ms, name, { text })
    return {}
  })
  .on('cancel', (c, { name }) => {
    c.cancel(name)
    return {}
  })
  .on('read', (c) => ({ fired: c.kv.get('fired') ?? [], tries: c.state.tries }))
  .on('watch', (c) => {
    c.join()
    return {}
  })

export const ticker = shard(Ticker)
  .public()
  .state(() => ({ ticks: 0, seconds: 0 }))
  .tick(20, (c, dt) => {
    c.state.ticks++
    c.state.seconds += dt
  })
  .on('join', (c) => {
    c.join()
    return {}
  })
  .on('leave', (c) => {
    c.leave()
    return {}
  })
  .on('read', (c) => c.state)
  .on('joinThenThrow', (c) => {
    c.join()
    throw new Error('intended bug')
  })
  .on('leaveThenThrow', (c) => {
    c.leave()
    throw new Error('intended bug')
  })

export const stepper = shard(Stepper)
  .public()
  .state(() => ({ steps: [] as number[] }))
  .step(20, (c, step) => {
    if (c.state.steps.length < 2_000) c.state.steps.push(step)
  })
  .on('join', (c) => {
    c.join()
    return {}
  })
  .on('read', (c) => c.state)
  .on('waitAtGate', async (c, { gate }) => {
    await c.at(Gate).call.wait({ name: gate })
    return {}
  })

export const snapshots = shard(Snapshots)
  .public()
  .state(() => ({ n: 0 }), {
    snapshot: { everyMs: 200, save: ({ n }) => ({ n }), load: ({ n }: { n: number }) => ({ n }) },
  })
  .on('bump', (c) => ({ n: ++c.state.n }))
  .on('read', (c) => c.state)

export const resetOnBug = shard(ResetOnBug, { onBug: 'reset' })
  .public()
  .state(() => ({ n: 0 }))
  .on('bump', (c) => ({ n: ++c.state.n }))
  .on('throwError', () => {
    throw new Error('intended bug')
  })
