// The MySQL that an operator names by its URL: mysql2 for mysql://, PlanetScale's HTTP API for https:// and http://.

import type { TableDefinition } from '../game/table.ts'
import type { Log } from '../run/ports.ts'
import { DatabaseError, type SqlClient } from '../tiers/client.ts'
import { checkSchema } from '../tiers/migrations.ts'
import { planetscaleClient } from '../tiers/planetscale.ts'
import { mysqlClient } from './mysql.ts'

/** @throws DatabaseError for a URL that cannot be used */
function sqlClient(url: string, poolSize: number): SqlClient {
  return /^https?:/.test(url) ? planetscaleClient({ url }) : mysqlClient({ url, poolSize })
}

/**
 * A client whose database has every table of the game. One that does not answer now is no reason not to start: shards
 * that are here go on without it.
 * @throws DatabaseError, DriftError
 */
export async function openDatabase(
  url: string,
  poolSize: number,
  tables: readonly TableDefinition[],
  log: Log,
): Promise<SqlClient> {
  const client = sqlClient(url, poolSize)
  try {
    await checkSchema(client, tables)
  } catch (error) {
    if (!(error instanceof DatabaseError && error.kind === 'unavailable')) {
      await client.close()
      throw error
    }
    log.error('MySQL does not answer: shards whose rows are here go on, others wait for it', {
      error: error.message,
    })
  }
  return client
}
