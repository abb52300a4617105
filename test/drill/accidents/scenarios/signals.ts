// An operator sends signals that mean something to other servers: reload, reopen the log.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { PipeReader } from '../../../support/pipereader.ts'
import type { Accident } from '../accident.ts'

const SIGNALS = ['SIGHUP', 'SIGUSR2'] as const
const ROUNDS = 5
const PAUSE_MS = 50

export const accident: Accident = {
  what: 'a server without TLS receives SIGHUP and SIGUSR2',
  async run(drill) {
    const target = await drill.startCommand(drill.use(new PipeReader(join(drill.folder, 'log'))))
    await drill.play(target, async () => {
      for (let round = 0; round < ROUNDS; round++)
        for (const signal of SIGNALS) {
          process.kill(target.pid, signal)
          await sleep(PAUSE_MS)
        }
    })
    return { signals: ROUNDS * SIGNALS.length }
  },
}
