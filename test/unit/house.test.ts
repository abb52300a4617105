// The house rule: imports go down or stay on their floor, and the Cloudflare and the Node column never meet.

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'

const LAYERS: readonly (readonly [RegExp, number, 'node' | 'cloudflare' | null])[] = [
  [/^core\/wire\//, 0, null],
  [/^client\/tcp\.ts$/, 0, 'node'],
  [/^schemas\//, 1, null],
  [/^core\/game\//, 2, null],
  [/^core\/run\//, 3, null],
  [/^core\/tiers\//, 4, null],
  [/^core\/node\//, 5, 'node'],
  [/^core\/durable\//, 5, 'cloudflare'],
  [/^edge\/(server|listen|lobby|metrics|tls|web|entry-node)\.ts$/, 6, 'node'],
  [/^edge\/(worker|uplink|entry-worker)\.ts$/, 6, 'cloudflare'],
  [/^edge\//, 5, null],
  [/^scripts\//, 7, null],
]
const PLATFORM = /^(node:|cloudflare:|ws$|pino$|prom-client$|@hono\/|esbuild$|commander$)/
const FORBIDDEN =
  /\b(Date\.now|setTimeout|setInterval|setImmediate|Math\.random|performance\.now|queueMicrotask)\b/

const layerOf = (file: string) => LAYERS.find(([pattern]) => pattern.test(file))
const importsOf = (source: string): string[] =>
  [...source.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]!)

test('imports go down or stay, and the two columns never import each other', () => {
  const files = globSync(['core/**/*.ts', 'edge/*.ts', 'schemas/*.ts', 'client/*.ts'])
  assert.ok(files.length > 40)
  for (const file of files) {
    const source = readFileSync(file, 'utf8')
    const [, floor, column] = layerOf(file) ?? [null, -1, null]
    for (const target of importsOf(source)) {
      if (!target.startsWith('.')) {
        const portable = column === null
        assert.ok(!(portable && PLATFORM.test(target)), `${file} is portable but imports ${target}`)
        continue
      }
      const other = join(dirname(file), target)
      if (file.startsWith('client/')) {
        assert.match(
          other,
          /^(client|core\/wire|schemas)\//,
          `${file} imports ${other}: the client stands on floors 0 and 1`,
        )
        continue
      }
      const [, otherFloor, otherColumn] = layerOf(other) ?? [null, -1, null]
      assert.ok(otherFloor <= floor, `${file} (floor ${floor}) imports ${other} (floor ${otherFloor})`)
      assert.ok(
        !column || !otherColumn || column === otherColumn,
        `${file} imports ${other} of the other column`,
      )
    }
  }
})

test('nothing on floors 0 to 4 asks the platform for time or chance', () => {
  for (const file of globSync('core/{wire,game,run,tiers}/*.ts')) {
    const code = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    assert.doesNotMatch(code, FORBIDDEN, file)
  }
})
