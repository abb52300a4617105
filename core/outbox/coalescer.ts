// Reduces the row changes of many turns to the net changes. Invariant: the net changes leave MySQL in the same state as
// the turns one by one; a turn for which that is not certain is not added, and starts the next batch.

import type { TableDefinition } from '../game/table.ts'
import type { Row, RowChange, RowKey } from '../ports/store.ts'

/** The net change of one row: `deleted` comes first, then `put`. */
interface NetChange {
  readonly table: TableDefinition
  readonly key: RowKey
  readonly deleted: boolean
  readonly put: { readonly op: 'insert' | 'update'; readonly values: Row } | null
}

export class RowCoalescer {
  readonly #rows = new Map<string, NetChange>()

  /** Number of changed rows. */
  get size(): number {
    return this.#rows.size
  }

  /** Adds one turn. Returns false, and adds nothing, when two changes of a row cannot be combined. */
  add(changes: readonly RowChange[]): boolean {
    const next = new Map<string, NetChange>()
    for (const change of changes) {
      const name = rowName(change.table, change.key)
      const combined = combine(next.get(name) ?? this.#rows.get(name), change)
      if (combined === null) return false
      next.set(name, combined)
    }
    for (const [name, combined] of next) this.#rows.set(name, combined)
    return true
  }

  /** Deletes come first, because a delete may release the unique value of an insert. */
  changes(): RowChange[] {
    const deletes: RowChange[] = []
    const puts: RowChange[] = []
    for (const { table, key, deleted, put } of this.#rows.values()) {
      if (deleted) deletes.push({ table, op: 'delete', key, values: NO_VALUES })
      if (put) puts.push({ table, op: put.op, key, values: put.values })
    }
    return [...deletes, ...puts]
  }
}

/** A string that identifies a row of any table. */
export function rowName(table: TableDefinition, key: RowKey): string {
  return `${table.name} ${JSON.stringify(key.map(keyPartText))}`
}

function keyPartText(value: unknown): string {
  return String(value instanceof Date ? value.getTime() : (value as string | number | bigint | Uint8Array))
}

/** null = the change may fail (the row to change may not exist, the inserted one may exist): MySQL must decide. */
function combine(net: NetChange | undefined, { table, key, op, values }: RowChange): NetChange | null {
  const netChange = (deleted: boolean, put: NetChange['put']): NetChange => ({ table, key, deleted, put })
  if (net === undefined) {
    if (op === 'delete') return netChange(true, null)
    return op === 'insert' || op === 'update' ? netChange(false, { op, values }) : null
  }
  const { deleted, put } = net
  if (op === 'insert') return put === null ? netChange(deleted, { op, values }) : null
  if (put === null) return null
  if (op === 'update') return netChange(deleted, { op: put.op, values: { ...put.values, ...values } })
  // MySQL never had an inserted row: only a delete before it remains.
  return op === 'delete' ? netChange(deleted || put.op === 'update', null) : null
}

const NO_VALUES: Row = Object.freeze({})
