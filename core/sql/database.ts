// The Database port over a SqlClient. Invariant: whatever changes rows stands in one transaction behind the fence of
// its owner, and what MySQL did not do as asked is an error or 'fenced', never a success.

import type { TableDefinition } from '../game/table.ts'
import type { Batch, Database, Lease, ParkedTurn, CriticalState } from '../ports/database.ts'
import type { Row, RowKey } from '../ports/store.ts'
import { decodeCast, encodeCast } from './cast.ts'
import { DatabaseError, type SqlClient, type SqlResult, type SqlStatement, type SqlValue } from './client.ts'
import { decodeRows } from './columns.ts'
import {
  deleteFrom,
  insertAutoIncrement,
  insertInto,
  padded,
  clearUniqueValues,
  rowWrites,
  selectPage,
  selectRow,
  selectShards,
  type WriteStatement,
} from './statements.ts'
import { BatchReader } from './batchreader.ts'

export interface SqlDatabaseOptions {
  /** Parents first: rows are inserted in this order, and deleted in the other. */
  readonly tables: readonly TableDefinition[]
}

/** Of what critical turns left, in one answer. */
const PAGE_ROWS = 1_000
/** Rows of many shards, in one answer; for each table four of them may be on their way. */
const MAX_BATCHED_ROWS = 4_000
/** What MySQL said, in a message of ours: it may quote a value. */
const MAX_MESSAGE_LENGTH = 300
/** `firefly_parked.error` */
const MAX_PARKED_ERROR_LENGTH = 1_000
const ERRNO_NOT_NULL = 1048
const ERRNO_DUPLICATE = new Set([1062, 1586])

const UPDATE_FENCE =
  'UPDATE firefly_owner SET applied_seq = ? WHERE owner = ? AND epoch = ? AND applied_seq < ?'
const SELECT_LEASE = 'SELECT epoch, applied_seq, store_id FROM firefly_owner WHERE owner = ?'
/** Locks the row, new or not: `epoch = epoch` changes nothing. */
const INSERT_OWNER =
  'INSERT INTO firefly_owner (owner, epoch, applied_seq, store_id, taken_at) VALUES (?, 0, 0, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE epoch = epoch'
const RAISE_EPOCH =
  'UPDATE firefly_owner SET epoch = epoch + 1, store_id = ?, taken_at = UTC_TIMESTAMP(3) WHERE owner = ?'
const SELECT_CHANNELS =
  'SELECT id, mark, replies FROM firefly_channel WHERE shard = ? AND id > ? ORDER BY id LIMIT ?'
const SELECT_CASTS =
  'SELECT sequence, data FROM firefly_cast WHERE shard = ? AND sequence > ? ORDER BY sequence LIMIT ?'
const SELECT_CHANNELS_OF = 'SELECT id, mark, replies, shard FROM firefly_channel WHERE shard'
const SELECT_CASTS_OF = 'SELECT sequence, data, shard FROM firefly_cast WHERE shard'
const CAST_CONDITION = '(shard = ? AND sequence = ?)'
const SELECT_PARKED =
  'SELECT seq, shard, error, data FROM firefly_parked WHERE owner = ? AND seq > ? ORDER BY seq LIMIT ?'
const PARKED_CONDITION = '(owner = ? AND seq = ?)'
const INSERT_PARKED =
  'INSERT INTO firefly_parked (owner, seq, shard, error, data, parked_at) VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE error = VALUES(error), data = VALUES(data), parked_at = VALUES(parked_at)'

/** Owners of two kinds would write the same rows, each behind a fence of its own. */
const OWNER_KIND_SETTING = 'owners'
const SELECT_OWNER_KIND: SqlStatement = {
  sql: 'SELECT value FROM firefly_setting WHERE name = ?',
  params: [OWNER_KIND_SETTING],
}
function insertOwnerKind(kind: string): SqlStatement {
  const sql = 'INSERT INTO firefly_setting (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE name = name'
  return { sql, params: [OWNER_KIND_SETTING, kind] }
}

/** `slot/07-of-32` is one of `slot/*-of-32`, `object/player/ada` one of `object/*`; others stand for themselves. */
function ownerKindOf(owner: string): string | null {
  if (owner.startsWith('object/')) return 'object/*'
  return owner.startsWith('slot/') ? owner.replace(/\d+/, '*') : null
}

