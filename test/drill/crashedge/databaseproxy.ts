// A proxy between the objects and their database. It can inject one fault at a given moment of an object's
// transaction; all other requests pass unchanged. Invariant: the request that triggers the fault still reaches the
// database, as a request that has left a Worker does; 'in-takeover' alone drops it.

import { createServer, request as sendRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * in-flush: after the fence statement. in-takeover: before its COMMIT. In both the transaction stays open and holds its
 * locks until the database ends it. flush-answer, takeover-answer: its COMMIT is executed and not answered. late-commit: its
 * COMMIT reaches the database some time after the object died.
 */
export const PROXY_POINTS = ['in-flush', 'flush-answer', 'late-commit', 'in-takeover', 'takeover-answer'] as const
export type ProxyPoint = (typeof PROXY_POINTS)[number]

export interface InterceptOptions {
  readonly point: ProxyPoint
  /** The owner in `firefly_owner` whose transaction is intercepted. */
  readonly owner: string
  /** Delay of a late COMMIT. */
  readonly lateMs: number
  readonly inject: () => Promise<void>
}

interface Interception extends InterceptOptions {
  readonly done: () => void
}
/** A transaction in progress. */
interface OpenTransaction {
  readonly owner: string
  readonly isFlush: boolean
}

const FENCE = /^UPDATE firefly_owner SET applied_seq = .* WHERE owner = '([^']+)'/
const TAKEOVER = /^UPDATE firefly_owner SET epoch = .* WHERE owner = '([^']+)'/

export class DatabaseProxy {
  readonly #endpoint: URL
  readonly #server: Server
  /** By database session. */
  readonly #transactions = new Map<string, OpenTransaction>()
  #interception: Interception | null = null

  /** @param endpoint the DATABASE_URL of the database */
  static async open(endpoint: string): Promise<DatabaseProxy> {
    const proxy = new DatabaseProxy(endpoint)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  private constructor(endpoint: string) {
    this.#endpoint = new URL(endpoint)
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy())
    })
  }

  /** The DATABASE_URL of this proxy. */
  get url(): string {
    const url = new URL(this.#endpoint)
    url.port = String((this.#server.address() as AddressInfo).port)
    return url.href
  }

  /** Resolves when the owner reached the point and `inject` is done. One interception at a time. */
  intercept(options: InterceptOptions): Promise<void> {
    return new Promise((resolve) => {
      this.#interception = { ...options, done: resolve }
    })
  }

  cancel(): void {
    this.#interception = null
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readAll(request)
    const interception = this.#take(body)
    const isEarly = interception?.point === 'late-commit' || interception?.point === 'in-takeover'
    if (interception && isEarly) await inject(interception)
    if (interception?.point === 'in-takeover') return void response.destroy()
    if (interception?.point === 'late-commit') await sleep(interception.lateMs)
    const answer = await this.#forward(request, body)
    if (interception && !isEarly) await inject(interception)
    response.writeHead(answer.status, { 'content-type': answer.type })
    response.end(answer.body)
  }

  /** Returns the interception, once, when this request is its point. */
  #take(body: Buffer): Interception | null {
    const { query = '', session } = JSON.parse(body.toString()) as {
      query?: string
      session?: { vitessSession?: { SessionUUID?: string } } | null
    }
    const id = session?.vitessSession?.SessionUUID ?? ''
    const fenced = FENCE.exec(query)?.[1]
    const owner = fenced ?? TAKEOVER.exec(query)?.[1]
    if (owner !== undefined) this.#transactions.set(id, { owner, isFlush: fenced !== undefined })
    const transaction = this.#transactions.get(id)
    if (query === 'COMMIT' || query === 'ROLLBACK') this.#transactions.delete(id)
    const interception = this.#interception
    if (interception === null || transaction?.owner !== interception.owner) return null
    const { point } = interception
    const isReached =
      point === 'in-flush'
        ? fenced !== undefined
        : query === 'COMMIT' && transaction.isFlush === !point.includes('takeover')
    if (!isReached) return null
    this.#interception = null
    return interception
  }

  #forward(
    { method, url, headers }: IncomingMessage,
    body: Buffer,
  ): Promise<{ status: number; type: string; body: Buffer }> {
    const { hostname, port } = this.#endpoint
    return new Promise((resolve, reject) => {
      const request = sendRequest({ hostname, port, method, path: url, headers }, (answer) => {
        readAll(answer).then((content) => {
          const type = answer.headers['content-type'] ?? ''
          resolve({ status: answer.statusCode ?? 502, type, body: content })
        }, reject)
      })
      request.on('error', reject)
      request.end(body)
    })
  }
}

async function inject({ inject: run, done }: Interception): Promise<void> {
  await run()
  done()
}

async function readAll(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}
