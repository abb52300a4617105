// Errors of a game name its own file and line, on both hosts, wherever it throws; so does a game that does not load, and a value
// that breaks its contract names contract, path, value and bound.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { after } from 'node:test'

import { connect } from '../../client/index.ts'
import { runToEnd, serve, temporaryFolder } from '../support/program.ts'
import { until, waitFor } from '../support/wait.ts'
import { Closed, Dead, Throws } from './fixtures/throws/contract.ts'

const ROOT = join(import.meta.dirname, '../..')
const APP = join(import.meta.dirname, 'fixtures/throws')

/** `in PLACE` for every place of the fixture, without those whose errors are no lines of the game. */
const PLACES = [
  'sync',
  'awaited',
  'helper',
  'timer',
  'durable timer',
  'answer',
  'tick',
  'onLeave',
  'cause',
  'event',
  'call',
]
  .concat('admit', 'onActivate', 'auth')
  .map((place) => `in ${place}`)

/** Makes the game throw in every place. */
async function provoke(url: string): Promise<void> {
  const ignore = (): undefined => undefined
  const game = await connect(url)
  const throws = game.at(Throws, 'k')
  for (const name of ['sync', 'awaited', 'helper', 'cause', 'event', 'reply', 'call'] as const)
    assert.equal(await throws[name]().then(ignore, ({ code }) => code), 'INTERNAL', name)
  await throws.timers()
  await throws.cast()
  await throws.join()
  await game.at(Closed).go().catch(ignore)
  await game.at(Dead).go().catch(ignore)
  await connect(url, { ticket: 'a', connectMs: 2_000 }).catch(ignore)
  throws.close()
  await game.close()
}

/** The text of a line `…/throws/FILE:LINE:COLUMN`. */
function lineAt(place: string): string {
  const [, file, line] = /throws\/(\w+\.ts):(\d+):\d+/.exec(place) ?? []
  return file ? (readFileSync(join(APP, file), 'utf8').split('\n')[Number(line) - 1] ?? '') : ''
}

test('Node: an error of a game names file, line and code, wherever it throws', async () => {
  const program = await serve(APP, ['--log', 'error'])
  let errors = ''
  program.child.stderr!.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  await provoke(program.http.replace('http', 'ws') + '/ws')
  const lines = (): Record<string, string>[] =>
    errors.split('\n').flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? JSON.parse(line) : []))
  const found = (): string[] => lines().flatMap(({ at, code }) => (at && lineAt(at).includes(code!) ? lineAt(at) : []))
  const missing = (): string[] =>
    PLACES.filter((place) => !found().some((line) => line.includes(`${place}'`) || line.includes(`// ${place}`)))
  // The place of an error is its own, not that of its cause.
  const isMissing = (): boolean => missing().some((place) => place !== 'in cause')
  await until(() => !isMissing(), 10_000)
  assert.ok(!isMissing(), `lines of ${missing().join(', ')} in ${errors}`)
  const textOf = (part: string): string => lines().find(({ error }) => error?.includes(part))?.['error'] ?? errors
  assert.match(textOf('in sync with cause'), /\[cause\] RangeError: in cause\n.*throws\/server\.ts:\d+/s)
  assert.match(
    textOf('throws.reply'),
    /throws\.reply: the reply violates its contract: output\.list\[1\]\.n: 700 is outside 0\.\.255/,
  )
  assert.match(
    textOf('throws.said'),
    /throws\.said: the event violates its contract: data\.who\.name: string of 17 characters exceeds 5: "too long in event"/,
  )
  assert.match(textOf('has no key'), /c\.at\(throws\) has no key: throws is a shard, not a service/)
  assert.equal(await program.stop(), 0)
})

