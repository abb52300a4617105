// A local PlanetScale: the HTTP API that @planetscale/database uses, in front of any MySQL or MariaDB.
// This is not Vitess and contains no Vitess parser. Protocol, sessions, limits and error texts follow PlanetScale as far
// as they are known; a statement that passes here may still be refused there (vitessrules.ts).

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Backend, EndpointError } from './backend.ts'
import { Faults } from './faults.ts'
import { DEFAULT_ENDPOINT_LIMITS, type EndpointLimits } from './limits.ts'
import { EndpointSessions } from './session.ts'

export interface EndpointOptions {
  /** `mysql://user:password@host:port/database` */
  readonly mysql: string
  readonly host?: string
  /** 0 picks a free one. */
  readonly port?: number
  readonly user?: string
  /** Default: a random one, included in `url`. */
  readonly password?: string
  readonly limits?: Partial<EndpointLimits>
}

export interface Endpoint {
  /** For planetscaleClient, or DATABASE_URL. */
  readonly url: string
  readonly port: number
  readonly faults: Faults
  close(): Promise<void>
}

/** Longer than any client reuses a connection, so that no request arrives while the server closes it. */
const KEEP_ALIVE_MS = 75_000
const SERVICE = '/psdb.v1alpha1.Database/'

/** @throws EndpointError when MySQL cannot be used, the error of listen() when the port cannot */
export async function startPlanetscale(options: EndpointOptions): Promise<Endpoint> {
  const { host = '127.0.0.1', port = 0, user = 'firefly' } = options
  const password = options.password ?? `pscale_pw_${randomBytes(24).toString('base64url')}`
  if (!/^[!-9;-~]+$/.test(user) || !/^[!-~]+$/.test(password)) {
    throw new EndpointError('user and password must be printable ASCII without spaces, and the user without a colon')
  }
  const limits = { ...DEFAULT_ENDPOINT_LIMITS, ...options.limits }
  const backend = await Backend.open(options.mysql, limits)
  const sessions = new EndpointSessions(backend, limits, user)
  const faults = new Faults()
  const closing = new AbortController()
  const expected = digest(`Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`)

  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      if (error instanceof HttpError) respondError(response, error)
      else response.destroy()
    })
  })
  server.maxConnections = limits.clients
  server.keepAliveTimeout = KEEP_ALIVE_MS

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (faults.isUnavailable) return respondText(response, 503, 'upstream connect error')
    const { method, headers, url = '' } = request
    if (method !== 'POST' || !url.startsWith(SERVICE)) throw new HttpError(404, 'NOT_FOUND', 'no such method')
    if (!timingSafeEqual(digest(headers.authorization ?? ''), expected)) {
      throw new HttpError(401, 'UNAUTHENTICATED', 'invalid username or password')
    }
    const body = await bodyOf(request, limits.bodyBytes)
    const name = url.slice(SERVICE.length)
    if (name === 'CreateSession') return respondJson(response, { session: sessions.create() })
    if (name !== 'Execute') throw new HttpError(404, 'UNIMPLEMENTED', `no method ${name}`)
    const { query, session } = requestOf(body)
    const answer = await sessions.execute(query, session)
    const fault = faults.next(query)
    if (faults.delayMs > 0) await sleep(faults.delayMs, undefined, { signal: closing.signal })
    if (fault === 'drop') response.destroy()
    else if (fault === 'garbage') respondText(response, 200, '<html>It works!</html>')
    else respondJson(response, answer)
  }

  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, resolve)
    })
  } catch (error) {
    await backend.close()
    throw error
  }
  const address = server.address() as AddressInfo
  const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`
  const at = host.includes(':') ? `[${host}]` : host
  return {
    url: `http://${login}@${at}:${address.port}/${encodeURIComponent(backend.keyspace)}`,
    port: address.port,
    faults,
    async close() {
      closing.abort()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      sessions.close()
      await backend.close()
      await closed
    },
  }
}

class HttpError extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** A fixed length, so that the comparison does not leak the length of the secret. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** The rest of a body above the limit is read and dropped, up to a bound: a client reads the answer after sending. */
async function bodyOf(request: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= maxBytes) chunks.push(chunk)
    else if (bytes > 2 * maxBytes) break
  }
  if (bytes > maxBytes) throw new HttpError(413, 'RESOURCE_EXHAUSTED', `the request exceeds ${maxBytes} bytes`)
  return Buffer.concat(chunks).toString()
}

function requestOf(body: string): { readonly query: string; readonly session: unknown } {
  let request: { query?: unknown; session?: unknown } | null
  try {
    request = JSON.parse(body) as typeof request
  } catch {
    throw new HttpError(400, 'INVALID_ARGUMENT', 'the request is not JSON')
  }
  const query = request?.query
  if (typeof query !== 'string') throw new HttpError(400, 'INVALID_ARGUMENT', 'the request has no query')
  return { query, session: request?.session }
}

function respondJson(response: ServerResponse, body: unknown): void {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(body))
}

function respondText(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status
  response.setHeader('content-type', 'text/html')
  response.end(text)
}

/** Closes the connection, because the request body may not have been read completely. */
function respondError(response: ServerResponse, { status, code, message }: HttpError): void {
  response.statusCode = status
  response.setHeader('connection', 'close')
  if (status === 401) response.setHeader('www-authenticate', 'Basic realm="planetscale"')
  respondJson(response, { error: { code, message } })
}
