// The mysql2 client against servers that are absent, send invalid data, are killed, paused or not trusted; and the private
// MariaDB instances of the tests.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import test from 'node:test'
import { startMariadb, testDatabase } from '../support/mariadb.ts'
import { openTestDatabase, assertDatabaseError, openClient, sql, waitUntil } from '../support/database.ts'

const { url, mariadb, skip: missing } = await openTestDatabase()
const privateOnly = { skip: missing || (mariadb ? false : 'tests must not stop the server of FIREFLY_TEST_MYSQL') }
const SCRIPT = new URL('../support/mariadb.ts', import.meta.url).pathname
const OPENSSL = '/usr/bin/openssl'
const selectOne = sql('SELECT 1')

/** A process that has ended and waits to be reaped counts as ended. */
function hasEnded(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`).length === 0
  } catch {
    return true
  }
}

const BROKEN_SERVERS: Readonly<Record<string, (socket: Socket) => void>> = {
  'a web server': (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  'a server that closes the connection': (socket) => socket.end(),
  'a server that resets the connection': (socket) => socket.resetAndDestroy(),
  'a server that sends nothing': () => {},
  'a server that sends zeros': (socket) => socket.write(new Uint8Array(4_096)),
  'a server with an invalid greeting': (socket) =>
    socket.write(Uint8Array.of(5, 0, 0, 0, 10, 65, 0, 1, 2, 1, 0, 0, 1, 0)),
  'a server with random bytes after its greeting': (socket) =>
    socket.write(Uint8Array.of(74, 0, 0, 0, 10, ...Array.from({ length: 400 }, (_, at) => (at * 37) & 255))),
}

test('reports absent and broken servers as unavailable', async () => {
  const absent = 'mysql://u:s3cret@localhost:1/db'
  await using disconnected = openClient(absent)
  assert.match(
    (await assertDatabaseError(disconnected.query(selectOne), 'unavailable', absent)).message,
    /localhost:1.*ECONNREFUSED/,
  )
  for (const [name, greet] of Object.entries(BROKEN_SERVERS)) {
    const sockets: Socket[] = []
    await using listener = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => {}).resume()
      greet(socket)
    }).listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const url = `mysql://u:s3cret@127.0.0.1:${(listener.address() as AddressInfo).port}/db`
    await using client = openClient(url, { connectTimeoutMs: 100 })
    const { message } = await assertDatabaseError(client.query(selectOne), 'unavailable', url)
    assert.ok(message.includes('127.0.0.1'), `${name}: ${message}`)
    await waitUntil(() => sockets.every(({ closed }) => closed))
  }
})

test(
  'reports a server that was killed or paused in a transaction as unavailable, and uses it again later',
  privateOnly,
  async () => {
    await using client = openClient(url, { connectTimeoutMs: 300, statementTimeoutMs: 300 })
    await client.query(sql('CREATE TABLE torn (id INT PRIMARY KEY)'))
    // SIGSTOP takes effect with a delay, so a slow statement follows that the server must not answer.
    const torn = [sql('INSERT INTO torn VALUES (1)'), sql('SELECT SLEEP(0.1)'), sql('INSERT INTO torn VALUES (2)')]
    const failDuring = async (act: () => void) => {
      const first = (index: number) => (index === 0 && act(), true)
      return (await assertDatabaseError(client.transact(torn, first), 'unavailable', url)).message
    }
    const assertNoRows = async () => assert.deepEqual((await client.query(sql('SELECT * FROM torn'))).rows, [])

    const kills: Promise<void>[] = []
    await failDuring(() => kills.push(mariadb!.kill()))
    await Promise.all(kills)
    assert.equal(mariadb!.pid, 0)
    await assertDatabaseError(client.query(selectOne), 'unavailable', url)
    await mariadb!.start()
    await assertNoRows()

    assert.match(await failDuring(() => mariadb!.pause()), /no answer within 300 ms/)
    const { message } = await assertDatabaseError(client.query(selectOne), 'unavailable', url)
    assert.match(message, /not connected within 300 ms/)
    mariadb!.resume()
    await assertNoRows()

    await mariadb!.stop()
    await mariadb!.start()
    await assertNoRows()
  },
)

test('closes a client and its connections while the server is paused', privateOnly, async () => {
  await using frozen = await startMariadb()
  const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
  const before = sockets()
  const client = openClient(frozen.url)
  await client.query(selectOne)
  frozen.pause()
  await using other = openClient(frozen.url, { connectTimeoutMs: 100 })
  await assertDatabaseError(other.query(selectOne), 'unavailable', frozen.url)
  await client.close()
  assert.equal(sockets(), before)
})

