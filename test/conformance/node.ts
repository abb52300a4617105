// The Node host: a server process of its own on real sockets, which can be killed at any moment and comes back on
// the same ports with the same data.

import { fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../../client/index.ts'
import type { Host } from './host.ts'
import type { Order, Told } from './node-child.ts'
import { pass, tcpClient, until, webSocketClient } from './sockets.ts'

const LOCAL = '127.0.0.1'
const CHILD = new URL('node-child.ts', import.meta.url)

/** An order without its number; distributes over the kinds of orders. */
type Wish = Order extends infer One ? (One extends Order ? Omit<One, 'id'> : never) : never

class Server {
  readonly dir = mkdtempSync(join(tmpdir(), 'firefly-conformance-'))
  http = 0
  tcp = 0
  #child: ChildProcess | null = null
  /** Resolves when the process of the moment listens. */
  #ready: Promise<void>
  #closing = false
  #orders = 0
  readonly #waiting = new Map<number, () => void>()

  constructor() {
    this.#ready = this.#spawn()
  }

  get ready(): Promise<void> {
    return this.#ready
  }

  async order(wish: Wish): Promise<void> {
    await this.#ready
    const id = ++this.#orders
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, resolve)
      this.#child!.send({ ...wish, id }, (error) => error && reject(error))
    })
  }

  /** SIGKILL; resolves when its successor listens. */
  async kill(): Promise<void> {
    await this.#ready
    const gone = new Promise((resolve) => this.#child!.once('exit', resolve))
    this.#child!.kill('SIGKILL')
    await gone
    await this.#ready
  }

  async close(): Promise<void> {
    this.#closing = true
    const child = this.#child!
    if (child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
    }
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** Whoever dies, by our hand or by its own commit, is followed by the next. */
  #spawn(): Promise<void> {
    const args = [this.dir, String(this.http), String(this.tcp)]
    const child = fork(CHILD, args, {
      execPath: process.execPath,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#child = child
    return new Promise((resolve, reject) => {
      child.on('message', (told: Told) => {
        if ('done' in told) {
          this.#waiting.get(told.done)?.()
          this.#waiting.delete(told.done)
          return
        }
        this.http = told.http
        this.tcp = told.tcp
        resolve()
      })
      child.on('exit', (code, signal) => {
        if (this.#closing) return
        if (signal !== 'SIGKILL') return reject(new Error(`the server process ended with ${code ?? signal}`))
        this.#ready = this.#spawn()
      })
    })
  }
}

export async function nodeHost(): Promise<Host> {
  const server = new Server()
  await server.ready
  const url = `ws://${LOCAL}:${server.http}/ws`
  return {
    name: 'node',
    cannot: {},
    raw: (kind = 'stream') => (kind === 'stream' ? tcpClient(LOCAL, server.tcp) : webSocketClient(url)),
    client: () => connect(url),
    until,
    pass,
    evict: (contract, key) => server.order({ what: 'evict', contract, key }),
    abort: (contract, key) => server.order({ what: 'abort', contract, key }),
    kill: () => server.kill(),
    faults: {
      next: (...kinds) => server.order({ what: 'next', kinds }),
      hold: async () => {
        await server.order({ what: 'hold' })
        return () => server.order({ what: 'release' })
      },
    },
    close: () => server.close(),
  }
}
