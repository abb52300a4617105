// Helpers of the MySQL tests: a database per test file, a disposable client, and a check of failures that also searches
// the error, in any depth, for the password.

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
import type { DatabaseServer } from './databaseserver.ts'
import { MariadbMissing, testDatabase } from './mariadb.ts'
import { waitFor } from './wait.ts'

export interface TestDatabase {
  readonly url: string
  /** null = a server from outside, which tests must not stop. */
  readonly mariadb: DatabaseServer | null
  /** Why the tests cannot run; false = they can. */
  readonly skip: string | false
}

/** Opens a database, and drops it after the tests of the file. */
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

/** Asserts a rejection with a DatabaseError of this kind that does not contain the password of `url`. */
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
  assert.ok(!(error.cause instanceof Error && 'sql' in error.cause), 'the error contains the statement')
  const { password } = new URL(url)
  assert.ok(
    password.length > 5 && !inspect(error, { depth: 9, showHidden: true }).includes(password),
    'the error contains the password',
  )
  return error
}

export function waitUntil(condition: () => boolean | Promise<boolean>): Promise<void> {
  return waitFor(condition, condition.toString())
}
