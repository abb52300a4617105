// docs/authoring.md: its code compiles and runs, and it mentions everything that an author can use.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import * as game from '../../core/game/index.ts'
import { service } from '../../core/game/shard.ts'
import { SYSTEM_CODES } from '../../core/wire/errors.ts'
import { createDocProject } from '../support/docproject.ts'
import { serve } from '../support/program.ts'

const PAGE = readFileSync('docs/authoring.md', 'utf8')
const project = createDocProject('docs/authoring.md')

test('the code blocks compile', () => project.compile())

for (const file of project.files.filter((name) => name.endsWith('.test.ts')))
  test(`${file} passes`, async () => {
    assert.match(await project.run(['--test', file]), /pass [1-9]\d*\n[^]*fail 0\n/)
  })

test('the server of the tutorial runs, and its client talks', async () => {
  const program = await serve(project.folder)
  const output = await project.run(['client.ts', `${program.http.replace('http', 'ws')}/ws`])
  assert.equal(output, 'ada is in the lobby, 0 lines before\nada: hello\n')
  assert.equal(await program.stop(), 0)
})

/** The names of a type's members in its source. */
function membersOf(file: string, type: string): string[] {
  const source = readFileSync(file, 'utf8')
  const body = new RegExp(`^export interface ${type}\\b[^]*?^}`, 'm').exec(source)?.[0]
  assert.ok(body, `${file} has no ${type}`)
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)(?=[(<:?])/gm)].map(([, name]) => name!)
}

test('the page mentions every export, builder method, member of a context, type and code', () => {
  const { Gate } = { Gate: game.contract('gate', {}) }
  const builder = Object.getOwnPropertyNames(Object.getPrototypeOf(service(Gate)) as object).filter(
    (name) => name !== 'constructor',
  )
  const context = ['Context', 'SessionContext', 'User', 'TableMethods', 'RowMethods', 'Kv', 'ContextLog']
  const groups: Record<string, readonly (readonly [name: string, pattern: RegExp])[]> = {
    exports: Object.keys(game).map((name) => [name, new RegExp(`\\b${name}\\b`)]),
    builder: builder.map((name) => [name, new RegExp(`\\.${name}\\(`)]),
    context: context
      .flatMap((type) => membersOf('core/game/context.ts', type))
      .map((name) => [name, new RegExp(`(\\.|[{,] )${name}\\b`)]),
    types: Object.keys(game.t).map((name) => [name, new RegExp(`\\bt\\.${name}\\b`)]),
    codes: SYSTEM_CODES.map((name) => [name, new RegExp(`\\| \`${name}\` \\|`)]),
    kit: ['TestGame', 'TestMysql'].flatMap((type) =>
      membersOf('edge/testing/testgame.ts', type).map((name) => [name, new RegExp(`\\b${name}\\b`)] as const),
    ),
    players: ['TestPlayer', 'TestShard'].flatMap((type) =>
      membersOf('edge/testing/player.ts', type).map((name) => [name, new RegExp(`\\b${name}\\b`)] as const),
    ),
  }
  for (const [group, names] of Object.entries(groups)) {
    assert.ok(names.length > 3, `${group}: ${names.length} names`)
    const missing = names.filter(([, pattern]) => !pattern.test(PAGE)).map(([name]) => name)
    assert.deepEqual(missing, [], group)
  }
})
