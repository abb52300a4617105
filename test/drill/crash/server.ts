// The server of the crash drill: the market on the Node host with MySQL. It kills itself by SIGKILL at the ordered
// point and when the drill ends.

import { flushCompileCache } from 'node:module'

import { critical } from '../../../core/game/game.ts'
import game from '../../../examples/market/server.ts'
import { orderOf, serve } from '../../support/serverprogram.ts'
import { databaseWithKillPoints, killSelf, KillTrigger, storeWithKillPoints } from './hooks.ts'
import type { ServerOrder } from './killpoints.ts'
import { mutantOf } from './mutants.ts'

/** Few, so that a batch contains turns of several shards. */
const SLOTS = 8
const FLUSH_MS = 25

const order = orderOf<ServerOrder>()
const { dir, http, tcp, mysql } = order
const trigger = new KillTrigger(order)
const mutant = mutantOf(order, game, trigger)
await serve(
  {
    game: order.critical ? critical(game) : game,
    dir,
    slots: SLOTS,
    http,
    tcp,
    mysql,
    flushMs: FLUSH_MS,
    wrapStore: (store) => storeWithKillPoints(mutant.store?.(store) ?? store, trigger),
    wrapLocal: (local) => mutant.local?.(local) ?? local,
    wrapDatabase: (database) => databaseWithKillPoints(mutant.database?.(database) ?? database, trigger),
  },
  { onDisconnect: killSelf },
)
// Node writes the cache when a process exits; SIGKILL prevents that.
flushCompileCache()
