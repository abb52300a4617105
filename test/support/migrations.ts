// Fixture of the migration tests: empty databases on one server, tables of a game, and a dump of a database.

import { readdirSync, readFileSync } from 'node:fs'
import type { TableDefinition } from '../../core/game/table.ts'
import type { SqlClient } from '../../core/sql/client.ts'
import { applyMigration, parseMigrationFile } from '../../core/migrate/migrations.ts'
import type { MigrationFile, MigrationStep, MigrationTarget } from '../../core/migrate/plan.ts'
import { t } from '../../core/wire/type.ts'
import { openClient, sql } from './database.ts'
import { defineTable } from './tables.ts'

const FOLDER = new URL('../../schemas/mysql/', import.meta.url)

export const items = defineTable(
  'items',
  { id: t.id, uid: t.string(20), count: t.u16, gem: t.nullable(t.string(9)), tags: t.array(t.string(9), 9) },
  { key: 'id', by: ['uid', 'count'], unique: ['gem'], defaults: { count: 3 } },
)
export const bags = defineTable('bags', { uid: t.string(20), slot: t.u8, item: t.id }, { key: ['uid', 'slot'] })

export const files: readonly MigrationFile[] = await Promise.all(
  readdirSync(FOLDER)
    .sort()
    .map((name) => parseMigrationFile(name, readFileSync(new URL(name, FOLDER), 'utf8'))),
)

export const targetOf = (tables: readonly TableDefinition[], adopt = false): MigrationTarget => ({
  tables,
  files,
  adopt,
})

/** Applies a migration and returns the kinds of its steps. */
export async function applySteps(client: SqlClient, target: MigrationTarget): Promise<MigrationStep['kind'][]> {
  const done: MigrationStep['kind'][] = []
  await applyMigration(client, target, ({ kind }, event) => event === 'done' && done.push(kind))
  return done
}

export interface EmptyDatabase extends AsyncDisposable {
  readonly url: string
  readonly name: string
  readonly client: SqlClient
}

let databaseCount = 0
/** Creates an empty database on the server of the url `server`; its disposal drops it. */
export async function createEmptyDatabase(server: string): Promise<EmptyDatabase> {
  const name = `firefly_migrate_${process.pid}_${++databaseCount}`
  const url = new URL(server)
  url.pathname = name
  const root = openClient(server, { poolSize: 1 })
  await root.query(sql(`CREATE DATABASE ${name} CHARACTER SET latin1`))
  const client = openClient(url.href)
  return {
    url: url.href,
    name,
    client,
    async [Symbol.asyncDispose]() {
      await client.close()
      await root.query(sql(`DROP DATABASE ${name}`))
      await root.close()
    },
  }
}

/** Every table with its rows, as text. */
export async function dumpDatabase(client: SqlClient): Promise<string> {
  const lines: string[] = []
  const { rows } = await client.query(sql('SHOW TABLES'))
  for (const [name] of rows) {
    const [created] = (await client.query(sql(`SHOW CREATE TABLE \`${String(name)}\``))).rows
    lines.push(String(created![1]).replace(/ AUTO_INCREMENT=\d+/, ''))
    for (const row of (await client.query(sql(`SELECT * FROM \`${String(name)}\``))).rows)
      lines.push(JSON.stringify(row))
  }
  return lines.join('\n')
}
