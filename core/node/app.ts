// Loads a game from disk: finds its entry file, bundles and imports it. Every app is bundled by esbuild, because Node's
// type stripping rejects TypeScript under node_modules. Invariant: the bundle does not include the framework, so that
// game and engine share one copy of it.

import { build, type BuildFailure, type BuildOptions, type Plugin } from 'esbuild'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { registerHooks, setSourceMapsSupport } from 'node:module'
import { dirname, extname, join, resolve, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { CipherFactory } from '../wire/cipher.ts'
import { shorten, thrownText } from '../wire/errors.ts'
import type { Game } from '../game/game.ts'
import { ShardBuilder } from '../game/shard.ts'
import { findPlace, placeOf, placeOfImport, sourcesOf, type CodePlace, type Sources } from './sources.ts'

/** The app cannot be used; the message names the reason and the remedy. */
export class AppError extends Error {
  override readonly name = 'AppError'
}

export interface App {
  readonly game: Game
  /** The module's export `cipher`; null = none. */
  readonly cipher: CipherFactory | null
  /** Files of the page by URL path; empty without a `page` folder. */
  readonly page: ReadonlyMap<string, PageFile>
  /** Text of its files, for error messages. */
  readonly sources: Sources
}
export interface PageFile {
  readonly type: string
  readonly body: string | Uint8Array<ArrayBuffer>
}

/** Top-level code that awaits longer may never end, and nothing else would report it. */
const LOAD_MS = 10_000
const ENTRY_FILES = ['server.ts', 'server.js', 'server.mjs']
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
}

/** The folder of the framework's own files, which are never bundled into a game. */
const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const FRAMEWORK_FOLDERS = ['core', 'client', 'edge', 'schemas'].map((folder) => join(ROOT, folder) + sep)
const PUBLIC_ENTRY = join(ROOT, 'core', 'game', `index${extname(fileURLToPath(import.meta.url))}`)

/** @param path a module, or a folder with `server.ts` @throws AppError */
export async function loadApp(path: string): Promise<App> {
  const entry = findEntry(path)
  const module = await importGame(entry)
  const pageFolder = join(dirname(entry), 'page')
  return { ...module, page: existsSync(pageFolder) ? await buildPage(pageFolder) : new Map() }
}

/** The module of the game. @throws AppError */
export function findEntry(path: string): string {
  const full = resolve(path)
  if (!existsSync(full)) throw new AppError(`app ${path} does not exist`)
  if (!statSync(full).isDirectory()) return full
  const entry = ENTRY_FILES.map((name) => join(full, name)).find((file) => existsSync(file))
  if (!entry) throw new AppError(`app ${path} has no server.ts`)
  return entry
}

async function importGame(entry: string): Promise<Omit<App, 'page'>> {
  const options: BuildOptions = {
    entryPoints: [entry],
    // Names the folder that the sources of the source map are relative to; nothing is written.
    outfile: `${entry}.bundle`,
    platform: 'node',
    target: 'node22',
    packages: 'external',
    sourcemap: 'inline',
    plugins: [frameworkExternals],
  }
  const code = await bundle(`app ${entry}`, options)
  const sources = sourcesOf(code, dirname(entry))
  try {
    const module = await withinLoadTime(importSource(entry, code), entry, options)
    if (module.default?.kind !== 'firefly-game') throw new AppError(wrongExport(entry, module.default, sources))
    if (module.cipher !== undefined && typeof module.cipher !== 'function')
      throw new AppError(
        `app ${entry}: its export cipher is ${typeof module.cipher}, not a cipher factory function` +
          placeText(findPlace(sources, /\bcipher\b/)),
      )
    return { game: module.default as Game, cipher: (module.cipher as CipherFactory | undefined) ?? null, sources }
  } catch (error) {
    if (error instanceof AppError) throw error
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : thrownText(error)
    const place = placeOf(error, sources) ?? placeOfImport(error, sources)
    const text = reason.replace(pathToFileURL(PUBLIC_ENTRY).href, 'firefly-game')
    throw new AppError(`app ${entry} does not load: ${text}${placeText(place)}`, { cause: error })
  }
}

function placeText(place: CodePlace | null): string {
  return place ? `; at ${place.at}: ${place.code}` : ''
}

function wrongExport(entry: string, value: unknown, sources: Sources): string {
  const found = value === undefined ? 'it has no default export' : `its default export is ${describe(value)}`
  const place = findPlace(new Map([[entry, sources.get(entry) ?? '']]), /\bexport\s+default\b|\bas\s+default\b/)
  return `app ${entry} must export its game: export default firefly({ … }); ${found}${placeText(place)}`
}

