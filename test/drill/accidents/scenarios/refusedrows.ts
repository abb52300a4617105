// MySQL refuses rows of one table with an error that no list has, then the whole table; players write other tables of the
// same owners, each answer only after MySQL has committed.

import { connect, CallError, type Firefly } from '../../../../client/index.ts'
import { dialTcp } from '../../../../client/tcp.ts'
import { mysqlClient } from '../../../../core/node/mysqlpool.ts'
import { startMariadb } from '../../../support/mariadb.ts'
import { createDatabase } from '../../market/sources.ts'
import type { Accident, AccidentDrill } from '../accident.ts'
import { game, Trouble } from '../game.ts'

/** As many as one session may address: most owners have a refused turn. */
const SHARDS = 30
const REFUSED = 13
const DEADLINE_MS = 60_000
const TRIGGER = `CREATE TRIGGER refuse BEFORE INSERT ON trouble FOR EACH ROW
  IF NEW.n = ${REFUSED} THEN SIGNAL SQLSTATE 'ZZ999' SET MYSQL_ERRNO = 30001; END IF`

export const accident: Accident = {
  what: 'MySQL refuses some rows with an unknown error, and then all of their table',
  async run(drill) {
    const mariadb = drill.use(await startMariadb())
    const mysql = await createDatabase(mariadb.url, 'accident', [...game.tables.values()])
    const admin = mysqlClient({ url: mysql, poolSize: 1 })
    drill.use({ [Symbol.asyncDispose]: () => admin.close() })
    const run = (sql: string): Promise<unknown> => admin.query({ sql, params: [] })
    await run(TRIGGER)
    const target = await drill.startNode({ options: { mysql }, critical: true })
    const session = await connect(target.tcpUrl!, { dial: dialTcp, connectMs: DEADLINE_MS })
    let refused = 0
    await drill.play(target, async () => {
      refused += await storeEverywhere(drill, session, REFUSED)
      await run('RENAME TABLE trouble TO trouble_away')
      refused += await storeEverywhere(drill, session, 1)
      await run('RENAME TABLE trouble_away TO trouble')
      await session.close()
    })
    return { refused }
  },
}

/** Calls a shard of each key; returns how many calls were refused. Another end than REJECTED or RETRY_LATER is a fault. */
async function storeEverywhere(drill: AccidentDrill, session: Firefly, n: number): Promise<number> {
  const store = async (key: string): Promise<number> => {
    try {
      await session.at(Trouble, key).store({ n })
      drill.fault(`${key}: a row with n = ${n} was not refused`)
      return 0
    } catch (error) {
      const code = error instanceof CallError ? error.code : String(error)
      if (code !== 'REJECTED' && code !== 'RETRY_LATER') drill.fault(`${key}: ${code}`)
      return code === 'REJECTED' ? 1 : 0
    }
  }
  const counts = await Promise.all(Array.from({ length: SHARDS }, (_, i) => store(`k${i}`)))
  return counts.reduce((sum, count) => sum + count, 0)
}
