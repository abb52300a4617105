// A file descriptor for lines of text, written without ever blocking the event loop: a reader that has stopped, a full
// disk or a closed pipe delays and then drops lines, and nothing else. Invariants: the buffer is bounded; a line is
// written before the call returns if the descriptor is not a regular file and takes it; dropped lines are counted, and
// reported in their place once writing works again.

import { write, writeSync } from 'node:fs'

/** Lines that wait for the reader. */
const MAX_BUFFERED_BYTES = 1_048_576
/** One line: more than a log line with all its fields, and enough for a row that a game prints. */
const MAX_LINE_CHARACTERS = 65_536
/** Of one write: the capacity of a pipe. */
const BATCH_BYTES = 65_536
/** A reader that is only slower than we are gets the next lines almost at once; one that is gone costs nothing. */
const MIN_RETRY_MS = 1
const MAX_RETRY_MS = 250
/** Between two attempts at exit. */
const EXIT_RETRY_MS = 5

/** How a descriptor is written. */
export interface OutputMode {
  /** A write can block, so that a thread of the pool does it. Not for a pipe: a blocked thread delays the exit. */
  readonly inThread?: boolean
  /** Runs before a write outside of a thread. */
  readonly beforeWrite?: () => void
}

export class BufferedOutput {
  readonly #fd: number
  readonly #mode: OutputMode
  readonly #queue: Buffer[] = []
  #queuedBytes = 0
  #inFlightBytes = 0
  #retryMs = MIN_RETRY_MS
  #retryTimer: NodeJS.Timeout | null = null
  /** From the first dropped line until half of the buffer is free. */
  #isDropping = false
  #unreported = 0
  #dropped = 0

  constructor(fd: number, mode: OutputMode = {}) {
    this.#fd = fd
    this.#mode = mode
  }

  /** Lines dropped since the start. */
  get dropped(): number {
    return this.#dropped
  }

  /** Never throws, never blocks. A line that is too long is cut. */
  write(line: string | Uint8Array): void {
    const bytes = typeof line === 'string' ? Buffer.from(cutLine(line)) : Buffer.from(line)
    if (this.#isDropping || this.#queuedBytes + this.#inFlightBytes + bytes.length > MAX_BUFFERED_BYTES) {
      this.#isDropping = true
      this.#unreported++
      this.#dropped++
      return
    }
    this.#enqueue(bytes)
    if (this.#retryTimer === null && this.#inFlightBytes === 0) this.#writeNext()
  }

  /** Writes what is buffered before the process exits, for at most `ms`. Blocks. */
  flushAtExit(ms: number): void {
    if (this.#retryTimer) clearTimeout(this.#retryTimer)
    const pause = new Int32Array(new SharedArrayBuffer(4))
    for (const endMs = performance.now() + ms; this.#queue.length > 0 && performance.now() < endMs;) {
      const batch = this.#takeBatch()
      try {
        this.#onWritten(batch, this.#writeNow(batch))
      } catch (error) {
        this.#putBack(batch)
        if (!isTemporary(error)) return
        Atomics.wait(pause, 0, 0, EXIT_RETRY_MS)
      }
    }
  }

  #writeNow(batch: Buffer): number {
    this.#mode.beforeWrite?.()
    return writeSync(this.#fd, batch)
  }

  #writeNext(): void {
    while (this.#queue.length > 0) {
      const batch = this.#takeBatch()
      if (this.#mode.inThread) return this.#writeInThread(batch)
      try {
        this.#onWritten(batch, this.#writeNow(batch))
      } catch (error) {
        return this.#onFailed(batch, error)
      }
    }
  }

  /** At most one write at a time: a thread that a dead file system holds is not available to anything else. */
  #writeInThread(batch: Buffer): void {
    this.#inFlightBytes = batch.length
    write(this.#fd, batch, (error, written) => {
      this.#inFlightBytes = 0
      if (error) return this.#onFailed(batch, error)
      this.#onWritten(batch, written)
      this.#writeNext()
    })
  }

  #onWritten(batch: Buffer, written: number): void {
    this.#retryMs = MIN_RETRY_MS
    if (written < batch.length) this.#putBack(batch.subarray(written))
    if (!this.#isDropping || this.#queuedBytes > MAX_BUFFERED_BYTES / 2) return
    this.#isDropping = false
    this.#enqueue(Buffer.from(dropReport(this.#unreported)))
    this.#unreported = 0
  }

  /** Every error may pass: a disk gets space again, a FIFO another reader. */
  #onFailed(batch: Buffer, error: unknown): void {
    this.#putBack(batch)
    if (!isTemporary(error)) this.#retryMs = MAX_RETRY_MS
    const retry = (): void => {
      this.#retryTimer = null
      this.#writeNext()
    }
    this.#retryTimer = setTimeout(retry, this.#retryMs).unref()
    this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2)
  }

  #enqueue(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
  }

  #takeBatch(): Buffer {
    let count = 0
    let bytes = 0
    while (count < this.#queue.length && (count === 0 || bytes + this.#queue[count]!.length <= BATCH_BYTES))
      bytes += this.#queue[count++]!.length
    this.#queuedBytes -= bytes
    const lines = this.#queue.splice(0, count)
    return count === 1 ? lines[0]! : Buffer.concat(lines, bytes)
  }

  #putBack(bytes: Buffer): void {
    this.#queue.unshift(bytes)
    this.#queuedBytes += bytes.length
  }
}

function isTemporary(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EAGAIN'
}

function cutLine(line: string): string {
  if (line.length <= MAX_LINE_CHARACTERS) return line
  return `${line.slice(0, MAX_LINE_CHARACTERS)}… (${line.length - MAX_LINE_CHARACTERS} more characters)\n`
}

function dropReport(lines: number): string {
  const time = new Date().toISOString()
  const message = 'lines were dropped here, because the output did not take them in time'
  return `${JSON.stringify({ level: 'warn', time, pid: process.pid, message, lines })}\n`
}
