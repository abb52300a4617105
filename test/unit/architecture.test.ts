// The layout rules of ARCHITECTURE.md: which folder may import which, and what portable folders may ask the platform for.

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'

const GAME = ['core/wire', 'core/game', 'core/ports']
const ENGINE = [...GAME, 'core/rows', 'core/channel', 'core/turn', 'core/engine']
const MYSQL = ['core/sql', 'core/outbox', 'core/migrate', 'schemas']

/** What each folder may import besides itself, and whether it runs on every platform. */
const FOLDERS: Readonly<Record<string, { readonly imports: readonly string[]; readonly isPortable: boolean }>> = {
  'core/wire': { imports: [], isPortable: true },
  schemas: { imports: [], isPortable: true },
  client: { imports: ['core/wire'], isPortable: true },
  'core/game': { imports: ['core/wire'], isPortable: true },
  'core/ports': { imports: ['core/wire', 'core/game'], isPortable: true },
  'core/rows': { imports: GAME, isPortable: true },
  'core/channel': { imports: [...GAME, 'core/rows'], isPortable: true },
  'core/turn': { imports: [...GAME, 'core/rows', 'core/channel'], isPortable: true },
  'core/engine': { imports: ENGINE, isPortable: true },
  'core/sql': { imports: [...GAME, 'core/rows', 'schemas'], isPortable: true },
  'core/outbox': { imports: [...GAME, 'core/rows', 'core/sql', 'schemas'], isPortable: true },
  'core/migrate': { imports: [...GAME, 'core/rows', 'core/sql', 'schemas'], isPortable: true },
  'core/testing': { imports: [...ENGINE, ...MYSQL], isPortable: true },
  'core/node': { imports: [...ENGINE, ...MYSQL], isPortable: false },
  'core/durable': { imports: [...ENGINE, ...MYSQL], isPortable: false },
  'edge/gateway': { imports: GAME, isPortable: true },
  'edge/node': { imports: [...ENGINE, ...MYSQL, 'core/node', 'edge/gateway'], isPortable: false },
  'edge/testing': {
    imports: [...ENGINE, ...MYSQL, 'core/testing', 'client', 'edge/gateway'],
    isPortable: false,
  },
  'edge/worker': { imports: [...ENGINE, ...MYSQL, 'core/durable', 'edge/gateway'], isPortable: false },
  cli: { imports: [...ENGINE, ...MYSQL, 'core/node', 'edge/gateway', 'edge/node'], isPortable: false },
}
const NODE_ONLY = ['client/tcp.ts']
const PLATFORM = /^(node:|cloudflare:|ws$|pino$|prom-client$|@hono\/|esbuild$|commander$)/
const FORBIDDEN = /\b(Date\.now|setTimeout|setInterval|setImmediate|Math\.random|performance\.now|queueMicrotask)\b/

/** Metaphors of the first version, replaced by the terms of docs/glossary.md. */
const RETIRED =
  /\b(Census|Vigil|Outflow|Attendance|Waking|Settlement|Egress|Patience|Complaints|Arrivals|Uplink|DoorTable|door table|severed|strangers?|homecoming|sayGrant)\b/gi

const files = globSync(Object.keys(FOLDERS).map((folder) => `${folder}/*.ts`))
const sources = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]))

function importsOf(source: string): string[] {
  return [...source.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]!)
}
const localImports = (file: string): string[] =>
  importsOf(sources.get(file)!)
    .filter((target) => target.startsWith('.'))
    .map((target) => join(dirname(file), target))

test('every product file is in a folder of the layout', () => {
  const all = globSync(['core/**/*.ts', 'edge/**/*.ts', 'cli/**/*.ts', 'client/**/*.ts', 'schemas/**/*.ts'])
  assert.deepEqual(
    all.filter((file) => !sources.has(file)),
    [],
  )
  assert.ok(files.length > 150)
})

test('a folder imports only what the layout allows', () => {
  const wrong = files.flatMap((file) =>
    localImports(file)
      .filter((target) => target.endsWith('.ts') && dirname(target) !== dirname(file))
      .filter((target) => !FOLDERS[dirname(file)]!.imports.includes(dirname(target)))
      .map((target) => `${file} imports ${target}`),
  )
  assert.deepEqual(wrong, [])
})

