// `firefly page APP OUT`: writes the page of an app as static files, for hosts that serve files from a folder.

import { Command } from 'commander'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError, buildPage } from '../core/node/app.ts'

/** The `page` command. */
export function pageCommand(): Command {
  return new Command('page')
    .description('write the page of a game as static files, main.ts bundled to main.js')
    .argument('<app>', 'folder of the game')
    .argument('<out>', 'folder of the files, created if missing')
    .action(writePage)
    .exitOverride()
}

/** @throws AppError */
async function writePage(app: string, out: string): Promise<void> {
  const source = join(app, 'page')
  if (!existsSync(source)) throw new AppError(`${app} has no folder page`)
  await mkdir(out, { recursive: true })
  for (const [path, { body }] of await buildPage(source))
    await writeFile(join(out, path === '/' ? 'index.html' : path.slice(1)), body)
}