export class SqlDatabase implements Database {
  readonly #client: SqlClient
  readonly #tableOrder: ReadonlyMap<string, number>
  /** By table and size of a page, of which the loader has one. */
  readonly #firstPageReaders = new WeakMap<TableDefinition, Map<number, BatchReader<Row[]>>>()
  readonly #channelReader: BatchReader<SqlResult['rows']>
  readonly #castReader: BatchReader<SqlResult['rows']>

  constructor(client: SqlClient, { tables }: SqlDatabaseOptions) {
    this.#client = client
    this.#tableOrder = new Map(tables.map(({ name }, place) => [name, place]))
    this.#channelReader = this.#allRowsReader(SELECT_CHANNELS, '', SELECT_CHANNELS_OF, 'id')
    this.#castReader = this.#allRowsReader(SELECT_CASTS, -1, SELECT_CASTS_OF, 'sequence')
  }

  async takeover(owner: string, storeId: string): Promise<Lease> {
    const kind = ownerKindOf(owner)
    let foundKind = ''
    const results = await this.#client.transact(
      [
        { sql: INSERT_OWNER, params: [assertNoTrailingSpace('owner', owner), ''] },
        { sql: `${SELECT_LEASE} FOR UPDATE`, params: [owner] },
        { sql: RAISE_EPOCH, params: [storeId, owner] },
        ...(kind === null ? [] : [insertOwnerKind(kind), SELECT_OWNER_KIND]),
      ],
      (index, { rows }) => {
        if (index === 4) foundKind = String(rows[0]?.[0])
        return index < 4 || foundKind === kind
      },
    )
    if (!results) {
      const advice = 'use another database, or empty firefly_setting when nothing else writes to this one'
      throw new DatabaseError(
        'access',
        `the database belongs to owners ${foundKind}, not to ${kind}: ${advice}`,
      )
    }
    const before = leaseOf(results[1]!)!
    return { ...before, epoch: before.epoch + 1 }
  }

  async lease(owner: string): Promise<Lease | null> {
    return leaseOf(
      await this.#client.query({ sql: SELECT_LEASE, params: [assertNoTrailingSpace('owner', owner)] }),
    )
  }

  async apply(batch: Batch): Promise<'applied' | 'fenced'> {
    const writes = rowWrites(batch.rows, ({ name }) => this.#tableOrder.get(name) ?? Infinity)
    const otherWrites = nonRowWrites(batch)
    try {
      return await this.#apply(batch, [...writes, ...otherWrites])
    } catch (error) {
      const uniqueReleases = clearUniqueValues(batch.rows)
      if (!isDatabaseError(error) || !ERRNO_DUPLICATE.has(error.errno) || uniqueReleases.length === 0)
        throw error
      // Perhaps a duplicate only on the way.
      const firstInsert = writes.findIndex(({ verb }) => verb !== 'delete')
      const retryWrites = writes.toSpliced(firstInsert, 0, ...uniqueReleases)
      return await this.#apply(batch, [...retryWrites, ...otherWrites]).catch((second: unknown) => {
        // An adopted column that takes no NULL can be freed of no value.
        throw isDatabaseError(second) && second.errno === ERRNO_NOT_NULL ? error : second
      })
    }
  }

  async #apply(
    { owner, epoch, firstSeq: lo, lastSeq: hi }: Batch,
    writes: readonly WriteStatement[],
  ): Promise<'applied' | 'fenced'> {
    const fence = { sql: UPDATE_FENCE, params: [hi, assertNoTrailingSpace('owner', owner), epoch, lo] }
    let failed = -1
    let affectedRows = 0
    const accept = (index: number, { affected }: SqlResult): boolean => {
      const write = writes[index - 1]
      const isAccepted = write ? !write.mustFindAll || affected === write.rows : affected === 1
      if (!isAccepted) [failed, affectedRows] = [index, affected]
      return isAccepted
    }
    const statements = [fence, ...writes.map(({ statement }) => statement)]
    const results = await this.#client.transact(statements, accept).catch((error: unknown) => {
      throw addWriteContext(error, writes[isDatabaseError(error) ? error.statement - 1 : -1])
    })
    if (results) return 'applied'
    if (failed === 0) return 'fenced'
    const { table, verb, rows } = writes[failed - 1]!
    const message = `table ${table}: ${rows - affectedRows} of ${rows} rows to ${verb} are not in MySQL`
    throw new DatabaseError('refused', message, { statement: failed })
  }

  async load(
    table: TableDefinition,
    shardKey: string,
    after: RowKey | null,
    limit: number,
  ): Promise<readonly Row[]> {
    if (after === null) return this.#firstPageReader(table, limit).get(shardKey)
    return table.keyInShard.length === 0 ? [] : this.#readPage(table, shardKey, after, limit)
  }

  async #readPage(
    table: TableDefinition,
    shardKey: string,
    after: RowKey | null,
    limit: number,
  ): Promise<Row[]> {
    const rows: Row[] = []
    for (let from = after; ;) {
      const missing = limit - rows.length
      const statement = selectPage(table, shardKey, from, missing)
      const page = decodeRows(table, await this.#query(statement, table))
      // The collation of an adopted table may not tell `Bob` from `bob`.
      for (const row of page) if (row[table.shardKey.name] === shardKey) rows.push(row)
      const last = page.at(-1)
      if (!last || page.length < missing || rows.length === limit || table.keyInShard.length === 0)
        return rows
      from = table.key.map(({ name }) => last[name])
    }
  }

  #firstPageReader(table: TableDefinition, limit: number): BatchReader<Row[]> {
    let byLimit = this.#firstPageReaders.get(table)
    if (!byLimit) this.#firstPageReaders.set(table, (byLimit = new Map()))
    let pages = byLimit.get(limit)
    if (pages) return pages
    pages = new BatchReader({
      querySingle: (key) => this.#readPage(table, key, null, limit),
      queryMany: (keys, rows) => this.#query(selectShards(table, keys, rows), table),
      keyColumn: table.shardKey.name,
      maxRows: MAX_BATCHED_ROWS,
      pageRows: limit,
      parse: (found) => decodeRows(table, found),
    })
    byLimit.set(limit, pages)
    return pages
  }

  async row(table: TableDefinition, key: RowKey): Promise<Row | null> {
    const [row] = decodeRows(table, await this.#query(selectRow(table, key), table))
    const isSameKey =
      row && table.key.every(({ name }, i) => typeof key[i] !== 'string' || row[name] === key[i])
    return isSameKey ? row : null
  }

  async criticalState(shard: string): Promise<CriticalState> {
    const channels = await this.#channelReader.get(assertNoTrailingSpace('shard', shard))
    const casts = await this.#castReader.get(shard)
    return {
      channels: channels.map(([id, mark, replies]) => ({
        id: id as string,
        mark: toSafeInteger('mark', mark),
        replies: replies as Uint8Array,
      })),
      casts: casts.map(([sequence, data]) =>
        decodeCast(toSafeInteger('sequence', sequence), data as Uint8Array),
      ),
    }
  }

  async parkedTurns(owner: string): Promise<readonly ParkedTurn[]> {
    const found = await this.#readAllPages(SELECT_PARKED, assertNoTrailingSpace('owner', owner), 0)
    return found.map(([seq, shard, error, data]) => ({
      seq: toSafeInteger('seq', seq),
      shard: shard as string,
      error: error as string,
      data: data as Uint8Array,
    }))
  }

  #allRowsReader(
    singleSql: string,
    first: SqlValue,
    manySql: string,
    order: string,
  ): BatchReader<SqlResult['rows']> {
    return new BatchReader({
      querySingle: (shard) => this.#readAllPages(singleSql, shard, first),
      queryMany: (shards, limit) => {
        const placeholders = shards.map(() => '?').join(', ')
        const sql = `${manySql} IN (${placeholders}) ORDER BY shard, ${order} LIMIT ?`
        return this.#client.query({ sql, params: [...shards, limit] })
      },
      keyColumn: 'shard',
      maxRows: PAGE_ROWS,
      pageRows: Infinity,
      parse: ({ rows }) => rows,
    })
  }

  /** Every row of a shard or owner, in the order of the first column. */
  async #readAllPages(sql: string, shard: string, first: SqlValue): Promise<SqlResult['rows']> {
    const found: SqlResult['rows'][number][] = []
    for (let after = first; ; after = found.at(-1)![0]!) {
      const { rows } = await this.#client.query({ sql, params: [shard, after, PAGE_ROWS] })
      found.push(...rows)
      if (rows.length < PAGE_ROWS) return found
    }
  }

  /**
   * Of an INSERT that is rolled back: InnoDB never gives a value out twice. It may after a crash, or a failover to a
   * replica, for values of which no row was stored by then; then the second row is refused as a duplicate.
   */
  async nextId(table: TableDefinition, values: Row): Promise<bigint> {
    const write = insertAutoIncrement(table, values)
    let id = 0n
    const readIdAndRollBack = (_: number, { insertId }: SqlResult): boolean => {
      id = insertId
      return false
    }
    await this.#client.transact([write.statement], readIdAndRollBack).catch((error: unknown) => {
      throw addWriteContext(error, write)
    })
    if (id === 0n)
      throw new DatabaseError(
        'schema',
        `table ${table.name}: ${table.keyInShard[0]?.name} is not AUTO_INCREMENT`,
      )
    return id
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  async #query(statement: SqlStatement, { name }: TableDefinition): Promise<SqlResult> {
    try {
      return await this.#client.query(statement)
    } catch (error) {
      throw isDatabaseError(error) ? addContext(error, `table ${name}`) : error
    }
  }
}

