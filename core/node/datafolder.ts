// Names in a data directory that a crash must not take: a new directory, and a WAL under a second name. Invariant: a
// synced file without a name is a lost file, so the directory is synced too.

import {
  existsSync,
  fsyncSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  unlinkSync,
} from 'node:fs'
import { dirname } from 'node:path'

import { toStoreError } from './storeerror.ts'

/** @throws StoreError */
export function createFolder(dir: string): void {
  try {
    const first = mkdirSync(dir, { recursive: true })
    if (first === undefined) return
    // Each directory that was made is an entry of its parent.
    let created = dir
    while (created.length >= first.length) syncFolder((created = dirname(created)))
  } catch (cause) {
    throw toStoreError(cause, dir)
  }
}

/** Makes the entries of a directory durable. */
export function syncFolder(path: string): void {
  // Windows has no such thing and refuses to open a directory.
  if (process.platform === 'win32') return
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Gives the WAL of a database file a second name, which SQLite's close leaves alone. */
export function linkWalBackup(path: string): void {
  linkSync(`${path}-wal`, walBackupPath(path))
}

/** Gives a WAL that was kept its name back, unless it never lost it. */
export function restoreWalBackup(path: string): void {
  if (!existsSync(walBackupPath(path))) return
  if (existsSync(`${path}-wal`)) unlinkSync(walBackupPath(path))
  else renameSync(walBackupPath(path), `${path}-wal`)
  syncFolder(dirname(path))
}

function walBackupPath(path: string): string {
  return `${path}-wal-kept`
}
