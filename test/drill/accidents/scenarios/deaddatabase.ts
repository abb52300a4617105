// A firewall forgets every connection to MySQL at once: packets are swallowed without an end or a reset, and new
// connections work. Every table is critical, so each answer of the players needs MySQL.

import { CallError, connect, type Firefly } from '../../../../client/index.ts'
import { dialTcp } from '../../../../client/tcp.ts'
import { BlackholeProxy } from '../../../support/blackhole.ts'
import { startMariadb } from '../../../support/mariadb.ts'
import { until } from '../../../support/wait.ts'
import { createDatabase } from '../../market/sources.ts'
import type { Accident } from '../accident.ts'
import { game, Trouble } from '../game.ts'

/** As many as one session may address: enough owners write at the same time to open every connection. */
const SHARDS = 30
/** The default of --mysql-pool. */
const POOL = 8
const DEADLINE_MS = 60_000

export const accident: Accident = {
  what: 'all connections to MySQL die silently, and one deadline finds them together',
  async run(drill) {
    const mariadb = drill.use(await startMariadb())
    const mysql = await createDatabase(mariadb.url, 'accident', [...game.tables.values()])
    const proxy = drill.use(await BlackholeProxy.open(Number(new URL(mysql).port)))
    const target = await drill.startNode({ options: { mysql: proxy.through(mysql) }, critical: true })
    const session = await connect(target.tcpUrl!, { dial: dialTcp, connectMs: DEADLINE_MS })
    let connections = 0
    let calls: Promise<readonly string[]> = Promise.resolve([])
    await drill.play(target, async () => {
      await until(async () => (await storeEverywhere(session, 0), proxy.opened >= POOL), DEADLINE_MS)
      connections = proxy.dropAll()
      if (connections < POOL) drill.fault(`${connections} of ${POOL} connections were open`)
      // Not awaited: the time to normal begins now.
      calls = storeEverywhere(session, 1)
    })
    const ends = await calls
    await session.close()
    for (const end of ends) if (end !== 'stored' && end !== 'RETRY_LATER') drill.fault(`a call ended with ${end}`)
    return { connections, answers: ends.length }
  },
}

/** Calls a shard of each key; returns how each call ended. */
function storeEverywhere(session: Firefly, n: number): Promise<readonly string[]> {
  const store = async (key: string): Promise<string> => {
    try {
      await session.at(Trouble, key).store({ n })
      return 'stored'
    } catch (error) {
      return error instanceof CallError ? error.code : String(error)
    }
  }
  return Promise.all(Array.from({ length: SHARDS }, (_, i) => store(`k${i}`)))
}
