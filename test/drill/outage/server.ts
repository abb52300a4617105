// The server of the outage drill: the market on the Node host with MySQL. It reports its health periodically, and the
// size of its heap on request.

import { critical } from '../../../core/game/game.ts'
import game from '../../../examples/market/server.ts'
import { orderOf, report, serve } from '../../support/serverprogram.ts'

export interface ServerOrder {
  readonly dir: string
  readonly mysql: string
  readonly critical: boolean
}

export interface Health {
  readonly rssBytes: number
  /** Entries in all outboxes. */
  readonly outbox: number
  /** Calls that were answered with RETRY_LATER since the start. */
  readonly retryLaters: number
}

export type ServerMessage =
  | ({ readonly what: 'health' } & Health)
  /** The answer to 'heap': bytes of the heap and of buffers after a garbage collection. */
  | { readonly what: 'heap'; readonly bytes: number }

const HEALTH_MS = 25
/** So small that the cache is full before the outage: later growth is not the cache. */
const ROW_CACHE_BYTES = 4_194_304

const order = orderOf<ServerOrder>()
const server = await serve(
  {
    game: order.critical ? critical(game) : game,
    dir: order.dir,
    mysql: order.mysql,
    limits: { maxRowCacheBytes: ROW_CACHE_BYTES },
  },
  {
    answer: {
      heap: () => {
        globalThis.gc!()
        const { heapUsed, arrayBuffers } = process.memoryUsage()
        return { bytes: heapUsed + arrayBuffers }
      },
    },
  },
)
setInterval(() => {
  let outbox = 0
  for (const { depth } of server.host.tiers!.metrics.owners.values()) outbox += depth
  const { retryLaters } = server.host.engine.meter
  report<ServerMessage>({ what: 'health', rssBytes: process.memoryUsage.rss(), outbox, retryLaters })
}, HEALTH_MS)
