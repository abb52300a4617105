// Rows, durable casts and the outbox of one store, in the SQLite of any host: a slot file with many shards, or the
// object of one shard. The host calls it inside a transaction. Invariant: a store that was ever attached to MySQL is
// not used without it, and rows from before the attachment are queued for MySQL.

import { hexOf } from '../wire/bytes.ts'
import type { TableDefinition } from '../game/table.ts'
import { rowBytes } from '../rows/rowcache.ts'
import { rowKeyOf } from '../rows/rowkey.ts'
import type { Row, RowChange, RowKey, RowQuery, StoredCast, StoredChannel, WriteSet } from '../ports/store.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import * as rows from '../../schemas/rows.ts'
import { decodeUndo, encodeEntry, encodeUndo } from './entry.ts'
import { ensureTables, createdTables, type TableSet } from '../sql/layout.ts'
import type { OutboxEntry } from './localstore.ts'
import { OutboxTable } from './outbox.ts'
import { blobBytes, quotedTableName, type SqliteHandle, type SqliteTable } from '../sql/sqlite.ts'

/** The store was attached to MySQL, and was opened without it: its own data may be incomplete. */
export class DetachedError extends Error {
  override readonly name = 'DetachedError'
}

export type UndoWriteSet = ReturnType<typeof decodeUndo>

/** Bounds of one outbox entry with rows from before the attachment to MySQL. */
const QUEUED_ROWS = 200
const QUEUED_BYTES = 1_000_000

export class StoreTables {
  readonly outbox: OutboxTable
  readonly #sql: SqliteHandle
  readonly #tableSet: TableSet
  readonly #hasOutbox: boolean
  #storeId = ''

  /** `hasOutbox`: the store is attached to MySQL. */
  constructor(sql: SqliteHandle, tableSet: TableSet, hasOutbox: boolean) {
    this.outbox = new OutboxTable(sql)
    this.#sql = sql
    this.#tableSet = tableSet
    this.#hasOutbox = hasOutbox
  }

  /** 32 hex digits. */
  get storeId(): string {
    return this.#storeId
  }

  /** Called once, before any other method; the tables of schemas/rows.ts exist. @throws TableError, DetachedError */
  prepare(newId: () => Uint8Array): void {
    const meta = this.#meta()
    const attached = meta.get('attached')
    if (attached !== undefined && !this.#hasOutbox)
      throw new DetachedError('its rows belong to a MySQL database: start with --mysql')
    this.#storeId = meta.get('store_id') ?? hexOf(newId())
    if (!meta.has('store_id')) this.#sql.run(rows.SET_META, 'store_id', this.#storeId)
    ensureTables(this.#sql, meta, this.#tableSet)
    this.outbox.reloadCounters()
    if (this.#hasOutbox) this.#attachMysql(attached === undefined ? null : (JSON.parse(attached) as string[]))
  }

  row(table: TableDefinition, shardKey: string, key: RowKey): Row | null {
    return this.#tableOf(table).readRow(this.#sql, shardKey, key)
  }

  list(table: TableDefinition, shardKey: string, query: RowQuery): readonly Row[] {
    return this.#tableOf(table).listRows(this.#sql, shardKey, query)
  }

  applyChanges(shardKey: string, changes: readonly RowChange[]): void {
    for (const change of changes) this.#tableOf(change.table).writeChange(this.#sql, shardKey, change)
  }

  writeCasts(shard: string, casts: ReadonlyMap<number, StoredCast | null>): void {
    for (const [sequence, cast] of casts) {
      if (!cast) this.#sql.run(rows.DELETE_CAST, shard, sequence)
      else {
        const { target, command, body, answer, data } = cast
        const { contract, key } = target
        this.#sql.run(rows.SET_CAST, shard, sequence, contract, key, command, body, answer, data)
      }
    }
  }

  /** Durable casts without an answer, oldest first. */
  pendingCasts(shard: string): StoredCast[] {
    return this.#sql.all(rows.PENDING_CASTS, shard).map((row) => ({
      sequence: Number(row['sequence']),
      target: { contract: String(row['target_contract']), key: String(row['target_key']) },
      command: Number(row['command']),
      body: blobBytes(row['body']),
      answer: String(row['answer']),
      data: blobBytes(row['data']),
    }))
  }

  /** Shards with pending casts. */
  shardsWithCasts(): string[] {
    return this.#sql.all(rows.CASTING_SHARDS).map(({ shard }) => String(shard))
  }

