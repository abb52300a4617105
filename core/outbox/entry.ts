// The encoding of outbox entries: the changed rows of a turn, of a critical turn also its mark and casts; and the write
// set that undoes it. Invariant: a decoded entry equals the encoded one, 64-bit integers included.

import type { TableDefinition } from '../game/table.ts'
import { channelWrite, type RowChange, type StoredCast, type StoredTimer, type WriteSet } from '../ports/store.ts'
import { pack, unpack } from '../sql/pack.ts'

export interface DecodedEntry {
  readonly rows: readonly RowChange[]
  /** Only of a critical turn. */
  readonly channel: { readonly id: string; readonly mark: number; readonly replies: Uint8Array } | null
  /** Only of a critical turn. */
  readonly casts: readonly { readonly sequence: number; readonly cast: StoredCast | null }[]
  /** It is refused while a turn of its shard is parked. */
  readonly requiresFlush: boolean
}

/** An older or newer version of the game wrote the entry: it names a table or column that this game does not have. */
export class EntryError extends Error {
  override readonly name = 'EntryError'
}

type TablesByName = ReadonlyMap<string, TableDefinition>
type PackedRow = [table: string, op: string, key: unknown[], names: string[], values: unknown[]]
type PackedCastWrite = [sequence: number, cast: StoredCast | null]
type PackedChannel = [id: string, mark: number, replies: Uint8Array]
type PackedEntry = [rows: PackedRow[], channel: PackedChannel | null, casts: PackedCastWrite[], requiresFlush?: true]
type PackedUndo = [
  rows: PackedRow[],
  kv: [string, Uint8Array | null][],
  timers: [string, StoredTimer | null][],
  channel: [...PackedChannel, nowMs: number] | null,
  casts: PackedCastWrite[],
  wakeMs: number | null,
]

/** null = MySQL does not need the turn. */
export function encodeEntry({
  rows,
  channel,
  casts,
  critical,
  requiresFlush,
}: Pick<WriteSet, 'rows' | 'channel' | 'casts' | 'critical' | 'requiresFlush'>): Uint8Array | null {
  const packedRows = rows?.filter(({ op }) => op !== 'store-put' && op !== 'store-delete').map(packRow) ?? []
  if (packedRows.length === 0 && !critical) return null
  const packedChannel: PackedChannel | null = critical && channel ? [channel.id, channel.mark, channel.replies] : null
  const packed: PackedEntry = [packedRows, packedChannel, critical && casts ? [...casts] : []]
  if (requiresFlush) packed.push(true)
  return pack(packed)
}

/** The entry with the keys of its rows and without their values, which the Store has. */
export function encodeKeys({ rows }: Pick<DecodedEntry, 'rows'>): Uint8Array {
  return pack([rows.map((row) => packRow({ ...row, values: {} })), null, []] satisfies PackedEntry)
}

/** @throws EntryError */
export function decodeEntry(data: Uint8Array, tables: TablesByName): DecodedEntry {
  const [rows, channel, casts, requiresFlush = false] = unpack(data) as PackedEntry
  return {
    rows: rows.map((row) => unpackRow(row, tables)),
    channel: channel && { id: channel[0], mark: channel[1], replies: channel[2] },
    casts: casts.map(([sequence, cast]) => ({ sequence, cast })),
    requiresFlush,
  }
}

export function encodeUndo({ rows, kv, timers, channel, casts, wakeMs }: WriteSet): Uint8Array {
  const packed: PackedUndo = [
    (rows ?? []).map(packRow),
    [...(kv ?? [])],
    [...(timers ?? [])],
    channel && [channel.id, channel.mark, channel.replies, channel.nowMs],
    [...(casts ?? [])],
    wakeMs,
  ]
  return pack(packed)
}

/** The parts of a write set that undo a turn. @throws EntryError */
export function decodeUndo(
  data: Uint8Array,
  tables: TablesByName,
): Pick<WriteSet, 'rows' | 'kv' | 'timers' | 'channel' | 'casts' | 'wakeMs'> {
  const [rows, kv, timers, channel, casts, wakeMs] = unpack(data) as PackedUndo
  return {
    rows: rows.map((row) => unpackRow(row, tables)),
    kv: new Map(kv),
    timers: new Map(timers),
    channel: channel && channelWrite(channel[0], channel[3], { mark: channel[1], replies: channel[2] }),
    casts: new Map(casts),
    wakeMs,
  }
}

function packRow({ table, op, key, values }: RowChange): PackedRow {
  return [table.name, op, [...key], Object.keys(values), Object.values(values)]
}

function unpackRow([name, op, key, names, values]: PackedRow, tables: TablesByName): RowChange {
  const table = tables.get(name)
  if (!table) throw new EntryError(`the outbox contains rows of table ${name}, which this game does not have`)
  const row: Record<string, unknown> = {}
  for (const [i, column] of names.entries()) row[column] = restoreInteger(table, column, values[i])
  return {
    table,
    op: op as RowChange['op'],
    key: key.map((value, i) => restoreInteger(table, table.key[i]!.name, value)),
    values: row,
  }
}

/** MessagePack has one encoding for all integers; the column's kind decides which of them are bigint. */
function restoreInteger(table: TableDefinition, columnName: string, value: unknown): unknown {
  const column = table.columnByName.get(columnName)
  if (!column)
    throw new EntryError(
      `the outbox contains column ${table.name}.${columnName}, which this game does not have: start the version that has it, or add it`,
    )
  return column.kind === 'big' && typeof value === 'number' ? BigInt(value) : value
}
