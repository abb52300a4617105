// The Clock and Log ports of a Worker isolate. Its time does not advance while JavaScript runs, so a turn cannot be
// measured with it. Invariant: a timer longer than `maxPinnedMs` does not use setTimeout, because a pending one keeps a
// Durable Object in memory (and billed). Such a timer is deferred and polled at each event.

import type { Clock, Timer } from '../ports/clock.ts'
import { boundedLine, errorText, type Log, type LogFields } from '../ports/log.ts'

/** The longest timer that keeps an object in memory; an idle one may be evicted after one or two minutes anyway. */
export const OBJECT_MAX_PINNED_MS = 60_000
/** Random words are drawn in batches, because the call costs more than a word. */
const POOL_WORDS = 64

interface DeferredTimer {
  readonly dueMs: number
  readonly run: () => void
}

export class WorkerClock implements Clock {
  readonly #maxPinnedMs: number
  readonly #deferred = new Set<DeferredTimer>()
  readonly #pool = new Uint32Array(POOL_WORDS)
  #poolUsed = POOL_WORDS

  /** By default every timer uses setTimeout, which suits the edge: it does not hibernate. */
  constructor(maxPinnedMs: number = Number.POSITIVE_INFINITY) {
    this.#maxPinnedMs = maxPinnedMs
  }

  now(): number {
    return Date.now()
  }

  mono(): number {
    return performance.now()
  }

  after(ms: number, run: () => void): Timer {
    if (ms > this.#maxPinnedMs) {
      const timer = { dueMs: this.mono() + ms, run }
      this.#deferred.add(timer)
      return { cancel: () => this.#deferred.delete(timer) }
    }
    const id = setTimeout(run, ms)
    return { cancel: () => clearTimeout(id) }
  }

  /** A microtask, so that all output of one event is sent as one message at its end. */
  defer(run: () => void): void {
    queueMicrotask(run)
  }

  /** Runs the deferred timers that are due; a Durable Object calls it at every event and alarm. */
  runDueTimers(): void {
    if (this.#deferred.size === 0) return
    const now = this.mono()
    for (const timer of this.#deferred) {
      if (timer.dueMs > now) continue
      this.#deferred.delete(timer)
      timer.run()
    }
  }

  random(): number {
    if (this.#poolUsed === POOL_WORDS) {
      crypto.getRandomValues(this.#pool)
      this.#poolUsed = 0
    }
    return this.#pool[this.#poolUsed++]! / 4_294_967_296
  }

  id(): Uint8Array {
    return crypto.getRandomValues(new Uint8Array(16))
  }
}

/** One JSON line per message, the format that Workers Logs index. */
export class WorkerLog implements Log {
  info(message: string, fields?: LogFields): void {
    console.log(jsonLine('info', message, fields))
  }
  warn(message: string, fields?: LogFields): void {
    console.warn(jsonLine('warn', message, fields))
  }
  error(message: string, fields?: LogFields): void {
    const error = fields?.['error']
    if (!(error instanceof Error)) return console.error(jsonLine('error', message, fields))
    console.error(jsonLine('error', message, { ...fields, error: `${error.name}: ${error.message}` }))
    // With its own line breaks: wrangler, and the platform for uploaded source maps, then name the lines of the game.
    console.error(errorText(error))
  }
}

function jsonLine(level: string, message: string, fields: LogFields | undefined): string {
  return JSON.stringify({ level, ...boundedLine(message, fields) })
}
