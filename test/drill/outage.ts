// Drill: MySQL goes away under load and comes back. Class local goes on as if nothing had happened, class critical
// acknowledges nothing that MySQL does not have, memory stays bounded, and everything comes back by itself.
// `npm run drill:outage [-- --quick]`; one JSON line for each class and each way to go; exit 1 when that is not so.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import { mysqlClient } from '../../core/node/mysqlpool.ts'
import game from '../../examples/market/server.ts'
import { startMariadb, type Mariadb } from '../support/mariadb.ts'
import { migrate } from './crash/database.ts'
import { Child } from './outage/child.ts'
import { Stage, type Class, type Figure, type How, type Times } from './outage/stage.ts'
import { Witness } from './outage/witness.ts'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    players: { type: 'string', default: '200' },
    seconds: { type: 'string' },
  },
})

const HOWS: readonly How[] = ['kill', 'pause']
const players = Number(values.players)
const outageMs = Number(values.seconds ?? (values.quick ? 4 : 30)) * 1_000
const times: Times = values.quick
  ? { warmMs: 500, beforeMs: 1_500, outageMs, rateMs: 500, patienceMs: 15_000 }
  : { warmMs: 3_000, beforeMs: 5_000, outageMs, rateMs: 1_000, patienceMs: 30_000 }

/** One server of one class, with a database of its own. */
interface Side {
  readonly class: Class
  readonly child: Child
  readonly mysql: string
  readonly port: number
}

let isBroken = false
const folder = mkdtempSync(join(tmpdir(), 'firefly-outage-'))
process.once('exit', () => {
  if (isBroken) console.error(`kept: ${folder}`)
  else rmSync(folder, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

// Quick: both classes live through the same outages.
for (const classes of values.quick
  ? ([['local', 'critical']] as const)
  : ([['local'], ['critical']] as const)) {
  await using mariadb = await startMariadb()
  const sides = await Promise.all(classes.map((one) => side(one, mariadb)))
  for (const how of HOWS) {
    for (const figure of await outage(how, mariadb, sides)) {
      console.log(JSON.stringify(figure))
      if (figure.broken.length > 0) isBroken = true
    }
  }
  await Promise.all(sides.map(close))
}
process.exit(isBroken ? 1 : 0)

async function side(name: Class, mariadb: Mariadb): Promise<Side> {
  const url = new URL(mariadb.url)
  const admin = mysqlClient({ url: url.href, poolSize: 1 })
  await admin.query({ sql: `CREATE DATABASE outage_${name}`, params: [] })
  await admin.close()
  url.pathname = `outage_${name}`
  const client = mysqlClient({ url: url.href, poolSize: 1 })
  await migrate(client, [...game.tables.values()])
  await client.close()
  const order = { dir: join(folder, name), mysql: url.href, critical: name === 'critical' }
  const child = new Child(order, join(folder, `${name}.log`))
  process.once('exit', () => child.kill())
  return { class: name, child, mysql: url.href, port: await child.ready }
}

async function outage(how: How, mariadb: Mariadb, sides: readonly Side[]): Promise<readonly Figure[]> {
  const stages = sides.map(
    ({ class: name, child, mysql, port }) =>
      new Stage({ class: name, how, players, times }, child, new Witness(mysql), port),
  )
  await Promise.all(stages.map((stage) => stage.calm()))
  const began = Promise.withResolvers<void>()
  const over = Promise.withResolvers<void>()
  const figures = stages.map((stage) => stage.live({ began: began.promise, over: over.promise }))
  if (how === 'kill') await mariadb.kill()
  else mariadb.pause()
  began.resolve()
  console.error(`${how}: MariaDB is gone for ${outageMs / 1_000} s`)
  await sleep(outageMs)
  if (how === 'kill') await mariadb.start()
  else mariadb.resume()
  over.resolve()
  console.error(`${how}: MariaDB is back`)
  return Promise.all(figures)
}

async function close({ child }: Side): Promise<void> {
  child.stop()
  const code = await child.ended
  if (code !== 0) {
    isBroken = true
    console.error(`the server ended with ${code}`)
  }
}
