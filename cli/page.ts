// Writes the page of an app as static files, for hosts that serve files from a folder: `page.ts APP OUT`.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buildPage } from '../core/node/app.ts'

const [app, out] = process.argv.slice(2)
if (!app || !out) {
  console.error('usage: page.ts APP OUT')
  process.exit(2)
}
await mkdir(out, { recursive: true })
for (const [path, { body }] of await buildPage(join(app, 'page')))
  await writeFile(join(out, path === '/' ? 'index.html' : path.slice(1)), body)
