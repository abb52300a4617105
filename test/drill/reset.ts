// Drill: players stay connected while the Durable Object of their shard is reset. Real workerd, edge and core; half of the
// players use legacy frames, half version 2. Invariant: each player always has one durable call in progress, so the longest
// silence is the pause around a reset, and the shard's counter shows whether a call was lost or applied twice.

import { setTimeout as sleep } from 'node:timers/promises'

import { utf8Encoder } from '../../core/wire/bytes.ts'
import { oneDecimal, printFigure, quantile } from '../support/figure.ts'
import { RawClient } from '../support/rawclient.ts'
import { until } from '../support/wait.ts'
import { startWorkers } from '../support/workers.ts'
import { parseDrill, whole } from './options.ts'

const THINK_MS = 20
const INTERVAL_MS = 1_500
const STOP_MS = 10_000
const ADD = 302
const BODY = utf8Encoder.encode('{"by":1}')

class ResetPlayer {
  answers = 0
  closes = 0
  /** The longest time from a call to its reply since `takePause`. */
  #pauseMs = 0
  #calledMs = 0
  #client: RawClient | null = null
  #isWaiting = false
  #isStopping = false

  async start(port: number, protocol: 'legacy' | 'v2'): Promise<void> {
    this.#client = await RawClient.open({
      transport: 'ws',
      protocol,
      port,
      contract: 'drill',
      key: 'main',
      resend: true,
      onReply: () => this.#answered(),
      onError: (reason) => {
        throw new Error(`a call of a player failed: ${reason}`)
      },
      onClosed: () => this.closes++,
    })
    this.#call()
  }

  /** Sends no further call. */
  stop(): void {
    this.#isStopping = true
  }

  get isDone(): boolean {
    return !this.#isWaiting || this.closes > 0
  }

  takePause(): number {
    const pauseMs = this.#pauseMs
    this.#pauseMs = 0
    return pauseMs
  }

  close(): void {
    this.#client?.close()
  }

  #call(): void {
    if (this.#isStopping) return
    this.#isWaiting = true
    this.#calledMs = performance.now()
    this.#client?.call(ADD, BODY)
  }

  #answered(): void {
    this.answers++
    this.#isWaiting = false
    this.#pauseMs = Math.max(this.#pauseMs, performance.now() - this.#calledMs)
    setTimeout(() => this.#call(), THINK_MS)
  }
}

export async function run(args: readonly string[]): Promise<void> {
  const { players: count, resets } = parseDrill(
    'reset',
    { players: whole(50, { min: 1 }), resets: whole(5, { min: 1 }) },
    args,
  )
  await using workers = await startWorkers({
    entry: new URL('../conformance/fixtures/resetworker.ts', import.meta.url).pathname,
  })
  const port = Number(new URL(workers.url).port)
  const players = Array.from({ length: count }, () => new ResetPlayer())
  await Promise.all(players.map((player, i) => player.start(port, i % 2 === 1 ? 'v2' : 'legacy')))
  const takePauses = (): number[] => players.map((player) => player.takePause())
  await sleep(INTERVAL_MS)
  takePauses()
  await sleep(INTERVAL_MS)
  const calmMs = Math.max(...takePauses())

  const pausesMs: number[] = []
  for (let i = 0; i < resets; i++) {
    await workers.abortShard('drill', 'main')
    await sleep(INTERVAL_MS)
    pausesMs.push(...takePauses())
  }
  for (const player of players) player.stop()
  await until(() => players.every(({ isDone }) => isDone), STOP_MS)

  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
  const answers = sum(players.map((player) => player.answers))
  const disconnects = sum(players.map((player) => player.closes))
  const meta = "SELECT value FROM meta WHERE name = 'activation'"
  const [activation] = await workers.queryShard('drill', 'main', meta)
  const kv = "SELECT hex(value) AS total FROM kv WHERE name = 'total'"
  const [row] = await workers.queryShard('drill', 'main', kv)
  const total = unsignedOf(String(row?.['total']))
  for (const player of players) player.close()
  printFigure({
    drill: 'reset',
    players: count,
    resets,
    activations: activation?.['value'],
    disconnects,
    answers,
    lost: Math.max(0, answers - total),
    twice: Math.max(0, total - answers),
    pauseMsCalm: oneDecimal(calmMs),
    pauseMsP50: quantile(pausesMs, 0.5),
    pauseMsMax: oneDecimal(Math.max(...pausesMs)),
  })
  process.exitCode = disconnects === 0 && answers === total ? 0 : 1
}

/** @param hex a MessagePack unsigned integer */
function unsignedOf(hex: string): number {
  const bytes = Buffer.from(hex, 'hex')
  return bytes[0]! < 0x80 ? bytes[0]! : bytes.readUIntBE(1, bytes.length - 1)
}
