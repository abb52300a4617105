// `firefly new NAME`: a folder with a game of one's own, copied from the template that ships with the package.

import { Command } from 'commander'
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { OptionError } from './options.ts'

/** What the template calls itself. */
const TEMPLATE_NAME = 'my-game'
/** What a Worker may be called, short enough for `-core` behind it. */
const GAME_NAME = /^[a-z][a-z0-9-]{0,49}$/

/** The `new` command. */
export function newCommand(): Command {
  return new Command('new')
    .description('write a new game into a folder of its own')
    .argument('<folder>', "becomes the game's name: small letters, digits, hyphens")
    .action((folder: string) => {
      const name = createGame(folder)
      console.log(`${name} is written; now: cd ${folder} && npm install && npm start`)
    })
    .exitOverride()
}

/** @throws OptionError for a folder that cannot be used */
function createGame(folder: string): string {
  const target = resolve(folder)
  const name = basename(target)
  if (!GAME_NAME.test(name)) {
    throw new OptionError(
      `${JSON.stringify(name)} names no game: small letters, digits and hyphens, at most 50`,
    )
  }
  if (existsSync(target) && readdirSync(target).length > 0) throw new OptionError(`${folder} is not empty`)
  const root = packageRoot()
  cpSync(join(root, 'deploy', 'template'), target, { recursive: true })
  // npm leaves a file named .gitignore out of a package.
  renameSync(join(target, 'gitignore'), join(target, '.gitignore'))
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  for (const file of ['package.json', 'wrangler.toml', 'README.md']) {
    const source = readFileSync(join(target, file), 'utf8').replaceAll(TEMPLATE_NAME, name)
    writeFileSync(join(target, file), source.replace(/("firefly-game": )"[^"]*"/, `$1"^${version}"`))
  }
  return name
}

/** This file is cli/scaffold.ts in a checkout and dist/package/cli/scaffold.js in the package. */
export function packageRoot(): string {
  const above = join(import.meta.dirname, '..')
  return existsSync(join(above, 'package.json')) ? above : join(above, '..', '..')
}
