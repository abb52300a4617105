// The Database port on a SqlClient. Invariant: rows change only in a transaction that starts with the fence of their
// owner, and a write that MySQL did not do as requested is an error or 'fenced', never a success.

import type { TableDefinition } from '../game/table.ts'
import type { Batch, Database, Lease, ParkedTurn, CriticalState } from '../ports/database.ts'
import type { Row, RowKey } from '../ports/store.ts'
import { BatchReader } from './batchreader.ts'
import { DatabaseError, type SqlClient, type SqlResult, type SqlStatement, type SqlValue } from './client.ts'
import { decodeRows } from './columns.ts'
import * as records from './fireflytables.ts'
import { decodeCast } from './pack.ts'
import { selectPage, selectRow, selectShards } from './select.ts'
import { clearUniqueValues, insertAutoIncrement, rowWrites, type WriteStatement } from './statements.ts'

export interface SqlDatabaseOptions {
  /** Parents first: rows are inserted in this order, and deleted in the reverse order. */
  readonly tables: readonly TableDefinition[]
}

/** Rows of a page of channels, casts or parked turns. */
const PAGE_ROWS = 1_000
/** Rows of one statement for many shards; each table may run four such statements at the same time. */
const MAX_BATCHED_ROWS = 4_000
/** Bound of MySQL's message inside of a message of Firefly: it may quote a value. */
const MAX_MESSAGE_LENGTH = 300
const ERRNO_NOT_NULL = 1048
const ERRNO_DUPLICATE = new Set([1062, 1586])

export class SqlDatabase implements Database {
  readonly #client: SqlClient
  readonly #tableOrder: ReadonlyMap<string, number>
  /** By table and page size; the loader uses one page size. */
  readonly #firstPageReaders = new WeakMap<TableDefinition, Map<number, BatchReader<Row[]>>>()
  readonly #channelReader: BatchReader<SqlResult['rows']>
  readonly #castReader: BatchReader<SqlResult['rows']>

  constructor(client: SqlClient, { tables }: SqlDatabaseOptions) {
    this.#client = client
    this.#tableOrder = new Map(tables.map(({ name }, index) => [name, index]))
    this.#channelReader = this.#allRowsReader(records.SELECT_CHANNELS, '', records.SELECT_CHANNELS_OF, 'id')
    this.#castReader = this.#allRowsReader(records.SELECT_CASTS, -1, records.SELECT_CASTS_OF, 'sequence')
  }

