// Runs before `npm start` and `npm test`, on any Node from 18 up: installs the packages when they are not there
// as package-lock.json wants them, and for tests the Debian packages that the suite drives. Plain JavaScript,
// because nothing is installed yet.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

const wantsTests = process.argv.includes('--test')

/** @param {string} file @returns {Record<string, { version?: string, dev?: boolean, optional?: boolean }>} */
function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages
}

function missing() {
  if (!existsSync('node_modules/.package-lock.json')) return 'nothing is installed'
  const installed = packagesOf('node_modules/.package-lock.json')
  for (const [path, wanted] of Object.entries(packagesOf('package-lock.json'))) {
    if (path === '' || wanted.optional || (wanted.dev && !wantsTests)) continue
    if (installed[path]?.version !== wanted.version)
      return `${path.replace('node_modules/', '')} ${wanted.version}`
  }
  return null
}

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, ...env },
  })
  if (status !== 0) {
    console.error(`firefly: ${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`)
    process.exit(1)
  }
}

const why = missing()
if (why !== null) {
  console.error(`firefly: installing packages (${why}) …`)
  // Not `npm ci`: docs/decisions/007-npm-install.md says why. Versions and checksums are the lock file's all the same.
  const quiet = ['--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  run('npm', ['install', ...quiet, ...(wantsTests ? [] : ['--omit=dev'])])
}

/** For tests: any of the files will do. MariaDB's core packages, because the full one starts a service. */
const programs = [
  { files: ['/usr/bin/chromium'], packages: ['chromium'], why: 'browser tests' },
  {
    files: ['/usr/sbin/mariadbd', '/usr/sbin/mysqld'],
    packages: ['mariadb-server-core', 'mariadb-client-core'],
    why: 'database tests',
    without: process.env.FIREFLY_TEST_MYSQL,
  },
]
const absent = programs.filter(({ files, without }) => !without && !files.some((file) => existsSync(file)))
if (wantsTests && absent.length > 0) {
  if (process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    const packages = absent.flatMap(({ packages }) => packages)
    console.error(
      `firefly: installing ${packages.join(', ')} for the ${absent.map(({ why }) => why).join(' and ')} …`,
    )
    run('apt-get', ['update', '-qq'])
    run('apt-get', ['install', '-y', '-qq', ...packages], { DEBIAN_FRONTEND: 'noninteractive' })
  } else
    for (const { files, why } of absent)
      console.error(
        `firefly: no ${files.join(' or ')}, and no root to install it: the ${why} will be skipped`,
      )
}
