// `npm run drill -- NAME [options]`: runs a drill by its name. Figures go to stdout, one JSON line each; progress goes
// to stderr. Exit 0: nothing is wrong; 1: a figure shows a fault; 2: the command line is wrong or MariaDB is missing.

import { MariadbMissing } from '../support/mariadb.ts'
import { usage } from './options.ts'

/** A drill sets `process.exitCode` to 1 when it finds a fault. */
interface DrillModule {
  readonly run: (args: readonly string[]) => Promise<void>
}
type DrillEntry = readonly [description: string, load: () => Promise<DrillModule>]

const drills: ReadonlyMap<string, DrillEntry> = new Map<string, DrillEntry>([
  [
    'accidents',
    ['what operators meet, with players at a steady load beside it', () => import('./accidents/accidents.ts')],
  ],
  ['crash', ['Node servers and their MySQL are killed under load', () => import('./crash/crash.ts')]],
  ['crashedge', ['Durable Objects are aborted and their database fails', () => import('./crashedge/crashedge.ts')]],
  ['fuzz', ['mutated frames, bodies and conversations against a server', () => import('./fuzz/fuzz.ts')]],
  ['outage', ['MySQL is unavailable under load and returns', () => import('./outage/outage.ts')]],
  ['reset', ["players stay connected while their shard's object is reset", () => import('./reset.ts')]],
  ['sim', ['whole clusters in virtual time, each repeated from its seed', () => import('./sim/sim.ts')]],
  ['storm', ['all sessions are cut at once; then twice the capacity', () => import('./storm/storm.ts')]],
  ['soak', ['connections that are cut at random bytes; login races', () => import('./soak/soak.ts')]],
])

// `exit` handlers stop the servers and remove the folders of a drill, also after a signal.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

const [name, ...args] = process.argv.slice(2)
const drill = drills.get(name ?? '')
if (drill) {
  try {
    const { run } = await drill[1]()
    await run(args)
    process.exit()
  } catch (error) {
    if (!(error instanceof MariadbMissing)) throw error
    usage(name!, error.message)
  }
} else if (name === undefined)
  for (const [known, [description]] of drills) console.log(`${known.padEnd(10)}${description}`)
else usage('drill', `no drill is called ${name}; there are: ${[...drills.keys()].join(', ')}`)
