// The wall clock of a server is set, as by an operator or a time server.

import { setTimeout as sleep } from 'node:timers/promises'

import type { Accident } from '../accident.ts'

const PRELOAD = new URL('../fixtures/jumpingclock.mjs', import.meta.url).href
const JUMPS = 4
/** The host compares its clocks once per second. */
const PAUSE_MS = 1_200

export const accident: Accident = {
  what: 'the wall clock jumps an hour forward and back, twice',
  async run(drill) {
    const target = await drill.startNode({ execArgv: ['--max-semi-space-size=2', '--import', PRELOAD] })
    await drill.play(target, async () => {
      for (let jump = 0; jump < JUMPS; jump++) {
        target.process.kill('SIGUSR2')
        await sleep(PAUSE_MS)
      }
    })
    return { jumps: JUMPS }
  },
}
