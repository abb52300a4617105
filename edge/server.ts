// The Node door: TCP, WebSocket and HTTP in front of an engine in the same process. `start` resolves when all
// listeners stand; `stop` drains: no new connections, last answers out, snapshots saved, store closed.

import { createAdaptorServer, type ServerType } from '@hono/node-server'
import { Hono } from 'hono'
import type { AddressInfo, Server } from 'node:net'
import { openHost, type Host, type HostOptions } from '../core/node/host.ts'
import { doorTable, Door } from '../core/run/door.ts'
import { DEFAULT_IDENTITY, type Identity } from '../core/wire/frame.ts'
import { Gateway } from './gateway.ts'
import { tcpServer, webSocketUpgrade } from './listen.ts'
import { metricsOf } from './metrics.ts'
import { Slab } from './outbox.ts'

export interface ServerOptions extends HostOptions {
  /** Listening address. Default 127.0.0.1. */
  readonly host?: string
  /** HTTP and WebSocket port, 0 = any. Default 8080. */
  readonly http?: number
  /** TCP port, 0 = any. Default 11009. */
  readonly tcp?: number
  readonly identity?: Identity
  /** Closes connections that are silent for so long, milliseconds. */
  readonly idleMs?: number
  /** Files of the game's page by URL path, '/' first. */
  readonly page?: ReadonlyMap<
    string,
    { readonly type: string; readonly body: string | Uint8Array<ArrayBuffer> }
  >
}

export interface RunningServer {
  readonly http: { readonly host: string; readonly port: number }
  readonly tcp: { readonly host: string; readonly port: number }
  readonly host: Host
  readonly gateway: Gateway
  /** Drains and closes everything; safe to call twice. */
  stop(): Promise<void>
}

/** Starts the server; rejects with the listener's error (for instance EADDRINUSE) and leaves nothing open. */
export async function start(options: ServerOptions): Promise<RunningServer> {
  const host = await openHost(options)
  const { engine, clock, log } = host
  const gateway = new Gateway({
    door: new Door(doorTable(options.game)),
    link: engine,
    clock,
    log,
    identity: options.identity ?? DEFAULT_IDENTITY,
    limits: engine.limits,
    slab: new Slab((bytes) => Buffer.allocUnsafeSlow(bytes)),
    ...(options.idleMs === undefined ? {} : { idleMs: options.idleMs }),
  })
  const address = options.host ?? '127.0.0.1'
  const tcp = tcpServer(gateway)
  const web = webServer(options, host, gateway)
  let stopping: Promise<void> | null = null
  const stop = (): Promise<void> => (stopping ??= shutDown(host, gateway, [tcp, web]))
  try {
    await listen(tcp, options.tcp ?? 11_009, address)
    await listen(web, options.http ?? 8_080, address)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    http: { host: address, port: (web.address() as AddressInfo).port },
    tcp: { host: address, port: (tcp.address() as AddressInfo).port },
    host,
    gateway,
    stop,
  }
}

function webServer(options: ServerOptions, host: Host, gateway: Gateway): ServerType {
  const registry = metricsOf(host, gateway)
  const app = new Hono()
  app.get('/healthz', (c) => c.json({ status: 'ok', connections: gateway.size, shards: host.engine.shards }))
  app.get('/metrics', async (c) =>
    c.text(await registry.metrics(), 200, { 'content-type': registry.contentType }),
  )
  for (const [path, file] of options.page ?? [])
    app.get(path, (c) => c.body(file.body, 200, { 'content-type': file.type }))
  const server = createAdaptorServer({ fetch: app.fetch })
  const upgrade = webSocketUpgrade(gateway)
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    if (new URL(request.url ?? '/', 'http://localhost').pathname === '/ws') upgrade(request, socket, head)
    else socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n')
  })
  return server
}

function listen(server: Server | ServerType, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function shutDown(
  host: Host,
  gateway: Gateway,
  servers: readonly (Server | ServerType)[],
): Promise<void> {
  const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
  gateway.shutdown()
  await gateway.emptied()
  for (const server of servers) if ('closeAllConnections' in server) server.closeAllConnections()
  await Promise.all(closed)
  await host.close()
}
