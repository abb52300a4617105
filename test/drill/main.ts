// `npm run drill -- NAME [options]`: runs a drill by its name. Figures go to stdout, one JSON line each; progress goes
// to stderr. Exit 0: nothing is wrong; 1: a figure shows a fault; 2: the command line is wrong or MariaDB is missing.

import { MariadbMissing } from '../support/mariadb.ts'
import { usage } from './options.ts'

/** A drill; sets `process.exitCode` to 1 when it finds a fault. */
interface DrillModule {
  readonly run?: (args: readonly string[]) => Promise<void>
}
interface DrillEntry {
  readonly description: string
  readonly load: () => Promise<DrillModule>
}

const drills: ReadonlyMap<string, DrillEntry> = new Map([
  [
    'crash',
    {
      description: 'kills Node servers and their MySQL under players who repeat unanswered requests',
      load: () => import('./crash/crash.ts'),
    },
  ],
  [
    'crashedge',
    {
      description: 'kills objects of the Cloudflare host and makes their database fail',
      load: () => import('./crashedge/crashedge.ts'),
    },
  ],
  [
    'sim',
    {
      description: 'whole clusters in one process and in virtual time, each from a seed, each seed twice',
      load: () => import('./sim/sim.ts'),
    },
  ],
  [
    'soak',
    {
      description:
        'sessions on connections that are cut at random bytes; login races of two clients for one uid',
      load: () => import('./soak/soak.ts'),
    },
  ],
  [
    'fuzz',
    {
      description: 'mutated frames, bodies and conversations against a running server',
      load: () => import('./fuzz/fuzz.ts'),
    },
  ],
  [
    'outage',
    {
      description: 'MySQL is unavailable under load and returns',
      load: () => import('./outage/outage.ts'),
    },
  ],
  [
    'reset',
    {
      description: "players stay connected while their shard's object is reset on workerd",
      load: () => import('./reset.ts'),
    },
  ],
])

// `exit` handlers stop the servers and remove the folders of a drill, also after a signal.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

const [name, ...args] = process.argv.slice(2)
const drill = drills.get(name ?? '')
if (drill) {
  try {
    // A drill without `run` starts when it is imported, and reads its options itself.
    process.argv.splice(2, 1)
    const { run } = await drill.load()
    if (run) {
      await run(args)
      process.exit()
    }
  } catch (error) {
    if (!(error instanceof MariadbMissing)) throw error
    usage(name!, error.message)
  }
} else if (name === undefined)
  for (const [known, { description }] of drills) console.log(`${known.padEnd(10)}${description}`)
else usage('drill', `no drill is called ${name}; there are: ${[...drills.keys()].join(', ')}`)
