// What a server prints meets a reader that has stopped, then none at all, while handlers of the game fail and are logged.

import { join } from 'node:path'

import { connect } from '../../../../client/index.ts'
import { PipeReader } from '../../../support/pipereader.ts'
import { until } from '../../../support/wait.ts'
import type { Accident } from '../accident.ts'
import { Trouble } from '../game.ts'

/** Each writes a line of some 2 KB with a stack: more than pipe and buffer hold. */
const FAILURES = 1_500
const PARALLEL = 50
const REPORT_MS = 30_000

export const accident: Accident = {
  what: 'nobody reads the log while handlers fail, then its pipe is closed, then it is read again',
  async run(drill) {
    const pipe = drill.use(new PipeReader(join(drill.folder, 'log')))
    const target = await drill.startCommand(pipe)
    const reports = (): number => pipe.text.split('lines were dropped here').length - 1
    await drill.play(target, async () => {
      for (const makeUnreadable of [() => pipe.stopReading(), () => pipe.close()]) {
        makeUnreadable()
        await using game = await connect(target.webSocketUrl)
        const trouble = game.at(Trouble)
        for (let n = 0; n < FAILURES; n += PARALLEL)
          await Promise.allSettled(Array.from({ length: PARALLEL }, () => trouble.fail({})))
        const { status } = await fetch(`${target.httpUrl}/healthz`)
        if (status !== 200) drill.fault(`/healthz answered ${status}`)
        pipe.resumeReading()
      }
      pipe.open()
      if (!(await until(() => reports() > 0, REPORT_MS))) drill.fault('the dropped lines were not reported')
    })
    return { reports: reports() }
  },
}
