// A server in a process of its own, as a drill controls it: started, questioned, stopped, killed. Its program uses
// serverprogram.ts. Invariant: the process does not outlive its parent.

import { fork, type ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'

import { DEADLINE_MS, withDeadline } from './wait.ts'

export interface ServerEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** The first message of every server. */
export interface Ready {
  readonly what: 'ready'
  readonly http: number
  readonly tcp: number
}

export interface ServerProcessOptions<Message> {
  readonly program: URL
  /** The program's only argument, as JSON. */
  readonly order: object
  /**
   * A path: the file gets both outputs, those of a process that SIGKILL ends too. A function: it gets each line.
   * 'unread': pipes from which nobody reads.
   */
  readonly log: string | ((line: string, from: 'stdout' | 'stderr') => void)
  /** Default: as `npm start`. */
  readonly execArgv?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  /** Gets every message that is neither `ready` nor the answer to a request. */
  readonly onMessage?: (message: Message) => void
}

const ANSWER_MS = 120_000
const STOP_MS = DEADLINE_MS

export class ServerProcess<Message extends { readonly what: string } = never> implements AsyncDisposable {
  /** Rejects when the process ends before. */
  readonly ready: Promise<Ready>
  /** Resolves after the last message. */
  readonly ended: Promise<ServerEnd>
  readonly #child: ChildProcess
  readonly #requests = new Map<string, PromiseWithResolvers<Message | null>>()
  #isRunning = true

  constructor({ program, order, log, execArgv, env, onMessage }: ServerProcessOptions<Message>) {
    const ready = Promise.withResolvers<Ready>()
    const isFile = typeof log === 'string' && log !== 'unread'
    const file = isFile ? openSync(log, 'a') : ('pipe' as const)
    const child = fork(program, [JSON.stringify(order)], {
      serialization: 'advanced',
      execArgv: [...(execArgv ?? ['--max-semi-space-size=2'])],
      stdio: ['ignore', file, file, 'ipc'],
      ...(env && { env }),
    })
    this.#child = child
    if (typeof file === 'number') closeSync(file)
    else if (typeof log === 'function')
      for (const from of ['stdout', 'stderr'] as const)
        createInterface({ input: child[from]! }).on('line', (line) => log(line, from))
    // A pipe with unread data would never end, and 'close' would never follow 'exit'.
    else child.once('exit', () => [child.stdout, child.stderr].forEach((pipe) => pipe?.destroy()))
    const kill = (): void => this.kill()
    process.once('exit', kill)
    child.on('message', (message: Message | Ready) => {
      if (isReady(message)) return ready.resolve(message)
      const request = this.#requests.get(message.what)
      this.#requests.delete(message.what)
      if (request) request.resolve(message)
      else onMessage?.(message)
    })
    // 'exit' may precede the last message, 'close' does not.
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        process.off('exit', kill)
        this.#isRunning = false
        const where = isFile ? `; see ${log}` : ''
        ready.reject(new Error(`the server ended with ${code ?? signal} before it listened${where}`))
        for (const { resolve: answer } of this.#requests.values()) answer(null)
        resolve({ code, signal })
      })
    })
    this.ready = ready.promise
    // A caller that waits for `ended` only must not see an unhandled rejection.
    this.ready.catch(() => {})
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#isRunning
  }

  /**
   * Sends a question; returns its answer, the next message of the same `what`, or null when the process ends before.
   * @throws Error when there is no answer after `ms`
   */
  async request<What extends Message['what']>(
    question: What,
    ms: number = ANSWER_MS,
  ): Promise<Extract<Message, { what: What }> | null> {
    if (!this.#child.connected) return null
    const answer = this.#requests.get(question) ?? Promise.withResolvers<Message | null>()
    this.#requests.set(question, answer)
    this.#child.send(question)
    // An object, because null alone is the answer of a process that ended.
    const result = await withDeadline(
      answer.promise.then((message) => ({ message })),
      ms,
    )
    if (result) return result.message as Extract<Message, { what: What }> | null
    throw new Error(`the server did not answer '${question}' within ${ms} ms`)
  }

  /** Sends SIGTERM, so that the server drains, and SIGKILL after `ms`. */
  async stop(ms: number = STOP_MS): Promise<ServerEnd> {
    const timer = setTimeout(() => this.kill(), ms)
    this.kill('SIGTERM')
    const end = await this.ended
    clearTimeout(timer)
    return end
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

function isReady(message: { readonly what: string }): message is Ready {
  return message.what === 'ready'
}
