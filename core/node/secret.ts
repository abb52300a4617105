// The secret that signs resume tokens: the operator's, or one made once and kept in the data folder. Whoever knows it
// can take over any session, so only the owner of the file may read it.

import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { syncFolder } from './datafolder.ts'
import { toStoreError, StoreError } from './storeerror.ts'

/** As many characters are at least 128 bits in any usual alphabet. */
export const MIN_SECRET_CHARS = 32

/** The secret in the file `secret` of `dir`, which is made when there is none. @throws StoreError */
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
    `${path} holds ${secret.length} characters, at least ${MIN_SECRET_CHARS} are needed: remove it, and a new one is made (open sessions begin anew)`,
  )
}

/** Whole or not at all: a cut file would be a weaker secret. */
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
