// A shard's small durable state in memory: every value that was committed or waits for its commit. Values are
// parsed, frozen and encoded when they are set, so that a bad one fails its own turn and no other.

import type { Kv } from '../game/context.ts'
import { CODECS } from '../wire/codec.ts'
import type { Parser } from '../wire/contract.ts'
import { InputError, shorten } from '../wire/errors.ts'
import type { Fields } from '../wire/type.ts'
import type { UndoStep } from '../channel/members.ts'
import type { Turn } from './turn.ts'

const codec = CODECS.get('msgpack')!

interface KvEntry {
  readonly value: unknown
  readonly encoded: Uint8Array
}

export class KvState {
  readonly #types: ReadonlyMap<string, Parser<unknown>>
  readonly #maxBytes: number
  readonly #entries = new Map<string, KvEntry>()
  #bytes = 0

  constructor(types: ReadonlyMap<string, Parser<unknown>>, maxBytes: number) {
    this.#types = types
    this.#maxBytes = maxBytes
  }

  /** Takes what the store holds. A name that the game dropped is left alone; a value must still fit its type. */
  load(stored: ReadonlyMap<string, Uint8Array>): void {
    for (const [name, bytes] of stored) {
      const parse = this.#types.get(name)
      if (parse) this.#put(name, { value: freeze(parse(codec.decode(bytes))), encoded: bytes })
    }
  }

  get(name: string): unknown {
    this.#typeOf(name)
    return this.#entries.get(name)?.value
  }

  /** Sets or (undefined) deletes. Returns what to commit and how to take it back. */
  set(name: string, value: unknown): { bytes: Uint8Array | null; before: Uint8Array | null; undo: UndoStep } {
    const parse = this.#typeOf(name)
    const before = this.#entries.get(name)
    const undo = (): void => this.#put(name, before)
    if (value === undefined) {
      this.#put(name, undefined)
      return { bytes: null, before: before?.encoded ?? null, undo }
    }
    const parsed = freeze(parse(value))
    const bytes = codec.encode(parsed)
    const total = this.#bytes - entryBytes(name, before) + name.length + bytes.length
    if (total > this.#maxBytes) {
      throw new InputError(`kv.${name}: ${total} bytes in this shard exceed ${this.#maxBytes}`)
    }
    this.#put(name, { value: parsed, encoded: bytes })
    return { bytes, before: before?.encoded ?? null, undo }
  }

  #put(name: string, entry: KvEntry | undefined): void {
    this.#bytes += entryBytes(name, entry) - entryBytes(name, this.#entries.get(name))
    if (entry) this.#entries.set(name, entry)
    else this.#entries.delete(name)
  }

  #typeOf(name: string): Parser<unknown> {
    const parse = this.#types.get(name)
    if (!parse) throw new InputError(`kv has no field ${shorten(name)}; declare it with .kv({ … })`)
    return parse
  }
}

/** `c.kv` of one turn. */
export class KvView implements Kv<Fields> {
  readonly #turn: Turn
  constructor(turn: Turn) {
    this.#turn = turn
  }
  get(name: string): never {
    return this.#turn.activation.kv.get(name) as never
  }
  set(name: string, value: unknown): void {
    this.#change(name, value)
  }
  delete(name: string): void {
    this.#change(name, undefined)
  }
  #change(name: string, value: unknown): void {
    const turn = this.#turn
    turn.requireActive()
    const { bytes, before, undo } = turn.activation.kv.set(name, value)
    turn.kvWrites ??= new Map()
    turn.kvBefore ??= new Map()
    turn.kvWrites.set(name, bytes)
    if (!turn.kvBefore.has(name)) turn.kvBefore.set(name, before)
    turn.addUndo(undo)
  }
}

function entryBytes(name: string, entry: KvEntry | undefined): number {
  return entry ? name.length + entry.encoded.length : 0
}

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const inner of Object.values(value)) freeze(inner)
  return Object.freeze(value)
}
