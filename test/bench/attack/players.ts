// A child of `bench attack`: `node players.ts PORT COUNT` runs COUNT correct version 2 clients. Each acts at the set
// rate, or as soon as its last act has its reply, and reads everything. Latencies are from act to reply.

import { setTimeout as sleep } from 'node:timers/promises'

import { percentile } from '../latency.ts'
import { serveRequests } from './responder.ts'
import type { NamedNumbers } from './child.ts'
import { Room } from './game.ts'
import { RawClient } from '../../support/rawclient.ts'
import { DEADLINE_MS } from '../../support/wait.ts'

const ACT_BYTES = 16
const STEP_MS = 1

interface Player {
  client: RawClient | null
  /** When each act without a reply was sent, by sequence. */
  readonly sentMs: Map<number, number>
}

const [port, count] = process.argv.slice(2).map(Number) as [number, number]
const { act, join, plot, world } = Room.entries
const body = new Uint8Array(ACT_BYTES).fill(9)
/** Acts per second and player; 0 = plots, one at a time, as fast as replies arrive. */
let perSecond = 0
let isPlaying = false
let latenciesMs: number[] = []
let sent = 0
let events = 0
const players = Array.from({ length: count }, (): Player => ({ client: null, sentMs: new Map() }))

function sendAct(player: Player): void {
  sent++
  const { number } = perSecond === 0 ? plot : act
  player.sentMs.set(player.client!.call(number, body), performance.now())
}

function onReply(player: Player, sequence: number): void {
  const sentMs = player.sentMs.get(sequence)
  if (sentMs === undefined) return
  player.sentMs.delete(sequence)
  latenciesMs.push(performance.now() - sentMs)
  if (isPlaying && perSecond === 0) sendAct(player)
}

async function openPlayers(): Promise<NamedNumbers> {
  await Promise.all(
    players.map(async (player) => {
      player.client = await RawClient.open({
        transport: 'tcp',
        protocol: 'v2',
        port,
        contract: Room.name,
        key: 'players',
        firstEvent: world.number,
        onReply: (sequence) => onReply(player, sequence),
        onEvent: () => events++,
        onClosed: (reason) => {
          throw new Error(`the server closed the connection of a player: ${reason}`)
        },
      })
      player.client.call(join.number, body)
    }),
  )
  return {}
}

// Players act one after the other, evenly distributed over the second.
let actsDue = 0
let next = 0
let lastMs = performance.now()
setInterval(() => {
  const nowMs = performance.now()
  actsDue += (isPlaying ? perSecond * count * (nowMs - lastMs) : 0) / 1_000
  for (lastMs = nowMs; actsDue >= 1; actsDue--) sendAct(players[next++ % count]!)
}, STEP_MS)

serveRequests({
  open: openPlayers,
  setRate(rate) {
    perSecond = rate
    isPlaying = true
    if (rate === 0) for (const player of players) sendAct(player)
    return {}
  },
  /** Stops the acts; resolves when every act has its reply. */
  async drain() {
    isPlaying = false
    while (players.some(({ sentMs }) => sentMs.size > 0)) await sleep(STEP_MS)
    return {}
  },
  /** Counts what happens within `ms`; on a busy machine longer, until there is an answer. */
  async sample(ms) {
    latenciesMs = []
    sent = events = 0
    const startMs = performance.now()
    do await sleep(ms)
    while (latenciesMs.length === 0 && performance.now() - startMs < DEADLINE_MS)
    const seconds = (performance.now() - startMs) / 1_000
    return {
      sent: sent / seconds,
      answers: latenciesMs.length / seconds,
      events: events / seconds,
      p50Ms: percentile(latenciesMs, 0.5),
      p99Ms: percentile(latenciesMs, 0.99),
    }
  },
})
