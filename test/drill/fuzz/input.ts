// A valid input for every command of the fuzzed game, as a tree: where mutations begin.

import type { Random } from '../../support/random.ts'
import { jsonTree, packTree } from './encode.ts'
import { treeOf, type Tree } from './tree.ts'

export interface Asked {
  readonly contract: string
  readonly command: number
  readonly codec: 'raw' | 'json' | 'msgpack'
  readonly tree: Tree
}

type Maker = readonly [
  contract: string,
  command: number,
  codec: Asked['codec'],
  input: (r: Random) => unknown,
]

const COLOURS = ['red', 'green', 'blue', 'grey']
const NAMES = ['ada', 'bob', 'cleo', 'dan', 'eve', 'fay', 'gus', 'hal']

const MAKERS: readonly Maker[] = [
  ['opaque', 1, 'raw', blob],
  ['opaque', 2, 'raw', (r) => blob(r).subarray(0, 16)],
  ['opaque', 3, 'raw', blob],
  ['opaque', 4, 'raw', blob],
  ['opaque', 5, 'raw', (r) => blob(r).subarray(0, 32)],
  ['opaque', 6, 'raw', blob],
  ['opaque', 7, 'raw', blob],
  ['opaque', 0xfffffeff, 'raw', blob],
  ['text', 100, 'json', plain],
  ['text', 100, 'json', plain],
  ['text', 100, 'json', plain],
  ['text', 101, 'json', (r) => ({ n: r.below(1_000), text: text(r) })],
  ['text', 102, 'json', number],
  ['text', 103, 'json', plain],
  ['text', 104, 'json', number],
  ['text', 105, 'json', number],
  ['text', 106, 'json', () => undefined],
  ['text', 107, 'json', number],
  ['pack', 200, 'msgpack', wide],
  ['pack', 200, 'msgpack', wide],
  ['pack', 200, 'msgpack', wide],
  ['pack', 200, 'msgpack', wide],
  ['pack', 201, 'msgpack', () => ({})],
  ['pack', 202, 'msgpack', number],
  ['pack', 203, 'msgpack', (r) => ({ id: r.below(64), text: text(r), blob: blob(r) })],
  ['pack', 204, 'msgpack', (r) => ({ id: r.below(64) })],
  ['pack', 205, 'msgpack', (r) => ({ limit: r.below(65) })],
  ['pack', 206, 'msgpack', (r) => ({ groups: [colour(r)] })],
  ['pack', 207, 'msgpack', () => ({})],
  ['pack', 208, 'msgpack', (r) => ({ text: text(r), group: colour(r) })],
  ['pack', 209, 'msgpack', (r) => ({ to: name(r) })],
  ['pack', 210, 'msgpack', (r) => ({ to: name(r), n: r.below(9) })],
  ['pack', 211, 'msgpack', number],
  ['pack', 212, 'msgpack', (r) => ({ ms: r.below(200), durable: r.chance(0.3) })],
  ['pack', 213, 'msgpack', () => ({})],
  ['pack', 214, 'msgpack', () => ({})],
  ['desk', 300, 'msgpack', (r) => ({ player: name(r) })],
  ['desk', 301, 'msgpack', number],
  ['desk', 302, 'msgpack', (r) => ({ uid: uid(r) })],
  ['pack', 215, 'msgpack', (r) => ({ uid: uid(r) })],
  ['pack', 216, 'msgpack', (r) => ({ uid: uid(r) })],
  ['hall', 320, 'msgpack', () => ({})],
  ['own', 310, 'msgpack', () => ({})],
  ['vault', 500, 'msgpack', () => ({})],
]

const byContract = Map.groupBy(MAKERS, ([contract]) => contract)
/** Beyond every limit; more would only take longer. */
const MAX_BYTES = 70_000

/** Any command, or one of this contract. */
export function ask(random: Random, contract?: string): Asked {
  const some = contract === undefined ? MAKERS : byContract.get(contract)!
  const [of, command, codec, make] = some[random.below(some.length)]!
  return { contract: of, command, codec, tree: treeOf(make(random) ?? null) }
}

export function bodyOf(random: Random, { codec, tree }: Pick<Asked, 'codec' | 'tree'>): Uint8Array {
  if (codec === 'raw' && tree instanceof Uint8Array) return tree
  const body = codec === 'json' ? jsonTree(random, tree) : packTree(random, tree)
  return body.length > MAX_BYTES ? body.subarray(0, MAX_BYTES) : body
}

function blob(random: Random): Uint8Array {
  return Uint8Array.from({ length: random.below(48) }, () => random.below(256))
}

function text(random: Random): string {
  return `${name(random)} says ${random.below(1_000)}`
}

function name(random: Random): string {
  return NAMES[random.below(NAMES.length)]!
}

/** Of so many that two are seldom one. */
function uid(random: Random): string {
  return `u${random.below(500)}`
}

function colour(random: Random): string {
  return COLOURS[random.below(COLOURS.length)]!
}

function number(random: Random): unknown {
  return { n: random.below(1_000) }
}

function plain(random: Random): Readonly<Record<string, unknown>> {
  return {
    u8: random.below(256),
    i16: random.below(65_536) - 32_768,
    u32: random.below(2 ** 32),
    whole: random.below(2 ** 32) * 1_000,
    f32: random.next(),
    f64: random.next() * 1e9,
    bool: random.chance(0.5),
    id: name(random),
    text: text(random),
    colour: random.chance(0.5) ? null : colour(random),
    price: `${random.below(1_000)}.5`,
    list: [
      { x: random.next(), y: 1, tag: name(random) },
      { x: 0, y: -1 },
    ].slice(random.below(3)),
    table: { [name(random)]: [random.below(9), -1] },
  }
}

function wide(random: Random): Readonly<Record<string, unknown>> {
  return {
    ...plain(random),
    i64: BigInt(random.below(2 ** 32)) * -1_000_000n,
    u64: 2n ** 63n,
    at: new Date(1_600_000_000_000 + random.below(2 ** 31)),
    blob: blob(random),
  }
}
