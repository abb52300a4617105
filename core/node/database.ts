// Opens the MySQL database of an operator's URL: mysql2 for mysql://, PlanetScale's HTTP API for https:// and http://.

import { DatabaseError as DriverError, UnknownError } from '@planetscale/database'
import type { TableDefinition } from '../game/table.ts'
import type { Log } from '../ports/log.ts'
import { DatabaseError, type SqlClient } from '../sql/client.ts'
import { checkSchema } from '../migrate/migrations.ts'
import { planetscaleClient, PlanetscaleProtocolError } from '../sql/planetscale.ts'
import { pooledFetch } from './httpfetch.ts'
import { NotMysqlError } from './mysqlprobe.ts'
import { mysqlClient } from './mysqlpool.ts'

/** HTTP statuses below 500 that a retry can cure: request timeout, too early, too many requests. */
const TRANSIENT_STATUSES: readonly number[] = [408, 425, 429]

/**
 * Returns a client after checking that the database has every table of the game. A database that does not answer does
 * not prevent the start, because shards with local rows run without it. A server that is not MySQL does: the URL is wrong.
 * @throws DatabaseError, DriftError
 */
export async function openDatabase(
  url: string,
  poolSize: number,
  tables: readonly TableDefinition[],
  log: Log,
): Promise<SqlClient> {
  const client = /^https?:/.test(url)
    ? planetscaleClient({ url, fetch: pooledFetch() })
    : mysqlClient({ url, poolSize })
  try {
    await checkSchema(client, tables)
  } catch (error) {
    if (!(error instanceof DatabaseError && error.kind === 'unavailable') || isWrongServer(error)) {
      await client.close()
      throw isOtherHttpApi(error) ? wrongUrlError(error) : error
    }
    log.error('MySQL does not answer: shards with all rows in the data folder run, the others wait for MySQL', {
      error: error.message,
    })
  }
  return client
}

/** Used at the start only, where it means a wrong URL. Later the same answer may come from a proxy with an outage. */
function isWrongServer(error: DatabaseError): boolean {
  return error.cause instanceof NotMysqlError || isOtherHttpApi(error)
}

/** Returns true for an HTTP response that PlanetScale's API does not send. */
function isOtherHttpApi(error: unknown): error is DatabaseError {
  if (!(error instanceof DatabaseError && error.kind === 'unavailable')) return false
  const { cause } = error
  if (cause instanceof UnknownError) return cause.status < 500 && !TRANSIENT_STATUSES.includes(cause.status)
  return cause instanceof PlanetscaleProtocolError || (cause instanceof DriverError && cause.status === 404)
}

function wrongUrlError(cause: DatabaseError): DatabaseError {
  const message = `${cause.message}: the server is not PlanetScale's HTTP API; check the URL`
  return new DatabaseError('access', message, { cause })
}
