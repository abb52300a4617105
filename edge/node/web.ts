// The HTTP server of the Node host: page, health, metrics, and the upgrade to a WebSocket. Invariant: every request has a
// deadline and a maximum size, and no request ends the process.

import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import { Hono, type Context } from 'hono'
import { getPath } from 'hono/utils/url'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { App } from '../../core/node/app.ts'
import type { Host } from '../../core/node/host.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { httpOptionsOf, limitResponses, MAX_HEADER_BYTES } from './httplimits.ts'
import { answerAndClose, rejectUpgrade, webSocketUpgrade } from './transport.ts'
import { UNTRUSTED_PROXY, type ListenerRejections, type PendingSockets } from './pendingsockets.ts'
import type { NetworkFilter } from '../gateway/address.ts'
import { forwardedClient, ForwardedError, type ForwardedHeaders } from '../gateway/forwarded.ts'
import { hasProxySignature } from '../gateway/proxyheader.ts'
import type { WebPaths } from '../gateway/webpaths.ts'
import type { OriginFilter } from '../gateway/origin.ts'
import type { Certificate } from './tls.ts'

export interface WebOptions {
  readonly host: Host
  readonly gateway: Gateway
  /** Answers `/metrics`; null = it is on a port of its own. */
  readonly answerMetrics: ((c: Context) => Promise<Response>) | null
  readonly page: App['page']
  readonly pendingSockets: PendingSockets
  readonly rejections: ListenerRejections
  readonly isOriginAllowed: OriginFilter
  readonly paths: WebPaths
  /** Addresses of proxies, whose headers name the client. */
  readonly isTrusted: NetworkFilter
  /** null = no TLS. */
  readonly certificate: Certificate | null
}

export type WebServer = Server | TlsServer

/** Returns the HTTP server, over TLS when there is a certificate; it does not listen yet. */
export function webServer(options: WebOptions): WebServer {
  const { certificate, gateway, pendingSockets, rejections } = options
  const server = createHttpServer(options)
  pendingSockets.watchServer(server, certificate !== null)
  limitResponses(server, gateway.times)
  const upgrade = webSocketUpgrade(gateway, pendingSockets, rejections)
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    // URL would throw for `//`.
    const [path] = (request.url ?? '').split('?', 1)
    if (hasMultipleHosts(request)) {
      rejections.count('upgrade')
      rejectUpgrade(socket, 400, MULTIPLE_HOSTS)
    } else if (!options.paths.isWebSocket(path!)) {
      rejections.count('upgrade')
      rejectUpgrade(socket, 404, 'the WebSocket is at another path')
    } else if (!options.isOriginAllowed(request.headers.origin ?? null)) {
      rejections.count('origin')
      rejectUpgrade(socket, 403, 'this origin may not open a WebSocket')
    } else {
      const { address } = pendingSockets.pendingPeerOf(request.socket)
      try {
        upgrade(request, socket, head, forwardedClient(address, forwardedHeadersOf(request), options.isTrusted))
      } catch (error) {
        if (!(error instanceof ForwardedError)) throw error
        rejections.countAndLog('forwarded', error.message, address)
        rejectUpgrade(socket, 400, error.message)
      }
    }
  })
  const responses = new WeakMap<Socket, Writable>()
  server.on('request', ({ socket }, response: Writable) => {
    responses.set(socket, response)
    response.once('close', () => responses.delete(socket))
  })
  server.on('clientError', (error: ClientError, socket: Socket) =>
    onClientError(error, socket, responses.get(socket), rejections),
  )
  return server
}

/** `rawPacket`: the bytes that the parser rejects. */
type ClientError = NodeJS.ErrnoException & { readonly rawPacket?: Uint8Array }

/** Answers what Node's parser rejects. TLS errors and resets arrive here too: they are counted elsewhere, or not. */
function onClientError(
  error: ClientError,
  socket: Socket,
  response: Writable | undefined,
  rejections: ListenerRejections,
): void {
  const code = error.code ?? ''
  const isRequest = code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT'
  if (isRequest && error.rawPacket && hasProxySignature(error.rawPacket))
    rejections.countAndLog('proxy', UNTRUSTED_PROXY, socket.remoteAddress ?? '')
  else if (isRequest) rejections.count('request')
  if (!isRequest || !socket.writable || response?.writableFinished) return void socket.destroy()
  if (response) {
    // The answer to the request before it: there is no place for another one.
    socket.pause()
    return void response.once('finish', () => socket.destroySoon())
  }
  const [status, message] = CLIENT_ERRORS[code] ?? [400, `not a valid HTTP request: ${error.message}`]
  answerAndClose(socket, status, message)
}
const CLIENT_ERRORS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, `the request line and headers exceed ${MAX_HEADER_BYTES} bytes`],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'the extensions of a chunk are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request was not complete in time'],
}

function forwardedHeadersOf({ headersDistinct }: IncomingMessage): ForwardedHeaders {
  const valueOf = (name: string): string | null => headersDistinct[name]?.join(',') ?? null
  return { xForwardedFor: valueOf('x-forwarded-for'), forwarded: valueOf('forwarded') }
}

/** RFC 9112 section 3.2: two intermediaries could each use another of the headers. */
function hasMultipleHosts({ headersDistinct }: IncomingMessage): boolean {
  return (headersDistinct['host']?.length ?? 0) > 1
}
const MULTIPLE_HOSTS = 'a request must have one Host header'

function createHttpServer(options: WebOptions): WebServer {
  const { certificate, gateway } = options
  const { fetch } = routes(options)
  const serverOptions = { ...httpOptionsOf(gateway.times), ...certificate?.credentials }
  if (!certificate) return createAdaptorServer({ fetch, createServer, serverOptions }) as Server
  const server = createAdaptorServer({ fetch, createServer: createTlsServer, serverOptions }) as TlsServer
  certificate.addServer(server)
  return server
}

type Bindings = { Bindings: HttpBindings }

function routes({ host, gateway, answerMetrics, page, rejections, paths }: WebOptions): Hono<Bindings> {
  const app = new Hono<Bindings>({ getPath: (request) => paths.localPath(getPath(request)) })
  app.use(async (c, next) => {
    if (!hasMultipleHosts(c.env.incoming)) return next()
    rejections.count('request')
    return c.text(MULTIPLE_HOSTS, 400, { connection: 'close' })
  })
  app.get('/healthz', (c) =>
    c.json({ status: 'ok', host: 'node', connections: gateway.connectionCount, shards: host.engine.shards }),
  )
  if (answerMetrics) app.get('/metrics', answerMetrics)
  for (const [path, { body, type }] of page) {
    // Encoded once: the responses of slow readers share the bytes.
    const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
    app.get(path, (c) => c.body(bytes, 200, { 'content-type': type }))
  }
  app.all('*', (c) => {
    const path = getPath(c.req.raw)
    const redirect = paths.redirectOf(path)
    if (redirect !== null) return c.redirect(redirect + new URL(c.req.url).search, 308)
    if (!paths.isWebSocket(path)) return c.notFound()
    rejections.count('upgrade')
    return c.text('expected a WebSocket', 426, { upgrade: 'websocket', connection: 'close' })
  })
  return app
}