  async takeover(owner: string, storeId: string): Promise<Lease> {
    const kind = records.ownerKindOf(owner)
    let storedKind = ''
    const results = await this.#client.transact(records.takeoverStatements(owner, storeId, kind), (index, { rows }) => {
      if (index === records.OWNER_KIND_RESULT) storedKind = String(rows[0]?.[0])
      return index < records.OWNER_KIND_RESULT || storedKind === kind
    })
    if (!results) {
      const message = `the database belongs to owners ${storedKind}, not to ${kind}: use another database, or `
      throw new DatabaseError('access', `${message}empty firefly_setting when nothing else writes to this one`)
    }
    const before = records.leaseOf(results[records.LEASE_RESULT]!)!
    return { ...before, epoch: before.epoch + 1 }
  }

  async lease(owner: string): Promise<Lease | null> {
    const params = [records.assertNoTrailingSpace('owner', owner)]
    return records.leaseOf(await this.#client.query({ sql: records.SELECT_LEASE, params }))
  }

  async apply(batch: Batch): Promise<'applied' | 'fenced'> {
    const writes = rowWrites(batch.rows, ({ name }) => this.#tableOrder.get(name) ?? Infinity)
    const otherWrites = records.recordWrites(batch)
    try {
      return await this.#apply(batch, [...writes, ...otherWrites])
    } catch (error) {
      const uniqueReleases = clearUniqueValues(batch.rows)
      if (!isDatabaseError(error) || !ERRNO_DUPLICATE.has(error.errno) || uniqueReleases.length === 0) throw error
      // Perhaps only an intermediate state of the batch has a duplicate.
      const firstInsert = writes.findIndex(({ verb }) => verb !== 'delete')
      const retryWrites = writes.toSpliced(firstInsert, 0, ...uniqueReleases)
      return await this.#apply(batch, [...retryWrites, ...otherWrites]).catch((second: unknown) => {
        // An adopted column that forbids NULL cannot release its value.
        throw isDatabaseError(second) && second.errno === ERRNO_NOT_NULL ? error : second
      })
    }
  }

  async #apply(
    { owner, epoch, firstSeq, lastSeq }: Batch,
    writes: readonly WriteStatement[],
  ): Promise<'applied' | 'fenced'> {
    const params = [lastSeq, records.assertNoTrailingSpace('owner', owner), epoch, firstSeq]
    const fence = { sql: records.UPDATE_FENCE, params }
    let failedIndex = -1
    let affectedRows = 0
    const accept = (index: number, { affected }: SqlResult): boolean => {
      const write = writes[index - 1]
      const isAccepted = write ? !write.mustFindAll || affected === write.rows : affected === 1
      if (!isAccepted) [failedIndex, affectedRows] = [index, affected]
      return isAccepted
    }
    const statements = [fence, ...writes.map(({ statement }) => statement)]
    const results = await this.#client.transact(statements, accept).catch((error: unknown) => {
      throw addWriteContext(error, writes[isDatabaseError(error) ? error.statement - 1 : -1])
    })
    if (results) return 'applied'
    if (failedIndex === 0) return 'fenced'
    const { table, verb, rows } = writes[failedIndex - 1]!
    const message = `table ${table}: ${rows - affectedRows} of ${rows} rows to ${verb} are not in MySQL`
    throw new DatabaseError('refused', message, { statement: failedIndex, table })
  }

  async load(table: TableDefinition, shardKey: string, after: RowKey | null, limit: number): Promise<readonly Row[]> {
    if (after === null) return this.#firstPageReader(table, limit).get(shardKey)
    return table.keyInShard.length === 0 ? [] : this.#readPage(table, shardKey, after, limit)
  }

  async #readPage(table: TableDefinition, shardKey: string, after: RowKey | null, limit: number): Promise<Row[]> {
    const rows: Row[] = []
    for (let from = after; ;) {
      const missing = limit - rows.length
      const page = decodeRows(table, await this.#query(selectPage(table, shardKey, from, missing), table))
      // The collation of an adopted table may treat `Bob` and `bob` as equal.
      for (const row of page) if (row[table.shardKey.name] === shardKey) rows.push(row)
      const last = page.at(-1)
      if (!last || page.length < missing || rows.length === limit || table.keyInShard.length === 0) return rows
      from = table.key.map(({ name }) => last[name])
    }
  }

  #firstPageReader(table: TableDefinition, limit: number): BatchReader<Row[]> {
    let byLimit = this.#firstPageReaders.get(table)
    if (!byLimit) this.#firstPageReaders.set(table, (byLimit = new Map()))
    let reader = byLimit.get(limit)
    if (reader) return reader
    reader = new BatchReader({
      querySingle: (key) => this.#readPage(table, key, null, limit),
      queryMany: (keys, maxRows) => this.#query(selectShards(table, keys, maxRows), table),
      keyColumn: table.shardKey.name,
      maxRows: MAX_BATCHED_ROWS,
      pageRows: limit,
      parse: (result) => decodeRows(table, result),
    })
    byLimit.set(limit, reader)
    return reader
  }

  async row(table: TableDefinition, key: RowKey): Promise<Row | null> {
    const [row] = decodeRows(table, await this.#query(selectRow(table, key), table))
    const isSameKey = row && table.key.every(({ name }, i) => typeof key[i] !== 'string' || row[name] === key[i])
    return isSameKey ? row : null
  }

  async criticalState(shard: string): Promise<CriticalState> {
    const channels = await this.#channelReader.get(records.assertNoTrailingSpace('shard', shard))
    const casts = await this.#castReader.get(shard)
    return {
      channels: channels.map(([id, mark, replies]) => ({
        id: id as string,
        mark: records.toSafeInteger('mark', mark),
        replies: replies as Uint8Array,
      })),
      casts: casts.map(([sequence, data]) =>
        decodeCast(records.toSafeInteger('sequence', sequence), data as Uint8Array),
      ),
    }
  }

  async parkedTurns(owner: string): Promise<readonly ParkedTurn[]> {
    const rows = await this.#readAllPages(records.SELECT_PARKED, records.assertNoTrailingSpace('owner', owner), 0)
    return rows.map(([seq, shard, error, data]) => ({
      seq: records.toSafeInteger('seq', seq),
      shard: shard as string,
      error: error as string,
      data: data as Uint8Array,
    }))
  }

  #allRowsReader(singleSql: string, first: SqlValue, manySql: string, order: string): BatchReader<SqlResult['rows']> {
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

  /** Every row of a shard or owner, ordered by the first column. */
  async #readAllPages(sql: string, key: string, first: SqlValue): Promise<SqlResult['rows']> {
    const allRows: SqlResult['rows'][number][] = []
    for (let after = first; ; after = allRows.at(-1)![0]!) {
      const { rows } = await this.#client.query({ sql, params: [key, after, PAGE_ROWS] })
      allRows.push(...rows)
      if (rows.length < PAGE_ROWS) return allRows
    }
  }

  /**
   * Reserves the id of an INSERT that is rolled back: InnoDB does not assign a value twice. After a crash, or a
   * failover to a replica, it may assign values again for which no row was stored; MySQL then refuses the second row.
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
    const column = table.keyInShard[0]?.name
    if (id === 0n) throw new DatabaseError('schema', `table ${table.name}: ${column} is not AUTO_INCREMENT`)
    return id
  }

  async probe(owner: string): Promise<void> {
    await this.#client.transact(records.probeStatements(owner), () => true)
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  async #query(statement: SqlStatement, { name }: TableDefinition): Promise<SqlResult> {
    try {
      return await this.#client.query(statement)
    } catch (error) {
      throw isDatabaseError(error) ? addContext(error, `table ${name}`, name) : error
    }
  }
}

function addWriteContext(error: unknown, write: WriteStatement | undefined): unknown {
  if (!isDatabaseError(error) || !write) return error
  const { table, verb, rows } = write
  return addContext(error, `table ${table}: ${verb} of ${rows} row${rows === 1 ? '' : 's'}`, table)
}

function addContext(cause: DatabaseError, context: string, table: string): DatabaseError {
  const { kind, message, errno, statement, isTimeout } = cause
  const options = { errno, statement, isTimeout, table, cause }
  return new DatabaseError(kind, `${context}: ${message.slice(0, MAX_MESSAGE_LENGTH)}`, options)
}

function isDatabaseError(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError
}
