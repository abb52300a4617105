#!/usr/bin/env node
// The package's `firefly` binary, plain JavaScript for Node 18 and later. It runs the command under a Node that supports
// the framework, with a small young generation, which keeps tail latency low after a connect storm (DESIGN 7). Where
// the platform allows it the process is replaced, so there is one pid and signals need no forwarding.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The first version with node:sqlite without a flag, and with type stripping, which a checkout needs. */
const MIN_VERSION = [22, 18]
const FLAGS = ['--max-semi-space-size=2']

const folder = dirname(fileURLToPath(import.meta.url))
const checkout = join(folder, 'firefly.ts')
const main = existsSync(checkout) ? checkout : join(folder, '..', 'dist', 'package', 'cli', 'firefly.js')

function findNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > MIN_VERSION[0] || (major === MIN_VERSION[0] && minor >= MIN_VERSION[1])) return process.execPath
  try {
    const packaged = dirname(createRequire(import.meta.url).resolve('node/package.json'))
    const file = join(packaged, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    if (existsSync(file)) return file
  } catch {
    // Not installed.
  }
  const reason = `Node ${process.versions.node} is older than ${MIN_VERSION.join('.')}`
  // A user of npx has no folder yet in which to install it.
  if (process.argv[2] === 'new') return downloadNode(reason)
  console.error(`firefly: ${reason}; install a newer one, or run: npm install node@24`)
  return process.exit(2)
}

/** Downloads Node into npm's cache, once; returns its path. */
function downloadNode(reason) {
  const { devDependencies } = JSON.parse(readFileSync(join(folder, '..', 'package.json'), 'utf8'))
  const name = `node@${devDependencies.node}`
  console.error(`firefly: ${reason}; downloading ${name} …`)
  const args = ['exec', '--yes', `--package=${name}`, '--', 'node', '-p', 'process.execPath']
  const { status, stdout } = spawnSync('npm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  if (status === 0) return stdout.trim()
  console.error(`firefly: ${name} could not be downloaded; install a newer Node`)
  return process.exit(2)
}

/** In a checkout nothing may be installed yet. */
function installPackages() {
  const root = join(folder, '..')
  if (!existsSync(checkout) || existsSync(join(root, 'node_modules', '.package-lock.json'))) return
  const { status } = spawnSync(process.execPath, [join('scripts', 'ready.mjs')], { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) process.exit(2)
}

/**
 * The first process of a container: forwards signals, which the kernel would otherwise drop, and reaps the processes whose
 * parents have ended, which Node cannot. A terminal sends Ctrl-C to both.
 */
const INIT = `
forward() { if [ -n "$child" ]; then kill -"$1" "$child"; else early=$1; fi; }
for signal in TERM HUP QUIT USR1 USR2; do trap "forward $signal" $signal; done
trap '[ -t 0 ] || forward INT' INT
"$@" <&0 &
child=$!
[ -z "$early" ] || kill -"$early" "$child"
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
wait "$child" 2>/dev/null; last=$?
[ $last -eq 127 ] || code=$last
exit $code`
const SHELL = '/bin/sh'

function supervise(node, args) {
  const env = { ...process.env, FIREFLY_LAUNCHER: String(process.pid) }
  const child = spawn(node, args, { stdio: 'inherit', env })
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']) process.on(signal, () => child.kill(signal))
  // A terminal sends Ctrl-C to the whole process group; a second SIGINT would end the drain.
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'))
  child.on('error', (error) => {
    console.error(`firefly: ${node} does not start: ${error.message}`)
    process.exit(2)
  })
  child.on('close', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}

/** Becomes the command; never returns. */
function replaceProcess(file, args) {
  // The warning about an experimental function is never printed, because Node prints it in the next tick.
  process.execve(file, [file, ...args], process.env)
}

installPackages()
const node = findNode()
const [command, ...rest] = process.argv.slice(2)
const args = command === 'node' ? rest : [...FLAGS, main, ...process.argv.slice(2)]
if (!process.execve || process.platform === 'win32') supervise(node, args)
else if (process.pid === 1 && existsSync(SHELL)) replaceProcess(SHELL, ['-c', INIT, 'firefly', node, ...args])
else replaceProcess(node, args)
