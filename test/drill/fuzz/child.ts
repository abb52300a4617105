// The server as the drill sees it: its figures, what it says on stderr that it should not, and how it ended.

import { fork, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'

import type { Asked, Health, Memory, ServerOrder, Told } from './server.ts'

const PROGRAM = new URL('server.ts', import.meta.url)

/** Something that must not be, and the cases that were under way when it was heard of. */
export interface Finding {
  readonly what: string
  readonly cases: readonly number[]
  count: number
}

export interface Listener {
  /** A line of the server's error log, or one that is no line of a log at all. */
  bug(what: string): void
  warning(what: string): void
  stall(ms: number, busyMs: number): void
}

export class Child {
  /** Resolves with the ports of TCP and HTTP. */
  readonly ready: Promise<{ readonly tcp: number; readonly http: number }>
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>
  health: Health | null = null
  isOver = false
  readonly #process: ChildProcess
  readonly #listener: Listener
  #heard: ((memory: Memory) => void) | null = null
  #next: (() => void) | null = null

  constructor(order: ServerOrder, listener: Listener) {
    const ready = Promise.withResolvers<{ readonly tcp: number; readonly http: number }>()
    const child = fork(PROGRAM, [JSON.stringify(order)], {
      // As `npm start` runs it.
      execArgv: ['--expose-gc', '--max-semi-space-size=2'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#process = child
    this.#listener = listener
    this.ready = ready.promise
    createInterface({ input: child.stderr! }).on('line', (line) => this.#line(line))
    child.on('message', (told: Told) => {
      if (told.what === 'ready') ready.resolve(told)
      else if (told.what === 'memory') this.#heard?.(told)
      else if (told.what === 'stall') listener.stall(told.ms, told.busyMs)
      else {
        this.health = told
        this.#next?.()
      }
    })
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.isOver = true
        this.#next?.()
        resolve(signal ?? code ?? -1)
      })
    })
    void this.ended.then((code) =>
      ready.reject(new Error(`the server ended with ${code} before it listened`)),
    )
  }

  #line(line: string): void {
    const said = parse(line)
    if (said === null) {
      // Of a stack the first line is enough.
      if (/^\S/.test(line)) this.#listener.bug(line)
      return
    }
    const { level, message, error } = said
    const first = typeof error === 'string' ? error.split('\n').slice(0, 3).join(' | ') : ''
    const what = `${String(message)}${first === '' ? '' : `: ${first}`}`
    if (level === 'error') this.#listener.bug(what)
    else this.#listener.warning(what)
  }

  /** What is left in memory when all that was is over; null = it ended. */
  settle(): Promise<Memory | null> {
    const memory = new Promise<Memory>((resolve) => (this.#heard = resolve))
    this.#ask('settle')
    return Promise.race([memory, this.ended.then(() => null)])
  }

  /** Its stalls are counted from here. */
  reset(): void {
    this.#ask('reset')
  }

  /** Resolves when it has told anew how it is, or has ended. */
  refreshed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.isOver) return resolve()
      this.#next = resolve
    })
  }

  /** Drains; resolves with its exit code or signal. */
  stop(): Promise<number | string> {
    this.#ask('stop')
    return this.ended
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }

  #ask(asked: Asked): void {
    if (this.#process.connected) this.#process.send(asked)
  }
}

function parse(line: string): Readonly<Record<string, unknown>> | null {
  try {
    const said: unknown = JSON.parse(line)
    return typeof said === 'object' && said !== null ? (said as Record<string, unknown>) : null
  } catch {
    return null
  }
}
