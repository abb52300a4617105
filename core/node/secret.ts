// The secret that signs resume tokens: the operator's, or one generated once and stored in the data folder. Invariant:
// only the owner of the file can read it, because the secret gives access to every session.

import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { syncFolder } from './datafolder.ts'
import { toStoreError, StoreError } from './storeerror.ts'

/** At least 128 bits in any common alphabet. */
export const MIN_SECRET_CHARS = 32

/** Returns the secret in the file `secret` of `dir`; creates the file if it does not exist. @throws StoreError */
export function loadOrCreateSecret(dir: string): string {
  const path = join(dir, 'secret')
  let secret: string
  try {
    secret = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw toStoreError(cause, path)
    return createSecret(dir, path)
  }
  if (secret.length >= MIN_SECRET_CHARS) return secret
  throw new StoreError(
    'ACCESS',
    `${path} has ${secret.length} characters, at least ${MIN_SECRET_CHARS} are needed: remove it to create a new one (open sessions then start again)`,
  )
}

/** Atomic, because a truncated file would be a weaker secret. */
function createSecret(dir: string, path: string): string {
  const secret = randomBytes(32).toString('base64url')
  const draft = `${path}.new`
  try {
    const fd = openSync(draft, 'w', 0o600)
    try {
      writeSync(fd, `${secret}\n`)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(draft, path)
    syncFolder(dir)
  } catch (cause) {
    throw toStoreError(cause, path)
  }
  return secret
}
