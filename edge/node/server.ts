// The Node server: TCP, WebSocket and HTTP listeners, gateway and engine in one process. `start` resolves when all listeners
// are open; `stop` drains: no new connections, pending calls answered, snapshots saved, store closed.

import { createHmac } from 'node:crypto'
import type { AddressInfo, Server } from 'node:net'
import type { App } from '../../core/node/app.ts'
import { systemClock } from '../../core/node/clock.ts'
import { openHost, type Host, type HostOptions } from '../../core/node/host.ts'
import { loadOrCreateSecret, MIN_SECRET_CHARS } from '../../core/node/secret.ts'
import { routingTableOf, RoutingTable } from '../../core/game/routing.ts'
import type { Log } from '../../core/ports/log.ts'
import { DefinitionError } from '../../core/wire/errors.ts'
import { DEFAULT_FRAME_IDENTITY, frameIdentityBytes, type FrameIdentity } from '../../core/wire/frame.ts'
import type { CipherFactory } from '../../core/wire/cipher.ts'
import { networkFilter } from '../gateway/address.ts'
import { hasProxySignature } from '../gateway/proxyheader.ts'
import { Gateway } from '../gateway/gateway.ts'
import { listen, listenOnce } from './listeners.ts'
import { tcpServer } from './transport.ts'
import { ListenerRejections, PendingSockets } from './pendingsockets.ts'
import { createMetrics } from './metrics.ts'
import { checkMetricsToken, metricsHandler, metricsServer, type MetricsOptions } from './metricsserver.ts'
import { originFilter } from '../gateway/origin.ts'
import { WebPaths } from '../gateway/webpaths.ts'
import { Slab } from '../gateway/writebuffer.ts'
import { TicketVerifier, type TicketOptions } from '../gateway/ticket.ts'
import { Certificate, type TlsFiles } from './tls.ts'
import type { GatewayTimes } from '../gateway/context.ts'
import { webServer, type WebServer } from './web.ts'

/** Options of `start`. */
export interface ServerOptions extends HostOptions {
  /** Listening address. Default 127.0.0.1. */
  readonly host?: string
  /** HTTP and WebSocket port, 0 = any. Default 8080. */
  readonly http?: number
  /** TCP port, 0 = any. Default 11009. */
  readonly tcp?: number
  /** The six identity fields of frames. Default: zeros. */
  readonly identity?: FrameIdentity
  /** Deadlines and intervals, milliseconds. Default: TIMES. */
  readonly times?: Partial<GatewayTimes>
  /** Files of the game's page by URL path, '/' first. */
  readonly page?: App['page']
  /** Certificate and key of both listeners. Default: no TLS. */
  readonly tls?: TlsFiles
  /** Pages that may open a WebSocket, in the format of `originFilter`. Default: all. */
  readonly origins?: string
  /** Prefix of all paths that a reverse proxy leaves in place, such as `/game`. Default: none. */
  readonly basePath?: string
  /** Another path of the WebSocket, in addition to `/ws`. Default: none. */
  readonly wsPath?: string
  /** Networks of proxies, such as `10.0.0.0/8,::1`: they may name the client's address (docs/operating.md). Default: none. */
  readonly trustProxy?: string
  /** Where `/metrics` is served, and to whom. Default: with the page, to everyone. */
  readonly metrics?: MetricsOptions
  /** Keys and required claims of login tickets. Default: no tickets. */
  readonly tickets?: TicketOptions | null
  /** Signs resume tokens, at least 32 characters. Default: created once and stored in the data folder. */
  readonly secret?: string
  /** For games whose clients encrypt bodies themselves. */
  readonly cipher?: CipherFactory
}

/** A started server. */
export interface RunningServer {
  /** Where HTTP and WebSocket listen. */
  readonly http: { readonly host: string; readonly port: number }
  /** Where TCP listens. */
  readonly tcp: { readonly host: string; readonly port: number }
  /** The port of `/metrics` alone; null = it is on that of HTTP. */
  readonly metrics: { readonly host: string; readonly port: number } | null
  /** Engine and stores. */
  readonly host: Host
  /** Terminates the connections. */
  readonly gateway: Gateway
  /** What the listeners rejected before the gateway. */
  readonly refusals: ListenerRejections
  /** Both listeners use TLS. */
  readonly hasTls: boolean
  /** Reads certificate and key again for new connections. @throws TlsError, and the old ones stay in use */
  reloadTls(): void
  /** Drains and closes everything; safe to call twice. */
  stop(): Promise<void>
}

/**
 * Starts the server. Rejects, and leaves nothing open, with the listener's error (for instance EADDRINUSE), or with a
 * TlsError, OriginError, NetworkError, PathError, DefinitionError or StoreError that names the invalid option.
 */
