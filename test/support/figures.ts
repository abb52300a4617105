// Programs that print figures, one JSON line each, run as an operator runs them.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'

export type Figures = Readonly<Record<string, unknown>>

/** null: MariaDB is not installed. A missed aim or a broken invariant is for the caller to find in the figures. */
export async function figures(...args: readonly string[]): Promise<readonly Figures[] | null> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  await once(child, 'close')
  if (/mariadbd is not installed/.test(errors)) return null
  const lines = out.split('\n').filter((line) => line.startsWith('{'))
  assert.ok(lines.length > 0, errors)
  return lines.map((line) => JSON.parse(line) as Figures)
}
