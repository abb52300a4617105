// What a database has, from information_schema, in one shape for MySQL 8, Vitess and MariaDB. Invariant: types are
// written as MySQL 8 writes them, and a default is the value itself, so that nobody else knows the dialects.

import { utf8Decoder } from '../wire/bytes.ts'
import type { SqlClient } from './client.ts'

export type Catalog = ReadonlyMap<string, FoundTable>

export interface FoundTable {
  readonly name: string
  /** Null for a view. */
  readonly engine: string | null
  /** The server's estimate. */
  readonly estimatedRows: number
  /** By their name in lower case, because MySQL does not tell `Level` from `level`. */
  readonly columns: ReadonlyMap<string, FoundColumn>
  readonly primaryKey: readonly string[]
  /** Without the primary key. */
  readonly indexes: readonly FoundIndex[]
}

export interface FoundColumn {
  readonly name: string
  /** Such as `smallint unsigned`, `decimal(10,2)`, `varchar(20)`. */
  readonly type: string
  readonly nullable: boolean
  /** As text; null when there is none, or when it is NULL. */
  readonly defaultText: string | null
  readonly charset: string | null
  readonly collation: string | null
  /** AUTO_INCREMENT */
  readonly isAutoIncrement: boolean
  /** GENERATED ALWAYS AS: nobody can write it. */
  readonly isGenerated: boolean
  /** ON UPDATE CURRENT_TIMESTAMP */
  readonly hasOnUpdate: boolean
}

export interface FoundIndex {
  readonly name: string
  readonly isUnique: boolean
  readonly columns: readonly string[]
  /** It orders whole values: no prefixes, no expressions, no full text. */
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

/** Those of these tables that the client's user may see. @param names not empty @throws DatabaseError */
export async function readCatalog(client: SqlClient, names: readonly string[]): Promise<Catalog> {
  const where = `WHERE table_schema = DATABASE() AND table_name IN (${names.map(() => '?').join(', ')})`
  const query = async (what: string, order: string): Promise<CatalogRow[]> => {
    const { rows } = await client.query({ sql: `SELECT ${what} ${where} ORDER BY ${order}`, params: names })
    return rows.map((row) => row.map(toText))
  }
  return catalogOf(
    await query(TABLES, 'table_name'),
    await query(COLUMNS, 'table_name, ordinal_position'),
    await query(STATISTICS, 'table_name, index_name, seq_in_index'),
  )
}

/** The rows in the order of the SELECTs above. */
export function catalogOf(
  tables: readonly CatalogRow[],
  columns: readonly CatalogRow[],
  statistics: readonly CatalogRow[],
): Catalog {
  const columnsOf = Map.groupBy(columns, ([table]) => table)
  const statisticsOf = Map.groupBy(statistics, ([table]) => table)
  const foundTables = tables.map(([name, engine, rows, version]): FoundTable => {
    const isMaria = /mariadb/i.test(version ?? '')
    const list = (columnsOf.get(name) ?? []).map((cells) => columnOf(cells, isMaria))
    const indexes = [...Map.groupBy(statisticsOf.get(name) ?? [], ([, index]) => index!)].map(indexOf)
    return {
      name: name!,
      engine: engine ?? null,
      estimatedRows: Number(rows ?? 0),
      columns: new Map(list.map((column) => [column.name.toLowerCase(), column])),
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
    // Not DEFAULT_GENERATED, which is MySQL's word for a default that is an expression.
    isGenerated: /\b(VIRTUAL|STORED|PERSISTENT)\b/i.test(extra ?? ''),
    hasOnUpdate: has('on update'),
  }
}

/** The display width of integers is gone in MySQL 8.0.19, but for TINYINT(1). */
function typeOf(text: string): string {
  const type = text.replace(/^((?:tiny|small|medium|big)?int)\(\d+\)/i, '$1')
  // What stands in quotes is the data of an ENUM.
  return type.includes("'") ? type : type.toLowerCase()
}

/** MariaDB has a default as it would stand in SQL: `NULL`, `5`, `'it''s\n'`. */
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
    isPlainBtree: parts.every(
      ([, , , column, prefix, type]) => column && prefix === null && type === 'BTREE',
    ),
  }
}

/** Which text columns of information_schema count as binary depends on the server and the driver. */
function toText(value: string | Uint8Array | null): string | null {
  return value instanceof Uint8Array ? utf8Decoder.decode(value) : value
}