export async function start(options: ServerOptions): Promise<RunningServer> {
  checkSecret(options.secret)
  const {
    port: metricsPort = null,
    host: metricsAddress = '127.0.0.1',
    token: metricsToken = '',
  } = options.metrics ?? {}
  checkMetricsToken(metricsToken)
  const certificate = options.tls ? new Certificate(options.tls) : null
  const isOriginAllowed = originFilter(options.origins ?? '')
  const paths = new WebPaths(options.basePath, options.wsPath)
  const isTrusted = networkFilter(options.trustProxy ?? '')
  if (options.trustProxy && hasProxySignature(frameIdentityBytes(options.identity ?? DEFAULT_FRAME_IDENTITY)))
    throw new DefinitionError(
      'trustProxy: frames with this identity begin like a PROXY header (head "PROX", version "Y")',
    )
  const tickets = options.tickets ? new TicketVerifier(options.tickets, systemClock) : null
  const host = await openHost(options)
  let gateway: Gateway
  try {
    gateway = gatewayOf(options, host, tickets)
  } catch (error) {
    await host.close()
    throw error
  }
  const rejections = new ListenerRejections(host.log)
  const { limits } = gateway
  const pendingSockets = new PendingSockets({
    limits,
    handshakeMs: gateway.times.firstFrameMs,
    rejections,
    isTrusted: options.trustProxy ? isTrusted : null,
  })
  const registry = createMetrics(host, gateway, rejections, pendingSockets)
  const answerMetrics = metricsHandler(registry, metricsToken)
  const tcp = tcpServer(gateway, pendingSockets, rejections, certificate)
  const { page = new Map() } = options
  const web = webServer({
    pendingSockets,
    rejections,
    certificate,
    host,
    gateway,
    answerMetrics: metricsPort === null ? answerMetrics : null,
    page,
    isOriginAllowed,
    isTrusted,
    paths,
  })
  for (const server of [tcp, web]) pendingSockets.takeProxyHeaders(server, certificate !== null)
  const scrapes = metricsPort === null ? null : metricsServer(answerMetrics, gateway.times)
  const listeners: Server[] = []
  let stopPromise: Promise<void> | null = null
  const stop = (): Promise<void> => {
    scrapes?.close()
    scrapes?.closeAllConnections()
    return (stopPromise ??= shutDown(host, gateway, pendingSockets, listeners, web))
  }
  const address = options.host ?? '127.0.0.1'
  try {
    listeners.push(tcp, ...(await listen(tcp, { port: options.tcp ?? 11_009, host: address }, false)))
    listeners.push(web, ...(await listen(web, { port: options.http ?? 8_080, host: address }, true)))
    if (scrapes && metricsPort !== null) await listenOnce(scrapes, { port: metricsPort, host: metricsAddress })
  } catch (error) {
    await stop()
    throw error
  }
  countAcceptErrors(scrapes ? [...listeners, scrapes] : listeners, rejections, host.log)
  return {
    http: { host: address, port: (web.address() as AddressInfo).port },
    tcp: { host: address, port: (tcp.address() as AddressInfo).port },
    metrics: scrapes && { host: metricsAddress, port: (scrapes.address() as AddressInfo).port },
    host,
    gateway,
    refusals: rejections,
    hasTls: certificate !== null,
    reloadTls: () => certificate?.reload(),
    stop,
  }
}

function gatewayOf(options: ServerOptions, host: Host, tickets: TicketVerifier | null): Gateway {
  const { engine, clock, log } = host
  const secret = options.secret ?? loadOrCreateSecret(options.dir)
  return new Gateway({
    routingTable: new RoutingTable(routingTableOf(options.game)),
    link: engine,
    clock,
    log,
    frameIdentity: options.identity ?? DEFAULT_FRAME_IDENTITY,
    limits: engine.limits,
    slab: new Slab((bytes) => Buffer.allocUnsafeSlow(bytes)),
    tokenSigner: { sign: (bytes) => createHmac('sha256', secret).update(bytes).digest() },
    ticketVerifier: tickets,
    cipher: options.cipher ?? null,
    ...(options.times && { times: options.times }),
  })
}

/** Whoever guesses a short secret can take over every session. */
function checkSecret(secret: string | undefined): void {
  if (secret === undefined || secret.length >= MIN_SECRET_CHARS) return
  throw new DefinitionError(
    `secret has ${secret.length} characters, at least ${MIN_SECRET_CHARS} are needed (without this option one is created and stored)`,
  )
}

/** Without free descriptors (EMFILE) only the new connection is lost. */
function countAcceptErrors(servers: readonly Server[], rejections: ListenerRejections, log: Log): void {
  let isLogged = false
  const onError = (error: Error): void => {
    rejections.count('accept')
    if (!isLogged)
      log.error('a connection could not be accepted; later ones are only counted', { error: error.message })
    isLogged = true
  }
  for (const server of servers) server.on('error', onError)
}

async function shutDown(
  host: Host,
  gateway: Gateway,
  pendingSockets: PendingSockets,
  listeners: readonly Server[],
  web: WebServer,
): Promise<void> {
  const closed = listeners.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
  gateway.shutdown()
  await gateway.waitUntilEmpty()
  web.closeAllConnections()
  pendingSockets.destroyAll()
  await Promise.all(closed)
  await host.close()
}
