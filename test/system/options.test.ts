// Options of the program with effects beyond one value: secrets, tickets and a game's own cipher.

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { callLegacy } from '../support/legacyclient.ts'
import { runToEnd, serve, temporaryFolder } from '../support/program.ts'

test('an invalid ticket option or secret is an error of one line, which does not contain the secret', async () => {
  const folder = temporaryFolder()
  const keys = join(folder, 'keys.json')
  writeFileSync(keys, '{"keys":[{"kty":"RSA"}]}')
  const rows: [string[], RegExp][] = [
    [['--ticket-issuer', 'studio'], /FIREFLY_TICKET_ISSUER is set and no key is/],
    [['--ticket-secret', 'hunter2'], /FIREFLY_TICKET_SECRET has 7 bytes, at least 32/],
    [['--ticket-keys', join(folder, 'nowhere')], /--ticket-keys .*nowhere cannot be read \(ENOENT\)/],
    [['--ticket-keys', keys], /FIREFLY_TICKET_KEYS: key 1: kty "RSA"/],
    [['--secret', 'hunter2'], /secret has 7 characters, at least 32 are needed/],
  ]
  const runs = rows.map(async ([args, expected]) => {
    const { code, stderr } = await runToEnd(['serve', '--app', 'examples/echo', ...args])
    assert.equal(code, 2, stderr)
    assert.match(stderr, expected)
    assert.doesNotMatch(stderr, /hunter2/)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
  })
  await Promise.all(runs)
  writeFileSync(join(folder, 'firefly.json'), JSON.stringify({ secret: 'hunter2' }))
  const { stderr } = await runToEnd(['serve'], {}, folder)
  assert.match(stderr, /^firefly: firefly\.json: secret has 7 characters/)
  assert.doesNotMatch(stderr, /hunter2/)
})

test('without --secret one is generated, stored in the data folder and reused', async () => {
  const data = temporaryFolder()
  const file = join(data, 'secret')
  await (await serve('examples/echo', [], data)).stop()
  const secret = readFileSync(file, 'utf8')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  await (await serve('examples/echo', [], data)).stop()
  assert.equal(readFileSync(file, 'utf8'), secret)
  const other = temporaryFolder()
  await (await serve('examples/echo', ['--secret', 'a'.repeat(32)], other)).stop()
  assert.throws(() => statSync(join(other, 'secret')), /ENOENT/)
})

test('opens and seals bodies with the cipher that a game exports', async () => {
  const app = join(temporaryFolder(), 'game')
  mkdirSync(app)
  const server = join(app, 'server.ts')
  const echo = JSON.stringify(join(import.meta.dirname, '../../examples/echo/server.ts'))
  const cipher = 'const flip = (body: Uint8Array) => body.map((byte) => byte ^ 0x55)'
  const exports = 'export const cipher = () => ({ open: flip, seal: flip })'
  writeFileSync(server, `export { default } from ${echo}\n${cipher}\n${exports}\n`)
  const program = await serve(app)
  const flipped = Uint8Array.from(Buffer.from('{"text":"hidden"}'), (byte) => byte ^ 0x55)
  assert.deepEqual(await callLegacy(program.tcp.port, 2, flipped), Buffer.from(flipped))
  assert.equal(await program.stop(), 0)
  writeFileSync(server, `export { default } from ${echo}\nexport const cipher = 'rot13'\n`)
  const { code, stderr } = await runToEnd(['serve', '--app', app])
  assert.equal(code, 2)
  assert.match(stderr, /its export cipher is string, not a cipher factory function/)
})

/** Node's recursive mkdir never returns for a folder below /proc. */
test('a data folder that cannot be created is an error of one line, wherever it is', async () => {
  const file = join(temporaryFolder(), 'file')
  writeFileSync(file, '')
  const folders = [file, join(file, 'data'), ...(process.platform === 'linux' ? ['/proc/data', '/proc/self/a/b'] : [])]
  for (const folder of folders) {
    const args = ['serve', '--app', 'examples/echo', '--http', '0', '--tcp', '0', '--data', folder]
    const { code, stderr } = await runToEnd(args)
    assert.equal(code, 2, stderr)
    assert.match(stderr, /^firefly: \/.* cannot be used \(E[A-Z]+: .*\): check path, owner and permissions\n$/)
    assert.ok(stderr.startsWith(`firefly: ${folder} `), stderr)
  }
})

test('new folders are created with all their parents, also relative ones', async () => {
  const folder = temporaryFolder()
  await (await serve('examples/echo', [], join(folder, 'a', '..', 'b', 'c/'))).stop()
  assert.ok(statSync(join(folder, 'b', 'c', 'secret')).isFile())
})
