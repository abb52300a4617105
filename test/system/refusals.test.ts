// What a real server refuses: each error has its kind, and a turn with it holds up no other shard of its owner, be it
// one that no list has.

import assert from 'node:assert/strict'
import test from 'node:test'
import type { TableDefinition } from '../../core/game/table.ts'
import type { Outcome, Row } from '../../core/ports/store.ts'
import { SqlDatabase } from '../../core/sql/database.ts'
import { DatabaseError } from '../../core/sql/client.ts'
import { createTable } from '../../core/sql/statements.ts'
import { t } from '../../core/wire/type.ts'
import { openClient, sql } from '../support/database.ts'
import { REFUSALS, RealOwner, type Refusal } from '../support/refusals.ts'
import { openSqlFixture, OutboxOwner, uniqueTableName } from '../support/sqldatabase.ts'
import { defineTable, insert } from '../support/tables.ts'
import { waitFor, withDeadline } from '../support/wait.ts'

const { url, skip, direct, planetscale, queryRows } = await openSqlFixture()
const isMaria = skip === false && /maria/i.test(String((await queryRows('SELECT VERSION()'))[0]![0]))
/** Bound for a turn of another shard: the attempts until a table counts as refused, on a busy machine. */
const HELD_MS = 15_000
/** Three lock waits of three seconds come first. */
const LOCKED_MS = 30_000
/** More attempts than those after which an error of a row is a refusal. */
const WHOLE_SERVER_RETRIES = 8
const columns = { id: t.id, uid: t.id, n: t.nullable(t.u32), note: t.nullable(t.string(200)) }
const options = { key: 'id', shardKey: 'uid' } as const

interface RefusingTable {
  readonly table: TableDefinition
  readonly repair: () => Promise<void>
}

async function createRefusing({ setup, repair = [] }: Pick<Refusal, 'setup' | 'repair'>): Promise<RefusingTable> {
  const table = defineTable(uniqueTableName(), columns, options)
  const run = async (texts: readonly string[]): Promise<void> => {
    for (const text of texts)
      await direct.query(sql(text.replace(/\bT(?=\b|_)/g, table.name).replace(/\bP\b/g, `${table.name}_p`)))
  }
  for (const statement of createTable(table)) await direct.query(statement)
  await run(setup)
  return { table, repair: () => run(repair) }
}

const rowOf = ({ row = {} }: Pick<Refusal, 'row'>, id: string, uid: string) => ({ id, uid, n: 13, note: null, ...row })

async function assertIsolated(refusal: Refusal): Promise<void> {
  const { kind, errno, repair } = refusal
  const { table, repair: repairTable } = await createRefusing(refusal)
  for (const client of [direct, planetscale]) {
    const probe = new OutboxOwner(new SqlDatabase(client, { tables: [] }))
    const batch = await probe.createBatch([insert(table, rowOf(refusal, 'a', 'ada'))])
    const error: unknown = await probe.database.apply(batch).then(
      () => assert.fail('was not refused'),
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof DatabaseError, String(error))
    assert.deepEqual([error.kind, error.table, error.statement], [kind, table.name, 1], error.message)
    assert.ok(errno.includes(error.errno), error.message)
  }
  const owner = await Owner.create(new SqlDatabase(direct, { tables: [] }), table)
  await owner.assertIsolates((id, uid) => rowOf(refusal, id, uid))
  if (repair) {
    await repairTable()
    await owner.assertRepaired()
  }
  await owner.flusher.stop()
}

/** An owner with a table that refuses rows, and another table. */
class Owner extends RealOwner {
  readonly #table: TableDefinition
  readonly #others: TableDefinition

  static async create(database: SqlDatabase, table: TableDefinition): Promise<Owner> {
    const others = defineTable(uniqueTableName(), columns, options)
    for (const statement of createTable(others)) await direct.query(statement)
    return new Owner(database, table, others)
  }

  private constructor(database: SqlDatabase, table: TableDefinition, others: TableDefinition) {
    super(`slot-${table.name}`, database, [table, others])
    this.#table = table
    this.#others = others
  }

  get otherTable(): string {
    return this.#others.name
  }

