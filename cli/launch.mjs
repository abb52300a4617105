#!/usr/bin/env node
// The package's `firefly` binary, plain JavaScript for any Node from 18 up. It hands over to a Node that can run the
// framework, with a small young generation, which keeps the tail low after a connect storm (DESIGN 7). Where the
// platform can, the process is replaced: one pid, no middleman for signals.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Has node:sqlite without a flag, and strips types, which a checkout needs. */
const OLDEST = [22, 18]
const FLAGS = ['--max-semi-space-size=2']

const here = dirname(fileURLToPath(import.meta.url))
const checkout = join(here, 'firefly.ts')
const main = existsSync(checkout) ? checkout : join(here, '..', 'dist', 'package', 'cli', 'firefly.js')

function runnable() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return process.execPath
  try {
    const packaged = dirname(createRequire(import.meta.url).resolve('node/package.json'))
    const file = join(packaged, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    if (existsSync(file)) return file
  } catch {
    // Not installed; the line below says what to do.
  }
  console.error(
    `firefly: Node ${process.versions.node} is older than ${OLDEST.join('.')}, and the package 'node' is not ` +
      'installed; install a newer Node, or run npm install without --ignore-scripts',
  )
  return process.exit(2)
}

function supervise(node, args) {
  const child = spawn(node, args, { stdio: 'inherit' })
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  // A terminal's Ctrl-C reaches the whole group by itself; a second SIGINT would cut the drain short.
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'))
  child.on('error', (error) => {
    console.error(`firefly: ${node} does not start: ${error.message}`)
    process.exit(2)
  })
  child.on('close', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}

const node = runnable()
const args = [...FLAGS, main, ...process.argv.slice(2)]
if (process.execve && process.platform !== 'win32') {
  // Node tells of an experimental function in the tick that never comes.
  process.execve(node, [node, ...args], process.env)
} else supervise(node, args)
