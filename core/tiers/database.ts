// The Database port over a SqlClient. Invariant: whatever changes rows stands in one transaction behind the fence of
// its owner, and what MySQL did not do as asked is an error or 'fenced', never a success.

import type { TableDefinition } from '../game/table.ts'
import type { Batch, Database, Lease, Parked, Remains, Row, RowKey } from '../run/ports.ts'
import { decodeCast, encodeCast } from './cast.ts'
import { DatabaseError, type SqlClient, type SqlResult, type SqlStatement, type SqlValue } from './client.ts'
import { rowsOf } from './column.ts'
import {
  deleteFrom,
  insertAuto,
  insertInto,
  padded,
  releases,
  rowWrites,
  selectPage,
  selectRow,
  selectShards,
  type Write,
} from './mysql.ts'
import { Reads } from './reads.ts'

export interface DatabaseOptions {
  /** Parents first: rows are inserted in this order, and deleted in the other. */
  readonly tables: readonly TableDefinition[]
}

/** Of what critical turns left, in one answer. */
const PAGE = 1_000
/** Rows of many shards, in one answer; for each table four of them may be on their way. */
const SHARED_ROWS = 4_000
/** What MySQL said, in a message of ours: it may quote a value. */
const MAX_SAID = 300
/** `firefly_parked.error` */
const MAX_ERROR = 1_000
const NOT_NULL = 1048
const DUPLICATE = new Set([1062, 1586])

const FENCE = 'UPDATE firefly_owner SET applied_seq = ? WHERE owner = ? AND epoch = ? AND applied_seq < ?'
const LEASE = 'SELECT epoch, applied_seq, store_id FROM firefly_owner WHERE owner = ?'
/** Locks the row, new or not: `epoch = epoch` changes nothing. */
const ENTER =
  'INSERT INTO firefly_owner (owner, epoch, applied_seq, store_id, taken_at) VALUES (?, 0, 0, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE epoch = epoch'
const TAKE =
  'UPDATE firefly_owner SET epoch = epoch + 1, store_id = ?, taken_at = UTC_TIMESTAMP(3) WHERE owner = ?'
const CHANNELS =
  'SELECT id, mark, replies FROM firefly_channel WHERE shard = ? AND id > ? ORDER BY id LIMIT ?'
const CASTS =
  'SELECT sequence, data FROM firefly_cast WHERE shard = ? AND sequence > ? ORDER BY sequence LIMIT ?'
const CHANNELS_OF = 'SELECT id, mark, replies, shard FROM firefly_channel WHERE shard'
const CASTS_OF = 'SELECT sequence, data, shard FROM firefly_cast WHERE shard'
const ONE_CAST = '(shard = ? AND sequence = ?)'
const PARKED =
  'SELECT seq, shard, error, data FROM firefly_parked WHERE owner = ? AND seq > ? ORDER BY seq LIMIT ?'
const ONE_PARKED = '(owner = ? AND seq = ?)'
const PARK =
  'INSERT INTO firefly_parked (owner, seq, shard, error, data, parked_at) VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE error = VALUES(error), data = VALUES(data), parked_at = VALUES(parked_at)'

/** Owners of two kinds would write the same rows, each behind a fence of its own. */
const OWNERS = 'owners'
const CLAIMED: SqlStatement = { sql: 'SELECT value FROM firefly_setting WHERE name = ?', params: [OWNERS] }
function claim(kind: string): SqlStatement {
  const sql = 'INSERT INTO firefly_setting (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE name = name'
  return { sql, params: [OWNERS, kind] }
}

/** `slot/07-of-32` is one of `slot/*-of-32`, `object/player/ada` one of `object/*`; others stand for themselves. */
function kindOf(owner: string): string | null {
  if (owner.startsWith('object/')) return 'object/*'
  return owner.startsWith('slot/') ? owner.replace(/\d+/, '*') : null
}

export class SqlDatabase implements Database {
  readonly #client: SqlClient
  readonly #places: ReadonlyMap<string, number>
  /** By table and size of a page, of which the loader has one. */
  readonly #firstPages = new WeakMap<TableDefinition, Map<number, Reads<Row[]>>>()
  readonly #channels: Reads<SqlResult['rows']>
  readonly #casts: Reads<SqlResult['rows']>

  constructor(client: SqlClient, { tables }: DatabaseOptions) {
    this.#client = client
    this.#places = new Map(tables.map(({ name }, place) => [name, place]))
    this.#channels = this.#everyRow(CHANNELS, '', CHANNELS_OF, 'id')
    this.#casts = this.#everyRow(CASTS, -1, CASTS_OF, 'sequence')
  }

