// A body's value as a tree that holds more than any language's values: keys that stand twice or are no text, bytes of
// no format. Mutations change one place of it; the same numbers of chance give the same tree.

import type { Random } from '../../support/random.ts'

/** Bytes put into the body as they are. */
export class Verbatim {
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}
/** A map whose keys may be anything, any number of times. */
export class Pairs {
  readonly entries: [Tree, Tree][]
  constructor(entries: [Tree, Tree][]) {
    this.entries = entries
  }
}
export type Tree = null | boolean | number | bigint | string | Date | Uint8Array | Verbatim | Pairs | Tree[]

export function treeOf(value: unknown): Tree {
  if (Array.isArray(value)) return value.map(treeOf)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || value instanceof Date)
    return value as Tree
  return new Pairs(Object.entries(value).map(([key, item]) => [key, treeOf(item)]))
}

/** Changes 1..3 places. Gives the tree, which may be another one. */
export function mutateTree(random: Random, tree: Tree): Tree {
  let root = tree
  for (let left = 1 + random.below(3); left > 0; left--) root = mutateOnce(random, root)
  return root
}

interface Place {
  readonly at: Tree[] | Pairs
  readonly index: number
}

const NAMES = [
  '__proto__',
  'constructor',
  'then',
  'toString',
  'prototype',
  'hasOwnProperty',
  'length',
  '',
  '0',
]
const NUMBERS = [
  0,
  -0,
  1,
  -1,
  127,
  128,
  255,
  256,
  32_767,
  32_768,
  65_535,
  65_536,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 53 + 2,
  -(2 ** 53) - 2,
  1e308,
  -1e308,
  5e-324,
  3.5e38,
  NaN,
  Infinity,
  -Infinity,
  0.1,
]
const WIDE = [2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n)]
const TEXTS = [
  '',
  '\u0000',
  '\ud800',
  'a\udfff',
  '\ufeff',
  '💥'.repeat(60),
  'x'.repeat(201),
  '"\\\u2028',
  '-0',
  '1e999',
]
/** MessagePack that no contract needs: the unused byte, extensions, a float of NaN, timestamps out of range. */
const ODD = [
  'c1',
  'c70000',
  'd40101',
  'd4ff00',
  'd6ff00000001',
  'd7ffffffffffffffffff',
  'c70cff3b9aca000000000000000000',
  'c70c05000000000000000000000000',
  'cb7ff8000000000000',
  'ca7fc00000',
  'c9ffffffff01',
  'dbffffffff',
  'ddffffffff',
  'dfffffffff',
  'c6ffffffff',
  'd90161',
  'd87400000000000000000000000000000000',
  'd67200000001',
  'd46980',
  'c403ffffff',
].map(unhex)
const DEPTHS = [2, 31, 32, 33, 200]
const WIDTHS = [16, 65, 256, 4_095, 4_096, 4_097]

function mutateOnce(random: Random, root: Tree): Tree {
  const places: Place[] = []
  collect(root, places)
  const place = places.length === 0 ? null : places[random.below(places.length)]!
  const choice = random.below(16)
  if (place === null || choice < 1) return choice % 2 === 0 ? hostile(random) : wrapped(random, root)
  const { at, index } = place
  if (choice < 8) put(place, hostile(random))
  else if (choice < 10) put(place, wrapped(random, get(place)))
  else if (choice < 11) {
    const other = places[random.below(places.length)]!
    // What holds itself has no end.
    if (!contains(get(other), get(place))) put(place, copyOf(get(other)))
  } else if (choice < 12) list(at).splice(index, 1)
  else if (choice < 13 && at instanceof Pairs) at.entries.push([at.entries[index]![0], hostile(random)])
  else if (choice < 15 && at instanceof Pairs) at.entries[index]![0] = key(random)
  else if (at instanceof Pairs) at.entries.push([key(random), hostile(random)])
  else widen(random, at)
  return root
}

function collect(tree: Tree, places: Place[]): void {
  const count = tree instanceof Pairs ? tree.entries.length : Array.isArray(tree) ? tree.length : 0
  for (let index = 0; index < count && places.length < 200; index++) {
    const place = { at: tree as Tree[] | Pairs, index }
    places.push(place)
    collect(get(place), places)
  }
}

function get({ at, index }: Place): Tree {
  return at instanceof Pairs ? at.entries[index]![1] : at[index]!
}

function put({ at, index }: Place, tree: Tree): void {
  if (at instanceof Pairs) {
    const entry = at.entries[index]
    if (entry) entry[1] = tree
  } else at[index] = tree
}

function list(at: Tree[] | Pairs): unknown[] {
  return at instanceof Pairs ? at.entries : at
}

function contains(tree: Tree, part: Tree): boolean {
  if (tree === part) return typeof tree === 'object'
  if (tree instanceof Pairs) return tree.entries.some(([, value]) => contains(value, part))
  return Array.isArray(tree) && tree.some((value) => contains(value, part))
}

function copyOf(tree: Tree): Tree {
  if (tree instanceof Pairs)
    return new Pairs(tree.entries.map(([name, value]) => [copyOf(name), copyOf(value)]))
  return Array.isArray(tree) ? tree.map(copyOf) : tree
}

function hostile(random: Random): Tree {
  switch (random.below(12)) {
    case 0:
      return null
    case 1:
      return random.chance(0.5)
    case 2:
    case 3:
    case 4:
      return pick(random, NUMBERS)
    case 5:
      return pick(random, WIDE)
    case 6:
    case 7:
      return pick(random, TEXTS)
    case 8:
      return random.chance(0.5) ? [] : new Pairs([])
    case 9:
      return new Uint8Array(random.below(40))
    case 10:
      return new Verbatim(pick(random, ODD))
    default:
      return new Date(pick(random, [0, -1, 8.64e15, 253_402_300_800_000, 1_700_000_000_123]))
  }
}

function wrapped(random: Random, tree: Tree): Tree {
  const depth = pick(random, DEPTHS)
  let outer = tree
  for (let i = 0; i < depth; i++) outer = random.chance(0.5) ? [outer] : new Pairs([['a', outer]])
  return outer
}

/** More of what there is, up to beyond every bound; the largest are rare: each costs as much as a hundred others. */
function widen(random: Random, at: Tree[]): void {
  const width = random.chance(0.1) ? pick(random, WIDTHS) : 16
  const item = width > 64 ? random.below(200) : (at[0] ?? 0)
  while (at.length < width) at.push(item)
}

function key(random: Random): Tree {
  if (random.chance(0.8)) return pick(random, NAMES)
  return random.chance(0.5) ? random.below(300) : null
}

function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.below(items.length)]!
}

export function unhex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'))
}
