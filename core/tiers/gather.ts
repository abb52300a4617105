// The next batch of an outbox: whole turns in order, coalesced. Invariant: a turn is in the batch as a whole, parked
// as a whole, or not yet in it, and no turn overtakes another.

import type { TableDefinition } from '../game/table.ts'
import type { Batch, Parked } from '../run/ports.ts'
import { DatabaseError } from './client.ts'
import { Coalesced } from './coalesce.ts'
import { decodeEntry, EntryError, type Entry } from './entry.ts'
import type { OutboxEntry } from './local.ts'
import { Quarantine } from './quarantine.ts'

export interface GatherOptions {
  readonly tables: ReadonlyMap<string, TableDefinition>
  readonly quarantine: Quarantine
  readonly maxRows: number
  /** This turn was refused when it stood alone: it is parked, and with it the batch ends. */
  readonly poison: { readonly seq: number; readonly cause: Error } | null
}
export interface Gathered {
  readonly parts: Pick<Batch, 'rows' | 'channels' | 'casts' | 'parked' | 'healed'>
  /** What of the entries is in it; at least the first. */
  readonly turns: readonly OutboxEntry[]
  /** Parked turns, to be kept in quarantine once MySQL has them. */
  readonly parked: readonly { readonly turn: Parked; readonly entry: Entry }[]
}
/** The first entry is critical and cannot be in MySQL: a parked turn has its row, or it is no sane turn. */
export interface Blocked {
  readonly blocked: OutboxEntry
  readonly cause: Error
}

/** @throws EntryError when another version wrote the first entry */
export function gather(entries: readonly OutboxEntry[], options: GatherOptions): Gathered | Blocked {
  const { tables, quarantine, maxRows, poison } = options
  const rows = new Coalesced()
  const channels = new Map<string, Batch['channels'][number]>()
  const casts = new Map<string, Batch['casts'][number]>()
  const parked: { turn: Parked; entry: Entry }[] = []
  // What this batch parks, on top of what earlier ones did.
  const parking = new Quarantine()
  const turns: OutboxEntry[] = []
  for (const one of entries) {
    const entry = decoded(one, tables, turns.length === 0)
    if (entry === null) break
    const [holder, what] = holderOf(one, entry, [quarantine, parking])
    let why = holder === null ? null : new Error(`${what} is parked since seq ${holder}`)
    if (poison?.seq === one.seq) why = poison.cause
    if (why === null && turns.length > 0 && rows.size + entry.rows.length > maxRows) break
    if (why === null && !rows.add(entry.rows)) {
      if (turns.length > 0) break
      why = new DatabaseError('refused', 'the turn changes a row twice')
    }
    if (why !== null && one.critical) {
      if (turns.length === 0) return { blocked: one, cause: why }
      break
    }
    turns.push(one)
    if (why !== null) {
      const { seq, shard, data } = one
      parked.push({ turn: { seq, shard, data, error: why.message }, entry })
      parking.add(seq, shard, entry.rows)
      if (poison?.seq === seq) break
      continue
    }
    const { shard } = one
    const { channel } = entry
    if (channel) channels.set(`${shard} ${channel.id}`, { shard, ...channel })
    for (const { sequence, cast } of entry.casts) casts.set(`${shard} ${sequence}`, { shard, sequence, cast })
  }
  return {
    parts: {
      rows: rows.changes(),
      channels: [...channels.values()],
      casts: [...casts.values()],
      parked: parked.map(({ turn }) => turn),
    },
    turns,
    parked,
  }
}

/** The parked turn behind which this one stands, null = none. */
function holderOf(
  { shard }: OutboxEntry,
  { rows, saves }: Entry,
  parked: readonly Quarantine[],
): readonly [seq: number | null, what: string] {
  for (const one of parked) {
    const holder = one.holder(rows)
    if (holder !== null) return [holder, 'row']
    const saved = saves ? one.holderOf(shard) : null
    if (saved !== null) return [saved, 'a turn of this shard']
  }
  return [null, '']
}

/** null: it must wait until those before it are through. */
function decoded({ data }: OutboxEntry, tables: GatherOptions['tables'], isFirst: boolean): Entry | null {
  try {
    return decodeEntry(data, tables)
  } catch (error) {
    if (isFirst || !(error instanceof EntryError)) throw error
    return null
  }
}
