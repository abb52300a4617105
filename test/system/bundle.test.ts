// The size of the script that `wrangler deploy -e edge` uploads.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'

import { temporaryFolder } from '../support/program.ts'

const root = join(import.meta.dirname, '../..')
/** docs/decisions/016: a codec, a parser of types or a second router that enters the edge exceeds it. */
const MAX_GZIP_BYTES = 60_000

test('the edge bundle is smaller than 60 KB compressed', async (t) => {
  const outdir = temporaryFolder()
  const wrangler = join(root, 'node_modules', '.bin', 'wrangler')
  await promisify(execFile)(wrangler, ['deploy', '--dry-run', '--outdir', outdir, '--env=edge'], { cwd: root })
  const script = readFileSync(join(outdir, 'worker.js'))
  const gzipBytes = gzipSync(script).length
  t.diagnostic(`edge bundle: ${script.length} bytes, ${gzipBytes} compressed`)
  assert(gzipBytes < MAX_GZIP_BYTES, `${gzipBytes} compressed bytes, must be below ${MAX_GZIP_BYTES}`)
  assert.doesNotMatch(script.toString(), /Unpackr|RECORD_DEFINITIONS_ID|useRecords/, 'msgpackr is in the edge bundle')
})
