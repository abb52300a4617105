// `firefly new FOLDER`: creates a game from the template in the package. Invariants: an existing file is never replaced, and the
// game's package.json names a copy of the framework that npm can install: the released version if this one came from a registry,
// else a tarball of this one in the game's folder `vendor`.

import { Command } from 'commander'
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join, resolve, sep } from 'node:path'
import { OptionError } from './options.ts'

/** The name of the game in the template. */
const TEMPLATE_NAME = 'my-game'
/** A valid name of a Worker, short enough for the suffix `-core`. */
const GAME_NAME = /^[a-z][a-z0-9-]{0,49}$/
const NPM_QUIET = ['--no-audit', '--no-fund', '--loglevel=error']

/** The fields of package.json that the command uses. */
interface Manifest {
  readonly name: string
  readonly version: string
  dependencies: Record<string, string>
  readonly devDependencies: Readonly<Record<string, string>>
}

/** The `new` command. */
export function newCommand(): Command {
  return new Command('new')
    .description('create a new game in a new folder')
    .argument('<folder>', 'its name is the name of the game: lowercase letters, digits, hyphens')
    .option('--no-install', 'do not run npm install in it')
    .action((folder: string, { install }: { install: boolean }) => {
      const name = createGame(folder)
      const isInstalled = install && installPackages(folder)
      const steps = [`cd ${folder}`, ...(isInstalled ? [] : ['npm install']), 'npm start']
      console.log(`created ${name}; next: ${steps.join(' && ')}`)
    })
    .exitOverride()
}

/** @throws OptionError for a folder that cannot be used, or when this copy of the framework cannot be packed */
function createGame(folder: string): string {
  const target = resolve(folder)
  const name = basename(target)
  if (!GAME_NAME.test(name))
    throw new OptionError(
      `${JSON.stringify(name)} is not a valid name: lowercase letters, digits and hyphens, at most 50`,
    )
  if (existsSync(target) && readdirSync(target).length > 0) throw new OptionError(`${folder} is not empty`)
  const root = packageRoot()
  cpSync(join(root, 'deploy', 'template'), target, { recursive: true })
  // npm does not pack a file named .gitignore.
  renameSync(join(target, 'gitignore'), join(target, '.gitignore'))
  for (const file of ['package.json', 'wrangler.toml', 'README.md', join('page', 'index.html')]) {
    const path = join(target, file)
    const text = readFileSync(path, 'utf8').replaceAll(TEMPLATE_NAME, name)
    // Elsewhere the shell of npm's scripts is replaced by the command, so that it receives the signals; Windows has neither.
    writeFileSync(path, process.platform === 'win32' ? text.replaceAll('"exec ', '"') : text)
  }
  const file = join(target, 'package.json')
  const manifest = readManifest(file)
  const { version, devDependencies } = packageManifest()
  manifest.dependencies = {
    'firefly-game': isFromRegistry(root) ? `^${version}` : `file:${packInto(target, root)}`,
    // The Node that started this command was too old for the framework, and will be for the game.
    ...(process.execPath.includes(`${sep}node_modules${sep}`) && { node: devDependencies['node']! }),
  }
  writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`)
  return name
}

/** Whether npm installed this package from a registry, by the record that npm keeps in node_modules. */
function isFromRegistry(root: string): boolean {
  try {
    const source = readFileSync(join(root, '..', '.package-lock.json'), 'utf8')
    const { packages } = JSON.parse(source) as { packages: Record<string, { resolved?: string }> }
    return packages[`node_modules/${basename(root)}`]?.resolved?.startsWith('http') ?? false
  } catch {
    return false
  }
}

/** Packs the framework; returns the path of the tarball in the folder of the game. @throws OptionError */
function packInto(target: string, root: string): string {
  const vendor = join(target, 'vendor')
  mkdirSync(vendor)
  // The package as installed has no sources to build.
  const scripts = existsSync(join(root, 'cli', 'firefly.ts')) ? [] : ['--ignore-scripts']
  console.error('firefly: packing this copy of the framework …')
  try {
    const args = ['pack', '--silent', '--pack-destination', vendor, ...scripts]
    execFileSync('npm', args, { cwd: root, env: npmEnvironment(), stdio: ['ignore', 'pipe', 'inherit'] })
  } catch (error) {
    throw new OptionError(`npm pack failed: ${(error as Error).message}`)
  }
  return `vendor/${readdirSync(vendor)[0]}`
}

/** Returns false, with the reason on stderr, if npm fails: the game is complete, and the user can repeat it. */
function installPackages(folder: string): boolean {
  console.error('firefly: installing packages …')
  const { status } = spawnSync('npm', ['install', ...NPM_QUIET], {
    cwd: folder,
    env: npmEnvironment(),
    stdio: ['ignore', 2, 2],
  })
  return status === 0
}

/** Without the variables by which a parent npm describes its own package, which npm would apply to the new one. */
function npmEnvironment(): NodeJS.ProcessEnv {
  const own = /^npm_(package|lifecycle|command|config_(local_|global_)?prefix)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)))
}

/** The package.json of the framework. */
export function packageManifest(): Manifest {
  return readManifest(join(packageRoot(), 'package.json'))
}

function readManifest(file: string): Manifest {
  return JSON.parse(readFileSync(file, 'utf8')) as Manifest
}

/** Works for cli/scaffold.ts in a checkout and for dist/package/cli/scaffold.js in the package. */
export function packageRoot(): string {
  const parent = join(import.meta.dirname, '..')
  return existsSync(join(parent, 'package.json')) ? parent : join(parent, '..', '..')
}
