// The server of the crash drill: the market on the Node host with MySQL behind it, which ends by SIGKILL at the point
// that it was told, and by SIGTERM as any server does. It does not outlive the drill.

import { flushCompileCache } from 'node:module'

import { critical } from '../../../core/game/game.ts'
import { start } from '../../../edge/node/server.ts'
import game from '../../../examples/market/server.ts'
import { mutantOf } from './mutants.ts'
import type { ServerOrder } from './points.ts'
import { die, killingDatabase, killingStore, tell, Trigger } from './seams.ts'

/** Few, so that a batch holds turns of several shards. */
const SLOTS = 8
const FLUSH_MS = 25

const order = JSON.parse(process.argv[2]!) as ServerOrder
const trigger = new Trigger(order)
const mutant = mutantOf(order, game, trigger)
process.on('disconnect', die)

const server = await start({
  game: order.critical ? critical(game) : game,
  dir: order.dir,
  slots: SLOTS,
  http: order.http,
  tcp: order.tcp,
  mysql: order.mysql,
  flushMs: FLUSH_MS,
  wrapStore: (store) => killingStore(mutant.store?.(store) ?? store, trigger),
  wrapLocal: (local) => mutant.local?.(local) ?? local,
  wrapDatabase: (database) => killingDatabase(mutant.database?.(database) ?? database, trigger),
})
process.on('SIGTERM', () => {
  void server.stop().then(() => process.exit(0))
})
tell({ what: 'ready' })
// Node does it at the end, which no server comes to here.
flushCompileCache()
