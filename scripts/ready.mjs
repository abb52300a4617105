// Runs before `npm start`, `npm test` and other scripts, on Node 18 and later: installs the packages if they differ from
// package-lock.json; with --dev those for development too, with --test also the Debian packages that the suite uses.
// Plain JavaScript, because nothing is installed yet.

import { existsSync, readFileSync } from 'node:fs'
import { chromium, godot, haproxy, install, java, mariadb, netty, nginx, openssl, run } from './install.mjs'

const isForTests = process.argv.includes('--test')
const isForDevelopment = isForTests || process.argv.includes('--dev')
/** The Node that runs everything; a dependency of development, because users of the package may have a newer one. */
const nodeVersion = packagesOf('package-lock.json')['node_modules/node'].version

/** @param {string} file @returns {Record<string, { version?: string, dev?: boolean, optional?: boolean }>} */
function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages
}

function missingPackage() {
  if (!existsSync('node_modules/.package-lock.json')) return 'nothing is installed'
  const installed = packagesOf('node_modules/.package-lock.json')
  for (const [path, wanted] of Object.entries(packagesOf('package-lock.json'))) {
    if (path === '' || wanted.optional || (wanted.dev && !isForDevelopment && path !== 'node_modules/node')) continue
    if (installed[path]?.version !== wanted.version) return `${path.replace('node_modules/', '')} ${wanted.version}`
  }
  return null
}

const missing = missingPackage()
if (missing !== null) {
  console.error(`firefly: installing packages (${missing}) …`)
  // Not `npm ci`: see docs/decisions/007-npm-install.md. Versions and checksums are still those of the lock file.
  const quiet = ['--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  run('npm', ['install', ...quiet, ...(isForDevelopment ? [] : ['--omit=dev', '--save-prod', `node@${nodeVersion}`])])
}

const programs = [
  chromium,
  openssl,
  nginx,
  haproxy,
  java,
  netty,
  godot,
  ...(process.env.FIREFLY_TEST_MYSQL ? [] : [mariadb]),
]
const absent = programs.filter(({ files }) => !files.some((file) => existsSync(file)))
const purpose = `the ${[...new Set(absent.map((program) => program.usedBy))].join(' and ')}`
if (isForTests && absent.length > 0 && !install(absent, purpose))
  for (const { files, usedBy } of absent)
    console.error(`firefly: no ${files.join(' or ')}, and no right to install it: skipping the ${usedBy}`)
