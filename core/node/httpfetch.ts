// fetch for PlanetScale's HTTP API on Node, with connections of its own. Invariant: connections that a firewall or proxy
// has silently dropped are found together: a request without an answer gives up every idle connection. The global fetch
// keeps them, so each would cost a deadline of its own.

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

/** Below the idle timeouts of usual proxies (AWS NLB: 350 s). A server may ask for less. */
const MAX_IDLE_MS = 60_000

interface Agents {
  readonly http: HttpAgent
  readonly https: HttpsAgent
}

/** Sends a body of text, and reads the answer before it resolves. Follows no redirect. */
export function pooledFetch(): typeof fetch {
  let agents = createAgents()
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input)
    const used = agents
    try {
      return await send(url, init, used)
    } catch (error) {
      if (agents === used) agents = createAgents()
      giveUpIdle(used)
      throw init.signal?.aborted ? init.signal.reason : new TypeError('fetch failed', { cause: error })
    }
  }
}

async function send(url: URL, { method = 'GET', headers, body, signal }: RequestInit, agents: Agents) {
  const isTls = url.protocol === 'https:'
  const options = {
    method,
    headers: { ...Object.fromEntries(new Headers(headers)), 'accept-encoding': 'gzip' },
    agent: isTls ? agents.https : agents.http,
    ...(signal && { signal }),
  }
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = isTls ? httpsRequest(url, options) : httpRequest(url, options)
    request.once('response', resolve).once('error', reject)
    request.end(typeof body === 'string' ? body : undefined)
  })
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  const { statusCode = 502, statusMessage = '' } = response
  const isGzip = response.headers['content-encoding'] === 'gzip'
  const text = (isGzip ? await promisify(gunzip)(bytes) : bytes).toString()
  // A response with one of these statuses must have no body.
  const isEmpty = statusCode === 204 || statusCode === 304
  return new Response(isEmpty ? null : text, { status: statusCode, statusText: statusMessage })
}

function createAgents(): Agents {
  const options = { keepAlive: true, timeout: MAX_IDLE_MS }
  return { http: new HttpAgent(options), https: new HttpsAgent(options) }
}

/** Requests in progress continue; their connections are closed after the answer. */
function giveUpIdle({ http, https }: Agents): void {
  for (const agent of [http, https]) {
    agent.maxFreeSockets = 0
    for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
  }
}
