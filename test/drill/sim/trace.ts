// What happened in one run, line by line: all of it in one hash, the last of it as text. Two runs of one seed have the
// same hash, or something besides the seed had a say.

import { createHash } from 'node:crypto'

import { describeFrames } from './frames.ts'

export interface TraceOptions {
  readonly now: () => number
  /** Lines kept as text; 0 = none, which is faster. */
  readonly keep: number
  /** Is told every line. */
  readonly print: ((line: string) => void) | null
}

const CHUNK = 500

export class Trace {
  readonly #options: TraceOptions
  readonly #hash = createHash('sha256')
  #raw: string[] = []
  #last: string[] = []

  constructor(options: TraceOptions) {
    this.#options = options
  }

  /** The last lines. */
  get last(): readonly string[] {
    return this.#last
  }

  add(who: string, what: string): void {
    this.#note(who, what)
    if (this.#isKept) this.#keep(who, what)
  }

  /** Bytes that arrive somewhere. */
  bytes(who: string, bytes: Uint8Array): void {
    this.#note(who, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'))
    if (this.#isKept) this.#keep(who, describeFrames(bytes))
  }

  /** Of everything so far; no line may follow. */
  digest(): string {
    this.#flush()
    return this.#hash.digest('hex').slice(0, 16)
  }

  get #isKept(): boolean {
    return this.#options.keep > 0 || this.#options.print !== null
  }

  #note(who: string, what: string): void {
    this.#raw.push(`${this.#options.now()} ${who} ${what}\n`)
    if (this.#raw.length >= CHUNK) this.#flush()
  }

  #flush(): void {
    this.#hash.update(this.#raw.join(''))
    this.#raw = []
  }

  #keep(who: string, what: string): void {
    const { now, keep, print } = this.#options
    const line = `${(now() / 1_000).toFixed(4).padStart(9)} ${who.padEnd(12)} ${what}`
    print?.(line)
    this.#last.push(line)
    if (this.#last.length > 2 * keep) this.#last = this.#last.slice(-keep)
  }
}