  commitOther(id: string): Promise<Outcome> {
    const cyd = { contract: 'player', key: 'cyd' }
    return this.commitTurn(cyd, [insert(this.#others, rowOf({}, id, 'cyd'))], true).outcome
  }

  /** Parks a local turn, takes a critical turn back, and commits a critical turn of another shard behind them. */
  async assertIsolates(row: (id: string, uid: string) => Row, heldMs = HELD_MS): Promise<void> {
    const [ada, bob] = ['ada', 'bob'].map((key) => ({ contract: 'player', key }))
    const refusedLocal = this.commitTurn(ada!, [insert(this.#table, row('a', 'ada'))], false)
    const refusedCritical = this.commitTurn(bob!, [insert(this.#table, row('b', 'bob'))], true)
    const other = this.commitOther('c')
    assert.equal((await withDeadline(other, heldMs))?.kind, 'committed')
    assert.equal((await withDeadline(refusedCritical.outcome, heldMs))?.kind, 'refused')
    assert.equal((await withDeadline(refusedLocal.outcome, heldMs))?.kind, 'committed')
    const parked = 'SELECT seq, shard FROM firefly_parked WHERE owner = ? AND seq > 0'
    assert.deepEqual(await queryRows(parked, this.name), [[String(refusedLocal.seq), 'player/ada']])
  }

  async assertRepaired(): Promise<void> {
    await this.restart()
    const rows = () => queryRows(`SELECT id FROM ${this.#table.name} WHERE id = ?`, 'a')
    await waitFor(async () => (await rows()).length === 1, 'the parked row is in MySQL after the repair')
  }
}

test('holds up no other shard with what MySQL refuses', { skip, concurrency: 8 }, async (context) => {
  const refusals = REFUSALS.filter(({ only }) => only === undefined || (only === 'mariadb') === isMaria)
  await Promise.all(
    refusals.map((refusal) => context.test(`${refusal.name} is ${refusal.kind}`, () => assertIsolated(refusal))),
  )
})

test('isolates the turns of a table that another program has locked', { skip }, async () => {
  const { table } = await createRefusing({ setup: [] })
  await using locker = openClient(url, { poolSize: 1 })
  const owner = await Owner.create(new SqlDatabase(direct, { tables: [] }), table)
  assert.equal((await owner.commitOther('x')).kind, 'committed')
  await locker.query(sql(`LOCK TABLES ${table.name} WRITE`))
  await owner.assertIsolates((id, uid) => rowOf({}, id, uid), LOCKED_MS)
  await locker.query(sql('UNLOCK TABLES'))
  await owner.assertRepaired()
  await owner.flusher.stop()
})

test('distinguishes rights on a table or column from rights and state of the server', { skip }, async () => {
  const user = `limited_${uniqueTableName()}_${process.pid}`
  const login = new URL(url)
  Object.assign(login, { username: user, password: 'password-of-a-test' })
  const database = login.pathname.slice(1)
  await queryRows(`CREATE USER ${user}@'%' IDENTIFIED BY 'password-of-a-test'`)
  const grant = (rights: string, name: string) => queryRows(`GRANT ${rights} ON ${database}.${name} TO ${user}@'%'`)
  await grant('SELECT, INSERT, UPDATE, DELETE', 'firefly_parked')
  const { table } = await createRefusing({ setup: [] })
  await using client = openClient(login.href)
  const owner = await Owner.create(new SqlDatabase(client, { tables: [] }), table)
  try {
    // No rights on the table with the fence: nothing is isolated, all turns wait.
    await grant('SELECT', 'firefly_owner')
    const other = owner.commitOther('x')
    await waitFor(() => owner.flusher.metrics.retries >= WHOLE_SERVER_RETRIES, 'the lease was tried several times')
    await grant('INSERT, UPDATE', 'firefly_owner')
    await grant('SELECT, INSERT, UPDATE, DELETE', owner.otherTable)
    assert.equal((await withDeadline(other, HELD_MS))?.kind, 'committed')

    await queryRows('SET GLOBAL read_only = 1')
    const later = owner.commitOther('y')
    const { retries } = owner.flusher.metrics
    await waitFor(() => owner.flusher.metrics.retries >= retries + WHOLE_SERVER_RETRIES, 'several attempts')
    await queryRows('SET GLOBAL read_only = 0')
    assert.equal((await withDeadline(later, HELD_MS))?.kind, 'committed')

    await grant('SELECT, INSERT (id, uid, n)', table.name)
    await owner.assertIsolates((id, uid) => rowOf({}, id, uid))
    await grant('SELECT, INSERT, UPDATE, DELETE', table.name)
    await owner.assertRepaired()
  } finally {
    await queryRows('SET GLOBAL read_only = 0')
    await owner.flusher.stop()
    await queryRows(`DROP USER ${user}@'%'`)
  }
})
