// Installs the Debian packages that tests and tools use, if the user is root or sudo needs no password. Plain JavaScript
// for Node 18 and later, because ready.mjs runs before anything is installed.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const APT = '/usr/bin/apt-get'

/** `files`: the program is installed if one of them exists. `service`: its package would start a service. */
export const chromium = { files: ['/usr/bin/chromium'], packages: ['chromium'], usedBy: 'browser tests' }
/** node:crypto generates keys, but not certificates. */
export const openssl = { files: ['/usr/bin/openssl'], packages: ['openssl'], usedBy: 'TLS tests' }
/** Clients of other ecosystems. A compiler, because `java` runs their source. */
export const java = { files: ['/usr/bin/javac'], packages: ['default-jdk-headless'], usedBy: 'tests with Netty' }
export const netty = {
  files: ['/usr/share/java/netty-codec-http.jar'],
  packages: ['libnetty-java'],
  usedBy: 'tests with Netty',
}
export const godot = { files: ['/usr/bin/godot3-server'], packages: ['godot3-server'], usedBy: 'tests with Godot 3' }
/** The core packages, because the full one starts a service. */
export const mariadb = {
  files: ['/usr/sbin/mariadbd', '/usr/sbin/mysqld'],
  packages: ['mariadb-server-core', 'mariadb-client-core'],
  usedBy: 'database tests',
}

export const nginx = { files: ['/usr/sbin/nginx'], packages: ['nginx'], usedBy: 'proxy tests', service: true }
export const haproxy = { files: ['/usr/sbin/haproxy'], packages: ['haproxy'], usedBy: 'proxy tests', service: true }

/** Redirects all output to stderr; exits the process when the command fails. */
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

/** Returns false, and does nothing, without the right to install. */
export function install(programs, purpose, before = prefix()) {
  if (before === null) return false
  const packages = programs.flatMap((program) => program.packages)
  console.error(`firefly: installing ${packages.join(', ')} for ${purpose} …`)
  const [command, ...args] = [...before, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get']
  run(command, [...args, 'update', '-qq'])
  const isService = programs.some(({ service }) => service)
  const shell = isService ? [...args.slice(0, -1), 'sh', '-c', WITHOUT_START, 'sh', 'apt-get'] : args
  run(command, [...shell, 'install', '-y', '-qq', ...packages])
  return true
}

/** Runs its arguments while Debian's policy forbids to start the services of new packages. */
const WITHOUT_START = `policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\\nexit 101\\n' > $policy && chmod 755 $policy && trap "rm -f $policy" EXIT
fi
"$@"`

/** The words before the command, or null without the right to install. */
function prefix() {
  if (process.platform !== 'linux' || !existsSync(APT)) return null
  if (process.getuid?.() === 0) return []
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo', '-n'] : null
}
