// `bench coldstart`: what a new user waits for and downloads. From a bare clone of this commit: create a game, start it on Node or on
// workerd, until its own first command is answered. And the package: its size, and that of an installation without development
// packages. `--quick` measures the package alone.

import { execFileSync, spawn } from 'node:child_process'
import { globSync, lstatSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { connect } from '../../client/index.ts'
import { Hello } from '../../examples/hello/contract.ts'
import { printFigure } from '../support/figure.ts'
import { createTemporaryFolder } from './disk.ts'
import { printRatio, type Profile } from './figure.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const COMMAND_MS = 600_000
const MAX_INSTALLED_MB = 40
const MAX_COMMANDS = 2
const bench = 'coldstart'

export async function run(profile: Profile): Promise<void> {
  const folder = createTemporaryFolder('coldstart')
  if (profile.quick) return printPackage(profile, folder, packInto(ROOT, folder))
  const clone = join(folder, 'clone')
  execute('git', ['clone', '--quiet', ROOT, clone], folder)
  const game = join(folder, 'my-game')
  const createCommand = ['node', 'cli/launch.mjs', 'new', game]
  const create = secondsOf(() => execute(createCommand[0]!, createCommand.slice(1), clone))
  const starts = [
    ['node', ['start'], /^firefly ready http=(\S+)/],
    ['workerd', ['run', 'dev', '--', '--port', '0', '--inspector-port', '0'], /Ready on (\S+)/],
  ] as const
  for (const [host, args, ready] of starts) {
    const startSeconds = await secondsUntilAnswered(game, args, ready)
    const seconds = { create: round(create), start: round(startSeconds), total: round(create + startSeconds) }
    const commands = [createCommand.join(' ').replace(game, '../my-game'), `npm ${args.join(' ')}`]
    printRatio(
      profile,
      { bench, figure: 'commands', host, commands: commands.join('; '), ...seconds },
      commands.length,
      { kind: 'max', value: MAX_COMMANDS },
    )
  }
  const [tarball] = readdirSync(join(game, 'vendor'))
  printPackage(profile, folder, join(game, 'vendor', tarball!))
}

/** Starts the game by an npm script, calls its command, and stops it. */
async function secondsUntilAnswered(game: string, npmArgs: readonly string[], ready: RegExp): Promise<number> {
  const startedMs = performance.now()
  const env = { ...environment(), FIREFLY_HTTP: '0', FIREFLY_TCP: '0' }
  // A group of its own, as in a terminal, so that nothing survives the benchmark.
  const child = spawn('npm', npmArgs, { cwd: game, env, stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()))
  try {
    const url = await new Promise<string>((resolve, reject) => {
      createInterface(child.stdout).on('line', (line) => {
        const match = ready.exec(line)
        if (match) resolve(match[1]!)
      })
      void closed.then(() => reject(new Error(`npm ${npmArgs.join(' ')} ended before it was ready`)))
    })
    await using session = await connect(`${url.replace('http', 'ws').replace(/\/$/, '')}/ws`)
    const { text } = await session.at(Hello).greet({ name: 'Ada' })
    if (text !== 'Hello, Ada!') throw new Error(`the game answered ${JSON.stringify(text)}`)
    return (performance.now() - startedMs) / 1_000
  } finally {
    process.kill(-child.pid!, 'SIGTERM')
    await closed
  }
}

/** Installs the tarball in an empty folder, as a machine with a recent Node does. */
function printPackage(profile: Profile, folder: string, tarball: string): void {
  const target = join(folder, 'installed')
  mkdirSync(target)
  writeFileSync(join(target, 'package.json'), '{ "private": true }\n')
  execute('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', tarball], target)
  const files = globSync('node_modules/**/*', { cwd: target }).map((name) => lstatSync(join(target, name)))
  const installedBytes = files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)
  const packages = globSync('node_modules/{*,@*/*}/package.json', { cwd: target }).length
  printFigure({ bench, figure: 'package', tarballMB: megabytes(statSync(tarball).size), packages, files: files.length })
  printRatio(profile, { bench, figure: 'installedMB' }, megabytes(installedBytes), {
    kind: 'max',
    value: MAX_INSTALLED_MB,
  })
}

function packInto(root: string, folder: string): string {
  const output = execute('npm', ['pack', '--silent', '--pack-destination', folder], root)
  return join(folder, output.trim().split('\n').at(-1)!)
}

function execute(command: string, args: readonly string[], cwd: string): string {
  const options = { cwd, env: environment(), timeout: COMMAND_MS, stdio: ['ignore', 'pipe', 'pipe'] as const }
  return execFileSync(command, args, { ...options, encoding: 'utf8', stdio: [...options.stdio] })
}

/** As in the user's shell: without this checkout's programs and the variables of a parent npm. */
function environment(): NodeJS.ProcessEnv {
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((entry) => !entry.includes('node_modules'))
  const own = Object.entries(process.env).filter(([name]) => !/^(npm_|FIREFLY_)/.test(name))
  return { ...Object.fromEntries(own), PATH: path.join(delimiter) }
}

function secondsOf(action: () => void): number {
  const startedMs = performance.now()
  action()
  return (performance.now() - startedMs) / 1_000
}

function round(value: number): number {
  return Number(value.toFixed(1))
}

function megabytes(bytes: number): number {
  return Number((bytes / 1e6).toFixed(2))
}
