// The commands around `serve`: `doctor` reports what would fail, `serve --watch` replaces a running game.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { connect } from '../../client/index.ts'
import { Hello } from '../../examples/hello/contract.ts'
import { runToEnd, serve, temporaryFolder } from '../support/program.ts'
import { waitFor } from '../support/wait.ts'

test('doctor reports a healthy machine, without creating the data folder', async () => {
  const data = join(temporaryFolder(), 'data')
  const { code, stdout } = await runToEnd(['doctor', '--http', '0', '--tcp', '0', '--data', data])
  assert.equal(code, 0, stdout)
  assert.match(stdout, /^ok {4}node +\d+\.\d+\.\d+ at /m)
  assert.match(stdout, /^ok {4}http port +any free one$/m)
  assert.match(stdout, new RegExp(`^ok {4}data folder +${data} will be created, [\\d.]+ GiB free$`, 'm'))
  assert.match(stdout, /^skip {2}mysql +not configured/m)
})

test('doctor names what would fail, and what to do', async () => {
  const listener = createServer()
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo
  const program = await serve('examples/hello')
  const mysql = 'mysql://user:secret@127.0.0.1:1/game'
  const args = ['--http', String(port), '--tcp', '0', '--data', program.data, '--mysql', mysql, '--host', '127.0.0.1']
  const { code, stdout } = await runToEnd(['doctor', ...args])
  listener.close()
  await program.stop()
  assert.equal(code, 1, stdout)
  assert.match(stdout, new RegExp(`^fail {2}http port +${port} on 127.0.0.1 is in use; .*--http$`, 'm'))
  assert.match(
    stdout,
    new RegExp(`^fail {2}data folder .* is in use by process ${program.pid}: stop that one first`, 'm'),
  )
  assert.match(stdout, /^fail {2}mysql +.*ECONNREFUSED.*check --mysql/m)
  assert.doesNotMatch(stdout, /secret/)
})

test('doctor checks every port that serve opens, and that they differ', async (t) => {
  const listener = createServer()
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  t.after(() => listener.close())
  const { port } = listener.address() as AddressInfo
  const used = await runToEnd(['doctor', '--http', '0', '--tcp', '0', '--metrics-port', String(port)])
  assert.equal(used.code, 1, used.stdout)
  assert.match(used.stdout, new RegExp(`^fail {2}metrics port +${port} on 127.0.0.1 is in use; .*--metrics-port$`, 'm'))
  listener.close()
  const same = await runToEnd(['doctor', '--http', String(port), '--tcp', String(port)])
  assert.equal(same.code, 1, same.stdout)
  assert.match(same.stdout, new RegExp(`^fail {2}tcp port +${port} on 127.0.0.1 is in use; .*--tcp$`, 'm'))
})

const gameText = (greeting: string): string => `
import { command, contract, firefly, shard, t } from 'firefly-game'
const Hello = contract('hello', { greet: command(1, { name: t.string(32) }, { text: t.string(64) }) })
const hello = shard(Hello).public().on('greet', () => ({ text: '${greeting}' }))
export default firefly({ hello })
`

test('serve --watch restarts with the changed game on the same ports, and keeps the running one if it does not load', async () => {
  const app = join(temporaryFolder(), 'game')
  mkdirSync(app)
  const write = (text: string): void => writeFileSync(join(app, 'server.ts'), text)
  write(gameText('one'))
  const program = await serve(app, ['--watch'])
  let stderr = ''
  program.child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  await using game = await connect(`${program.http.replace('http', 'ws')}/ws`)
  const greet = async (): Promise<string> => (await game.at(Hello).greet({ name: 'Ada' })).text
  assert.equal(await greet(), 'one')
  write(gameText('two'))
  await waitFor(async () => (await greet().catch(() => '')) === 'two', 'the game two')
  write('export default 1 +')
  await waitFor(() => stderr.includes('unchanged'), 'the rejection')
  assert.match(stderr, /Unexpected end of file; at \S+server\.ts:1: export default 1 \+; the running game is unchanged/)
  assert.equal(await greet(), 'two')
  write(gameText('three'))
  await waitFor(async () => (await greet().catch(() => '')) === 'three', 'the game three')
  assert.equal(await program.stop(), 0)
})

test('contract prints the contracts of a game as data and as text', async () => {
  const { code, stdout } = await runToEnd(['contract', '--app', 'examples/arena', '--json'])
  assert.equal(code, 0)
  const { format, contracts } = JSON.parse(stdout) as { format: number; contracts: { [key: string]: unknown }[] }
  assert.equal(format, 1)
  const { commands, events, ...arena } = contracts[0] as unknown as Record<string, { [key: string]: unknown }[]>
  assert.deepEqual(arena, { name: 'arena', kind: 'shard', key: 'main', access: 'public', refuses: ['FULL'] })
  const nick = { kind: 'string', min: 1, max: 16 }
  assert.deepEqual(commands![0]!['input'], { kind: 'object', fields: { nick } })
  assert.deepEqual(
    commands!.map(({ name, number, output, resend, offline }) => [name, number, output === null, resend, offline]),
    [
      ['enter', 200, false, true, 'keep'],
      ['steer', 201, true, false, 'drop'],
      ['stats', 202, false, false, 'keep'],
    ],
  )
  assert.deepEqual(events![0], {
    name: 'world',
    number: 250,
    codec: 'raw',
    data: { kind: 'bytes', max: 32_768 },
    latest: true,
  })
  const text = await runToEnd(['contract', '--app', 'examples/market'])
  assert.match(text.stdout, /^service market, for public, default key main\n {2}4\d\d call open /m)
  const nothing = await runToEnd(['contract'])
  assert.deepEqual(
    [nothing.code, nothing.stderr],
    [2, 'firefly: no game: give --app PATH, FIREFLY_APP, or app in firefly.json\n'],
  )
})
