// Debian packages that tests and tools drive, installed where that may be done without asking: by root, or by one whom
// sudo asks no password. Plain JavaScript for any Node from 18 up, because ready.mjs runs before anything is installed.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const APT = '/usr/bin/apt-get'

/** Any of the files will do. */
export const chromium = { files: ['/usr/bin/chromium'], packages: ['chromium'], why: 'browser tests' }
/** node:crypto makes keys, but no certificates. */
export const openssl = { files: ['/usr/bin/openssl'], packages: ['openssl'], why: 'TLS tests' }
/** The core packages, because the full one starts a service. */
export const mariadb = {
  files: ['/usr/sbin/mariadbd', '/usr/sbin/mysqld'],
  packages: ['mariadb-server-core', 'mariadb-client-core'],
  why: 'database tests',
}

/** All that it says goes to stderr; ends the process when the command fails. */
export function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, ...env },
  })
  if (status !== 0) {
    console.error(`firefly: ${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`)
    process.exit(1)
  }
}

/** False, and nothing done, where it may not install. */
export function install(programs, why, before = prefix()) {
  if (before === null) return false
  const packages = programs.flatMap((program) => program.packages)
  console.error(`firefly: installing ${packages.join(', ')} for ${why} …`)
  const [command, ...args] = [...before, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get']
  run(command, [...args, 'update', '-qq'])
  run(command, [...args, 'install', '-y', '-qq', ...packages])
  return true
}

/** What stands in front of the command, or null. */
function prefix() {
  if (process.platform !== 'linux' || !existsSync(APT)) return null
  if (process.getuid?.() === 0) return []
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo', '-n'] : null
}
