// A private MySQL for tests: the server of Debian sid, unpacked into a cache folder, with its own libraries, so that the
// machine's packages are not changed and no rights are needed. As a command it runs until Ctrl-C.

import { execFile } from 'node:child_process'
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { dataTemplate, ROOT_FLAGS, startServer, type DatabaseServer } from './databaseserver.ts'

const SUITE = 'sid'
const PACKAGE = 'mysql-server-core'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const MAX_OUTPUT_BYTES = 16_777_216
/** The undo and redo logs are copied for every instance. */
const FLAGS = ['--mysqlx=OFF', '--disable-log-bin', '--secure-file-priv=', '--innodb-redo-log-capacity=16M']

/** Downloads the server once; about 60 MB, 330 MB unpacked. @throws Error when apt cannot, with its message */
export async function startMysql(): Promise<DatabaseServer> {
  const root = await unpackedServer()
  const file = (pattern: string): string => {
    const [path] = globSync(join(root, pattern))
    if (path === undefined) throw new Error(`${root} has no ${pattern}: remove the folder and try again`)
    return path
  }
  const libraries = file('usr/lib/*-linux-gnu*')
  const command = [
    file('usr/lib/*-linux-gnu*/ld-linux-*.so.*'),
    '--library-path',
    `${libraries}:${join(root, 'usr/lib/mysql/private')}`,
    file('usr/sbin/mysqld'),
  ]
  const share = file('usr/share/mysql')
  const folders = [`--lc-messages-dir=${share}`, `--character-sets-dir=${join(share, 'charsets')}`]
  const flags = [...folders, `--plugin-dir=${file('usr/lib/mysql/plugin')}`, ...FLAGS]
  const template = await dataTemplate(command, async (data, tmpdir) => {
    const options = [`--datadir=${data}`, `--tmpdir=${tmpdir}`, '--initialize-insecure', ...ROOT_FLAGS]
    await run(command[0]!, [...command.slice(1), '--no-defaults', ...options, ...flags])
  })
  return startServer({ name: 'MySQL', command, template, flags, initSql }, {})
}

const initSql = (password: string): string => `CREATE DATABASE IF NOT EXISTS firefly;
CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY '${password}';
ALTER USER root@'127.0.0.1' IDENTIFIED BY '${password}';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
ALTER USER root@localhost IDENTIFIED BY '${password}';
`

async function unpackedServer(): Promise<string> {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'firefly-game')
  const path = join(cache, `${PACKAGE}-${SUITE}`)
  if (existsSync(path)) return path
  mkdirSync(cache, { recursive: true })
  const work = mkdtempSync(`${path}.`)
  try {
    process.stderr.write(`firefly: downloading ${PACKAGE} of Debian ${SUITE} into ${path} …\n`)
    const archives = await download(work)
    const root = join(work, 'root')
    mkdirSync(root)
    for (const name of readdirSync(archives))
      if (name.endsWith('.deb')) await run('dpkg-deb', ['--extract', join(archives, name), root])
    // Fails if another process was faster, whose result is the same.
    await rename(root, path).catch((error: unknown) => {
      if (!existsSync(path)) throw error
    })
    return path
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** apt with lists, state and cache of its own, and the mirror of the machine. Returns the folder of the packages. */
async function download(work: string): Promise<string> {
  const folder = (name: string): string => {
    mkdirSync(join(work, name), { recursive: true })
    return join(work, name)
  }
  const archives = folder('cache/archives')
  folder('cache/archives/partial')
  folder('state/lists/partial')
  const sources = join(work, 'sources.list')
  const status = join(work, 'status')
  const signedBy = existsSync(KEYRING) ? ` [signed-by=${KEYRING}]` : ''
  writeFileSync(sources, `deb${signedBy} ${await debianMirror()} ${SUITE} main\n`)
  // Nothing counts as installed, so that every library is downloaded.
  writeFileSync(status, '')
  const options = [
    `Dir::Etc::sourcelist=${sources}`,
    `Dir::Etc::sourceparts=${folder('none')}`,
    `Dir::Etc::preferencesparts=${folder('none')}`,
    `Dir::State=${join(work, 'state')}`,
    `Dir::State::status=${status}`,
    `Dir::Cache=${join(work, 'cache')}`,
    'APT::Sandbox::User=root',
    'APT::Get::Download-Only=true',
  ].flatMap((option) => ['-o', option])
  await run('apt-get', [...options, '--error-on=any', 'update'])
  await run('apt-get', [...options, '--yes', '--no-install-recommends', 'install', PACKAGE])
  return archives
}

/** The archive that apt is configured with. */
async function debianMirror(): Promise<string> {
  const targets = await run('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'])
  const mirror = targets.split('\n').find((uri) => /\/debian\/?$/.test(uri))
  if (mirror) return mirror
  throw new Error('apt has no Debian archive; set FIREFLY_TEST_MYSQL=mysql://… to a MySQL of your own')
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { maxBuffer: MAX_OUTPUT_BYTES })
  return stdout
}
