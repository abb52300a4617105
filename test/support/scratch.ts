// Folders of private databases, in memory if there is enough space. Invariant: a folder is removed by its process, or,
// if that was killed, by the next process of the same user.

import { accessSync, constants, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const FOLDER_PREFIX = 'firefly-mariadb'
export const USER_ID = process.getuid?.() ?? 0
/** A database needs more than the 64 MB of a container's /dev/shm. */
const MIN_FREE_BYTES = 512 << 20

export function temporaryFolder(): string {
  return mkdtempSync(join(scratchRoot(), `${FOLDER_PREFIX}-${USER_ID}-${process.pid}-`))
}

/** Removes folders of killed processes, whose MariaDB ended with them. */
export function removeOrphans(): void {
  for (const name of readdirSync(scratchRoot())) {
    const [, owner] = new RegExp(`^${FOLDER_PREFIX}-${USER_ID}-(\\d+)-\\w+$`).exec(name) ?? []
    if (owner && !isAlive(Number(owner))) rmSync(join(scratchRoot(), name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

export function scratchRoot(): string {
  const memory = '/dev/shm'
  try {
    accessSync(memory, constants.W_OK)
    const { bavail, bsize } = statfsSync(memory)
    return bavail * bsize >= MIN_FREE_BYTES ? memory : tmpdir()
  } catch {
    return tmpdir()
  }
}
