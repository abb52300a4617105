// Valid inputs for every command of the fuzzed game, and calls whose bodies are edited.

import fc, { type Arbitrary } from 'fast-check'

import { byteEdits, cuts, editBytes, splice } from './byteedits.ts'
import { jsonTree, packTree } from './encode.ts'
import { bytesOf, step, weighted, type Step } from './step.ts'
import { editTree, treeEdits, treeOf, type ValueTree } from './tree.ts'

export interface Input {
  readonly contract: string
  readonly command: number
  readonly codec: 'raw' | 'json' | 'msgpack'
  readonly value: unknown
  /** Of the encoding, see encode.ts. */
  readonly style: number
}

const blob = bytesOf(0, 47)
const name = fc.constantFrom('ada', 'bob', 'cleo', 'dan', 'eve', 'fay', 'gus', 'hal')
/** So many that two players seldom have the same. */
const uid = fc.nat(499).map((n) => `u${n}`)
const colour = fc.constantFrom('red', 'green', 'blue', 'grey')
const text = fc.tuple(name, fc.nat(999)).map(([who, n]) => `${who} says ${n}`)
const n = fc.nat(999)
const fraction = fc.nat().map((value) => value / 2 ** 31)
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const empty = fc.constant({})
const number = fc.record({ n })
const plainFields = {
  u8: fc.nat(255),
  i16: fc.integer({ min: -32_768, max: 32_767 }),
  u32,
  whole: u32.map((value) => value * 1_000),
  f32: fraction,
  f64: fraction.map((value) => value * 1e9),
  bool: fc.boolean(),
  id: name,
  text,
  colour: fc.oneof(fc.constant(null), colour),
  price: n.map((value) => `${value}.5`),
  list: fc.tuple(fc.nat(2), fraction, name).map(([start, x, tag]) =>
    [
      { x, y: 1, tag },
      { x: 0, y: -1 },
    ].slice(start),
  ),
  table: fc.tuple(name, fc.nat(8)).map(([key, item]) => ({ [key]: [item, -1] })),
}
const plain = fc.record(plainFields)
const wide = fc.record({
  ...plainFields,
  i64: u32.map((value) => BigInt(value) * -1_000_000n),
  u64: fc.constant(2n ** 63n),
  at: fc.nat().map((ms) => new Date(1_600_000_000_000 + ms)),
  blob,
})

/** Commands with the same input. A command that is listed twice is twice as frequent. */
type InputRow = readonly [value: Arbitrary<unknown>, ...commands: readonly number[]]
const CONTRACTS: readonly (readonly [contract: string, codec: Input['codec'], ...rows: readonly InputRow[]])[] = [
  ['opaque', 'raw', [blob, 1, 3, 4, 6, 7, 0xfffffeff], [bytesOf(0, 16), 2], [bytesOf(0, 32), 5]],
  [
    'text',
    'json',
    [plain, 100, 100, 100, 103],
    [fc.record({ n, text }), 101],
    [number, 102, 104, 105, 107],
    [fc.constant(null), 106],
  ],
  [
    'pack',
    'msgpack',
    [wide, 200, 200, 200, 200],
    [empty, 201, 207, 213, 214],
    [number, 202, 211],
    [fc.record({ id: fc.nat(63), text, blob }), 203],
    [fc.record({ id: fc.nat(63) }), 204],
    [fc.record({ limit: fc.nat(64) }), 205],
    [fc.record({ groups: fc.tuple(colour) }), 206],
    [fc.record({ text, group: colour }), 208],
    [fc.record({ to: name }), 209],
    [fc.record({ to: name, n: fc.nat(8) }), 210],
    [fc.record({ ms: fc.nat(199), durable: fc.nat(9).map((value) => value > 6) }), 212],
    [fc.record({ uid }), 215, 216],
  ],
  ['login', 'msgpack', [fc.record({ player: name }), 300], [number, 301], [fc.record({ uid }), 302]],
  ['members', 'msgpack', [empty, 320]],
  ['bound', 'msgpack', [empty, 310]],
  ['private', 'msgpack', [empty, 500]],
]

/** An input for any command of one contract, for each contract, with the number of its commands as weight. */
export const contractInputs = CONTRACTS.map(([contract, codec, ...rows]) => {
  const inputs = rows.map(([value, ...commands]) => {
    const command = fc.constantFrom(...commands)
    const input = fc.tuple(command, value, fc.nat()).map(([number, tree, style]): Input => {
      return { contract, command: number, codec, value: tree, style }
    })
    return [commands.length, input] as const
  })
  return [inputs.reduce((sum, [weight]) => sum + weight, 0), weighted(...inputs)] as const
})
export const anyInput = weighted(...contractInputs)

/** Above every limit. A longer body is cut, because its length would only cost time. */
const MAX_BYTES = 70_000

function encodeInput({ codec, value, style }: Input, edit = (tree: ValueTree): ValueTree => tree): Uint8Array {
  const tree = edit(treeOf(value))
  if (codec === 'raw' && tree instanceof Uint8Array) return tree
  const body = codec === 'json' ? jsonTree(style, tree) : packTree(style, tree)
  return body.length > MAX_BYTES ? body.subarray(0, MAX_BYTES) : body
}

/** Returns the edited body of an input. */
export type BodyEdit = Step<Input, Uint8Array>

export const bodyTreeEdit: Arbitrary<BodyEdit> = step('tree', treeEdits, (edits, input: Input) =>
  encodeInput(input, (tree) => editTree(tree, edits)),
)
/** Edited bytes, or the beginning of the body and the end of another. */
export const bodyByteEdit: Arbitrary<BodyEdit> = weighted<BodyEdit>(
  [4, step('bytes', byteEdits, (edits, input: Input) => editBytes(encodeInput(input), edits))],
  [
    1,
    step('splice', fc.tuple(cuts, anyInput), ([places, other], input: Input) =>
      splice(encodeInput(input), encodeInput(other), places),
    ),
  ],
)

export interface Call {
  readonly input: Input
  readonly edit: BodyEdit | null
}
export const plainCall: Arbitrary<Call> = anyInput.map((input) => ({ input, edit: null }))

export function bodyOf({ input, edit }: Call): Uint8Array {
  return edit?.run(input) ?? encodeInput(input)
}
