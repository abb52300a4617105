// Free TCP ports for servers that restart on the same port. Invariant: `next` returns a port only once.

import { createServer } from 'node:net'

import type { Random } from './random.ts'

/** Below the ports that the kernel gives to outgoing connections: a client that redials must not occupy one. */
const FIRST_PORT = 16_000
const PORTS = 16_000
const TRIES = 100

export class FreePorts {
  readonly #random: Random
  readonly #used = new Set<number>()

  /** `random`: seed it with process.pid, so that drills beside each other try different ports. */
  constructor(random: Random) {
    this.#random = random
  }

  async next(): Promise<number> {
    for (let i = 0; i < TRIES; i++) {
      const port = FIRST_PORT + this.#random.below(PORTS)
      if (this.#used.has(port) || !(await isFree(port))) continue
      this.#used.add(port)
      return port
    }
    throw new Error(`no free port in ${TRIES} tries`)
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
