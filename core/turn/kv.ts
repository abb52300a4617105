// A shard's small durable state in memory: every value that was committed or waits for its commit. Invariant: a value
// is parsed, frozen and encoded when it is set, so that a bad one fails its own turn and no other.

import type { Kv } from '../game/context.ts'
import type { Parser } from '../wire/contract.ts'
import { InputError, shorten } from '../wire/errors.ts'
import { decodeStored, encodeStored } from '../wire/stored.ts'
import type { Fields } from '../wire/type.ts'
import { deepFreeze } from '../rows/freeze.ts'
import type { TurnWrites } from './turnwrites.ts'

/** The turn, as `c.kv` uses it. */
export interface KvTurn {
  /** @throws Error when the turn or its activation has ended */
  requireActive(): void
  changeWrites(): Pick<TurnWrites, 'setKv'>
  addUndo(undo: () => void): void
}

/** A declared field. */
export interface KvType {
  readonly parse: Parser<unknown>
  /** Returns the value of a stored one, which `parse` has returned. */
  readonly restore: Parser<unknown>
}

interface KvEntry {
  readonly value: unknown
  readonly encoded: Uint8Array
}

interface KvChange {
  /** The encoded value to commit; null = deleted. */
  readonly bytes: Uint8Array | null
  readonly before: Uint8Array | null
  readonly undo: () => void
}

export class KvState {
  readonly #types: ReadonlyMap<string, KvType>
  readonly #maxBytes: number
  readonly #entries = new Map<string, KvEntry>()
  #bytes = 0

  constructor(types: ReadonlyMap<string, KvType>, maxBytes: number) {
    this.#types = types
    this.#maxBytes = maxBytes
  }

  /** Loads stored values; ignores names that the game no longer declares. @throws InputError for a bad value */
  load(stored: ReadonlyMap<string, Uint8Array>): void {
    for (const [name, bytes] of stored) {
      const type = this.#types.get(name)
      if (type) this.#put(name, { value: deepFreeze(type.restore(decodeStored(bytes))), encoded: bytes })
    }
  }

  get(name: string): unknown {
    this.#typeOf(name)
    return this.#entries.get(name)?.value
  }

  /** Sets a value; undefined deletes it. */
  set(name: string, value: unknown): KvChange {
    const { parse } = this.#typeOf(name)
    const entry = this.#entries.get(name)
    const before = entry?.encoded ?? null
    const undo = (): void => this.#put(name, entry)
    if (value === undefined) {
      this.#put(name, undefined)
      return { bytes: null, before, undo }
    }
    const parsed = deepFreeze(parse(value))
    const bytes = encodeStored(parsed, `kv.${name}`)
    const total = this.#bytes - entryBytes(name, entry) + name.length + bytes.length
    if (total > this.#maxBytes)
      throw new InputError(`kv.${name}: ${total} bytes in this shard exceed ${this.#maxBytes}`)
    this.#put(name, { value: parsed, encoded: bytes })
    return { bytes, before, undo }
  }

  #put(name: string, entry: KvEntry | undefined): void {
    this.#bytes += entryBytes(name, entry) - entryBytes(name, this.#entries.get(name))
    if (entry) this.#entries.set(name, entry)
    else this.#entries.delete(name)
  }

  #typeOf(name: string): KvType {
    const type = this.#types.get(name)
    if (!type) throw new InputError(`kv has no field ${shorten(name)}; declare it with .kv({ … })`)
    return type
  }
}

/** `c.kv` of one turn. */
export class KvView implements Kv<Fields> {
  readonly #turn: KvTurn
  readonly #state: KvState
  constructor(turn: KvTurn, state: KvState) {
    this.#turn = turn
    this.#state = state
  }
  get(name: string): never {
    return this.#state.get(name) as never
  }
  set(name: string, value: unknown): void {
    this.#change(name, value)
  }
  delete(name: string): void {
    this.#change(name, undefined)
  }
  #change(name: string, value: unknown): void {
    this.#turn.requireActive()
    const { bytes, before, undo } = this.#state.set(name, value)
    this.#turn.changeWrites().setKv(name, bytes, before)
    this.#turn.addUndo(undo)
  }
}

function entryBytes(name: string, entry: KvEntry | undefined): number {
  return entry ? name.length + entry.encoded.length : 0
}
