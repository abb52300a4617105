// A server as the drill sees it: a process that it starts, kills, and waits for. One at a time: the next one has the
// ports and the folder of the last.

import { fork, type ChildProcess } from 'node:child_process'
import { openSync, closeSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Random } from '../../support/random.ts'
import type { PackedBatch, ServerOrder, Told } from './points.ts'

/** How a server ended. */
export interface End {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

const PROGRAM = new URL('server.ts', import.meta.url)
/** Node's own place for it: half of the time until a server listens was the compiler's. */
const CACHE = join(tmpdir(), 'node-compile-cache')
/** Below the ports that the kernel gives to outgoing connections: a client that dials in vain must not take one. */
const FIRST_PORT = 16_000
const PORTS = 16_000
const TRIES = 100

export class Child {
  /** Resolves when it listens; never, if it ends before. */
  readonly ready: Promise<void>
  /** Resolves when it has dropped the answer of a COMMIT. */
  readonly dropped: Promise<void>
  readonly ended: Promise<End>
  readonly #process: ChildProcess

  constructor(order: ServerOrder, log: string, onZombie: (batch: PackedBatch) => void) {
    const ready = Promise.withResolvers<void>()
    const dropped = Promise.withResolvers<void>()
    this.ready = ready.promise
    this.dropped = dropped.promise
    const file = openSync(log, 'a')
    const child = fork(PROGRAM, [JSON.stringify(order)], {
      serialization: 'advanced',
      env: { ...process.env, NODE_COMPILE_CACHE: CACHE },
      stdio: ['ignore', file, file, 'ipc'],
    })
    closeSync(file)
    this.#process = child
    child.on('message', (told: Told) => {
      if (told.what === 'zombie') onZombie(told.batch)
      else if (told.what === 'ready') ready.resolve()
      else dropped.resolve()
    })
    // What it told last is heard before 'close'.
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => resolve({ code, signal }))
    })
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#process.kill(signal)
  }
}

/** Free ones, not given out twice by this process. */
export class Ports {
  readonly #random: Random
  readonly #given = new Set<number>()

  constructor(random: Random) {
    this.#random = random
  }

  async free(): Promise<number> {
    for (let i = 0; i < TRIES; i++) {
      const port = FIRST_PORT + this.#random.below(PORTS)
      if (this.#given.has(port) || !(await isFree(port))) continue
      this.#given.add(port)
      return port
    }
    throw new Error(`no free port among ${TRIES}`)
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
