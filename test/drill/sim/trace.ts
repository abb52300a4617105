// The trace of one run: a hash of all lines, and the last lines as text. Invariant: two runs of one seed have the same hash;
// if not, something besides the seed decided.

import { createHash } from 'node:crypto'

import { describeFrames } from './frames.ts'

export interface TraceOptions {
  readonly now: () => number
  /** Number of last lines stored as text; 0 = none, which is faster. */
  readonly maxLines: number
  /** Receives every line. */
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

  add(source: string, what: string): void {
    this.#append(source, what)
    if (this.#hasText) this.#appendText(source, what)
  }

  /** Adds received bytes. */
  bytes(source: string, bytes: Uint8Array): void {
    this.#append(source, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'))
    if (this.#hasText) this.#appendText(source, describeFrames(bytes))
  }

  /** Returns the hash of all lines; no line may follow. */
  digest(): string {
    this.#flush()
    return this.#hash.digest('hex').slice(0, 16)
  }

  get #hasText(): boolean {
    return this.#options.maxLines > 0 || this.#options.print !== null
  }

  #append(source: string, what: string): void {
    this.#raw.push(`${this.#options.now()} ${source} ${what}\n`)
    if (this.#raw.length >= CHUNK) this.#flush()
  }

  #flush(): void {
    this.#hash.update(this.#raw.join(''))
    this.#raw = []
  }

  #appendText(source: string, what: string): void {
    const { now, maxLines, print } = this.#options
    const line = `${(now() / 1_000).toFixed(4).padStart(9)} ${source.padEnd(12)} ${what}`
    print?.(line)
    this.#last.push(line)
    if (this.#last.length > 2 * maxLines) this.#last = this.#last.slice(-maxLines)
  }
}
