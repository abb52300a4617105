// All players log in at once on a machine with an empty disk: each shard loads its rows from MySQL before it replies.

import { openHost } from '../../../core/node/host.ts'
import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import type { Engine } from '../../../core/engine/engine.ts'
import { NEW_CHANNEL_DEFAULTS, type ChannelIn, type ChannelOut } from '../../../core/ports/link.ts'
import type { SqlValue } from '../../../core/sql/client.ts'
import { insertInto } from '../../../core/sql/statements.ts'
import { json } from '../../../core/wire/codec.ts'
import { Purse } from '../../../examples/market/contract.ts'
import market from '../../../examples/market/server.ts'
import { printRatio } from '../figure.ts'
import { IGNORING_CHANNEL_OUT } from '../../support/channelout.ts'
import { progress, roundFigure } from '../../support/figure.ts'
import { measureLag, percentile } from '../latency.ts'
import type { BenchEnvironment } from './environment.ts'

const ENTRIES = 5
/** A player that receives an error retries after about this time. */
const RETRY_MS = 1_000
const TIMEOUT_MS = 60_000
const NONE = { kind: 'max', value: 0 } as const

export async function measureLogin(environment: BenchEnvironment): Promise<void> {
  const players = environment.profile.quick ? 800 : 5_000
  const mysql = await environment.createDatabase('login', market)
  await insertPlayers(mysql, players)
  progress(`login: ${players} players are in MySQL`)
  const host = await openHost({ game: market, dir: environment.folderOf('login'), mysql, logLevel: 'silent' })
  try {
    const burst = new LoginBurst(host.engine, players)
    const [seconds, lag] = await measureLag(() => burst.run())
    const failed = burst.failed.size
    const errors = [...burst.errors].map(([code, count]) => `${code} ${count}`).join(', ')
    const labels = {
      bench: 'state',
      figure: 'login',
      players,
      rows: players * (1 + ENTRIES),
      answered: burst.latenciesMs.length,
      seconds: roundFigure(seconds),
      perSecond: roundFigure(burst.latenciesMs.length / seconds),
      p50Ms: roundFigure(percentile(burst.latenciesMs, 0.5)),
      p99Ms: roundFigure(percentile(burst.latenciesMs, 0.99)),
      ...lag,
      loads: host.tiers!.metrics.loads,
      failed,
      errors,
    }
    printRatio(environment.profile, labels, failed / players, NONE)
  } finally {
    await host.close()
  }
}

function goldOf(player: number): number {
  return 1_000 + player
}

async function insertPlayers(url: string, players: number): Promise<void> {
  const client = mysqlClient({ url, poolSize: 1 })
  const purses: SqlValue[][] = []
  const ledger: SqlValue[][] = []
  for (let i = 0; i < players; i++) {
    const gold = goldOf(i)
    purses.push([`p${i}`, gold, 0, ENTRIES])
    for (let n = 0; n < ENTRIES; n++) {
      const first = gold - ENTRIES + 1
      ledger.push([`p${i}`, n, `own:${n}`, String(n), 'deposit', n === 0 ? first : 1, first + n])
    }
  }
  for (const { statement } of [
    ...insertInto('purse', ['player', 'gold', 'pending', 'entries'], purses),
    ...insertInto('ledger', ['player', 'n', 'cause', 'id', 'kind', 'amount', 'gold'], ledger),
  ])
    await client.query(statement)
  await client.close()
}

class LoginBurst {
  /** From the opening of the channel to the reply. */
  readonly latenciesMs: number[] = []
  readonly errors = new Map<string, number>()
  /** Players that received an error. */
  readonly failed = new Set<number>()
  readonly #engine: Engine
  readonly #players: number
  #hasTimedOut = false
  readonly #done = Promise.withResolvers<void>()

  constructor(engine: Engine, players: number) {
    this.#engine = engine
    this.#players = players
  }

  /** Returns the seconds until the last reply, or until the timeout. */
  async run(): Promise<number> {
    const startMs = performance.now()
    const timer = setTimeout(() => {
      this.#hasTimedOut = true
      this.#done.resolve()
    }, TIMEOUT_MS)
    for (let i = 0; i < this.#players; i++) this.#open(i)
    await this.#done.promise
    clearTimeout(timer)
    return (performance.now() - startMs) / 1_000
  }

  #open(player: number): void {
    const startMs = performance.now()
    const session = new Uint8Array(16)
    new DataView(session.buffer).setUint32(0, player)
    const { number } = Purse.entries.balance
    let sequence = 0
    let channel: ChannelIn | null = null
    const callBalance = (): void => {
      if (!this.#hasTimedOut) channel?.submitCall(++sequence, number, 0, 0, json.encode({}))
    }
    const out: ChannelOut = {
      ...IGNORING_CHANNEL_OUT,
      reply: (_sequence, _command, body) => {
        const { gold } = json.decode(body) as { gold: number }
        if (gold !== goldOf(player))
          this.#done.reject(new Error(`login: player ${player} has ${gold} gold, not ${goldOf(player)}`))
        this.latenciesMs.push(performance.now() - startMs)
        if (this.latenciesMs.length === this.#players) this.#done.resolve()
      },
      error: (_sequence, _command, _kind, code) => {
        this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
        this.failed.add(player)
        setTimeout(callBalance, RETRY_MS * (0.5 + Math.random()))
      },
      channelClosed: (code) => this.#done.reject(new Error(`login: the channel of player ${player}: ${code}`)),
    }
    const shard = { contract: Purse.name, key: `p${player}` }
    channel = this.#engine.open({ ...NEW_CHANNEL_DEFAULTS, shard, session, channel: 1 }, out)
    callBalance()
  }
}