  async takeover(owner: string, storeId: string): Promise<Lease> {
    const kind = kindOf(owner)
    let found = ''
    const results = await this.#client.transact(
      [
        { sql: ENTER, params: [checked('owner', owner), ''] },
        { sql: `${LEASE} FOR UPDATE`, params: [owner] },
        { sql: TAKE, params: [storeId, owner] },
        ...(kind === null ? [] : [claim(kind), CLAIMED]),
      ],
      (index, { rows }) => {
        if (index === 4) found = String(rows[0]?.[0])
        return index < 4 || found === kind
      },
    )
    if (!results) {
      const advice = 'use another database, or empty firefly_setting when nothing else writes to this one'
      throw new DatabaseError('access', `the database belongs to owners ${found}, not to ${kind}: ${advice}`)
    }
    const before = leaseOf(results[1]!)!
    return { ...before, epoch: before.epoch + 1 }
  }

  async lease(owner: string): Promise<Lease | null> {
    return leaseOf(await this.#client.query({ sql: LEASE, params: [checked('owner', owner)] }))
  }

  async apply(batch: Batch): Promise<'applied' | 'fenced'> {
    const writes = rowWrites(batch.rows, ({ name }) => this.#places.get(name) ?? Infinity)
    const rest = leftovers(batch)
    try {
      return await this.#apply(batch, [...writes, ...rest])
    } catch (error) {
      const freed = releases(batch.rows)
      if (!isError(error) || !DUPLICATE.has(error.errno) || freed.length === 0) throw error
      // Perhaps a duplicate only on the way.
      const firstInsert = writes.findIndex(({ verb }) => verb !== 'delete')
      const again = writes.toSpliced(firstInsert, 0, ...freed)
      return await this.#apply(batch, [...again, ...rest]).catch((second: unknown) => {
        // An adopted column that takes no NULL can be freed of no value.
        throw isError(second) && second.errno === NOT_NULL ? error : second
      })
    }
  }

  async #apply({ owner, epoch, lo, hi }: Batch, writes: readonly Write[]): Promise<'applied' | 'fenced'> {
    const fence = { sql: FENCE, params: [hi, checked('owner', owner), epoch, lo] }
    let failed = -1
    let found = 0
    const accept = (index: number, { affected }: SqlResult): boolean => {
      const write = writes[index - 1]
      const good = write ? !write.strict || affected === write.rows : affected === 1
      if (!good) [failed, found] = [index, affected]
      return good
    }
    const statements = [fence, ...writes.map(({ statement }) => statement)]
    const results = await this.#client.transact(statements, accept).catch((error: unknown) => {
      throw explain(error, writes[isError(error) ? error.statement - 1 : -1])
    })
    if (results) return 'applied'
    if (failed === 0) return 'fenced'
    const { table, verb, rows } = writes[failed - 1]!
    const message = `table ${table}: ${rows - found} of ${rows} rows to ${verb} are not in MySQL`
    throw new DatabaseError('refused', message, { statement: failed })
  }

  async load(
    table: TableDefinition,
    shardKey: string,
    after: RowKey | null,
    limit: number,
  ): Promise<readonly Row[]> {
    if (after === null) return this.#pages(table, limit).get(shardKey)
    return table.rest.length === 0 ? [] : this.#page(table, shardKey, after, limit)
  }

  async #page(table: TableDefinition, shardKey: string, after: RowKey | null, limit: number): Promise<Row[]> {
    const rows: Row[] = []
    for (let from = after; ;) {
      const wanted = limit - rows.length
      const statement = selectPage(table, shardKey, from, wanted)
      const page = rowsOf(table, await this.#query(statement, table))
      // The collation of an adopted table may not tell `Bob` from `bob`.
      for (const row of page) if (row[table.shardKey.name] === shardKey) rows.push(row)
      const last = page.at(-1)
      if (!last || page.length < wanted || rows.length === limit || table.rest.length === 0) return rows
      from = table.key.map(({ name }) => last[name])
    }
  }

  #pages(table: TableDefinition, limit: number): Reads<Row[]> {
    let byLimit = this.#firstPages.get(table)
    if (!byLimit) this.#firstPages.set(table, (byLimit = new Map()))
    let pages = byLimit.get(limit)
    if (pages) return pages
    pages = new Reads({
      alone: (key) => this.#page(table, key, null, limit),
      together: (keys, rows) => this.#query(selectShards(table, keys, rows), table),
      column: table.shardKey.name,
      limit: SHARED_ROWS,
      page: limit,
      value: (found) => rowsOf(table, found),
    })
    byLimit.set(limit, pages)
    return pages
  }

  async row(table: TableDefinition, key: RowKey): Promise<Row | null> {
    const [row] = rowsOf(table, await this.#query(selectRow(table, key), table))
    const same = row && table.key.every(({ name }, i) => typeof key[i] !== 'string' || row[name] === key[i])
    return same ? row : null
  }

  async remains(shard: string): Promise<Remains> {
    const channels = await this.#channels.get(checked('shard', shard))
    const casts = await this.#casts.get(shard)
    return {
      channels: channels.map(([id, mark, replies]) => ({
        id: id as string,
        mark: whole('mark', mark),
        replies: replies as Uint8Array,
      })),
      casts: casts.map(([sequence, data]) => decodeCast(whole('sequence', sequence), data as Uint8Array)),
    }
  }

  async parked(owner: string): Promise<readonly Parked[]> {
    const found = await this.#all(PARKED, checked('owner', owner), 0)
    return found.map(([seq, shard, error, data]) => ({
      seq: whole('seq', seq),
      shard: shard as string,
      error: error as string,
      data: data as Uint8Array,
    }))
  }

  #everyRow(one: string, first: SqlValue, many: string, order: string): Reads<SqlResult['rows']> {
    return new Reads({
      alone: (shard) => this.#all(one, shard, first),
      together: (shards, limit) => {
        const marks = shards.map(() => '?').join(', ')
        const sql = `${many} IN (${marks}) ORDER BY shard, ${order} LIMIT ?`
        return this.#client.query({ sql, params: [...shards, limit] })
      },
      column: 'shard',
      limit: PAGE,
      page: Infinity,
      value: ({ rows }) => rows,
    })
  }

  /** Every row of a shard or owner, in the order of the first column. */
  async #all(sql: string, shard: string, first: SqlValue): Promise<SqlResult['rows']> {
    const found: SqlResult['rows'][number][] = []
    for (let after = first; ; after = found.at(-1)![0]!) {
      const { rows } = await this.#client.query({ sql, params: [shard, after, PAGE] })
      found.push(...rows)
      if (rows.length < PAGE) return found
    }
  }

  /**
   * Of an INSERT that is rolled back: InnoDB never gives a value out twice. It may after a crash, or a failover to a
   * replica, for values of which no row was stored by then; then the second row is refused as a duplicate.
   */
  async nextId(table: TableDefinition, values: Row): Promise<bigint> {
    const write = insertAuto(table, values)
    let id = 0n
    const keep = (_: number, { insertId }: SqlResult): boolean => {
      id = insertId
      return false
    }
    await this.#client.transact([write.statement], keep).catch((error: unknown) => {
      throw explain(error, write)
    })
    if (id === 0n)
      throw new DatabaseError('schema', `table ${table.name}: ${table.rest[0]?.name} is not AUTO_INCREMENT`)
    return id
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  async #query(statement: SqlStatement, { name }: TableDefinition): Promise<SqlResult> {
    try {
      return await this.#client.query(statement)
    } catch (error) {
      throw isError(error) ? said(error, `table ${name}`) : error
    }
  }
}

