// The server of the outage drill: the market on the Node host with MySQL behind it. It tells the drill every moment how
// it is, and what its heap holds when it is asked. It does not outlive the drill.

import { critical } from '../../../core/game/game.ts'
import { start } from '../../../edge/node/server.ts'
import game from '../../../examples/market/server.ts'

/** How a server is started, as JSON in its only argument. */
export interface ServerOrder {
  readonly dir: string
  readonly mysql: string
  readonly critical: boolean
}

export interface Health {
  readonly rssBytes: number
  /** Entries that wait in all outboxes. */
  readonly outbox: number
  /** Callers that were told RETRY_LATER since the start. */
  readonly retryLaters: number
}

/** What a server tells the drill. */
export type Told =
  | { readonly what: 'ready'; readonly tcp: number }
  | ({ readonly what: 'health' } & Health)
  | { readonly what: 'heap'; readonly bytes: number }

const HEALTH_MS = 25
/** So small that it is full before MySQL goes: what grows then is not the cache. */
const ROW_CACHE_BYTES = 4_194_304

const order = JSON.parse(process.argv[2]!) as ServerOrder
const server = await start({
  game: order.critical ? critical(game) : game,
  dir: order.dir,
  http: 0,
  tcp: 0,
  mysql: order.mysql,
  limits: { maxRowCacheBytes: ROW_CACHE_BYTES },
})
process.on('disconnect', () => process.exit(1))
process.on('SIGTERM', () => {
  void server.stop().then(() => process.exit(0))
})
process.on('message', () => {
  globalThis.gc!()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  tell({ what: 'heap', bytes: heapUsed + arrayBuffers })
})
tell({ what: 'ready', tcp: server.tcp.port })
setInterval(() => {
  let outbox = 0
  for (const { depth } of server.host.tiers!.metrics.owners.values()) outbox += depth
  const { retryLaters } = server.host.engine.meter
  tell({ what: 'health', rssBytes: process.memoryUsage.rss(), outbox, retryLaters })
}, HEALTH_MS)

function tell(told: Told): void {
  process.send!(told)
}
