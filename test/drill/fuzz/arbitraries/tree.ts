// The value of a body as a tree that can hold more than any language's values: repeated keys, keys that are not text,
// bytes of no format. Invariant: an edit is applied modulo the number of places, and edits change only the copy that
// `treeOf` makes.

import fc, { type Arbitrary } from 'fast-check'

import { bytesOfHex } from '../../../../core/wire/bytes.ts'
import { itemAt, maybe, oneToThree, weighted, type ValueOf } from './step.ts'

/** Bytes that are written into the body as they are. */
export class RawBytes {
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}
/** A map whose keys may be anything, any number of times. */
export class MapEntries {
  readonly entries: [ValueTree, ValueTree][]
  constructor(entries: [ValueTree, ValueTree][]) {
    this.entries = entries
  }
}
type Parent = MapEntries | ValueTree[]
export type ValueTree = null | boolean | number | bigint | string | Date | Uint8Array | RawBytes | Parent

/** A copy of a value, or of a tree, that edits may change. */
export function treeOf(value: unknown): ValueTree {
  if (value instanceof MapEntries)
    return new MapEntries(value.entries.map(([key, item]) => [treeOf(key), treeOf(item)]))
  if (Array.isArray(value)) return value.map(treeOf)
  if (typeof value !== 'object' || value === null) return value as ValueTree
  if (value instanceof Uint8Array || value instanceof Date || value instanceof RawBytes) return value
  return new MapEntries(Object.entries(value).map(([key, item]) => [key, treeOf(item)]))
}

const NAMES = '__proto__ constructor then toString prototype hasOwnProperty length 0 '.split(' ')
const NUMBERS = [
  ...[0, -0, 1, -1, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536],
  ...[2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, -(2 ** 53) - 2],
  ...[1e308, -1e308, 5e-324, 3.5e38, NaN, Infinity, -Infinity, 0.1],
]
const BIG_NUMBERS = [2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n)]
const TEXTS = [
  ...['', '\u0000', '\ud800', 'a\udfff', '\ufeff', '💥'.repeat(60), 'x'.repeat(201)],
  ...['"\\\u2028', '-0', '1e999'],
]
/** MessagePack that no contract needs: the unused byte, extensions, a NaN, timestamps out of range, wrong lengths. */
const INVALID_MSGPACK = [
  ...['c1', 'c70000', 'd40101', 'd4ff00', 'd6ff00000001', 'd7ffffffffffffffffff', 'd46980', 'd67200000001'],
  ...['c70cff3b9aca000000000000000000', 'c70c05000000000000000000000000', 'cb7ff8000000000000', 'ca7fc00000'],
  ...['c9ffffffff01', 'dbffffffff', 'ddffffffff', 'dfffffffff', 'c6ffffffff', 'd90161', 'c403ffffff'],
  'd87400000000000000000000000000000000',
].map((hex) => new RawBytes(bytesOfHex(hex)))
const DATES = [0, -1, 8.64e15, 253_402_300_800_000, 1_700_000_000_123].map((ms) => new Date(ms))

/** A value that contracts do not expect, or at the limit of what they accept. */
const boundaryValue: Arbitrary<ValueTree> = weighted<ValueTree>(
  [1, fc.constant(null)],
  [1, fc.boolean()],
  [3, fc.constantFrom(...NUMBERS)],
  [1, fc.constantFrom(...BIG_NUMBERS)],
  [2, fc.constantFrom(...TEXTS)],
  [1, fc.constantFrom<ValueTree[]>([], new MapEntries([]))],
  [1, fc.nat(39).map((length) => new Uint8Array(length))],
  [1, fc.constantFrom(...INVALID_MSGPACK)],
  [1, fc.constantFrom(...DATES)],
)

const REPLACE = 'replace'
const treeEdit = fc.record({
  op: fc.constantFrom(
    ...[REPLACE, REPLACE, REPLACE, REPLACE, REPLACE, REPLACE, REPLACE, 'replace root', 'wrap', 'wrap'],
    ...['copy', 'remove', 'repeat key', 'rename key', 'rename key', 'add key'],
  ),
  at: fc.nat(),
  from: fc.nat(),
  value: boundaryValue,
  key: weighted<ValueTree>([8, fc.constantFrom(...NAMES)], [1, fc.nat(299)], [1, fc.constant(null)]),
  depth: fc.constantFrom(2, 31, 32, 33, 200),
  // Wider than every bound. Rare, because each wide array costs as much as a hundred others.
  width: maybe(10, fc.constantFrom(16, 65, 256, 4_095, 4_096, 4_097)),
})
export const treeEdits = oneToThree(treeEdit)
export type TreeEdits = ValueOf<typeof treeEdits>

/** Returns the new root. */
export function editTree(root: ValueTree, edits: TreeEdits): ValueTree {
  return edits.reduce(editOnce, root)
}

function editOnce(root: ValueTree, edit: TreeEdits[number]): ValueTree {
  const { op, at, from, key } = edit
  const value = treeOf(edit.value)
  const places: Place[] = []
  collect(root, places)
  if (op === 'replace root') return value
  if (places.length === 0) return at % 2 === 0 ? value : wrapped(edit, root)
  const place = itemAt(places, at)
  const { parent, index } = place
  if (op === REPLACE) put(place, value)
  else if (op === 'wrap') put(place, wrapped(edit, get(place)))
  else if (op === 'copy') {
    const source = get(itemAt(places, from))
    // A value that contains itself has no end.
    if (!contains(source, get(place))) put(place, treeOf(source))
  } else if (op === 'remove') (parent instanceof MapEntries ? parent.entries : parent).splice(index, 1)
  else if (!(parent instanceof MapEntries)) {
    const width = edit.width ?? 16
    const item = width > 64 ? from % 200 : (parent[0] ?? 0)
    while (parent.length < width) parent.push(item)
  } else if (op === 'rename key') parent.entries[index]![0] = key
  else parent.entries.push([op === 'add key' ? key : parent.entries[index]![0], value])
  return root
}

/** An item of an array, or the value of a map's entry. */
interface Place {
  readonly parent: Parent
  readonly index: number
}
const MAX_PLACES = 200

function collect(tree: ValueTree, places: Place[]): void {
  if (!(tree instanceof MapEntries) && !Array.isArray(tree)) return
  const count = tree instanceof MapEntries ? tree.entries.length : tree.length
  for (let index = 0; index < count && places.length < MAX_PLACES; index++) {
    const place = { parent: tree, index }
    places.push(place)
    collect(get(place), places)
  }
}

function get({ parent, index }: Place): ValueTree {
  return parent instanceof MapEntries ? parent.entries[index]![1] : parent[index]!
}

function put({ parent, index }: Place, tree: ValueTree): void {
  if (parent instanceof MapEntries) parent.entries[index]![1] = tree
  else parent[index] = tree
}

function contains(tree: ValueTree, part: ValueTree): boolean {
  if (tree === part) return typeof tree === 'object'
  if (tree instanceof MapEntries) return tree.entries.some(([, value]) => contains(value, part))
  return Array.isArray(tree) && tree.some((value) => contains(value, part))
}

/** The bits of `from` select which levels are maps; the others are arrays. */
function wrapped({ depth, from }: TreeEdits[number], tree: ValueTree): ValueTree {
  let outer = tree
  for (let i = 0; i < depth; i++) outer = (from >>> (i % 31)) & 1 ? new MapEntries([['a', outer]]) : [outer]
  return outer
}