test('portable folders ask the platform for nothing', () => {
  const wrong = files
    .filter((file) => FOLDERS[dirname(file)]!.isPortable && !NODE_ONLY.includes(file))
    .flatMap((file) => [
      ...importsOf(sources.get(file)!)
        .filter((target) => PLATFORM.test(target))
        .map((target) => `${file} imports ${target}`),
      ...(file.startsWith('client/') ? [] : [FORBIDDEN.exec(withoutComments(sources.get(file)!))?.[0] ?? []])
        .flat()
        .map((call) => `${file} calls ${call}`),
    ])
  assert.deepEqual(wrong, [])
})

test('examples import only their own files and public entries', () => {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: Record<string, unknown> }
  const entries = Object.keys(exports).map((path) => join('firefly-game', path))
  const examples = globSync('examples/*/**/*.ts', { exclude: ['examples/firefly-game/**'] })
  const wrong = examples.flatMap((file) => {
    const folder = file.split('/').slice(0, 2).join('/')
    return importsOf(readFileSync(file, 'utf8'))
      .filter((target) =>
        target.startsWith('.') ? !join(dirname(file), target).startsWith(`${folder}/`) : !entries.includes(target),
      )
      .map((target) => `${file} imports ${target}`)
  })
  assert.deepEqual(wrong, [])
  assert.ok(examples.length > 25)
})

test('the entries of the examples are those of the package, as sources', () => {
  type Manifest = { readonly name: string; readonly exports: Record<string, string | { readonly default: string }> }
  const manifestOf = (file: string): Manifest => JSON.parse(readFileSync(file, 'utf8')) as Manifest
  const [root, examples] = [manifestOf('package.json'), manifestOf('examples/package.json')]
  assert.equal(examples.name, root.name)
  for (const [name, stub] of Object.entries(examples.exports)) {
    const target = root.exports[name]
    assert.ok(typeof stub === 'string' && typeof target === 'object', name)
    const source = target.default.replace('./dist/package', '../..').replace(/\.js$/, '.ts')
    const text = readFileSync(join('examples', stub), 'utf8')
    assert.deepEqual(new Set(importsOf(text)), new Set([source]))
    const hasDefault = /^export (default|\{ default\b)/m.test(
      readFileSync(join('examples', dirname(stub), source), 'utf8'),
    )
    assert.equal(/\bdefault\b/.test(text), hasDefault, stub)
  }
})

test('no import cycle, type-only imports included', () => {
  const cycles: string[] = []
  const state = new Map<string, 'open' | 'done'>()
  const visit = (file: string, path: readonly string[]): void => {
    if (state.get(file) === 'done' || !sources.has(file)) return
    if (state.get(file) === 'open') {
      cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '))
      return
    }
    state.set(file, 'open')
    for (const target of localImports(file)) visit(target, [...path, file])
    state.set(file, 'done')
  }
  for (const file of files) visit(file, [])
  assert.deepEqual(cycles, [])
})

test('a type name is declared in one product file', () => {
  const declarations = new Map<string, Set<string>>()
  for (const [file, source] of sources)
    for (const [, name] of source.matchAll(
      /^(?:export )?(?:declare )?(?:abstract )?(?:class|interface|type) ([A-Za-z]\w*)/gm,
    ))
      declarations.set(name!, (declarations.get(name!) ?? new Set()).add(file))
  const twice = [...declarations].filter(([, where]) => where.size > 1)
  const clashes = twice.map(([name, where]) => `${name}: ${[...where].join(', ')}`)
  assert.deepEqual(clashes, [])
})

test('no retired name is left in code or documents', () => {
  const documents = globSync(['*.md', 'docs/**/*.md', 'test/**/*.ts', 'examples/**/*.ts', 'scripts/*.{ts,mjs}'])
  const texts = [...sources, ...documents.map((file) => [file, readFileSync(file, 'utf8')] as const)]
  const found = texts.flatMap(([file, text]) =>
    file.endsWith('architecture.test.ts') ? [] : [...text.matchAll(RETIRED)].map(([name]) => `${file}: ${name}`),
  )
  assert.deepEqual(found, [])
})

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
}