test('wrangler dev: an error of a game names file and line', async () => {
  const folder = temporaryFolder()
  const config = [
    'name = "throws"',
    `main = ${JSON.stringify(join(APP, 'worker.ts'))}`,
    'compatibility_date = "2026-11-01"',
    '[[durable_objects.bindings]]\nname = "SHARD"\nclass_name = "Shard"',
    '[exports.Shard]\ntype = "durable-object"\nstorage = "sqlite"',
  ]
  writeFileSync(join(folder, 'wrangler.toml'), config.join('\n'))
  const args = [join(ROOT, 'node_modules/wrangler/bin/wrangler.js'), 'dev', '--port', '0', '--ip', '127.0.0.1']
  const child = spawn(process.execPath, [...args, '--show-interactive-dev-session=false'], {
    cwd: folder,
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false', NO_COLOR: '1' },
  })
  after(() => child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  await waitFor(() => output.includes('Ready on'), 'wrangler is ready', 60_000)
  await provoke(`ws://127.0.0.1:${/Ready on http:\/\/127\.0\.0\.1:(\d+)/.exec(output)![1]}/ws`)
  const found = (): string[] => output.split('\n').map(lineAt)
  const missing = (): string[] =>
    PLACES.filter((place) => !found().some((line) => line.includes(`${place}'`) || line.includes(`// ${place}`)))
  await until(() => missing().length === 0, 10_000)
  assert.deepEqual(missing(), [], output)
  child.kill('SIGTERM')
})

for (const [name, code] of [
  ['an error', "throw new TypeError('in a callback')"],
  ['a rejection', "void Promise.reject(new TypeError('in a callback'))"],
] as const)
  test(`${name} that nothing catches, after the game was loaded, ends the process with file, line and code`, async () => {
    const folder = temporaryFolder()
    const source = [
      "import { contract, firefly, shard } from 'firefly-game'",
      "export default firefly({ a: shard(contract('a', {})) })",
      'process.once("SIGUSR2", () => {',
      `  ${code}`,
      '})',
    ]
    writeFileSync(join(folder, 'server.ts'), source.join('\n'))
    const program = await serve(folder)
    let errors = ''
    program.child.stderr!.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    program.child.kill('SIGUSR2')
    await waitFor(() => errors.includes('\n'), 'the last line')
    const line = JSON.parse(errors.split('\n')[0]!) as Record<string, string>
    assert.match(line['at'] ?? errors, /server\.ts:4:\d+$/)
    assert.equal(line['code'], code)
    assert.match(line['error']!, /TypeError: in a callback/)
  })

const LOADS: readonly (readonly [name: string, source: string, expected: RegExp])[] = [
  [
    'throws',
    'type T = 1\n\nconst x: any = undefined\nexport default x.y',
    /TypeError: .*'y'.*server\.ts:4:\d+: export default x\.y$/,
  ],
  ['throws after await', 'await Promise.resolve()\nJSON.parse("{bad")', /SyntaxError: .*server\.ts:2:\d+: JSON\.parse/],
  ['throws no error', 'throw "text"', /does not load: "text"$/],
  ['has a syntax error', 'const a = {\n  b:\n}', /does not compile: .*; at .*server\.ts:3: \}$/],
  [
    'imports a missing file',
    "import a from './missing.ts'\nexport default a",
    /missing\.ts"; at .*server\.ts:1: import a/,
  ],
  [
    'has a bad definition',
    "import { contract } from 'firefly-game'\n\ncontract('Bad Name', {})",
    /DefinitionError: .*"Bad Name".*server\.ts:3:\d+: contract\('Bad Name', \{\}\)$/,
  ],
  [
    'imports a missing package',
    "import {\n  a,\n} from 'no-such-package'\nexport default a",
    /Cannot find package 'no-such-package'.*; at .*server\.ts:3: } from 'no-such-package'$/,
  ],
  [
    'imports a missing name of the framework',
    "import {\n  firefly,\n  shrd,\n} from 'firefly-game'\nshrd()\nexport default firefly({})",
    /module 'firefly-game' does not provide an export named 'shrd'; at .*server\.ts:3: shrd,$/,
  ],
  ['exports no game', 'export const a = 1', /must export its game: .*; it has no default export$/],
  [
    'exports another value',
    'const a = 1\nexport default { a }',
    /its default export is .*; at .*server\.ts:2: export default { a }$/,
  ],
  [
    'exports a function',
    'export default () => 1',
    /its default export is a function, not what it returns; at .*server\.ts:1: /,
  ],
  [
    'exports a promise',
    'export default Promise.resolve(1)',
    /its default export is a promise: await it; at .*server\.ts:1: /,
  ],
  [
    'exports a shard',
    "import { contract, shard } from 'firefly-game'\nexport default shard(contract('a', {}))",
    /its default export is the shard a alone; at .*server\.ts:2: /,
  ],
  [
    'has a wrong cipher',
    "import { contract, firefly, shard } from 'firefly-game'\nexport const cipher = 5\n" +
      "export default firefly({ a: shard(contract('a', {})) })",
    /its export cipher is number, .*; at .*server\.ts:2: export const cipher = 5$/,
  ],
  [
    'has a wrong field in kv',
    "import { contract, shard } from 'firefly-game'\n\nshard(contract('a', {})).kv({ n: 5 })",
    /DefinitionError: field "n": .*got 5; at .*server\.ts:3:\d+: shard/,
  ],
  [
    'has a shard without a contract',
    "import { firefly, shard } from 'firefly-game'\n\nconst a = shard(undefined as any)\nexport default firefly({ a })",
    /DefinitionError: shard: its contract is undefined, .*server\.ts:3:\d+: const a = shard/,
  ],
  [
    'has an unknown option',
    "import { contract, firefly, shard } from 'firefly-game'\n\n" +
      "export default firefly({ a: shard(contract('a', {})) }, { requireLogn: true } as object)",
    /DefinitionError: firefly has no option "requireLogn": did you mean requireLogin\?; at .*server\.ts:3:\d+: export/,
  ],
  [
    'never ends its top-level await',
    "import './config.ts'\nexport default 1",
    /its top-level await has not ended within 10 s; at .*config\.ts:2: await new Promise/,
  ],
]
for (const [name, source, expected] of LOADS) {
  test(`an app that ${name} is refused with one line that names its file and line`, async () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'server.ts'), source)
    writeFileSync(join(folder, 'config.ts'), 'export {}\nawait new Promise(() => {})')
    const { code, stderr } = await runToEnd(['serve', '--app', folder, '--http', '0', '--tcp', '0', '--data', folder])
    assert.equal(code, 2)
    assert.equal(stderr.trimEnd().split('\n').length, 1, stderr)
    assert.match(stderr.trimEnd(), expected)
  })
}
