// Directory entries that must survive a crash: of a new directory, and of a WAL backup. Invariant: a change of a
// directory entry is durable only after a sync of the directory, because a synced file without an entry is lost.

import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'

import { toStoreError } from './storeerror.ts'

/** @throws StoreError */
export function createFolder(dir: string): void {
  try {
    const missing: string[] = []
    for (let path = resolve(dir); !existsSync(path); path = dirname(path)) missing.unshift(path)
    // Node's recursive mkdir never returns where the system reports ENOENT for a folder whose parent exists, as in /proc.
    for (const path of missing) {
      mkdirUnlessThere(path)
      // Each new directory is an entry of its parent.
      syncFolder(dirname(path))
    }
    if (!statSync(dir).isDirectory()) mkdirSync(dir)
  } catch (cause) {
    throw toStoreError(cause, dir)
  }
}

/** Another process may create the same parent. */
function mkdirUnlessThere(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    if (!existsSync(path)) throw error
  }
}

/** Makes the entries of a directory durable. */
export function syncFolder(path: string): void {
  // Windows cannot open a directory as a file.
  if (process.platform === 'win32') return
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Links the WAL of a database file under a second name, which SQLite does not remove at close. */
export function linkWalBackup(path: string): void {
  linkSync(`${path}-wal`, walBackupPath(path))
}

/** Renames a WAL backup to the WAL's name; removes the backup if the WAL still exists. */
export function restoreWalBackup(path: string): void {
  if (!existsSync(walBackupPath(path))) return
  if (existsSync(`${path}-wal`)) unlinkSync(walBackupPath(path))
  else renameSync(walBackupPath(path), `${path}-wal`)
  syncFolder(dirname(path))
}

function walBackupPath(path: string): string {
  return `${path}-wal-kept`
}
