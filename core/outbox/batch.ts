// Builds the next batch of an outbox: complete turns in order, coalesced. Invariant: a turn is in the batch completely,
// parked completely, or left for a later batch, and no turn overtakes another.

import type { TableDefinition } from '../game/table.ts'
import type { Batch, ParkedTurn } from '../ports/database.ts'
import type { RowChange } from '../ports/store.ts'
import { DatabaseError } from '../sql/client.ts'
import { RowCoalescer } from './coalescer.ts'
import { decodeEntry, encodeKeys, EntryError, type DecodedEntry } from './entry.ts'
import type { OutboxEntry } from './localstore.ts'
import { ParkedRows } from './parkedrows.ts'

export interface BatchBuildOptions {
  readonly tables: ReadonlyMap<string, TableDefinition>
  readonly parkedRows: ParkedRows
  readonly maxRows: number
  /** MySQL refused this turn alone: it is parked, and the batch ends with it. */
  readonly poisonTurn: PoisonTurn | null
  /** Why these rows must not be sent to MySQL now; null = they may be. */
  readonly refusalOf: (rows: readonly RowChange[]) => Error | null
}
export interface PoisonTurn {
  readonly seq: number
  readonly cause: Error
  /** It is parked with the keys of its rows only. */
  readonly withoutValues: boolean
}
export interface BuiltBatch {
  readonly contents: Pick<Batch, 'rows' | 'channels' | 'casts' | 'parked' | 'unparkedSeqs'>
  /** The entries that the batch contains; at least the first. */
  readonly entries: readonly OutboxEntry[]
  /** Turns that the batch parks; the planner records them when MySQL has the batch. */
  readonly parked: readonly NewlyParkedTurn[]
}
export interface NewlyParkedTurn {
  readonly turn: ParkedTurn
  readonly entry: DecodedEntry
}
/** The first entry is critical and cannot be flushed: a parked turn has one of its rows, or it is invalid. */
export interface BlockedTurn {
  readonly blocked: OutboxEntry
  readonly cause: Error
}

/** @throws EntryError when another version wrote the first entry */
export function buildBatch(entries: readonly OutboxEntry[], options: BatchBuildOptions): BuiltBatch | BlockedTurn {
  const { tables, parkedRows, maxRows, poisonTurn, refusalOf } = options
  const coalescer = new RowCoalescer()
  const channels = new Map<string, Batch['channels'][number]>()
  const casts = new Map<string, Batch['casts'][number]>()
  const parked: NewlyParkedTurn[] = []
  const newlyParkedRows = new ParkedRows()
  const turns: OutboxEntry[] = []
  for (const outboxEntry of entries) {
    const entry = decodeUnlessLater(outboxEntry, tables, turns.length === 0)
    if (entry === null) break
    const [parkedSeq, blocker] = findParkedBlocker(outboxEntry, entry, [parkedRows, newlyParkedRows])
    let parkCause =
      parkedSeq === null ? refusalOf(entry.rows) : new Error(`${blocker} is parked since seq ${parkedSeq}`)
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
      const { seq, shard } = outboxEntry
      const data = poisonTurn?.seq === seq && poisonTurn.withoutValues ? encodeKeys(entry) : outboxEntry.data
      parked.push({ turn: { seq, shard, data, error: parkCause.message }, entry })
      newlyParkedRows.addTurn(seq, shard, entry.rows)
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

/** The parked turn that blocks this one, and the reason; null = none. */
function findParkedBlocker(
  { shard }: OutboxEntry,
  { rows, requiresFlush }: DecodedEntry,
  parked: readonly ParkedRows[],
): readonly [seq: number | null, blocker: string] {
  for (const parkedRows of parked) {
    const rowSeq = parkedRows.parkedSeqOfRows(rows)
    if (rowSeq !== null) return [rowSeq, 'row']
    const shardSeq = requiresFlush ? parkedRows.parkedSeqOfShard(shard) : null
    if (shardSeq !== null) return [shardSeq, 'a turn of this shard']
  }
  return [null, '']
}

/** null = another version wrote the entry, which ends the batch before it. */
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
