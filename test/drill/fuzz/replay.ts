// One case alone against a server of its own, with everything that comes back.

import { join } from 'node:path'

import { makeCase, wayOf } from './cases.ts'
import { Child } from './child.ts'
import { Crowd } from './crowd.ts'
import { Tally } from './tally.ts'

const SHOWN_BYTES = 400

/** Whether nothing is wrong. */
export async function replay(seed: number, number: number, folder: string): Promise<boolean> {
  const tally = new Tally(number + 16)
  const one = makeCase(seed, number)
  const { on, via } = wayOf(seed, number)
  const hex = Buffer.from(one.bytes.subarray(0, SHOWN_BYTES)).toString('hex')
  console.error(`case ${number} of seed ${seed}: ${one.kind}, ${on} over ${via}, ${one.bytes.length} bytes`)
  console.error(`${hex}${one.bytes.length > SHOWN_BYTES ? '…' : ''}`)
  const child = new Child(
    { dir: join(folder, 'only'), limits: {} },
    {
      bug: (what) => tally.fault(what, [one]),
      warning: (what) => tally.warning(what),
      stall: (ms, busyMs) => console.error(`stalled ${ms} ms, ${busyMs} of them busy`),
    },
  )
  process.once('exit', () => child.kill())
  const ports = await child.ready
  const crowd = new Crowd({ seed, from: number, to: number + 1, ports, tally, isOver: () => child.isOver })
  await crowd.run()
  await child.refreshed()
  const { closes } = child.health ?? {}
  const isCrashed = child.isOver
  const code = await child.stop()
  const answers = Object.fromEntries(tally.answers)
  const findings = [...tally.findings.values()]
  console.log(
    JSON.stringify({ drill: 'fuzz', seed, only: number, isCrashed, code, answers, closes, findings }),
  )
  return !isCrashed && code === 0 && findings.length === 0
}
