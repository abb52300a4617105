// The MySQL that an operator names by its URL: mysql2 for mysql://, PlanetScale's HTTP API for https:// and http://.

import { DatabaseError as DriverError, UnknownError } from '@planetscale/database'
import type { TableDefinition } from '../game/table.ts'
import type { Log } from '../ports/log.ts'
import { DatabaseError, type SqlClient } from '../sql/client.ts'
import { checkSchema } from '../migrate/migrations.ts'
import { planetscaleClient, PlanetscaleProtocolError } from '../sql/planetscale.ts'
import { NotMysqlError } from './mysqlprobe.ts'
import { mysqlClient } from './mysqlpool.ts'

/** Of the answers below 500 those that another time may not be given: too slow, too early, too many. */
const TRANSIENT_STATUSES: readonly number[] = [408, 425, 429]

/** @throws DatabaseError for a URL that cannot be used */
function sqlClient(url: string, poolSize: number): SqlClient {
  return /^https?:/.test(url) ? planetscaleClient({ url }) : mysqlClient({ url, poolSize })
}

/**
 * A client whose database has every table of the game. One that does not answer now is no reason not to start: shards
 * that are here go on without it. One that answers and is no MySQL is: the URL is wrong.
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
    if (!(error instanceof DatabaseError && error.kind === 'unavailable') || isWrongServer(error)) {
      await client.close()
      throw isForeignHttp(error) ? wrongUrlError(error) : error
    }
    log.error('MySQL does not answer: shards whose rows are here go on, others wait for it', {
      error: error.message,
    })
  }
  return client
}

/** While a server runs this may be a proxy's bad hour; at its start it is a wrong URL. */
function isWrongServer(error: DatabaseError): boolean {
  return error.cause instanceof NotMysqlError || isForeignHttp(error)
}

/** An answer of HTTP that PlanetScale's API does not give. */
function isForeignHttp(error: unknown): error is DatabaseError {
  if (!(error instanceof DatabaseError && error.kind === 'unavailable')) return false
  const { cause } = error
  if (cause instanceof UnknownError) return cause.status < 500 && !TRANSIENT_STATUSES.includes(cause.status)
  return cause instanceof PlanetscaleProtocolError || (cause instanceof DriverError && cause.status === 404)
}

function wrongUrlError(cause: DatabaseError): DatabaseError {
  const message = `${cause.message}: what answers there is not PlanetScale's HTTP API; look at the URL`
  return new DatabaseError('access', message, { cause })
}
