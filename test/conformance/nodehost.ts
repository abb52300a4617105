// The Node host: a separate server process on real sockets. Invariant: when the process ends, the next one listens on
// the same ports with the same data.

import { fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../../client/index.ts'
import type { Host } from './host.ts'
import type { ServerCommand, ServerReply } from './nodeserver.ts'
import { sleepRealTime, tcpClient, waitUntil, webSocketClient } from '../support/sockets.ts'

const LOCAL = '127.0.0.1'
const CHILD = new URL('nodeserver.ts', import.meta.url)

/** A command without its id; distributes over the kinds of commands. */
type CommandBody = ServerCommand extends infer One ? (One extends ServerCommand ? Omit<One, 'id'> : never) : never

class ServerProcess {
  readonly dir = mkdtempSync(join(tmpdir(), 'firefly-conformance-'))
  http = 0
  tcp = 0
  #child: ChildProcess | null = null
  /** Resolves when the current process listens. */
  #ready: Promise<void>
  #isClosing = false
  #lastCommandId = 0
  readonly #pending = new Map<number, () => void>()

  constructor() {
    this.#ready = this.#spawn()
  }

  get ready(): Promise<void> {
    return this.#ready
  }

  async request(command: CommandBody): Promise<void> {
    await this.#ready
    const id = ++this.#lastCommandId
    return new Promise((resolve, reject) => {
      this.#pending.set(id, resolve)
      this.#child!.send({ ...command, id }, (error) => error && reject(error))
    })
  }

  /** SIGKILL; resolves when the next process listens. */
  async kill(): Promise<void> {
    await this.#ready
    const exited = new Promise((resolve) => this.#child!.once('exit', resolve))
    this.#child!.kill('SIGKILL')
    await exited
    await this.#ready
  }

  async stop(): Promise<void> {
    this.#isClosing = true
    const child = this.#child!
    if (child.exitCode === null && child.signalCode === null) {
      const exited = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await exited
    }
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** A process that SIGKILL ends, sent by the suite or by its own commit, is replaced by the next one. */
  #spawn(): Promise<void> {
    const args = [this.dir, String(this.http), String(this.tcp)]
    const child = fork(CHILD, args, {
      execPath: process.execPath,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#child = child
    return new Promise((resolve, reject) => {
      child.on('message', (reply: ServerReply) => {
        if ('done' in reply) {
          this.#pending.get(reply.done)?.()
          this.#pending.delete(reply.done)
          return
        }
        this.http = reply.http
        this.tcp = reply.tcp
        resolve()
      })
      child.on('exit', (code, signal) => {
        if (this.#isClosing) return
        if (signal !== 'SIGKILL') return reject(new Error(`the server process ended with ${code ?? signal}`))
        this.#ready = this.#spawn()
      })
    })
  }
}

export async function nodeHost(): Promise<Host> {
  const server = new ServerProcess()
  await server.ready
  const url = `ws://${LOCAL}:${server.http}/ws`
  return {
    name: 'node',
    clientAddress: LOCAL,
    cannot: {},
    rawClient: (kind = 'stream') => (kind === 'stream' ? tcpClient(LOCAL, server.tcp) : webSocketClient(url)),
    sdkClient: () => connect(url),
    waitUntil,
    sleep: sleepRealTime,
    evictShard: (contract, key) => server.request({ what: 'evict', contract, key }),
    idleShard: (contract, key) => server.request({ what: 'evict', contract, key }),
    idleMs: 0,
    abortShard: (contract, key) => server.request({ what: 'abort', contract, key }),
    killProcess: () => server.kill(),
    faults: {
      injectNext: (...faults) => server.request({ what: 'injectNext', faults }),
      holdCommits: async () => {
        await server.request({ what: 'holdCommits' })
        return () => server.request({ what: 'releaseCommits' })
      },
    },
    close: () => server.stop(),
  }
}
