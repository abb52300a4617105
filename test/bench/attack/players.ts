// A child of `bench attack`: `node players.ts PORT COUNT` plays well: each of COUNT version 2 clients acts at its own
// rate, or whenever its last act was answered, and reads all that it is told. Times are from act to answer.

import { setTimeout as sleep } from 'node:timers/promises'

import { serveRequests } from './responder.ts'
import type { NamedNumbers } from './child.ts'
import { Room } from './game.ts'
import { RawClient } from '../../support/rawclient.ts'

const ACT_BYTES = 16
const STEP_MS = 1

interface Player {
  line: RawClient | null
  /** When the act of each sequence that waits was sent. */
  readonly sentMs: Map<number, number>
}

const [port, count] = process.argv.slice(2).map(Number) as [number, number]
const { act, join, plot, world } = Room.entries
const body = new Uint8Array(ACT_BYTES).fill(9)
/** Acts of a second and player; 0 = plots, one at a time, as fast as answers come. */
let perSecond = 0
let isPlaying = false
let latenciesMs: number[] = []
let sent = 0
let events = 0
const players = Array.from({ length: count }, (): Player => ({ line: null, sentMs: new Map() }))

function sendAct(player: Player): void {
  sent++
  const { number } = perSecond === 0 ? plot : act
  player.sentMs.set(player.line!.call(number, body), performance.now())
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
      player.line = await RawClient.open({
        transport: 'tcp',
        protocol: 'v2',
        port,
        contract: Room.name,
        key: 'players',
        firstEvent: world.number,
        onReply: (sequence) => onReply(player, sequence),
        onEvent: () => events++,
        onClosed: (why) => {
          throw new Error(`a good player was thrown out: ${why}`)
        },
      })
      player.line.call(join.number, body)
    }),
  )
  return {}
}

/** Players act one behind the other, evenly over the second. */
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
  pace(rate) {
    perSecond = rate
    isPlaying = true
    if (rate === 0) for (const player of players) sendAct(player)
    return {}
  },
  /** No more acts; answers once nothing waits. */
  async rest() {
    isPlaying = false
    while (players.some(({ sentMs }) => sentMs.size > 0)) await sleep(STEP_MS)
    return {}
  },
  /** What happens in so many milliseconds. */
  async sample(ms) {
    latenciesMs = []
    sent = events = 0
    const startMs = performance.now()
    await sleep(ms)
    const seconds = (performance.now() - startMs) / 1_000
    const sorted = latenciesMs.toSorted((a, b) => a - b)
    const at = (part: number): number => sorted[Math.floor((sorted.length - 1) * part)] ?? NaN
    return {
      sent: sent / seconds,
      answers: sorted.length / seconds,
      events: events / seconds,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
    }
  },
})
