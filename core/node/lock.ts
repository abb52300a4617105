// Excludes a second process from a data directory by a kernel lock on an empty SQLite database. Invariant: the lock
// ends with its process, so it is never stale and needs no check of a possibly reused pid. `store.pid` is information
// for messages only.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { toStoreError, StoreError } from './storeerror.ts'

export class DirectoryLock {
  readonly #db: DatabaseSync

  /** @throws StoreError */
  constructor(dir: string) {
    const path = join(dir, 'store.lock')
    const pidPath = join(dir, 'store.pid')
    let db: DatabaseSync | null = null
    try {
      db = new DatabaseSync(path, { timeout: 0 })
      db.exec('BEGIN EXCLUSIVE')
      writeFileSync(pidPath, `${process.pid}\n`)
    } catch (cause) {
      db?.close()
      const fault = toStoreError(cause, path)
      if (!(fault instanceof StoreError && fault.code === 'LOCKED')) throw fault
      const advice = 'stop that one first, or choose another data directory'
      throw new StoreError('LOCKED', `${dir} is in use by process ${readPid(pidPath)}: ${advice}`, { cause })
    }
    this.#db = db
  }

  release(): void {
    this.#db.close()
  }
}

function readPid(path: string): string {
  try {
    return readFileSync(path, 'latin1').slice(0, 20).trim()
  } catch {
    return 'unknown'
  }
}
