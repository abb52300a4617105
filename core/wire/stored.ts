// The encoding of the game's own data: snapshots, kv, the data of timers and of the answers to casts. Nobody else writes it,
// so bounds against hostile bodies do not apply. Invariant: a value reads back equal or is refused with path and reason;
// docs/state.md has the table. MessagePack, with one extension for the values that MessagePack lacks.

import { addExtension, Packr, RESET_BUFFER_MODE, Unpackr } from 'msgpackr/index-no-eval'

import { NOT_HANDLED, refuseAs, refuseOwnProperties, walkValue, type ValueRules } from './plainvalue.ts'

/** @throws TypeError `what.path: reason` */
export function encodeStored(value: unknown, what: string): Uint8Array {
  // The packer returns a view of a buffer that it reuses.
  return new Uint8Array(packr.pack(walkValue(value, RULES, refuseAs(what)), RESET_BUFFER_MODE))
}

/** The value, as new objects. Also reads what `msgpack` encoded. */
export function decodeStored(bytes: Uint8Array): unknown {
  return unpackr.unpack(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
}

/** A value that MessagePack lacks, as MessagePack: the index of its form in FORMS, and its content. */
class Special {
  readonly form: number
  readonly content: unknown
  constructor(form: string, content: unknown) {
    this.form = FORMS.findIndex(([name]) => name === form)
    this.content = content
  }
}

const BUFFER_VIEWS = [
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const

/** How each form is restored. The index is stored: append only. */
const FORMS: readonly (readonly [name: string, restore: (content: never) => unknown])[] = [
  ['undefined', () => undefined],
  ['-0', () => -0],
  ['bigint', (text: string) => BigInt(text)],
  ['Date', (ms: number) => new Date(ms)],
  ['Map', (entries: readonly (readonly [unknown, unknown])[]) => new Map(entries)],
  ['Set', (members: readonly unknown[]) => new Set(members)],
  ['ArrayBuffer', (bytes: Uint8Array) => bytes.slice().buffer],
  // Little-endian, as every platform that runs this is.
  ...BUFFER_VIEWS.map((View) => [View.name, (bytes: Uint8Array) => new View(bytes.slice().buffer)] as const),
]

const VIEW_OF_PROTOTYPE: ReadonlyMap<unknown, string> = new Map(
  BUFFER_VIEWS.map((View) => [View.prototype as unknown, View.name]),
)
/** Objects that have a form. */
const PROTOTYPES: ReadonlySet<unknown> = new Set([
  Map.prototype,
  Set.prototype,
  Date.prototype,
  ArrayBuffer.prototype,
  ...VIEW_OF_PROTOTYPE.keys(),
])
const UNDEFINED = /* @__PURE__ */ new Special('undefined', null)
const MINUS_ZERO = /* @__PURE__ */ new Special('-0', null)

const RULES: ValueRules = {
  number: (value) => (Object.is(value, -0) ? MINUS_ZERO : value),
  bigint: (value) => new Special('bigint', String(value)),
  undefined: () => UNDEFINED,
  object(value, walk, fail) {
    if (value instanceof Uint8Array && !(value instanceof Uint8ClampedArray)) {
      refuseOwnProperties(value, fail)
      return value
    }
    const prototype: unknown = Object.getPrototypeOf(value)
    if (PROTOTYPES.has(prototype)) refuseOwnProperties(value, fail)
    if (prototype === Map.prototype) {
      const entries = [...(value as Map<unknown, unknown>)]
      return new Special(
        'Map',
        entries.map(([key, item]) => [walk(key, 'key'), walk(item, keyName(key))]),
      )
    }
    if (prototype === Set.prototype)
      return new Special(
        'Set',
        [...(value as Set<unknown>)].map((member, i) => walk(member, i)),
      )
    // NaN is an invalid date, and stays one.
    if (prototype === Date.prototype) return new Special('Date', (value as Date).getTime())
    if (prototype === ArrayBuffer.prototype) return new Special('ArrayBuffer', new Uint8Array(value as ArrayBuffer))
    const view = VIEW_OF_PROTOTYPE.get(prototype)
    if (view === undefined) return NOT_HANDLED
    const { buffer, byteOffset, byteLength } = value as Int8Array
    return new Special(view, new Uint8Array(buffer, byteOffset, byteLength))
  },
}

function keyName(key: unknown): PropertyKey {
  return typeof key === 'string' || typeof key === 'number' ? key : 'value'
}

// int64AsType and the rest as in codec.ts, so that its bodies decode equally.
const OPTIONS = {
  useRecords: false,
  mapsAsObjects: true,
  structuredClone: false,
  copyBuffers: true,
  int64AsType: 'auto',
  useToJSON: false,
} as const
/** Application-specific in MessagePack; the scan of bodies accepts none of those. */
const EXTENSION_TYPE = 0x66
const { packr, unpackr } = createPackers()

function createPackers(): { packr: Packr; unpackr: Unpackr } {
  addExtension({
    Class: Special,
    type: EXTENSION_TYPE,
    write: (special: unknown) => [(special as Special).form, (special as Special).content],
    read: (stored: unknown) => {
      const [form, content] = stored as [number, never]
      const restore = FORMS[form]?.[1]
      if (!restore) throw new TypeError(`stored data has the form ${form}, which this version does not know`)
      return restore(content)
    },
  })
  return { packr: new Packr({ ...OPTIONS }), unpackr: new Unpackr({ ...OPTIONS }) }
}
