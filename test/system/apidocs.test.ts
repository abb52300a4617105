// The API reference: every public export and member has a comment, and the pages contain them.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'

import { generateApiDocs } from '../../scripts/apidocs.ts'
import { buildPackage } from '../../scripts/build.ts'

// Inside of the checkout, where the declarations find the types of their dependencies.
mkdirSync('dist', { recursive: true })
const folder = mkdtempSync(join(process.cwd(), 'dist/apidocs-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const [declarations, pages] = [join(folder, 'package'), join(folder, 'api')]

test('every public export and member has a comment', async () => {
  assert.ok((await buildPackage(declarations)) > 100)
  assert.deepEqual(generateApiDocs(declarations, pages), [])
  const page = readFileSync(join(pages, 'firefly-game.md'), 'utf8')
  assert.match(
    page,
    /\n## shard\n[^]*\n### onActivate\n\n```ts\nonActivate\(run: .*\n```\n\nRuns first in each activation/,
  )
  assert.match(
    readFileSync(join(pages, 'README.md'), 'utf8'),
    /- \[firefly-game\/testing\]\(firefly-game-testing\.md\)/,
  )
})

test('an export or a member without a comment is reported', () => {
  const file = join(declarations, 'edge/testing/player.d.ts')
  const original = readFileSync(file, 'utf8')
  writeFileSync(file, original.replace('/** Leaves the shard. */', ''))
  const [missing, ...others] = generateApiDocs(declarations, pages)
  assert.match(
    missing!,
    /^firefly-game\/testing: Missing documentation for "close"\. \(edge\/testing\/player\.d\.ts:\d+\)$/,
  )
  assert.deepEqual(others, [])
})