/** What a batch holds beside the rows of the game. */
function nonRowWrites({
  owner,
  channels,
  casts,
  parked,
  unparkedSeqs: healed = [],
}: Batch): WriteStatement[] {
  const marks = channels.map(({ shard, id, mark, replies }) => [
    assertNoTrailingSpace('shard', shard),
    assertNoTrailingSpace('channel', id),
    mark,
    replies,
  ])
  const newCasts: SqlValue[][] = []
  const answeredCasts: SqlValue[][] = []
  for (const { shard, sequence, cast } of casts) {
    const params = [assertNoTrailingSpace('shard', shard), sequence]
    if (cast) newCasts.push([...params, encodeCast(cast)])
    else answeredCasts.push(params)
  }
  return [
    ...insertInto('firefly_channel', ['shard', 'id', 'mark', 'replies'], marks, ['mark', 'replies']),
    ...insertInto('firefly_cast', ['shard', 'sequence', 'data'], newCasts, ['data']),
    ...deleteFrom('firefly_cast', answeredCasts, (count) =>
      new Array(count).fill(CAST_CONDITION).join(' OR '),
    ),
    ...deleteFrom(
      'firefly_parked',
      healed.map((seq) => [owner, seq]),
      (count) => new Array(count).fill(PARKED_CONDITION).join(' OR '),
    ),
    ...parked.map(({ seq, shard, error, data }): WriteStatement => {
      const params = [owner, seq, shard, error.slice(0, MAX_PARKED_ERROR_LENGTH).toWellFormed(), data]
      const statement = { sql: INSERT_PARKED, params }
      return { statement, table: 'firefly_parked', verb: 'insert', rows: 1, mustFindAll: false }
    }),
  ]
}

