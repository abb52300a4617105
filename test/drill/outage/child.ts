// A server of the drill, as the drill sees it.

import { fork, type ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'

import type { Health, ServerOrder, Told } from './server.ts'

const PROGRAM = new URL('server.ts', import.meta.url)
export const NOTHING: Health = { rssBytes: 0, outbox: 0, retryLaters: 0 }

export class Child {
  /** Resolves with the port for TCP. */
  readonly ready: Promise<number>
  /** Its exit code; null = a signal. */
  readonly ended: Promise<number | null>
  /** As it was a moment ago. */
  health = NOTHING
  /** The most of each since `reset`. */
  peak = NOTHING
  readonly #process: ChildProcess
  #heard: ((bytes: number) => void) | null = null

  constructor(order: ServerOrder, log: string) {
    const ready = Promise.withResolvers<number>()
    const file = openSync(log, 'a')
    const child = fork(PROGRAM, [JSON.stringify(order)], {
      // As `npm start` runs it.
      execArgv: ['--expose-gc', '--max-semi-space-size=2'],
      stdio: ['ignore', file, file, 'ipc'],
    })
    closeSync(file)
    this.#process = child
    this.ready = ready.promise
    child.on('message', (told: Told) => {
      if (told.what === 'ready') ready.resolve(told.tcp)
      else if (told.what === 'heap') this.#heard?.(told.bytes)
      else this.#feel(told)
    })
    this.ended = new Promise((resolve) => {
      child.once('close', (code) => resolve(code))
    })
    void this.ended.then(() => ready.reject(new Error(`the server ended, see ${log}`)))
  }

  #feel({ rssBytes, outbox, retryLaters }: Health): void {
    this.health = { rssBytes, outbox, retryLaters }
    this.peak = {
      rssBytes: Math.max(rssBytes, this.peak.rssBytes),
      outbox: Math.max(outbox, this.peak.outbox),
      retryLaters,
    }
  }

  reset(): void {
    this.peak = this.health
  }

  /** Bytes of its heap and its buffers without garbage. */
  heap(): Promise<number> {
    return new Promise((resolve) => {
      this.#heard = resolve
      this.#process.send('heap')
    })
  }

  /** Drains. */
  stop(): void {
    this.#process.kill('SIGTERM')
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}
