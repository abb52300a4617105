// `npm run test:mysql`: the tests that use a database, on a real MySQL: the server of FIREFLY_TEST_MYSQL, or else a private
// one (test/support/mysql.ts). Arguments name the files; by default all of them.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { startMysql } from '../test/support/mysql.ts'

const usesDatabase = (file: string): boolean =>
  /from '\.\.\/support\/(sql)?database\.ts'/.test(readFileSync(file, 'utf8'))
const all = globSync(['test/conformance/*.test.ts', 'test/system/*.test.ts']).filter(usesDatabase).sort()
const named = process.argv.slice(2)
await using server = process.env.FIREFLY_TEST_MYSQL ? null : await startMysql()
const url = process.env.FIREFLY_TEST_MYSQL ?? server!.url
const args = ['--test', '--test-concurrency=2', ...(named.length > 0 ? named : all)]
const tests = spawn(process.execPath, args, { stdio: 'inherit', env: { ...process.env, FIREFLY_TEST_MYSQL: url } })
const [code] = (await once(tests, 'exit')) as [number | null]
process.exitCode = code ?? 1