/** What a batch holds beside the rows of the game. */
function leftovers({ owner, channels, casts, parked, healed = [] }: Batch): Write[] {
  const marks = channels.map(({ shard, id, mark, replies }) => [
    checked('shard', shard),
    checked('channel', id),
    mark,
    replies,
  ])
  const sent: SqlValue[][] = []
  const answered: SqlValue[][] = []
  for (const { shard, sequence, cast } of casts) {
    const params = [checked('shard', shard), sequence]
    if (cast) sent.push([...params, encodeCast(cast)])
    else answered.push(params)
  }
  return [
    ...insertInto('firefly_channel', ['shard', 'id', 'mark', 'replies'], marks, ['mark', 'replies']),
    ...insertInto('firefly_cast', ['shard', 'sequence', 'data'], sent, ['data']),
    ...deleteFrom('firefly_cast', answered, (count) => new Array(count).fill(ONE_CAST).join(' OR ')),
    ...deleteFrom(
      'firefly_parked',
      healed.map((seq) => [owner, seq]),
      (count) => new Array(count).fill(ONE_PARKED).join(' OR '),
    ),
    ...parked.map(({ seq, shard, error, data }): Write => {
      const params = [owner, seq, shard, error.slice(0, MAX_ERROR).toWellFormed(), data]
      const statement = { sql: PARK, params }
      return { statement, table: 'firefly_parked', verb: 'insert', rows: 1, strict: false }
    }),
  ]
}

function checked(what: string, name: string): string {
  if (name.endsWith(' ')) throw padded(what, name)
  return name
}

function explain(error: unknown, write: Write | undefined): unknown {
  if (!isError(error) || !write) return error
  return said(error, `table ${write.table}: ${write.verb} of ${write.rows} row${write.rows === 1 ? '' : 's'}`)
}

function said(cause: DatabaseError, what: string): DatabaseError {
  const { kind, message, errno, statement } = cause
  return new DatabaseError(kind, `${what}: ${message.slice(0, MAX_SAID)}`, { errno, statement, cause })
}

function isError(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError
}

function leaseOf({ rows: [row] }: SqlResult): Lease | null {
  if (!row) return null
  const [epoch, appliedSeq, storeId] = row
  return {
    epoch: whole('epoch', epoch),
    appliedSeq: whole('applied_seq', appliedSeq),
    storeId: storeId as string,
  }
}

/** A BIGINT that we wrote; anything but a safe integer would be another number. */
function whole(what: string, text: string | Uint8Array | null | undefined): number {
  const value = typeof text === 'string' ? Number(text) : NaN
  if (!Number.isSafeInteger(value))
    throw new DatabaseError('refused', `${what} ${String(text)} is no safe integer`)
  return value
}
