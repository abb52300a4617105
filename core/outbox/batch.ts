// The next batch of an outbox: whole turns in order, coalesced. Invariant: a turn is in the batch as a whole, parked
// as a whole, or not yet in it, and no turn overtakes another.

import type { TableDefinition } from '../game/table.ts'
import type { Batch, ParkedTurn } from '../ports/database.ts'
import { DatabaseError } from '../sql/client.ts'
import { RowCoalescer } from './coalescer.ts'
import { decodeEntry, EntryError, type DecodedEntry } from './entry.ts'
import type { OutboxEntry } from './localstore.ts'
import { ParkedRows } from './parkedrows.ts'

export interface BatchBuildOptions {
  readonly tables: ReadonlyMap<string, TableDefinition>
  readonly parkedRows: ParkedRows
  readonly maxRows: number
  /** This turn was refused when it stood alone: it is parked, and with it the batch ends. */
  readonly poisonTurn: { readonly seq: number; readonly cause: Error } | null
}
export interface BuiltBatch {
  readonly contents: Pick<Batch, 'rows' | 'channels' | 'casts' | 'parked' | 'unparkedSeqs'>
  /** What of the entries is in it; at least the first. */
  readonly entries: readonly OutboxEntry[]
  /** Parked turns, to be kept in quarantine once MySQL has them. */
  readonly parked: readonly { readonly turn: ParkedTurn; readonly entry: DecodedEntry }[]
}
/** The first entry is critical and cannot be in MySQL: a parked turn has its row, or it is no sane turn. */
export interface BlockedTurn {
  readonly blocked: OutboxEntry
  readonly cause: Error
}

/** @throws EntryError when another version wrote the first entry */
export function buildBatch(
  entries: readonly OutboxEntry[],
  options: BatchBuildOptions,
): BuiltBatch | BlockedTurn {
  const { tables, parkedRows, maxRows, poisonTurn } = options
  const coalescer = new RowCoalescer()
  const channels = new Map<string, Batch['channels'][number]>()
  const casts = new Map<string, Batch['casts'][number]>()
  const parked: { turn: ParkedTurn; entry: DecodedEntry }[] = []
  // What this batch parks, on top of what earlier ones did.
  const newlyParked = new ParkedRows()
  const turns: OutboxEntry[] = []
  for (const outboxEntry of entries) {
    const entry = decodeUnlessLater(outboxEntry, tables, turns.length === 0)
    if (entry === null) break
    const [parkedSeq, blocker] = findParkedBlocker(outboxEntry, entry, [parkedRows, newlyParked])
    let parkCause = parkedSeq === null ? null : new Error(`${blocker} is parked since seq ${parkedSeq}`)
    if (poisonTurn?.seq === outboxEntry.seq) parkCause = poisonTurn.cause
    if (parkCause === null && turns.length > 0 && coalescer.size + entry.rows.length > maxRows) break
    if (parkCause === null && !coalescer.add(entry.rows)) {
      if (turns.length > 0) break
      parkCause = new DatabaseError('refused', 'the turn changes a row twice')
    }
    if (parkCause !== null && outboxEntry.critical) {
      if (turns.length === 0) return { blocked: outboxEntry, cause: parkCause }
      break
    }
    turns.push(outboxEntry)
    if (parkCause !== null) {
      const { seq, shard, data } = outboxEntry
      parked.push({ turn: { seq, shard, data, error: parkCause.message }, entry })
      newlyParked.addTurn(seq, shard, entry.rows)
      if (poisonTurn?.seq === seq) break
      continue
    }
    const { shard } = outboxEntry
    const { channel } = entry
    if (channel) channels.set(`${shard} ${channel.id}`, { shard, ...channel })
    for (const { sequence, cast } of entry.casts) casts.set(`${shard} ${sequence}`, { shard, sequence, cast })
  }
  return {
    contents: {
      rows: coalescer.changes(),
      channels: [...channels.values()],
      casts: [...casts.values()],
      parked: parked.map(({ turn }) => turn),
    },
    entries: turns,
    parked,
  }
}

/** The parked turn behind which this one stands, null = none. */
function findParkedBlocker(
  { shard }: OutboxEntry,
  { rows, saves }: DecodedEntry,
  parked: readonly ParkedRows[],
): readonly [seq: number | null, what: string] {
  for (const one of parked) {
    const holder = one.parkedSeqOfRows(rows)
    if (holder !== null) return [holder, 'row']
    const saved = saves ? one.parkedSeqOfShard(shard) : null
    if (saved !== null) return [saved, 'a turn of this shard']
  }
  return [null, '']
}

/** null: it must wait until those before it are through. */
function decodeUnlessLater(
  { data }: OutboxEntry,
  tables: BatchBuildOptions['tables'],
  isFirst: boolean,
): DecodedEntry | null {
  try {
    return decodeEntry(data, tables)
  } catch (error) {
    if (isFirst || !(error instanceof EntryError)) throw error
    return null
  }
}
