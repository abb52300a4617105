// What the tests of MySQL share: a database for the file that asks, a client that closes itself, and failures that are
// searched for the password, however deep it may be.

import assert from 'node:assert/strict'
import { after } from 'node:test'
import { inspect } from 'node:util'
import { mysqlClient, type MysqlOptions } from '../../core/node/mysqlpool.ts'
import {
  DatabaseError,
  type DatabaseErrorKind,
  type SqlClient,
  type SqlStatement,
  type SqlValue,
} from '../../core/sql/client.ts'
import { MariadbMissing, testDatabase, type Mariadb } from './mariadb.ts'
import { waitFor } from './wait.ts'

export interface TestDatabase {
  readonly url: string
  /** Null when it is not ours to kill. */
  readonly mariadb: Mariadb | null
  /** Why the tests cannot run. */
  readonly skip: string | false
}

/** Gone when the tests of the file have ended. */
export async function openTestDatabase(): Promise<TestDatabase> {
  try {
    const created = await testDatabase()
    after(() => created[Symbol.asyncDispose]())
    return { url: created.url, mariadb: created.mariadb, skip: false }
  } catch (error) {
    if (error instanceof MariadbMissing) return { url: '', mariadb: null, skip: error.message }
    throw error
  }
}

export function openClient(url: string, options: Partial<MysqlOptions> = {}): SqlClient & AsyncDisposable {
  const client = mysqlClient({ url, ...options })
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.close() })
}

export const sql = (text: string, ...params: SqlValue[]): SqlStatement => ({ sql: text, params })

/** The DatabaseError of this kind with which it rejects; the password of `url` is nowhere in it. */
export async function assertDatabaseError(
  promise: Promise<unknown>,
  kind: DatabaseErrorKind,
  url: string,
): Promise<DatabaseError> {
  const error = await promise.then(
    (value) => assert.fail(`resolved with ${inspect(value)}`),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof DatabaseError, inspect(error))
  assert.equal(error.kind, kind, error.message)
  assert.ok(error.message.length <= 500)
  assert.ok(!(error.cause instanceof Error && 'sql' in error.cause), 'the statement is told')
  const { password } = new URL(url)
  assert.ok(
    password.length > 5 && !inspect(error, { depth: 9, showHidden: true }).includes(password),
    'a secret is told',
  )
  return error
}

export function waitUntil(condition: () => boolean | Promise<boolean>): Promise<void> {
  return waitFor(condition, condition.toString())
}