  isLoaded(shard: string): boolean {
    return !this.#hasOutbox || this.#sql.all(rows.IS_LOADED, shard).length > 0
  }

  /** Records that the store has every row of the shard. */
  markLoaded(shard: string): void {
    this.#sql.run(rows.SET_LOADED, shard)
  }

  /** The last step of a commit: queues the turn for MySQL. Returns its sequence; 0 = nothing was queued. */
  appendTurn(shard: string, write: WriteSet): number {
    if (!this.#hasOutbox || (write.rows === null && !write.critical && write.undo === null)) return 0
    const data = encodeEntry(write)
    // A turn after a critical one may have to be taken back with it, even if MySQL does not need it.
    const undo = write.undo && encodeUndo(write.undo)
    return data || undo ? this.outbox.appendTurn(shard, write.critical, data, undo) : 0
  }

  /**
   * Takes back the turn `fromSeq` of this shard and all later ones, newest first. `apply` undoes one turn. A turn
   * without an undo (casts that got new numbers) stays.
   */
  undoTurns(shard: string, fromSeq: number, apply: (undo: UndoWriteSet) => void): void {
    this.outbox.undoTurns(shard, fromSeq, (undo) => apply(decodeUndo(undo, this.#tableSet.definitions)))
  }

  /** Deletes every row, also of tables that the game no longer declares, and returns the removed outbox entries. */
  resetStore(): OutboxEntry[] {
    for (const name of createdTables(this.#meta())) this.#sql.run(`DELETE FROM ${quotedTableName(name)}`)
    // Their turns are lost, so their targets must not receive them.
    this.#sql.run(rows.DELETE_ALL_CASTS)
    this.#sql.run(rows.DELETE_ALL_LOADED)
    return this.outbox.removeAll()
  }

  /**
   * Records the attachment to MySQL and the attached tables. Queues the existing rows of newly attached tables; a shard
   * with such rows counts as loaded, because no other store ever had its rows.
   */
  #attachMysql(attached: readonly string[] | null): void {
    const attachedNames = new Set(attached)
    const newTables = [...this.#tableSet.tables.values()].filter((table) => !attachedNames.has(table.definition.name))
    if (attached !== null && newTables.length === 0) return
    for (const table of newTables) {
      this.#queueTable(table)
      attachedNames.add(table.definition.name)
    }
    this.#sql.run(rows.SET_META, 'attached', JSON.stringify([...attachedNames]))
  }

  #queueTable(table: SqliteTable): void {
    let last: Row | null = null
    for (;;) {
      const page: Row[] = table.readPage(this.#sql, last, QUEUED_ROWS)
      let entryRows: Row[] = []
      let bytes = 0
      for (const row of page) {
        const size = rowBytes(row)
        const { name } = table.definition.shardKey
        if (entryRows.length > 0 && (entryRows[0]![name] !== row[name] || bytes + size > QUEUED_BYTES)) {
          this.#queueRows(table, entryRows)
          entryRows = []
          bytes = 0
        }
        entryRows.push(row)
        bytes += size
      }
      if (entryRows.length > 0) this.#queueRows(table, entryRows)
      if (page.length < QUEUED_ROWS) return
      last = page.at(-1)!
    }
  }

  /** Queues rows of one shard as one entry. */
  #queueRows(table: SqliteTable, entryRows: readonly Row[]): void {
    const { definition } = table
    const shard: ShardId = { contract: definition.owner, key: String(entryRows[0]![definition.shardKey.name]) }
    const changes = entryRows.map((row): RowChange => ({
      table: definition,
      op: 'insert',
      key: rowKeyOf(definition, row),
      values: row,
    }))
    const name = shardName(shard)
    this.outbox.appendTurn(
      name,
      false,
      encodeEntry({ rows: changes, channel: null, casts: null, critical: false }),
      null,
    )
    this.markLoaded(name)
  }

  #meta(): Map<string, string> {
    return new Map(this.#sql.all(rows.ALL_META).map(({ name, value }) => [String(name), String(value)]))
  }

  #tableOf({ name }: TableDefinition): SqliteTable {
    const table = this.#tableSet.tables.get(name)
    if (!table) throw new Error(`the store has no table ${name}`)
    return table
  }
}

/** True = the channel from MySQL replaces the stored one: a mark never decreases. */
export function isNewerMark(fromMysql: StoredChannel, stored: StoredChannel | null): boolean {
  return stored === null || fromMysql.mark > stored.mark
}
