// What waits for its commit, in bytes: the bounds of a slot's queue and of its transactions count them. Nearly, not
// exactly: names and numbers are small beside what they stand for.

import { rowBytes } from '../rows/rowcache.ts'
import type { RowChange, WriteSet } from '../ports/store.ts'

/** A write set, row or cast besides its values. */
const OVERHEAD_BYTES = 64

/** A write set, and what would take it back. */
export function writeSetBytes({ kv, timers, channel, snapshot, rows, casts, undo }: WriteSet): number {
  let bytes = OVERHEAD_BYTES + (channel?.weight ?? 0) + (snapshot?.length ?? 0)
  if (kv) for (const value of kv.values()) bytes += value?.length ?? 0
  if (timers) for (const timer of timers.values()) bytes += timer?.data.length ?? 0
  if (rows) bytes += rowChangesBytes(rows)
  if (casts)
    for (const cast of casts.values())
      bytes += OVERHEAD_BYTES + (cast?.body.length ?? 0) + (cast?.data.length ?? 0)
  return undo ? bytes + writeSetBytes(undo) : bytes
}

export function rowChangesBytes(rows: readonly RowChange[]): number {
  let bytes = 0
  for (const { values } of rows) bytes += OVERHEAD_BYTES + rowBytes(values)
  return bytes
}
