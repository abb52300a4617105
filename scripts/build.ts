// Emits the package into dist/package: JavaScript and declarations of the package's exports and of the CLI. tsc runs
// twice, because the Cloudflare column uses the types of workerd and not of Node; files that both runs emit are
// portable and identical. Invariant: the same sources give the same bytes.

import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runSteps, type CommandStep } from './steps.ts'

const root = dirname(import.meta.dirname)
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

/** tsc 7.0.2 rewrites imports only in JavaScript, and emits references to the sources. */
function rewriteDeclaration(declaration: string): string {
  return declaration
    .replace(/^\/\/\/ <reference path=.*\n/gm, '')
    .replace(/((?:from|import\()\s*['"]\.\.?\/[^'"]*)\.ts(?=['"])/g, '$1.js')
}

/** Returns the number of modules. */
export async function buildPackage(out: string): Promise<number> {
  const emit = (name: string, config: string): CommandStep => ({
    name,
    command: process.execPath,
    args: [tsc, '-p', join(root, config), '--outDir', out],
  })
  rmSync(out, { recursive: true, force: true })
  await runSteps([emit('portable and Node', 'tsconfig.build.json'), emit('Cloudflare', 'tsconfig.build.worker.json')])
  for (const file of globSync('**/*.d.ts', { cwd: out })) {
    const path = join(out, file)
    writeFileSync(path, rewriteDeclaration(readFileSync(path, 'utf8')))
  }
  return globSync('**/*.js', { cwd: out }).length
}

if (import.meta.main) {
  const modules = await buildPackage(join(root, 'dist', 'package'))
  process.stderr.write(`dist/package: ${modules} modules\n`)
}
