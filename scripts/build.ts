// Emits the package into dist/package: JavaScript and declarations of what the package's exports reach, and of the
// CLI. Two runs of tsc, because the Cloudflare column is written against the types of workerd and not of Node; the
// portable floors are emitted by both, and must come out the same. The same sources give the same bytes.

import { cpSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runSteps } from './steps.ts'

const root = dirname(import.meta.dirname)
const out = join(root, 'dist', 'package')
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
/** Written by hand, and referred to by what tsc emits. */
const DECLARATIONS = ['core/wire/msgpackr.d.ts']
/** A relative import of a declaration, which tsc leaves as it stands in the source. */
const IMPORT = /((?:from|import\()\s*['"]\.\.?\/[^'"]*)\.ts(?=['"])/g

const emit = (name: string, config: string) => ({
  name,
  command: process.execPath,
  args: [tsc, '-p', join(root, config)],
})

rmSync(out, { recursive: true, force: true })
await runSteps([
  emit('portable and Node', 'tsconfig.build.json'),
  emit('Cloudflare', 'tsconfig.build.worker.json'),
])
for (const file of globSync('**/*.d.ts', { cwd: out })) {
  const path = join(out, file)
  const source = readFileSync(path, 'utf8')
  writeFileSync(path, source.replace(IMPORT, '$1.js'))
}
for (const file of DECLARATIONS) cpSync(join(root, file), join(out, file))
process.stderr.write(`dist/package: ${globSync('**/*.js', { cwd: out }).length} modules\n`)