function assertNoTrailingSpace(what: string, name: string): string {
  if (name.endsWith(' ')) throw padded(what, name)
  return name
}

function addWriteContext(error: unknown, write: WriteStatement | undefined): unknown {
  if (!isDatabaseError(error) || !write) return error
  return addContext(
    error,
    `table ${write.table}: ${write.verb} of ${write.rows} row${write.rows === 1 ? '' : 's'}`,
  )
}

function addContext(cause: DatabaseError, context: string): DatabaseError {
  const { kind, message, errno, statement } = cause
  return new DatabaseError(kind, `${context}: ${message.slice(0, MAX_MESSAGE_LENGTH)}`, {
    errno,
    statement,
    cause,
  })
}

function isDatabaseError(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError
}

function leaseOf({ rows: [row] }: SqlResult): Lease | null {
  if (!row) return null
  const [epoch, appliedSeq, storeId] = row
  return {
    epoch: toSafeInteger('epoch', epoch),
    appliedSeq: toSafeInteger('applied_seq', appliedSeq),
    storeId: storeId as string,
  }
}

/** A BIGINT that we wrote; anything but a safe integer would be another number. */
function toSafeInteger(what: string, text: string | Uint8Array | null | undefined): number {
  const value = typeof text === 'string' ? Number(text) : NaN
  if (!Number.isSafeInteger(value))
    throw new DatabaseError('refused', `${what} ${String(text)} is no safe integer`)
  return value
}
