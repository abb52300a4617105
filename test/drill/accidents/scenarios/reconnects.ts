// Many sessions lose their connections in the same moment, as when a router restarts, and return at once.

import { connect, type Firefly } from '../../../../client/index.ts'
import { dialTcp } from '../../../../client/tcp.ts'
import { quantile } from '../../../support/figure.ts'
import { until } from '../../../support/wait.ts'
import { cuttable } from '../../cuttable.ts'
import { retried } from '../../retried.ts'
import type { Accident } from '../accident.ts'
import { Trouble } from '../game.ts'

const SESSIONS = { quick: 200, full: 2_000 } as const
const PARALLEL_STARTS = 50
const DEADLINE_MS = 60_000

export const accident: Accident = {
  what: 'sessions beside the players are all cut at once and resume',
  async run(drill) {
    const target = await drill.startNode()
    const count = SESSIONS[drill.isQuick ? 'quick' : 'full']
    const { dial, cut } = cuttable(dialTcp, Math.random)
    const sessions: Firefly[] = []
    const pausesMs: number[] = []
    let cutMs = Infinity
    let started = 0
    const startNext = async (): Promise<void> => {
      while (started < count) {
        const key = `k${started++}`
        const session = await connect(target.tcpUrl!, { dial, connectMs: DEADLINE_MS })
        sessions.push(session)
        session.on('resumed', () => pausesMs.push(performance.now() - cutMs))
        await retried(() => session.at(Trouble, key).joins({}))
      }
    }
    await Promise.all(Array.from({ length: PARALLEL_STARTS }, startNext))
    await drill.play(target, async () => {
      cutMs = performance.now()
      cut(1)
      if (!(await until(() => pausesMs.length >= sessions.length, DEADLINE_MS)))
        drill.fault(`${pausesMs.length} of ${sessions.length} sessions resumed within ${DEADLINE_MS} ms`)
      for (const session of sessions) await session.close()
    })
    return { sessions: sessions.length, resumeP99Ms: quantile(pausesMs, 0.99) }
  },
}
