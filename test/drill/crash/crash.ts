// Drill: kills servers of the Node host and their MySQL at every point that matters, while players repeat every
// request until it is answered; then compares what was acknowledged with what is stored. `npm run crash -- --kills
// 200`. Exit 1 when the figure has violations.

import { dialTcp } from '../../../client/tcp.ts'
import { dialWebSocket, platformClock } from '../../../client/socket.ts'
import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import game from '../../../examples/market/server.ts'
import { printFigure, progress } from '../../support/figure.ts'
import { startMariadb } from '../../support/mariadb.ts'
import { FreePorts } from '../../support/ports.ts'
import { Random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import { LegacyConnection, redialing, SdkConnection } from '../market/connection.ts'
import { RequestLog, type ViolationKind } from '../market/requestlog.ts'
import { migrate, SqliteSource } from '../market/sources.ts'
import { choice, flag, list, parseDrill, temporaryFolder, usage } from '../options.ts'
import {
  CRITICAL_POINTS,
  EXTERNAL_POINTS,
  MUTANTS,
  SELF_KILL_POINTS,
  type KillPoint,
  type Mutant,
} from './killpoints.ts'
import { ServerKills } from './kills.ts'
import { LateBatches } from './latebatches.ts'
import { MARKET_OPTIONS, MarketRun, orderCheck, type MarketRunOptions } from './marketrun.ts'

interface NodeRunOptions extends MarketRunOptions<KillPoint> {
  readonly mutant: Mutant | null
  readonly ports: FreePorts
}

type SharedOptions = Pick<NodeRunOptions, 'seed' | 'players' | 'thinkMs' | 'ports'>

const LOCAL_POINTS: readonly KillPoint[] = [...SELF_KILL_POINTS, ...EXTERNAL_POINTS]
const ALL_POINTS: readonly KillPoint[] = [...LOCAL_POINTS, ...CRITICAL_POINTS]
const QUICK = { kills: 16, minAcked: 2_000, players: 24, answersExpected: 20, settleMs: 15_000 } as const
const FULL = { kills: 200, minAcked: 100_000, players: 48, answersExpected: 100, settleMs: 30_000 } as const
const THINK_MS = 5
const TIMEOUT_MS = 30_000
/** Of runs with a mutant, which stop early. */
const MUTANT_TIMES = { timeoutMs: 8_000, settleMs: 1_500 } as const
/** Rounds with other seeds: one run can miss a mutant by chance. */
const MUTANT_ROUNDS = 3
const REDIAL_MS = 30

type MutantPlan = Pick<NodeRunOptions, 'critical' | 'kills' | 'minAcked' | 'points'> & {
  readonly answersExpected?: number
  readonly violation: ViolationKind
}
/** The shortest run that detects each mutant, and the violation that it must find. */
const PLANS: Readonly<Record<Mutant, MutantPlan>> = {
  fence: { critical: false, kills: 2, minAcked: 500, points: ['zombie'], violation: 'zombie' },
  mark: { critical: false, kills: 2, minAcked: 200, points: ['before-mark'], violation: 'doubled' },
  order: { critical: false, kills: 2, minAcked: 200, points: ['before-local-commit'], violation: 'lost' },
  // Many answers before the loss, so that the sequence of a fresh store stays below what MySQL has applied.
  takeover: { critical: true, kills: 1, minAcked: 0, points: ['disk-loss'], answersExpected: 1_000, violation: 'lost' },
  unknown: { critical: false, kills: 0, minAcked: 1_000, points: [], violation: 'mysql' },
}

export async function run(args: readonly string[]): Promise<void> {
  const spec = { ...MARKET_OPTIONS, points: list(ALL_POINTS), mutant: choice(MUTANTS), mutants: flag }
  const { quick, critical: isCritical, mutant, mutants, ...options } = parseDrill('crash', spec, args)
  const { seed, players = quick || mutant || mutants ? QUICK.players : FULL.players } = options
  // Not from the seed: which ports are free depends on the machine.
  const shared = { seed, players, thinkMs: THINK_MS, ports: new FreePorts(new Random(process.pid)) }
  if (mutants || mutant) return runMutants(mutant ? [mutant] : MUTANTS, shared)
  const preset = quick ? QUICK : FULL
  const runClass = (critical: boolean) => {
    const known = critical ? ALL_POINTS : LOCAL_POINTS
    const { kills = preset.kills, minAcked = preset.minAcked, points = known } = options
    const unknown = points.find((point) => !known.includes(point))
    if (unknown) usage('crash', `only class critical survives --points ${unknown}`)
    const report = (line: string): void => progress(`${critical ? 'critical' : 'local'}: ${line}`)
    const own = { critical, kills, minAcked, points, mutant: null, timeoutMs: TIMEOUT_MS, progress: report }
    return runNode({ ...preset, ...shared, ...own })
  }
  // In parallel: each run waits most of its time.
  for (const figure of await Promise.all((quick ? [false, true] : [isCritical]).map(runClass))) {
    printFigure(figure)
    if (figure.faults.length > 0) process.exitCode = 1
  }
}

async function runMutants(mutants: readonly Mutant[], options: SharedOptions): Promise<void> {
  const faults: Partial<Record<Mutant, readonly ViolationKind[]>> = {}
  for (const mutant of mutants) faults[mutant] = await violationsOf(mutant, options)
  const isCaught = (mutant: Mutant): boolean => faults[mutant]!.includes(PLANS[mutant].violation)
  const missed = mutants.filter((mutant) => !isCaught(mutant))
  printFigure({ drill: 'crash-mutants', caught: mutants.filter(isCaught), missed, faults })
  if (missed.length > 0) process.exitCode = 1
}

/** The violations of the first round that finds the expected one, else of the last round. */
async function violationsOf(mutant: Mutant, options: SharedOptions): Promise<readonly ViolationKind[]> {
  const { violation, ...plan } = PLANS[mutant]
  for (let round = 1; ; round++) {
    const { faults } = await runNode({
      ...options,
      ...MUTANT_TIMES,
      answersExpected: QUICK.answersExpected,
      ...plan,
      seed: options.seed + round - 1,
      mutant,
      progress: (line) => progress(`${mutant}: ${line}`),
    })
    if (faults.includes(violation) || round === MUTANT_ROUNDS) return faults
  }
}

/** One run on the Node host. With violations its folder is kept, and `progress` reports the path. */
async function runNode(options: NodeRunOptions) {
  const { ports, critical, mutant, timeoutMs } = options
  await using mariadb = await startMariadb({ port: await ports.next() })
  const client = mysqlClient({ url: mariadb.url })
  const tables = [...game.tables.values()]
  await migrate(client, tables)
  const [http, tcp] = [await ports.next(), await ports.next()]
  const folder = temporaryFolder('crash')
  const log = new RequestLog()
  const random = new Random(options.seed)
  const lateBatches = new LateBatches(client, tables, log, mutant === 'fence')
  const order = { http, tcp, critical, mutant }
  const faults = new ServerKills({ ...options, log, random, mariadb, lateBatches, order, folder: folder.path })
  const sending = lateBatches.run()
  const dial = redialing(dialWebSocket, platformClock, REDIAL_MS)
  const host = {
    faults,
    random,
    connectionOf: (player: string, i: number) => {
      const shared = { player, clock: platformClock, onViolation: orderCheck(log) }
      return i % 2 === 0
        ? new LegacyConnection({ ...shared, url: `tcp://127.0.0.1:${tcp}`, dial: dialTcp })
        : new SdkConnection({ ...shared, url: `ws://127.0.0.1:${http}/ws`, dial })
    },
    settle: async () => {
      if (!(await until(() => lateBatches.waiting === 0, timeoutMs)))
        log.violations.add('zombie', `owners of ${lateBatches.waiting} late batches were not taken over`)
      await faults.drain()
    },
    close: async () => {
      await faults.close()
      lateBatches.stop()
      await sending
    },
  }
  const marketRun = new MarketRun(options, log, client, host)
  await marketRun.play()
  await lateBatches.sendAll()
  using slots = new SqliteSource(faults.dataFolder)
  const figure = {
    ...(await marketRun.check(slots)),
    host: 'node',
    zombies: lateBatches.count,
    zombiesFenced: lateBatches.fenced,
    databasePauses: faults.databasePauses,
  }
  await client.close()
  if (log.violations.total > 0 && mutant === null) await marketRun.keepEvidence(folder, mariadb)
  return figure
}
