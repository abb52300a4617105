// The limits of every HTTP server of the Node host. Invariant: a request and its response have a deadline, so that a client
// that sends slowly or does not read holds a socket and memory for a bounded time.

import type { ServerOptions as HttpOptions } from 'node:http'
import type { Server } from 'node:net'
import { KEEP_ALIVE_MS } from './transport.ts'

export interface WebTimes {
  /** Deadline of a complete request; no request needs a body. */
  readonly firstFrameMs: number
  /** A client that reads nothing of its response for this long is closed. */
  readonly unreadMs: number
}

/** The whole response, for a client that reads a little now and then: 1 MB over the slowest mobile network. */
const MAX_RESPONSE_MS = 600_000

/** Enough for the cookies of a large site. */
export const MAX_HEADER_BYTES = 16_384

export const httpOptionsOf = ({ firstFrameMs }: WebTimes): HttpOptions => ({
  maxHeaderSize: MAX_HEADER_BYTES,
  headersTimeout: firstFrameMs,
  requestTimeout: firstFrameMs,
  /** How late the two deadlines above may fire; Node's default is 30 s. */
  connectionsCheckingInterval: Math.min(firstFrameMs, 1_000),
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEP_ALIVE_MS,
  insecureHTTPParser: false,
  // Any other upgrade, such as h2c, is handled as a plain request.
  shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
})

/** Closes clients that do not read their responses. A WebSocket has limits of its own, and ends this one. */
export function limitResponses(server: Server & { timeout: number }, { unreadMs }: WebTimes): void {
  // Node counts a socket as active while bytes leave it.
  server.timeout = unreadMs
  server.on('request', ({ socket }, response: NodeJS.EventEmitter) => {
    const timer = setTimeout(() => socket.destroy(), MAX_RESPONSE_MS).unref()
    response.once('close', () => clearTimeout(timer))
  })
}
