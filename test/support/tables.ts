// Tables of the tests, and changes of their rows. All tables belong to one contract.

import { table, type TableDefinition, type TableOptions } from '../../core/game/table.ts'
import type { Row, RowChange, RowKey } from '../../core/ports/store.ts'
import { rowKeyOf } from '../../core/rows/rowkey.ts'
import { command, contract } from '../../core/wire/contract.ts'
import type { Fields } from '../../core/wire/type.ts'

const Player = contract('player', { hello: command(1) })

export function defineTable<const C extends Fields>(
  name: string,
  columns: C,
  options: Omit<TableOptions<C>, 'owner'>,
): TableDefinition {
  return table(name, columns, { ...options, owner: Player }).definition
}

export function insert(table: TableDefinition, values: Row): RowChange {
  return { table, op: 'insert', key: rowKeyOf(table, values), values }
}
export function update(table: TableDefinition, key: RowKey, values: Row): RowChange {
  return { table, op: 'update', key, values }
}