const openssl = existsSync(OPENSSL) ? privateOnly.skip : `${OPENSSL} is not installed`
test('requires with ssl a trusted certificate with the name of the host', { skip: openssl }, async () => {
  await using plain = await startMariadb()
  const file = (name: string) => join(plain.dir, name)
  const secure = async (name: string, host: string) => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file(`${name}.key`)]
    const subject = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`, '-days', '2']
    execFileSync(OPENSSL, ['req', '-x509', ...key, '-out', file(`${name}.pem`), ...subject], { stdio: 'ignore' })
    return startMariadb({ flags: [`--ssl-cert=${file(`${name}.pem`)}`, `--ssl-key=${file(`${name}.key`)}`] })
  }
  await using good = await secure('good', 'localhost')
  await using other = await secure('other', 'elsewhere')
  const at = (to: string, ssl: string) => `${to.replace('127.0.0.1', 'localhost')}?ssl=${ssl}`
  const cipher = sql(`SHOW STATUS LIKE 'Ssl_cipher'`)
  await using byUrl = openClient(at(good.url, `ca:${file('good.pem')}`))
  await using byOption = openClient(good.url.replace('127.0.0.1', 'localhost'), {
    tls: { ca: readFileSync(file('good.pem'), 'utf8') },
  })
  for (const client of [byUrl, byOption]) assert.match((await client.query(cipher)).rows[0]![1] as string, /^TLS/)
  for (const [to, why] of [
    [at(good.url, 'true'), /certificate/],
    [at(other.url, `ca:${file('other.pem')}`), /certificate/],
    [at(plain.url, 'true'), /does not support secure/],
  ] as const) {
    await using client = openClient(to)
    assert.match((await assertDatabaseError(client.query(cipher), 'access', to)).message, why)
  }
})

test('runs several instances from one template, which keep their data over a kill', privateOnly, async () => {
  const home = dirname(mariadb!.dir)
  const templates = () =>
    readdirSync(home)
      .filter((name) => name.startsWith('firefly-mariadb-template'))
      .map((name) => [name, statSync(join(home, name)).ino])
  const before = templates()
  await using first = await startMariadb()
  await using second = await startMariadb()
  for (const { url, port } of [first, second]) {
    await using client = openClient(url)
    await client.query(sql('CREATE TABLE home (port INT)'))
    await client.query(sql('INSERT INTO home VALUES (?)', port))
  }
  const pid = first.pid
  await first.kill()
  assert.ok(hasEnded(pid))
  await first.start()
  await second.stop()
  await second.start()
  assert.notEqual(first.port, second.port)
  for (const { url, port } of [first, second]) {
    await using client = openClient(url)
    assert.deepEqual((await client.query(sql('SELECT * FROM home'))).rows, [[String(port)]])
  }
  assert.deepEqual(templates(), before)
  await first[Symbol.asyncDispose]()
  assert.ok(!existsSync(first.dir))
})

test('creates a database for the test on a given server, and drops it', privateOnly, async () => {
  process.env.FIREFLY_TEST_MYSQL = mariadb!.url
  const created = await testDatabase().finally(() => delete process.env.FIREFLY_TEST_MYSQL)
  const name = new URL(created.url).pathname.slice(1)
  assert.ok(created.mariadb === null && name.startsWith('firefly_test_'))
  {
    await using client = openClient(created.url)
    assert.deepEqual((await client.query(sql('SELECT DATABASE()'))).rows, [[name]])
  }
  await created[Symbol.asyncDispose]()
  await using client = openClient(created.url)
  assert.equal((await assertDatabaseError(client.query(selectOne), 'access', created.url)).errno, 1049)
})

test('reports why an instance cannot start', privateOnly, async () => {
  await assert.rejects(startMariadb({ flags: ['--no-such-flag'] }), /unknown option '--no-such-flag'/)
  await assert.rejects(startMariadb({ port: mariadb!.port }), /Address already in use/)
})

test(
  'ends an instance with the process that started it, and the next one removes its folder',
  privateOnly,
  async () => {
    const program = `const { startMariadb } = await import('${SCRIPT}')
    const { pid, dir } = await startMariadb()
    console.log(JSON.stringify({ pid, dir }))`
    const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string]
    const { pid, dir } = JSON.parse(line) as { pid: number; dir: string }
    assert.ok(!hasEnded(pid) && existsSync(dir))
    parent.kill('SIGKILL')
    await once(parent, 'exit')
    await waitUntil(() => hasEnded(pid))
    await using next = await startMariadb()
    assert.ok(next.pid > 0 && !existsSync(dir))
  },
)

test('the command serves until it receives a signal', privateOnly, async () => {
  const command = spawn(process.execPath, [SCRIPT], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [line] = (await once(createInterface({ input: command.stdout }), 'line')) as [string]
  const [hint] = (await once(createInterface({ input: command.stderr }), 'line')) as [string]
  const [, file] = /--defaults-file=(\S+)/.exec(hint)!
  assert.match(readFileSync(file!, 'utf8'), /socket=/)
  {
    await using client = openClient(line)
    await client.query(selectOne)
  }
  command.kill('SIGINT')
  assert.deepEqual(await once(command, 'exit'), [0, null])
  assert.ok(!existsSync(dirname(file!)))
})
