// SQL of Firefly's own tables in MySQL (schemas/mysql): owner, channel, cast, parked and setting. Invariant: a key
// never ends in a space, which MySQL ignores, and a number that is read back is a safe integer.

import type { Batch, Lease, ParkedTurn } from '../ports/database.ts'
import { DatabaseError, type SqlResult, type SqlStatement, type SqlValue } from './client.ts'
import { encodeCast } from './pack.ts'
import { trailingSpaceError } from './select.ts'
import { deleteFrom, insertInto, type WriteStatement } from './statements.ts'

/** Maximum characters of `firefly_parked.error`. */
const MAX_PARKED_ERROR_LENGTH = 1_000
/** More than one page of InnoDB, so that a full disk refuses it. */
const PROBE_BYTES = 65_536

export const UPDATE_FENCE = 'UPDATE firefly_owner SET applied_seq = ? WHERE owner = ? AND epoch = ? AND applied_seq < ?'
export const SELECT_LEASE = 'SELECT epoch, applied_seq, store_id FROM firefly_owner WHERE owner = ?'
/** Locks the row, whether it is new or not: `epoch = epoch` changes nothing. */
const INSERT_OWNER =
  'INSERT INTO firefly_owner (owner, epoch, applied_seq, store_id, taken_at) VALUES (?, 0, 0, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE epoch = epoch'
const RAISE_EPOCH =
  'UPDATE firefly_owner SET epoch = epoch + 1, store_id = ?, taken_at = UTC_TIMESTAMP(3) WHERE owner = ?'
export const SELECT_CHANNELS =
  'SELECT id, mark, replies FROM firefly_channel WHERE shard = ? AND id > ? ORDER BY id LIMIT ?'
export const SELECT_CASTS =
  'SELECT sequence, data FROM firefly_cast WHERE shard = ? AND sequence > ? ORDER BY sequence LIMIT ?'
export const SELECT_CHANNELS_OF = 'SELECT id, mark, replies, shard FROM firefly_channel WHERE shard'
export const SELECT_CASTS_OF = 'SELECT sequence, data, shard FROM firefly_cast WHERE shard'
const CAST_CONDITION = '(shard = ? AND sequence = ?)'
export const SELECT_PARKED =
  'SELECT seq, shard, error, data FROM firefly_parked WHERE owner = ? AND seq > ? ORDER BY seq LIMIT ?'
const PARKED_CONDITION = '(owner = ? AND seq = ?)'
const INSERT_PARKED =
  'INSERT INTO firefly_parked (owner, seq, shard, error, data, parked_at) VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(3)) ' +
  'ON DUPLICATE KEY UPDATE error = VALUES(error), data = VALUES(data), parked_at = VALUES(parked_at)'
const OWNER_KIND_SETTING = 'owners'
const INSERT_OWNER_KIND = 'INSERT INTO firefly_setting (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE name = name'
const SELECT_OWNER_KIND = 'SELECT value FROM firefly_setting WHERE name = ?'

/** Positions of the results of `takeoverStatements`. */
export const LEASE_RESULT = 1
export const OWNER_KIND_RESULT = 4

/** Reads and raises the lease. With a kind of owner, also registers the kind and reads the registered one. */
export function takeoverStatements(owner: string, storeId: string, kind: string | null): SqlStatement[] {
  const statements: SqlStatement[] = [
    { sql: INSERT_OWNER, params: [assertNoTrailingSpace('owner', owner), ''] },
    { sql: `${SELECT_LEASE} FOR UPDATE`, params: [owner] },
    { sql: RAISE_EPOCH, params: [storeId, owner] },
  ]
  if (kind === null) return statements
  statements.push({ sql: INSERT_OWNER_KIND, params: [OWNER_KIND_SETTING, kind] })
  return [...statements, { sql: SELECT_OWNER_KIND, params: [OWNER_KIND_SETTING] }]
}

/**
 * `slot/07-of-32` has the kind `slot/*-of-32`, `object/player/ada` the kind `object/*`; null = any other owner. Owners
 * of two kinds would write the same rows, each behind its own fence.
 */
export function ownerKindOf(owner: string): string | null {
  if (owner.startsWith('object/')) return 'object/*'
  return owner.startsWith('slot/') ? owner.replace(/\d+/, '*') : null
}

export function leaseOf({ rows: [row] }: SqlResult): Lease | null {
  if (!row) return null
  const [epoch, appliedSeq, storeId] = row
  return {
    epoch: toSafeInteger('epoch', epoch),
    appliedSeq: toSafeInteger('applied_seq', appliedSeq),
    storeId: storeId as string,
  }
}

/** The writes of a batch to the tables of this file. */
export function recordWrites({ owner, channels, casts, parked, unparkedSeqs = [] }: Batch): WriteStatement[] {
  const marks = channels.map(({ shard, id, mark, replies }) => [
    assertNoTrailingSpace('shard', shard),
    assertNoTrailingSpace('channel', id),
    mark,
    replies,
  ])
  const newCasts: SqlValue[][] = []
  const answeredCasts: SqlValue[][] = []
  for (const { shard, sequence, cast } of casts) {
    const key = [assertNoTrailingSpace('shard', shard), sequence]
    if (cast) newCasts.push([...key, encodeCast(cast)])
    else answeredCasts.push(key)
  }
  const unparked = unparkedSeqs.map((seq) => [owner, seq])
  return [
    ...insertInto('firefly_channel', ['shard', 'id', 'mark', 'replies'], marks, ['mark', 'replies']),
    ...insertInto('firefly_cast', ['shard', 'sequence', 'data'], newCasts, ['data']),
    ...deleteFrom('firefly_cast', answeredCasts, (count) => anyOf(CAST_CONDITION, count)),
    ...deleteFrom('firefly_parked', unparked, (count) => anyOf(PARKED_CONDITION, count)),
    ...parked.map((turn) => insertParked(owner, turn)),
  ]
}

/** Writes and deletes a record of firefly_parked, with a sequence that no turn has. */
export function probeStatements(owner: string): SqlStatement[] {
  const turn = { seq: 0, shard: '', error: 'probe', data: new Uint8Array(PROBE_BYTES) }
  const writes = [insertParked(owner, turn), ...deleteFrom('firefly_parked', [[owner, 0]], () => PARKED_CONDITION)]
  return writes.map(({ statement }) => statement)
}

export function assertNoTrailingSpace(column: string, value: string): string {
  if (value.endsWith(' ')) throw trailingSpaceError(column, value)
  return value
}

/** Reads a BIGINT that Firefly wrote. @throws DatabaseError when a JavaScript number would round it */
export function toSafeInteger(column: string, text: string | Uint8Array | null | undefined): number {
  const value = typeof text === 'string' ? Number(text) : NaN
  if (!Number.isSafeInteger(value))
    throw new DatabaseError('refused', `${column} ${String(text)} is not a safe integer`)
  return value
}

function insertParked(owner: string, { seq, shard, error, data }: ParkedTurn): WriteStatement {
  const params = [owner, seq, shard, error.slice(0, MAX_PARKED_ERROR_LENGTH).toWellFormed(), data]
  const statement = { sql: INSERT_PARKED, params }
  return { statement, table: 'firefly_parked', verb: 'insert', rows: 1, mustFindAll: false }
}

function anyOf(condition: string, count: number): string {
  return new Array(count).fill(condition).join(' OR ')
}
