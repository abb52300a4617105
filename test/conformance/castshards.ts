// Shards that pay each other by durable casts, and a login that binds sessions to shards. Invariant: every `take` and
// every answer appends a line to a table, so that a case sees what ran, how often, and in which order.

import {
  command,
  contract,
  event,
  service,
  shard,
  t,
  table,
  type CastAnswer,
  type Rows,
} from '../../core/game/index.ts'
import { Desk, Gate } from './contracts.ts'

const name = t.string(64)
const key = t.string(128)
const gold = t.int(0, 1_000_000)

const payment = {
  id: name,
  amount: gold,
  /** The receiver throws after it has written. */
  bug: t.optional(t.bool),
  /** The gate of the receiver before it takes, and of the answer hook before it commits. */
  gate: t.optional(name),
  hookGate: t.optional(name),
  /** How many times the hook throws. */
  fails: t.optional(t.u8),
}

export const Bank = contract(
  'bank',
  {
    open: command(1520, { gold, room: gold }, {}),
    /** One payment to each, all in one turn. `end`: the turn throws afterwards, or casts without an answer. */
    pay: command(
      1521,
      { ...payment, to: t.array(key, 200), end: t.optional(t.oneOf('bug', 'silent')) },
      { gold },
      { durable: true },
    ),
    take: command(
      1522,
      { from: key, id: name, amount: gold, bug: t.optional(t.bool), gate: t.optional(name) },
      { gold },
      { durable: true, internal: true },
    ),
    misdirect: command(1523, { to: key, what: t.oneOf('contract', 'command', 'input', 'service') }, {}),
    account: command(1524, {}, { gold, pending: gold, lines: t.array(t.string(300), 1_000), tries: t.u32 }),
    /** Makes another bank pay, by a volatile cast: no client has a channel to that bank. */
    castPayment: command(1525, { by: key, to: key, amount: gold }, {}),
    payByCast: command(1526, { to: key, amount: gold }, null, { internal: true }),
  },
  { refuses: ['FULL', 'TOO_POOR'] },
)

/** Contracts as they could be in another version of the game. */
const MissingContract = contract('missing', { take: command(1522, {}, {}, { durable: true }) })
const NewerBank = contract('bank', {
  missing: command(1599, {}, {}, { durable: true }),
  take: command(1522, { from: t.u32 }, {}, { durable: true }),
})
const ServiceAsShard = contract('lobby', { take: command(1540, {}, {}, { durable: true }) })

const accounts = table(
  'bank_account',
  { bank: key, gold, room: gold, pending: gold, lines: t.u32 },
  { key: 'bank', owner: Bank },
)
const lines = table('bank_line', { bank: key, n: t.u32, text: t.string(300) }, { key: ['bank', 'n'], owner: Bank })
const tables = { accounts, lines }

function appendLine(rows: Rows<typeof tables>, text: string): void {
  const own = rows.accounts.get()!
  rows.lines.insert({ n: own.lines, text })
  own.increment('lines', 1)
}
function ensureAccount(rows: Rows<typeof tables>): { readonly gold: number; readonly room: number } {
  return rows.accounts.get() ?? rows.accounts.insert({ gold: 0, room: 1_000, pending: 0, lines: 0 })
}
function answerText(answer: CastAnswer): string {
  return answer.ok ? `ok ${JSON.stringify(answer.output)}` : `no ${answer.code}`
}

