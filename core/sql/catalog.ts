// The tables of a database, from information_schema, in one form for MySQL 8, Vitess and MariaDB. Invariant: types are
// in the notation of MySQL 8, and a default is the plain value, so no other file depends on the dialect of a server.

import { utf8Decoder } from '../wire/bytes.ts'
import type { SqlClient } from './client.ts'

export type Catalog = ReadonlyMap<string, FoundTable>

export interface FoundTable {
  readonly name: string
  /** null = a view. */
  readonly engine: string | null
  /** Estimate of the server. */
  readonly estimatedRows: number
  /** By name in lower case, because MySQL ignores the case of column names. */
  readonly columns: ReadonlyMap<string, FoundColumn>
  readonly primaryKey: readonly string[]
  /** All indexes except the primary key. */
  readonly indexes: readonly FoundIndex[]
}

export interface FoundColumn {
  readonly name: string
  /** Such as `smallint unsigned`, `decimal(10,2)`, `varchar(20)`. */
  readonly type: string
  readonly nullable: boolean
  /** As text; null = no default, or NULL. */
  readonly defaultText: string | null
  readonly charset: string | null
  readonly collation: string | null
  readonly isAutoIncrement: boolean
  /** GENERATED ALWAYS AS: cannot be written. */
  readonly isGenerated: boolean
  /** ON UPDATE CURRENT_TIMESTAMP */
  readonly hasOnUpdate: boolean
}

export interface FoundIndex {
  readonly name: string
  readonly isUnique: boolean
  readonly columns: readonly string[]
  /** A BTREE of whole values: no prefixes, no expressions, no full text. */
  readonly isPlainBtree: boolean
}

/** A row of information_schema. */
export type CatalogRow = readonly (string | null)[]

const TABLES = 'table_name, engine, table_rows, VERSION() FROM information_schema.tables'
const COLUMNS =
  'table_name, column_name, column_type, is_nullable, column_default, character_set_name, collation_name, extra ' +
  'FROM information_schema.columns'
const STATISTICS =
  'table_name, index_name, non_unique, column_name, sub_part, index_type FROM information_schema.statistics'

/** Reads these tables, as far as the client's user may see them. @param names not empty @throws DatabaseError */
export async function readCatalog(client: SqlClient, names: readonly string[]): Promise<Catalog> {
  const where = `WHERE table_schema = DATABASE() AND table_name IN (${names.map(() => '?').join(', ')})`
  const query = async (columns: string, order: string): Promise<CatalogRow[]> => {
    const { rows } = await client.query({ sql: `SELECT ${columns} ${where} ORDER BY ${order}`, params: names })
    // Some text columns of information_schema arrive as bytes, depending on the server and the driver.
    return rows.map((row) => row.map((cell) => (cell instanceof Uint8Array ? utf8Decoder.decode(cell) : cell)))
  }
  return catalogOf(
    await query(TABLES, 'table_name'),
    await query(COLUMNS, 'table_name, ordinal_position'),
    await query(STATISTICS, 'table_name, index_name, seq_in_index'),
  )
}

/** Builds the catalog from rows with the columns and the order of the SELECTs above. */
export function catalogOf(
  tables: readonly CatalogRow[],
  columns: readonly CatalogRow[],
  statistics: readonly CatalogRow[],
): Catalog {
  const columnsOf = Map.groupBy(columns, ([table]) => table)
  const statisticsOf = Map.groupBy(statistics, ([table]) => table)
  const foundTables = tables.map(([name, engine, rows, version]): FoundTable => {
    const isMaria = /mariadb/i.test(version ?? '')
    const foundColumns = (columnsOf.get(name) ?? []).map((cells) => columnOf(cells, isMaria))
    const indexes = [...Map.groupBy(statisticsOf.get(name) ?? [], ([, index]) => index!)].map(indexOf)
    return {
      name: name!,
      engine: engine ?? null,
      estimatedRows: Number(rows ?? 0),
      columns: new Map(foundColumns.map((column) => [column.name.toLowerCase(), column])),
      primaryKey: indexes.find((index) => index.name === 'PRIMARY' && index.isPlainBtree)?.columns ?? [],
      indexes: indexes.filter((index) => index.name !== 'PRIMARY'),
    }
  })
  return new Map(foundTables.map((table) => [table.name, table]))
}

function columnOf(cells: CatalogRow, isMaria: boolean): FoundColumn {
  const [, name, type, nullable, defaultText, charset, collation, extra] = cells
  const has = (word: string): boolean => new RegExp(`\\b${word}\\b`, 'i').test(extra ?? '')
  return {
    name: name!,
    type: typeOf(type!),
    nullable: nullable === 'YES',
    defaultText: isMaria ? unquote(defaultText ?? null) : (defaultText ?? null),
    charset: charset ?? null,
    collation: collation ?? null,
    isAutoIncrement: has('auto_increment'),
    // Not DEFAULT_GENERATED, which marks a default that is an expression.
    isGenerated: /\b(VIRTUAL|STORED|PERSISTENT)\b/i.test(extra ?? ''),
    hasOnUpdate: has('on update'),
  }
}

/** Removes the display width of integers, which MySQL 8.0.19 no longer shows except for TINYINT(1). */
function typeOf(text: string): string {
  const type = text.replace(/^((?:tiny|small|medium|big)?int)\(\d+\)/i, '$1')
  // The quoted values of an ENUM keep their case.
  return type.includes("'") ? type : type.toLowerCase()
}

/** MariaDB shows a default as SQL text: `NULL`, `5`, `'it''s\n'`. */
function unquote(text: string | null): string | null {
  if (text === null || text === 'NULL') return null
  if (!/^'.*'$/s.test(text)) return text
  return text.slice(1, -1).replace(/''|\\(.)/gs, (_, escaped: string | undefined) => {
    if (escaped === undefined) return "'"
    return ESCAPES[escaped] ?? escaped
  })
}

const ESCAPES: Readonly<Record<string, string>> = { 0: '\0', b: '\b', n: '\n', r: '\r', t: '\t', Z: '\u001a' }

function indexOf([name, parts]: readonly [string, readonly CatalogRow[]]): FoundIndex {
  return {
    name,
    isUnique: parts[0]![2] === '0',
    columns: parts.map(([, , , column]) => column ?? ''),
    isPlainBtree: parts.every(([, , , column, prefix, type]) => column && prefix === null && type === 'BTREE'),
  }
}
