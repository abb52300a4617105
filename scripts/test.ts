// `npm test`: everything that CI runs.

import { globSync } from 'node:fs'
import { CHECKS } from './check.ts'
import { runSteps, type CommandStep } from './steps.ts'

const dryRun = (name: string, ...args: string[]): CommandStep => ({
  name: `wrangler deploy --dry-run, ${name}`,
  command: 'wrangler',
  args: ['deploy', '--dry-run', '--outdir', `dist/dry-run/${name}`, ...args],
})
const tests = globSync(['test/conformance/*.test.ts', 'test/system/*.test.ts']).sort()

await runSteps([
  ...CHECKS,
  dryRun('all-in-one'),
  dryRun('edge', '-e', 'edge'),
  dryRun('core', '-e', 'core'),
  { name: 'tests', command: process.execPath, args: ['--test', ...tests], showOutput: true },
])