export const bank = shard(Bank)
  .public()
  .tables(tables)
  .state(() => ({ tries: 0, failed: 0 }))
  .answer(
    'paid',
    Bank.entries.take,
    { id: name, amount: gold, hookGate: t.optional(name), fails: t.optional(t.u8) },
    async (c, { id, amount, hookGate, fails = 0 }, answer) => {
      c.state.tries++
      appendLine(c.rows, `${id} ${answerText(answer)}`)
      const own = c.rows.accounts.get()!
      own.increment('pending', -amount)
      if (!answer.ok) own.increment('gold', amount)
      if (hookGate !== undefined) await c.at(Gate).call.wait({ name: hookGate })
      if (c.state.failed++ < fails) throw new Error('intended bug')
    },
  )
  .answer('served', ServiceAsShard.entries.take, { id: name }, (c, { id }, answer) =>
    appendLine(c.rows, `${id} ${answerText(answer)}`),
  )
  .answer('missed', NewerBank.entries.missing, { id: name }, (c, { id }, answer) =>
    appendLine(c.rows, `${id} ${answerText(answer)}`),
  )
  .on('open', (c, { gold, room }) => {
    c.rows.accounts.insert({ gold, room, pending: 0, lines: 0 })
    return {}
  })
  .on('pay', (c, { to, amount, end, hookGate, fails, ...rest }) => {
    ensureAccount(c.rows)
    const own = c.rows.accounts.get()!
    const sum = amount * to.length
    if (own.gold < sum) throw c.fail('TOO_POOR')
    own.increment('gold', -sum)
    if (end !== 'silent') own.increment('pending', sum)
    for (const [i, bank] of to.entries()) {
      const id = to.length === 1 ? rest.id : `${rest.id}.${i}`
      const { cast } = c.at(Bank, bank)
      const input = { ...rest, from: c.key, id, amount }
      if (end === 'silent') cast.take(input)
      else cast.take(input, { answer: 'paid', data: { id, amount, hookGate, fails } })
    }
    if (end === 'bug') throw new Error('intended bug')
    return { gold: own.gold }
  })
  .on('take', async (c, { id, amount, bug, gate }) => {
    ensureAccount(c.rows)
    if (gate !== undefined) await c.at(Gate).call.wait({ name: gate })
    const own = c.rows.accounts.get()!
    appendLine(c.rows, `took ${id} ${amount}`)
    own.increment('gold', amount)
    if (own.gold > own.room) throw c.fail('FULL')
    if (bug) throw new Error('intended bug')
    return { gold: own.gold }
  })
  .on('misdirect', (c, { to, what }) => {
    ensureAccount(c.rows)
    const answer = { answer: 'paid', data: { id: what, amount: 0 } } as const
    if (what === 'contract') c.at(MissingContract, to).cast.take({}, answer)
    else if (what === 'command') c.at(NewerBank, to).cast.missing({}, { answer: 'missed', data: { id: what } })
    else if (what === 'input') c.at(NewerBank, to).cast.take({ from: 7 }, answer)
    else c.at(ServiceAsShard).cast.take({}, { answer: 'served', data: { id: what } })
    return {}
  })
  .on('account', (c) => {
    const { gold, pending } = c.rows.accounts.get() ?? { gold: 0, pending: 0 }
    return { gold, pending, lines: c.rows.lines.all().map(({ text }) => text), tries: c.state.tries }
  })
  .on('castPayment', (c, { by, to, amount }) => {
    c.at(Bank, by).cast.payByCast({ to, amount })
    return {}
  })
  .on('payByCast', (c, { to, amount }) => {
    ensureAccount(c.rows)
    c.rows.accounts.get()!.update({ gold: 0, pending: amount })
    c.at(Bank, to).cast.take({ from: c.key, id: 'byCast', amount }, { answer: 'paid', data: { id: 'byCast', amount } })
  })

/** Binds sessions. `no`: the login is refused after the binding. */
export const Lobby = contract(
  'lobby',
  {
    login: command(
      1540,
      { name: key, gate: t.optional(name), no: t.optional(t.bool), desk: t.optional(t.bool) },
      { name: key },
    ),
    peek: command(1541, { name: key }, { n: t.u32 }),
  },
  { codec: 'json', refuses: ['NO'] },
)

/** A shard of one player. */
export const Locker = contract(
  'locker',
  {
    put: command(1550, { n: t.u32, gate: t.optional(name) }, { key, n: t.u32 }),
    read: command(1551, {}, { key, n: t.u32 }),
    join: command(1552, {}, {}),
    notify: command(1553, {}, {}),
    audit: command(1554, {}, { n: t.u32 }, { internal: true }),
    notified: event(1555, { key }),
  },
  { codec: 'json' },
)

export const lobby = service(Lobby)
  .public()
  .on('login', async (c, { name, gate, no, desk }) => {
    if (gate !== undefined) await c.at(Gate).call.wait({ name: gate })
    if (desk) c.bind(Desk, name)
    else c.bind(Locker, name)
    if (no) throw c.fail('NO')
    return { name }
  })
  .on('peek', (c, { name }) => c.at(Locker, name).call.audit())

export const locker = shard(Locker)
  .bound()
  .kv({ n: t.u32 })
  .on('put', async (c, { n, gate }) => {
    if (gate !== undefined) await c.at(Gate).call.wait({ name: gate })
    if (gate !== undefined) c.broadcast.notified({ key: c.key })
    c.kv.set('n', n)
    return { key: c.key, n }
  })
  .on('read', (c) => ({ key: c.key, n: c.kv.get('n') ?? 0 }))
  .on('join', (c) => {
    c.join()
    return {}
  })
  .on('notify', (c) => {
    c.broadcast.notified({ key: c.key })
    return {}
  })
  .on('audit', (c) => ({ n: c.kv.get('n') ?? 0 }))
