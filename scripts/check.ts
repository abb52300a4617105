// `npm run check`, the fast loop: format, lint, types, dead code, architecture rules and unit tests.

import { globSync } from 'node:fs'
import { runSteps, type CommandStep } from './steps.ts'

const unitTests = globSync('test/unit/*.test.ts')

export const CHECKS: readonly CommandStep[] = [
  { name: 'format', command: 'oxfmt', args: ['--check', '.'] },
  { name: 'lint', command: 'oxlint', args: ['--type-aware'] },
  { name: 'types', command: 'tsc', args: ['-p', '.'] },
  { name: 'types of the Cloudflare host', command: 'tsc', args: ['-p', 'tsconfig.worker.json'] },
  { name: 'dead code', command: 'knip', args: [] },
  { name: 'architecture and unit tests', command: process.execPath, args: ['--test', ...unitTests] },
]

if (import.meta.main) await runSteps(CHECKS)
