// Installation of Debian packages for tests and tools, with a fake apt-get that records its calls.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { temporaryFolder } from '../support/program.ts'

const INSTALL = new URL('../../scripts/install.mjs', import.meta.url).href
const SCRIPT = new URL('../support/mariadb.ts', import.meta.url).pathname
const CALLS = ['update -qq (noninteractive)', 'install -y -qq mariadb-server-core mariadb-client-core (noninteractive)']

interface FakeApt {
  readonly env: NodeJS.ProcessEnv
  recordedCalls(): string[]
}

/** @param extra shell commands that the fake apt-get runs after recording its call */
function createFakeApt(extra = ''): FakeApt {
  const folder = temporaryFolder()
  const log = join(folder, 'log')
  const writeScript = (name: string, text: string): void => {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`)
    chmodSync(join(folder, name), 0o755)
  }
  writeScript('apt-get', `echo "$* ($DEBIAN_FRONTEND)" >> ${log}; echo progress; ${extra}`)
  writeScript('sudo', `echo "sudo $*" >> ${log}; shift; exec "$@"`)
  return {
    env: { ...process.env, PATH: `${folder}:${process.env.PATH}` },
    recordedCalls: () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []),
  }
}

function install(
  { env }: FakeApt,
  before: string,
  program = 'mariadb',
): { status: number | null; stdout: string; stderr: string } {
  const code = `import { install, ${program} } from '${INSTALL}'
    console.log(install([${program}], 'the test', ${before}))`
  return spawnSync(process.execPath, ['--input-type=module', '-e', code], { env, encoding: 'utf8' })
}

test('installs as root, with progress on stderr', () => {
  const apt = createFakeApt()
  const { stdout, stderr } = install(apt, '[]')
  assert.deepEqual(apt.recordedCalls(), CALLS)
  assert.equal(stdout, 'true\n')
  assert.equal(
    stderr,
    'firefly: installing mariadb-server-core, mariadb-client-core for the test …\nprogress\nprogress\n',
  )
})

test('installs by sudo if sudo needs no password', () => {
  const apt = createFakeApt()
  assert.equal(install(apt, "['sudo', '-n']").stdout, 'true\n')
  const command = 'sudo -n env DEBIAN_FRONTEND=noninteractive apt-get'
  assert.deepEqual(apt.recordedCalls(), [
    `${command} update -qq`,
    CALLS[0],
    `${command} install -y -qq mariadb-server-core mariadb-client-core`,
    CALLS[1],
  ])
})

test('installs nothing without the right to, and exits after a failure', () => {
  const apt = createFakeApt()
  assert.deepEqual([install(apt, 'null').stdout, apt.recordedCalls()], ['false\n', []])
  const { status, stderr } = install(createFakeApt('exit 100'), '[]')
  assert.equal(status, 1)
  assert.match(stderr, /firefly: env DEBIAN_FRONTEND=noninteractive apt-get update -qq failed\n$/)
})

test('installs a service without starting it', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
  const policy = '/usr/sbin/policy-rc.d'
  const before = existsSync(policy) ? readFileSync(policy, 'utf8') : null
  // The fake apt-get records the policy that it is called under.
  const apt = createFakeApt(`[ $1 = update ] || sh ${policy} nginx start || echo "policy $?" >> $(dirname $0)/log`)
  assert.equal(install(apt, '[]', 'nginx').stdout, 'true\n')
  const calls = ['update -qq (noninteractive)', 'install -y -qq nginx (noninteractive)', 'policy 101']
  assert.deepEqual(apt.recordedCalls(), calls)
  assert.equal(existsSync(policy) ? readFileSync(policy, 'utf8') : null, before)
})

const UNSHARE = '/usr/bin/unshare'
/** Hides MariaDB from this process and its children. */
const HIDE_MARIADB = 'mount -t tmpfs none /usr/sbin'
const skip =
  existsSync('/usr/bin/setpriv') &&
  process.getuid?.() === 0 &&
  existsSync('/usr/sbin/mariadbd') &&
  existsSync('/usr/bin/apt-get') &&
  spawnSync(UNSHARE, ['-m', 'sh', '-c', HIDE_MARIADB], { stdio: 'ignore' }).status === 0
    ? false
    : 'needs root, Debian, MariaDB and a mount namespace of its own'

test('`npm run mariadb` installs MariaDB if it is missing, and starts it', { skip }, () => {
  const apt = createFakeApt('case "$1" in install) umount /usr/sbin;; esac')
  const command = `${HIDE_MARIADB} && exec timeout -s INT 5 ${process.execPath} ${SCRIPT}`
  const { stdout, stderr } = spawnSync(UNSHARE, ['-m', 'sh', '-c', command], { env: apt.env, encoding: 'utf8' })
  assert.deepEqual(apt.recordedCalls(), CALLS)
  assert.match(stdout, /^mysql:\/\/root:\w+@127\.0\.0\.1:\d+\/firefly\n$/)
  assert.match(stderr, /^firefly: installing mariadb-server-core, mariadb-client-core for a private MariaDB …\n/)
})

test('`npm run mariadb` names the remedies if it may not install', { skip }, () => {
  const nobody = 'setpriv --reuid 65534 --regid 65534 --clear-groups'
  const command = `${HIDE_MARIADB} && exec ${nobody} ${process.execPath} ${SCRIPT}`
  const { status, stdout, stderr } = spawnSync(UNSHARE, ['-m', 'sh', '-c', command], { encoding: 'utf8' })
  const remedy = 'apt-get install mariadb-server-core mariadb-client-core, or FIREFLY_TEST_MYSQL=mysql://…'
  assert.deepEqual([status, stdout, stderr], [1, '', `firefly: mariadbd is not installed (${remedy})\n`])
})
