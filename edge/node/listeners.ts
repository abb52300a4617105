// The listening sockets of one port. libuv accepts one connection of a listening socket per turn of the event loop, so with
// one socket a server whose turns take 100 ms accepts ten players per second, however many reconnect. On Linux several
// sockets share the port (SO_REUSEPORT). Invariant: the port is this server's alone: another server that wants it gets
// EADDRINUSE.

import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'

import { KEEP_ALIVE_MS } from './transport.ts'

/** Sockets that share a port: as many connections are accepted in one turn of the event loop. */
const MAX_SOCKETS = 32
/** Of all descriptors of the process: one socket per so many. */
const DESCRIPTORS_PER_SOCKET = 256
/** Connections that the system completes before they are accepted, per socket; it lowers them to net.core.somaxconn. */
const BACKLOG = 4_096

interface ListenOptions {
  readonly port: number
  readonly host: string
  readonly reusePort?: boolean
}

/**
 * Lets a server listen. Returns the servers of the further sockets, which pass their connections on to it and must be
 * closed with it. `allowHalfOpen`: as the server accepts its own connections.
 * @throws the error of the system, for instance EADDRINUSE; then none listens
 */
export async function listen(
  server: Server,
  { port, host }: ListenOptions,
  allowHalfOpen: boolean,
): Promise<readonly Server[]> {
  const sockets = socketCount()
  if (sockets === 1) {
    await listenOnce(server, { port, host })
    return []
  }
  // Sockets that share their port would join those of another server. This one does not.
  const exclusive = createServer()
  await listenOnce(exclusive, { port, host })
  const shared = { port: (exclusive.address() as AddressInfo).port, host, reusePort: true }
  await new Promise((resolve) => exclusive.close(resolve))
  await listenOnce(server, shared)
  const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, allowHalfOpen }
  const passOn = (socket: Socket): void => void server.emit('connection', socket)
  const further = Array.from({ length: sockets - 1 }, () => createServer(options, passOn))
  try {
    for (const other of further) await listenOnce(other, shared)
  } catch (error) {
    for (const other of [server, ...further]) other.close()
    throw error
  }
  return further
}

/** How many sockets may share a port; one where the system does not distribute connections among them. */
function socketCount(): number {
  if (process.platform !== 'linux') return 1
  const [, descriptors = '1024'] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  return Math.max(1, Math.min(MAX_SOCKETS, Math.floor(Number(descriptors) / DESCRIPTORS_PER_SOCKET)))
}

/** Lets a server listen with one socket. @throws the error of the system */
export function listenOnce(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ ...options, backlog: BACKLOG }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
