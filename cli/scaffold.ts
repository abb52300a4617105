// `firefly new FOLDER`: creates a game from the template in the package. Invariant: an existing file is never replaced.

import { Command } from 'commander'
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { OptionError } from './options.ts'

/** The name of the game in the template. */
const TEMPLATE_NAME = 'my-game'
/** A valid name of a Worker, short enough for the suffix `-core`. */
const GAME_NAME = /^[a-z][a-z0-9-]{0,49}$/

/** The `new` command. */
export function newCommand(): Command {
  return new Command('new')
    .description('create a new game in a new folder')
    .argument('<folder>', 'its name is the name of the game: lowercase letters, digits, hyphens')
    .action((folder: string) => {
      console.log(`created ${createGame(folder)}; next: cd ${folder} && npm install && npm start`)
    })
    .exitOverride()
}

/** @throws OptionError for a folder that cannot be used */
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
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  for (const file of ['package.json', 'wrangler.toml', 'README.md']) {
    const source = readFileSync(join(target, file), 'utf8').replaceAll(TEMPLATE_NAME, name)
    writeFileSync(join(target, file), source.replace(/("firefly-game": )"[^"]*"/, `$1"^${version}"`))
  }
  return name
}

/** Works for cli/scaffold.ts in a checkout and for dist/package/cli/scaffold.js in the package. */
export function packageRoot(): string {
  const parent = join(import.meta.dirname, '..')
  return existsSync(join(parent, 'package.json')) ? parent : join(parent, '..', '..')
}
