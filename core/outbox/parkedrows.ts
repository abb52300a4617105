// The rows of parked turns, in memory. A later turn that changes one of these rows is parked as well, so that MySQL
// never has only a part of related changes. Invariant: while a row is listed here, MySQL's copy is older than the
// Store's, and it is written again only together with all rows of its group.

import type { TableDefinition } from '../game/table.ts'
import type { RowChange, RowKey } from '../ports/store.ts'
import { rowName } from './coalescer.ts'

/** Parked turns of one shard that are connected by common rows. */
export interface ParkedGroup {
  /** Ascending. A message names the first one. */
  readonly seqs: number[]
  readonly shard: string
  readonly rows: Map<string, { readonly table: TableDefinition; readonly key: RowKey }>
}

export class ParkedRows {
  readonly #byRow = new Map<string, ParkedGroup>()

  /** Number of rows. */
  get size(): number {
    return this.#byRow.size
  }

  groups(): readonly ParkedGroup[] {
    return [...new Set(this.#byRow.values())]
  }

  /** False = the group was removed, or merged into another one. */
  isCurrent(group: ParkedGroup): boolean {
    const [name] = group.rows.keys()
    return name !== undefined && this.#byRow.get(name) === group
  }

  /** The parked turn to which one of these rows belongs; null = none. */
  parkedSeqOfRows(rows: readonly Pick<RowChange, 'table' | 'key'>[]): number | null {
    if (this.#byRow.size === 0) return null
    for (const { table, key } of rows) {
      const group = this.#byRow.get(rowName(table, key))
      if (group !== undefined) return group.seqs[0]!
    }
    return null
  }

  /** A parked turn of this shard; null = none. */
  parkedSeqOfShard(shard: string): number | null {
    for (const group of this.#byRow.values()) if (group.shard === shard) return group.seqs[0]!
    return null
  }

  addTurn(seq: number, shard: string, changes: readonly RowChange[]): void {
    const group: ParkedGroup = { seqs: [], shard, rows: new Map() }
    for (const { table, key } of changes) {
      const name = rowName(table, key)
      const other = this.#byRow.get(name)
      if (other && other !== group) this.#mergeGroup(other, group)
      group.rows.set(name, { table, key })
      this.#byRow.set(name, group)
    }
    group.seqs.push(seq)
    group.seqs.sort((a, b) => a - b)
  }

  #mergeGroup(from: ParkedGroup, into: ParkedGroup): void {
    into.seqs.push(...from.seqs)
    for (const [name, row] of from.rows) {
      into.rows.set(name, row)
      this.#byRow.set(name, into)
    }
  }

  /** Called when MySQL has the rows of this group with the values of the Store. */
  removeGroup(group: ParkedGroup): void {
    for (const name of group.rows.keys()) this.#byRow.delete(name)
  }

  clear(): void {
    this.#byRow.clear()
  }
}
