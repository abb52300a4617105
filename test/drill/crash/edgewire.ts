// What lies between the objects and their database: every request passes here, so that an object can be struck at one
// moment of its own transaction. Untouched otherwise. Invariant: what a struck object asked for still reaches the
// database, as what has left a Worker does, but for the one point that says otherwise.

import {
  createServer,
  request as ask,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * in-flush: behind its fence; in-takeover: before its COMMIT. There the transaction stays open, and what it has locked
 * stays locked, until the database ends it. flush-answer, takeover-answer: its COMMIT was done and not answered.
 * late-commit: its COMMIT arrives some time after its death.
 */
export const WIRE_POINTS = [
  'in-flush',
  'flush-answer',
  'late-commit',
  'in-takeover',
  'takeover-answer',
] as const
export type WirePoint = (typeof WIRE_POINTS)[number]

interface Trap {
  readonly point: WirePoint
  readonly owner: string
  readonly lateMs: number
  readonly strike: () => Promise<void>
  readonly sprung: () => void
}
/** Of the transactions that run, by session: whose, and which statement told. */
interface Transaction {
  readonly owner: string
  readonly isFlush: boolean
}
interface Asked {
  readonly query: string
  readonly session: string
}

const FENCE = /^UPDATE firefly_owner SET applied_seq = .* WHERE owner = '([^']+)'/
const TAKE = /^UPDATE firefly_owner SET epoch = .* WHERE owner = '([^']+)'/

export class Wire {
  readonly #endpoint: URL
  readonly #server: Server
  readonly #transactions = new Map<string, Transaction>()
  #trap: Trap | null = null

  /** @param endpoint its url, as for DATABASE_URL */
  static async open(endpoint: string): Promise<Wire> {
    const wire = new Wire(endpoint)
    await new Promise<void>((resolve) => wire.#server.listen(0, '127.0.0.1', resolve))
    return wire
  }

  private constructor(endpoint: string) {
    this.#endpoint = new URL(endpoint)
    this.#server = createServer((request, response) => {
      this.#pass(request, response).catch(() => response.destroy())
    })
  }

  /** The same, but through here. */
  get url(): string {
    const url = new URL(this.#endpoint)
    url.port = String((this.#server.address() as AddressInfo).port)
    return url.href
  }

  /** Resolves when the owner came to the point and `strike` is done. One at a time. */
  trap(point: WirePoint, owner: string, lateMs: number, strike: () => Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      this.#trap = { point, owner, lateMs, strike, sprung: resolve }
    })
  }

  release(): void {
    this.#trap = null
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const trap = this.#springs(askedIn(body))
    const isEarly = trap?.point === 'late-commit' || trap?.point === 'in-takeover'
    if (trap && isEarly) await this.#strike(trap)
    if (trap?.point === 'in-takeover') return void response.destroy()
    if (trap?.point === 'late-commit') await sleep(trap.lateMs)
    const answer = await this.#forward(request, body)
    if (trap && !isEarly) await this.#strike(trap)
    response.writeHead(answer.status, { 'content-type': answer.type })
    response.end(answer.body)
  }

  async #strike({ strike, sprung }: Trap): Promise<void> {
    await strike()
    sprung()
  }

  /** The trap, if this request is what it waits for. */
  #springs({ query, session }: Asked): Trap | null {
    const fence = FENCE.exec(query)?.[1]
    const take = TAKE.exec(query)?.[1]
    const told = fence ?? take
    if (told !== undefined) this.#transactions.set(session, { owner: told, isFlush: fence !== undefined })
    const transaction = this.#transactions.get(session)
    const ends = query === 'COMMIT' || query === 'ROLLBACK'
    if (ends) this.#transactions.delete(session)
    const trap = this.#trap
    if (trap === null || transaction?.owner !== trap.owner) return null
    const { point } = trap
    const comes =
      point === 'in-flush'
        ? fence !== undefined
        : query === 'COMMIT' && transaction.isFlush === !point.includes('takeover')
    if (!comes) return null
    this.#trap = null
    return trap
  }

  #forward(
    { method, url, headers }: IncomingMessage,
    body: Buffer,
  ): Promise<{ status: number; type: string; body: Buffer }> {
    const { hostname, port } = this.#endpoint
    return new Promise((resolve, reject) => {
      const sent = ask({ hostname, port, method, path: url, headers }, (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('error', reject)
        answer.on('end', () => {
          const type = answer.headers['content-type'] ?? ''
          resolve({ status: answer.statusCode ?? 502, type, body: Buffer.concat(chunks) })
        })
      })
      sent.on('error', reject)
      sent.end(body)
    })
  }
}

function askedIn(body: Buffer): Asked {
  const { query = '', session } = JSON.parse(body.toString()) as {
    query?: string
    session?: { vitessSession?: { SessionUUID?: string } } | null
  }
  return { query, session: session?.vitessSession?.SessionUUID ?? '' }
}
