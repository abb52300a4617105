// Shards with much data and with values of every kind: a snapshot that holds both, and a list that travels every path.

import { command, contract, event, shard, t, table } from '../../core/game/index.ts'

const key = t.string(128)

/** State with a snapshot of every value that a snapshot may hold. */
export const Archive = contract('archive', {
  /** Puts a value of each kind, `n` numbers, and a text of `bytes` into the state. */
  collect: command(1700, { n: t.u32, bytes: t.u32 }, {}),
  /** The state as text, which differs when a value or its kind does. */
  describe: command(1701, {}, { text: t.string(4_000), numbers: t.u32, bytes: t.u32 }),
  /** Puts a value into the state that no snapshot can hold. */
  spoil: command(1702, { how: t.oneOf('class', 'function', 'cycle', 'sparse') }, {}),
})

/** A list of 20,000 numbers, which its type allows. */
const list = t.array(t.u32, 20_000)

export const Lists = contract('lists', {
  /** Stores the list in kv, in a row, as the data of a timer, and at another shard, which answers with it. */
  put: command(1710, { list }, { list }),
  take: command(1711, { list }, { list }, { durable: true, internal: true }),
  /** How many numbers arrived on each path. */
  counts: command(
    1712,
    {},
    { kv: t.u32, row: t.u32, timer: t.u32, castOutput: t.u32, castData: t.u32, called: t.u32, received: t.u32 },
  ),
  /** Refused: more data than a Store holds in one row. */
  tooMuch: command(1713, { path: t.oneOf('timer', 'cast', 'reply', 'kv') }, { text: t.string(3_000_000) }),
  takeText: command(1714, { text: t.string(3_000_000) }, {}, { durable: true, internal: true }),
  listed: event(1720, { list }),
})

const lists = table('data_list', { shard: key, list }, { key: 'shard', owner: Lists })

class Hero {
  hp = 1
}

interface ArchiveState {
  readonly values: Map<string, unknown>
  text: string
}

export const archive = shard(Archive)
  .public()
  .state((): ArchiveState => ({ values: new Map(), text: '' }), {
    snapshot: { everyMs: 200, save: (state) => state, load: (saved: ArchiveState) => saved },
  })
  .on('collect', ({ state }, { n, bytes }) => {
    state.values.set(
      'map',
      new Map<unknown, unknown>([
        ['a', new Map([[1, 'b']])],
        [null, [undefined]],
      ]),
    )
    state.values.set('set', new Set(['x', 1n, -0]))
    state.values.set('date', new Date(1_700_000_000_123))
    state.values.set('bytes', new Uint8Array([9, 8, 7, 6]).subarray(1, 3))
    state.values.set('floats', new Float32Array([0.5, NaN]))
    state.values.set('big', -(2n ** 80n))
    state.values.set('fields', { none: undefined, deep: { nan: NaN, zero: -0 } })
    state.values.set(
      'numbers',
      Array.from({ length: n }, (_, i) => i),
    )
    state.text = 'x'.repeat(bytes)
    return {}
  })
  .on('describe', ({ state }) => ({
    text: [...state.values].map(([name, value]) => `${name}=${name === 'numbers' ? '' : describe(value)}`).join(' '),
    numbers: (state.values.get('numbers') as number[] | undefined)?.length ?? 0,
    bytes: state.text.length,
  }))
  .on('spoil', ({ state }, { how }) => {
    const cycle: unknown[] = []
    cycle.push(cycle)
    const values = { class: new Hero(), function: () => 1, cycle, sparse: new Array<number>(3) }
    state.values.set('spoiled', { inside: values[how] })
    return {}
  })

/** Unlike JSON, it tells undefined, NaN, -0, bigint, Map, Set and typed arrays from their neighbours. */
function describe(value: unknown): string {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value !== 'object' || value === null)
    return typeof value === 'string' ? JSON.stringify(value) : String(value)
  const name = value.constructor.name
  if (value instanceof Date) return `Date(${value.getTime()})`
  if (value instanceof Map) return `Map(${[...value].map(([k, v]) => `${describe(k)}:${describe(v)}`).join()})`
  if (Symbol.iterator in value) return `${name}(${[...(value as Iterable<unknown>)].map(describe).join()})`
  return `${name}(${Object.entries(value)
    .map(([k, v]) => `${k}:${describe(v)}`)
    .join()})`
}

export const listShard = shard(Lists)
  .public()
  .tables({ lists })
  .kv({ list, timer: t.u32, castOutput: t.u32, castData: t.u32, called: t.u32, received: t.u32 })
  .timer('keep', { list }, (c, data) => {
    c.kv.set('timer', data.list.length)
  })
  .timer('keepText', { text: t.string(3_000_000) }, () => {})
  .answer('taken', Lists.entries.take, { list }, (c, data, answer) => {
    c.kv.set('castData', data.list.length)
    c.kv.set('castOutput', answer.ok ? answer.output.list.length : 0)
  })
  .on('put', async (c, input) => {
    const { list } = input
    c.join()
    c.kv.set('list', list)
    c.rows.lists.get()?.delete()
    c.rows.lists.insert({ list })
    c.schedule(0, 'keep', { list })
    const other = c.at(Lists, `${c.key}-other`)
    other.cast.take({ list }, { answer: 'taken', data: { list } })
    c.kv.set('called', (await other.call.take({ list })).list.length)
    c.broadcast.listed({ list })
    return { list }
  })
  .on('take', (c, { list }) => {
    c.kv.set('received', list.length)
    return { list }
  })
  .on('counts', ({ kv, rows }) => ({
    kv: kv.get('list')?.length ?? 0,
    row: rows.lists.get()?.list.length ?? 0,
    timer: kv.get('timer') ?? 0,
    castOutput: kv.get('castOutput') ?? 0,
    castData: kv.get('castData') ?? 0,
    called: kv.get('called') ?? 0,
    received: kv.get('received') ?? 0,
  }))
  .on('tooMuch', (c, { path }) => {
    const text = 'x'.repeat(2_500_000)
    try {
      if (path === 'timer') c.schedule(0, 'keepText', { text })
      if (path === 'cast') c.at(Lists, `${c.key}-other`).cast.takeText({ text })
      if (path === 'kv')
        c.kv.set(
          'list',
          Array.from({ length: 30_000 }, () => 4_000_000_000),
        )
    } catch (error) {
      return { text: error instanceof Error ? error.message : '' }
    }
    // Written, so the reply must be stored for a resend.
    c.kv.set('called', 1)
    return { text }
  })
  .on('takeText', () => ({}))
