// What many turns did to rows, as the least that MySQL must do. Invariant: after the result MySQL holds what it would
// hold after the turns one by one; where that is not certain, the turn does not fit and begins the next batch.

import type { TableDefinition } from '../game/table.ts'
import type { Row, RowChange, RowKey } from '../ports/store.ts'

/** What is left to do to one row: `deleted` comes first, then `put`. */
interface NetChange {
  readonly table: TableDefinition
  readonly key: RowKey
  readonly deleted: boolean
  readonly put: { readonly op: 'insert' | 'update'; readonly values: Row } | null
}

export class RowCoalescer {
  readonly #rows = new Map<string, NetChange>()

  /** Rows that are touched. */
  get size(): number {
    return this.#rows.size
  }

  /** Adds one turn, all of it or (false) nothing: two of its changes to a row cannot follow each other. */
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

  /** Deletes first, because one of them may free the unique value that an insert takes. */
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

/** One string for a row of any table. */
export function rowName(table: TableDefinition, key: RowKey): string {
  return `${table.name} ${JSON.stringify(key.map(keyPartText))}`
}

function keyPartText(value: unknown): string {
  return String(value instanceof Date ? value.getTime() : (value as string | number | bigint | Uint8Array))
}

/** null: it is not known that a row is there which is changed, or gone which is inserted. MySQL will say. */
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
  // The row of an insert was not in MySQL: what is left is the delete before it, if there was one.
  return op === 'delete' ? netChange(deleted || put.op === 'update', null) : null
}

const NO_VALUES: Row = Object.freeze({})
