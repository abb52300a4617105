// Runs before `npm start` and `npm test`, on any Node from 18 up: installs the packages when they are not there
// as package-lock.json wants them, and for tests the Debian packages that the suite drives. Plain JavaScript,
// because nothing is installed yet.

import { existsSync, readFileSync } from 'node:fs'
import { chromium, install, mariadb, openssl, run } from './install.mjs'

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

const why = missing()
if (why !== null) {
  console.error(`firefly: installing packages (${why}) …`)
  // Not `npm ci`: docs/decisions/007-npm-install.md says why. Versions and checksums are the lock file's all the same.
  const quiet = ['--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  run('npm', ['install', ...quiet, ...(wantsTests ? [] : ['--omit=dev'])])
}

/** For tests. */
const programs = [chromium, openssl, ...(process.env.FIREFLY_TEST_MYSQL ? [] : [mariadb])]
const absent = programs.filter(({ files }) => !files.some((file) => existsSync(file)))
const purpose = `the ${absent.map((program) => program.why).join(' and ')}`
if (wantsTests && absent.length > 0 && !install(absent, purpose))
  for (const { files, why } of absent)
    console.error(`firefly: no ${files.join(' or ')}, and no right to install it: the ${why} will be skipped`)
