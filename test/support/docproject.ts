// The code blocks of a document as the files of a project, in which the package `firefly-game` is these sources.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { temporaryFolder } from './program.ts'

const ROOT = join(import.meta.dirname, '../..')
const run = promisify(execFile)

const TSCONFIG = {
  extends: join(ROOT, 'tsconfig.json'),
  compilerOptions: { typeRoots: [join(ROOT, 'node_modules/@types')] },
  include: ['*.ts'],
  exclude: [],
}

export interface DocProject {
  readonly folder: string
  /** The names of the files that the document contains. */
  readonly files: readonly string[]
  /** Fails with the messages of the compiler. */
  compile(): Promise<void>
  /** Runs a file with this Node; returns its standard output. Fails with both outputs. */
  run(args: readonly string[]): Promise<string>
}

/** @param files further files by name, which the document leaves to the reader */
export function createDocProject(document: string, files: Readonly<Record<string, string>> = {}): DocProject {
  const folder = temporaryFolder()
  const packageFolder = join(folder, 'node_modules/firefly-game')
  mkdirSync(packageFolder, { recursive: true })
  writeFileSync(join(packageFolder, 'package.json'), JSON.stringify({ name: 'firefly-game', ...sourcePackage() }))
  for (const part of ['core', 'client', 'edge', 'schemas']) symlinkSync(join(ROOT, part), join(packageFolder, part))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG))
  const blocks = codeBlocks(document)
  for (const [name, code] of [...blocks, ...Object.entries(files)]) writeFileSync(join(folder, name), code)
  // A test runner below this one must print, and not report to it.
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env
  return {
    folder,
    files: [...blocks.keys()],
    compile: async () => void (await execute(join(ROOT, 'node_modules/.bin/tsc'), ['-p', folder])),
    run: (args) => execute(process.execPath, args),
  }

  async function execute(command: string, args: readonly string[]): Promise<string> {
    try {
      const { stdout } = await run(command, args, { cwd: folder, env, timeout: 100_000, maxBuffer: 16 * 1_048_576 })
      return stdout
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
      throw new assert.AssertionError({ message: `${args.join(' ')}:\n${stdout}${stderr}` })
    }
  }
}

/** The exports of the package, as sources. */
function sourcePackage(): { readonly type: string; readonly exports: Record<string, string> } {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, string | { readonly default: string }>
  }
  const sources = Object.entries(exports).flatMap(([name, target]) =>
    typeof target === 'string'
      ? []
      : [[name, target.default.replace('dist/package/', '').replace(/\.js$/, '.ts')] as const],
  )
  return { type: 'module', exports: Object.fromEntries(sources) }
}

/** The code blocks by file name, which is the comment in their first line. */
function codeBlocks(document: string): Map<string, string> {
  const page = readFileSync(join(ROOT, document), 'utf8')
  const files = new Map<string, string>()
  for (const [, code] of page.matchAll(/```ts\n(.*?)```/gs)) {
    const name = /^\/\/ ([a-z.]+\.ts)\n/.exec(code!)?.[1]
    assert.ok(name && !files.has(name), `a block does not name its file: ${code!.slice(0, 60)}`)
    files.set(name, code!)
  }
  return files
}
