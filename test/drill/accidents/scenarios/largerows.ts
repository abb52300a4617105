// An object writes far more rows than an isolate has memory.

import { readFileSync } from 'node:fs'

import { connect } from '../../../../client/index.ts'
import type { Accident } from '../accident.ts'
import { Hoard } from '../game.ts'

const MEGABYTES = { quick: 40, full: 210 } as const
const ROW_CHARS = 10_000
const ROWS_PER_CALL = 100
/** What an isolate has, beside the process and SQLite's own caches. */
const MAX_GROWTH_BYTES = 134_217_728

function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!
  return Number(kilobytes) * 1_024
}

export const accident: Accident = {
  what: 'one object writes 210 MB of rows beside the players, and reads them again',
  async run(drill) {
    const target = await drill.startWorkerd()
    const calls = MEGABYTES[drill.isQuick ? 'quick' : 'full']
    let growthBytes = 0
    await drill.play(target, async () => {
      const game = await connect(target.webSocketUrl)
      const hoard = game.at(Hoard, 'rows')
      const beforeBytes = residentBytes(target.pid)
      for (let call = 0; call < calls; call++)
        await hoard.put({ from: call * ROWS_PER_CALL, count: ROWS_PER_CALL, chars: ROW_CHARS })
      growthBytes = residentBytes(target.pid) - beforeBytes
      for (let call = 0; call < calls; call++) {
        const id = call * ROWS_PER_CALL
        const { chars } = await hoard.read({ id })
        if (chars !== ROW_CHARS) drill.fault(`row ${id} has ${chars} characters`)
      }
      if (growthBytes > MAX_GROWTH_BYTES) drill.fault(`the process grew by ${growthBytes} bytes`)
      await game.close()
    })
    return { writtenMegabytes: calls, growthMegabytes: Math.round(growthBytes / 1e6) }
  },
}
