// A container with a read-only file system: only the data folder can be written. The game uses its packages, its files, and
// an error of a handler names the line of the source.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { connect } from '../../client/index.ts'
import { command, contract, t as types } from '../../core/game/index.ts'
import { serve, temporaryFolder } from '../support/program.ts'
import { waitFor } from '../support/wait.ts'

/** As in fixtures/packaged/contract.ts, which imports the framework by its name. */
const Packaged = contract('packaged', {
  read: command(1, {}, { fromPackage: types.u32, fromFile: types.u32 }),
  fail: command(2, {}, {}),
})

function createApp(): string {
  const app = temporaryFolder()
  cpSync(join(import.meta.dirname, 'fixtures/packaged'), app, { recursive: true })
  const folder = join(app, 'node_modules/numbers-of-the-game')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module", "exports": "./main.js" }')
  writeFileSync(join(folder, 'main.js'), 'export const value = 7')
  return app
}

/** A command that runs its arguments where only `data` can be written. */
function readOnlyExcept(data: string): string[] {
  const script = `mount --make-rprivate / && mount --bind ${data} ${data} && mount -o remount,bind,ro / && exec "$@"`
  return ['unshare', '--mount', 'sh', '-c', script, 'sh']
}

test('serves a game where only the data folder can be written, and writes nothing into its folder', async (t) => {
  const [app, data] = [createApp(), temporaryFolder()]
  const through = readOnlyExcept(data)
  const canMount = spawnSync(through[0]!, [...through.slice(1), 'true']).status === 0
  const before = readdirSync(app)
  const program = await serve(app, [], join(data, 'slots'), canMount ? through : [])
  t.after(() => program.stop())
  let log = ''
  program.child.stderr!.on('data', (chunk: Buffer) => (log += chunk.toString()))
  await using game = await connect(`${program.http.replace('http', 'ws')}/ws`)
  assert.deepEqual(await game.at(Packaged).read({}), { fromPackage: 7, fromFile: 5 })
  await assert.rejects(game.at(Packaged).fail({}))
  await waitFor(() => log.includes('a bug of the game'), 'the log line')
  assert.match(log, /lib\/helper\.ts:4:\d+.*server\.ts:15:\d+/)
  assert.deepEqual(readdirSync(app), before)
})
