// Drill: kills objects of the Cloudflare host and makes their database fail at every point that matters, while
// players repeat every request until it is answered; then compares what was acknowledged with what is stored. Real
// workerd, the real driver, the local PlanetScale endpoint in front of a real MariaDB. `npm run crash:edge`. Exit 1
// when a figure has violations.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { dialWebSocket, platformClock } from '../../../client/socket.ts'
import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import type { SqlClient } from '../../../core/sql/client.ts'
import { printFigure, progress } from '../../support/figure.ts'
import { startMariadb } from '../../support/mariadb.ts'
import { startPlanetscale } from '../../support/planetscale/server.ts'
import { FreePorts } from '../../support/ports.ts'
import { Random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import { startWorkers } from '../../support/workers.ts'
import { MARKET_OPTIONS, MarketRun, orderCheck, playerNames, type MarketRunOptions } from '../crash/marketrun.ts'
import { LegacyConnection, SdkConnection, type MarketConnection } from '../market/connection.ts'
import { RequestLog } from '../market/requestlog.ts'
import { migrate } from '../market/sources.ts'
import { CRASH_MIX } from '../market/mix.ts'
import { list, parseDrill, temporaryFolder, usage } from '../options.ts'
import { DatabaseProxy } from './databaseproxy.ts'
import { ALL_POINTS, LOCAL_POINTS, ObjectFaults, type Environment, type ObjectPoint } from './faults.ts'
import { game } from './game.ts'
import { IdlePlayer } from './idleplayer.ts'
import { isFlushed, ObjectSource } from './objectsource.ts'
import { measureRows } from './rowswritten.ts'

interface WorkerdRunOptions extends MarketRunOptions<ObjectPoint> {
  readonly unavailableMs: number
}

const FULL = { kills: 40, minAcked: 3_000, answersExpected: 40, unavailableMs: 6_500 } as const
const QUICK = { kills: 8, minAcked: 400, answersExpected: 15, unavailableMs: 800 } as const
/** One of each kind. */
const COMMON_POINTS = [
  'after-commit',
  'late-commit',
  'dropped-commit',
  'unavailable',
  'garbage',
  'database-kill',
  'evict',
] as const
const QUICK_POINTS: Readonly<Record<'local' | 'critical', readonly ObjectPoint[]>> = {
  local: [...COMMON_POINTS, 'abort'],
  critical: [...COMMON_POINTS, 'object-loss'],
}
/** An answer costs five or more requests to the database: players that think less would measure the load instead. */
const THINK_MS = 200
/** An object without a connection is woken by its alarm, 30 s after its last turn. */
const TIMEOUT_MS = 60_000
/** PlanetScale's limit is 20 s; shorter, so that transactions of dead objects end within the run. */
const TRANSACTION_MS = 10_000
const PLAYERS = 24
const IDLE_PLAYERS = 2
const ENTRY = new URL('./fixtures/marketworker.ts', import.meta.url).pathname

export async function run(args: readonly string[]): Promise<void> {
  const options = parseDrill('crash:edge', { ...MARKET_OPTIONS, points: list(ALL_POINTS) }, args)
  const { quick, seed, players = PLAYERS } = options
  const preset = quick ? QUICK : FULL
  for (const critical of quick ? [false, true] : [options.critical]) {
    const known = critical ? ALL_POINTS : LOCAL_POINTS
    const preferred = quick ? QUICK_POINTS[critical ? 'critical' : 'local'] : known
    const { kills = preset.kills, minAcked = preset.minAcked, points = preferred } = options
    const unknown = points.find((point) => !known.includes(point))
    if (unknown) usage('crash:edge', `only class critical survives --points ${unknown}`)
    const times = { timeoutMs: TIMEOUT_MS, settleMs: TIMEOUT_MS, thinkMs: THINK_MS }
    const own = { critical, seed, players, kills, minAcked, points }
    const figure = await runWorkerd({ ...preset, ...times, ...own, progress })
    printFigure(figure)
    if (figure.faults.length > 0) process.exitCode = 1
  }
}

async function runWorkerd(options: WorkerdRunOptions) {
  const ports = new FreePorts(new Random(process.pid))
  await using mariadb = await startMariadb({ port: await ports.next() })
  const client = mysqlClient({ url: mariadb.url })
  await migrate(client, [...game.tables.values()])
  const endpoint = await startPlanetscale({
    mysql: mariadb.url,
    limits: { transactionMs: TRANSACTION_MS, transactions: 2 * options.players },
  })
  const proxy = await DatabaseProxy.open(endpoint.url)
  try {
    await using workers = await startWorkers({
      entry: ENTRY,
      coreVars: { DATABASE_URL: proxy.url, ...(options.critical ? { CRITICAL: '1' } : {}) },
    })
    return await runIn({ mariadb, endpoint, proxy, workers }, client, options)
  } finally {
    proxy.close()
    await endpoint.close()
    await client.close()
  }
}

/** With violations a folder of evidence is kept, and `progress` reports its path. */
async function runIn(environment: Environment, client: SqlClient, options: WorkerdRunOptions) {
  const { workers, mariadb } = environment
  const { seed, timeoutMs } = options
  const log = new RequestLog()
  const random = new Random(seed)
  const names = playerNames(options.players)
  const connectionOf = (player: string, i: number): MarketConnection => {
    const onViolation = orderCheck(log)
    const shared = { player, url: workers.url, dial: dialWebSocket, clock: platformClock, onViolation }
    return i % 2 === 0 ? new LegacyConnection(shared) : new SdkConnection(shared)
  }
  const idlePlayers = names.slice(0, IDLE_PLAYERS).map((recipient, i) => {
    const name = `z${i}`
    return new IdlePlayer({
      name,
      prefix: `s${seed}-${name}`,
      recipients: [recipient],
      connection: connectionOf(name, i),
      log,
      random: random.fork(),
      clock: platformClock,
      mix: { ...CRASH_MIX, cut: 0 },
      thinkMs: 0,
      workers,
      client,
      timeoutMs,
    })
  })
  /** Every player with a purse. */
  const owners = (): Set<string> => new Set([...names, ...[...log.transactions.values()].map(({ player }) => player)])
  const faults = new ObjectFaults({ ...options, ...environment, log, random, players: names, idlePlayers })
  const marketRun = new MarketRun(options, log, client, {
    faults,
    random,
    connectionOf,
    settle: async () => {
      for (const player of owners())
        if (!(await until(() => isFlushed(workers, client, player), timeoutMs)))
          log.violations.add('unsettled', `MySQL did not have all turns of ${player} after ${timeoutMs} ms`)
    },
    close: async () => {
      for (const player of idlePlayers) player.abort()
    },
  })
  const rowsWrittenPerDeposit = await measureRows(workers, log)
  await marketRun.play()
  const objects = await ObjectSource.read(workers, owners())
  const figure = { ...(await marketRun.check(objects)), host: 'workerd', rowsWrittenPerDeposit }
  if (log.violations.total > 0) {
    const folder = temporaryFolder('crash-edge')
    writeFileSync(join(folder.path, 'objects.json'), JSON.stringify([...objects.objects], null, 1))
    writeFileSync(join(folder.path, 'workerd.log'), workers.logs().join('\n'))
    await marketRun.keepEvidence(folder, mariadb)
  }
  return figure
}
