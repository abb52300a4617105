// Drill: MySQL is unavailable under load and returns. Class local keeps its rate, class critical acknowledges nothing
// that MySQL does not have, memory stays bounded, and both recover by themselves. `npm run drill:outage [--
// --quick]`: one figure per class and mode. Exit 1 when one of these is not so.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import game from '../../../examples/market/server.ts'
import { printFigure, progress } from '../../support/figure.ts'
import type { DatabaseServer } from '../../support/databaseserver.ts'
import { startMariadb } from '../../support/mariadb.ts'
import { createDatabase } from '../market/sources.ts'
import { flag, parseDrill, positive, temporaryFolder, whole } from '../options.ts'
import { OutageRun, ServerUnderTest, type Class, type Mode, type Times } from './outagerun.ts'

const MODES: readonly Mode[] = ['kill', 'pause']
const QUICK = { warmMs: 500, beforeMs: 1_500, outageMs: 4_000, rateMs: 500, timeoutMs: 30_000 } as const
const FULL = { warmMs: 3_000, beforeMs: 5_000, outageMs: 30_000, rateMs: 1_000, timeoutMs: 30_000 } as const

export async function run(args: readonly string[]): Promise<void> {
  const { quick, players, seconds } = parseDrill(
    'outage',
    { quick: flag, players: whole(200, { min: 2 }), seconds: positive(3_600) },
    args,
  )
  const preset = quick ? QUICK : FULL
  const times: Times = { ...preset, outageMs: seconds === undefined ? preset.outageMs : seconds * 1_000 }
  const folder = temporaryFolder('outage')
  const fail = (): void => {
    process.exitCode = 1
    folder.keep()
  }
  // Quick: both classes have the same outages.
  const groups: readonly (readonly Class[])[] = quick ? [['local', 'critical']] : [['local'], ['critical']]
  for (const classes of groups) {
    await using mariadb = await startMariadb()
    const servers = await Promise.all(classes.map((name) => startServer(name, mariadb, folder.path)))
    for (const mode of MODES)
      for (const figure of await runOutage(mode, mariadb, servers, players, times)) {
        printFigure(figure)
        if (figure.broken.length > 0) fail()
      }
    for (const server of servers) {
      const { code } = await server.process.stop()
      if (code === 0) continue
      fail()
      progress(`the server of class ${server.class} ended with ${code}`)
    }
  }
  if (process.exitCode) progress(`evidence in ${folder.path}`)
}

async function startServer(name: Class, mariadb: DatabaseServer, folder: string): Promise<ServerUnderTest> {
  const mysql = await createDatabase(mariadb.url, `outage_${name}`, [...game.tables.values()])
  const order = { dir: join(folder, name), mysql, critical: name === 'critical' }
  const server = new ServerUnderTest(name, order, join(folder, `${name}.log`))
  await server.process.ready
  return server
}

async function runOutage(
  mode: Mode,
  mariadb: DatabaseServer,
  servers: readonly ServerUnderTest[],
  players: number,
  times: Times,
) {
  const runs = await Promise.all(
    servers.map(async (server) => {
      const { tcp } = await server.process.ready
      return new OutageRun(server, mode, players, tcp, times)
    }),
  )
  await Promise.all(runs.map((outageRun) => outageRun.measureBefore()))
  const began = Promise.withResolvers<void>()
  const over = Promise.withResolvers<void>()
  const outage = { began: began.promise, over: over.promise }
  const figures = runs.map((outageRun) => outageRun.measureOutage(outage))
  if (mode === 'kill') await mariadb.kill()
  else mariadb.pause()
  began.resolve()
  progress(`${mode}: MariaDB is unavailable for ${times.outageMs / 1_000} s`)
  await sleep(times.outageMs)
  if (mode === 'kill') await mariadb.start()
  else mariadb.resume()
  over.resolve()
  progress(`${mode}: MariaDB is available again`)
  return Promise.all(figures)
}
