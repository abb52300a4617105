// The options of `firefly serve`: the command, its schema, the handbook and the default limits agree. Error messages do
// not contain secrets.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { StoreError } from '../../core/node/storeerror.ts'
import { loadOrCreateSecret } from '../../core/node/secret.ts'
import { commandWithServeOptions, type ServeOptions } from '../../cli/options.ts'

interface Schema {
  readonly properties: Readonly<Record<string, { readonly default?: unknown }>>
}

/** Returns the options of a command line. */
async function parsed(...words: string[]): Promise<ServeOptions> {
  let parsedOptions: ServeOptions | null = null
  const command = commandWithServeOptions('serve', '', (options) => {
    parsedOptions = options
    return Promise.resolve()
  }).configureOutput({ writeErr: () => {} })
  await command.parseAsync(words, { from: 'user' })
  return parsedOptions!
}

test('schema and handbook contain every option, and the schema its default', () => {
  const { options } = commandWithServeOptions('serve', '', () => Promise.resolve())
  const { properties } = JSON.parse(readFileSync('schemas/firefly.schema.json', 'utf8')) as Schema
  const names = options.map((option) => option.attributeName())
  assert.deepEqual(
    Object.keys(properties)
      .filter((name) => name !== '$schema')
      .sort(),
    names.sort(),
  )
  const handbook = readFileSync('docs/operating.md', 'utf8')
  for (const option of options) {
    const { default: value } = properties[option.attributeName()]!
    if (value !== undefined) assert.deepEqual(value, option.defaultValue, option.long)
    assert.match(handbook, new RegExp(`\`${option.long}[ \`]`), option.long)
  }
})

test('rejects an invalid value of an option, and accepts valid ones', async () => {
  const rows: [string[], RegExp][] = [
    [['--heartbeat', '99'], /Not a whole number from 100 to 3600000/],
    [['--max-connections', '0'], /Not a whole number/],
    [['--max-per-address', '1e3'], /Not a whole number/],
    [['--rate', '0'], /Not a whole number/],
    [['--origins', 'game.example'], /origin "game\.example" is not like https:\/\/game\.example/],
    [['--ticket-once', 'yes'], /Not true or false/],
    [['--tls-cert'], /argument missing/],
    [['--host', ''], /Not an address/],
    // Node would listen on all interfaces.
    [['--metrics-host', ''], /Not an address/],
    [['--metrics-host', '[]'], /Not an address/],
    [['--data', ''], /Not a path/],
    [['--app', ' '], /Not a path/],
    [['--base-path', '/a/../b'], /path "\/a\/\.\.\/b" is not like/],
  ]
  for (const [words, expected] of rows) await assert.rejects(parsed(...words), expected)
  const options = await parsed(
    '--rate',
    '5',
    '--ticket-once',
    '--origins',
    'https://a.example',
    '--secret',
    'x'.repeat(32),
    '--metrics-host',
    '[::1]',
  )
  assert.deepEqual([options.rate, options.ticketOnce, options.origins], [5, true, 'https://a.example'])
  assert.equal(options.secret.length, 32)
  assert.equal(options.metricsHost, '::1')
})

test('the error for a short secret does not contain the secret', async () => {
  await assert.rejects(parsed('--secret', 'hunter2'), (error: Error) => {
    assert.equal(error.message, 'secret has 7 characters, at least 32 are needed')
    return true
  })
})

test('creates the stored secret once, readable by its owner only, and rejects a damaged one', () => {
  const dir = mkdtempSync(join(tmpdir(), 'firefly-secret-'))
  try {
    const secret = loadOrCreateSecret(dir)
    assert.match(secret, /^[\w-]{43}$/)
    assert.equal(statSync(join(dir, 'secret')).mode & 0o777, 0o600)
    assert.equal(loadOrCreateSecret(dir), secret)
    writeFileSync(join(dir, 'secret'), 'short\n')
    assert.throws(
      () => loadOrCreateSecret(dir),
      (error: Error) => {
        assert.ok(error instanceof StoreError)
        assert.match(error.message, /secret has 5 characters, at least 32 are needed: remove it/)
        return true
      },
    )
    assert.throws(() => loadOrCreateSecret(join(dir, 'nowhere')), StoreError)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