function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function, not what it returns'
  if (value instanceof Promise) return 'a promise: await it'
  return value instanceof ShardBuilder ? `the shard ${value.definition.contract.name} alone` : shorten(value)
}

/** Without the deadline, an await that never ends would end the process with Node's code 13, or leave it without ports. */
async function withinLoadTime<T>(loading: Promise<T>, entry: string, options: BuildOptions): Promise<T> {
  const timeout = Promise.withResolvers<null>()
  const timer = setTimeout(() => timeout.resolve(null), LOAD_MS)
  try {
    const loaded = await Promise.race([loading.then((module) => ({ module })), timeout.promise])
    if (loaded) return loaded.module
  } finally {
    clearTimeout(timer)
  }
  // The compiler knows where the awaits are: it refuses them when told that the target has none.
  const withoutAwait = { ...options, supported: { 'top-level-await': false }, write: false, bundle: true } as const
  const failure = await build({ ...withoutAwait, format: 'esm', logLevel: 'silent' }).catch(
    (error: BuildFailure) => error,
  )
  const location = 'errors' in failure ? failure.errors[0]?.location : null
  const where = location ? `; at ${resolve(location.file)}:${location.line}: ${location.lineText.trim()}` : ''
  throw new AppError(`app ${entry} does not load: its top-level await has not ended within ${LOAD_MS / 1000} s${where}`)
}

/** The bundles of this process. */
let bundleCount = 0

/**
 * Imports `code` as if it were the entry file: packages and `import.meta` are those of the app, and no file is written, since
 * an app may be in a read-only folder.
 */
async function importSource(entry: string, code: string): Promise<{ default?: Partial<Game>; cipher?: unknown }> {
  // The number, because a URL is imported once.
  const url = `${pathToFileURL(entry).href}?bundle=${++bundleCount}`
  setSourceMapsSupport(true, { nodeModules: false, generatedCode: false })
  const hooks = registerHooks({
    load: (target, context, next) =>
      target === url ? { format: 'module', source: code, shortCircuit: true } : next(target, context),
  })
  try {
    return (await import(url)) as { default?: Partial<Game>; cipher?: unknown }
  } finally {
    hooks.deregister()
  }
}

/** @throws AppError: `what` does not compile */
async function bundle(what: string, options: BuildOptions): Promise<string> {
  const result = await build({ ...options, bundle: true, write: false, format: 'esm', logLevel: 'silent' }).catch(
    (failure: BuildFailure) => {
      throw new AppError(`${what} does not compile: ${buildMessage(failure)}`, { cause: failure })
    },
  )
  return result.outputFiles[0]!.text
}
function buildMessage(failure: BuildFailure): string {
  const [first] = failure.errors ?? []
  if (!first) return failure.message
  const { location, text } = first
  return location ? `${text}; at ${resolve(location.file)}:${location.line}: ${location.lineText.trim()}` : text
}

/** Replaces imports of the framework by absolute URLs of the running copy. */
const frameworkExternals: Plugin = {
  name: 'firefly-external',
  setup(setup) {
    setup.onResolve({ filter: /^firefly-game$/ }, () => ({ path: pathToFileURL(PUBLIC_ENTRY).href, external: true }))
    setup.onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) => {
      const full = resolve(resolveDir, path)
      return FRAMEWORK_FOLDERS.some((folder) => full.startsWith(folder))
        ? { path: pathToFileURL(full).href, external: true }
        : null
    })
  },
}

/** The files of the `page` folder as a browser loads them: `main.ts` bundled to /main.js, the others unchanged. */
export async function buildPage(folder: string): Promise<Map<string, PageFile>> {
  const files = new Map<string, PageFile>()
  const main = join(folder, 'main.ts')
  if (existsSync(main)) {
    const alias = {
      'firefly-game/client': join(ROOT, 'client', `index${extname(PUBLIC_ENTRY)}`),
      'firefly-game': PUBLIC_ENTRY,
    }
    const body = await bundle(`page ${main}`, { entryPoints: [main], minify: true, target: 'es2022', alias })
    files.set('/main.js', { type: CONTENT_TYPES['.js']!, body })
  }
  for (const name of readdirSync(folder)) {
    const type = CONTENT_TYPES[extname(name)]
    if (!type) continue
    const path = name === 'index.html' ? '/' : `/${name}`
    files.set(path, { type, body: new Uint8Array(await readFile(join(folder, name))) })
  }
  return files
}
