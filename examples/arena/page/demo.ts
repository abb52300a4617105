// The battle behind the start screen: the server's simulation, run in the page with bots only. The simulation needs no server: it
// is a function of steering and randomness.

import { adjustBots, steerBots } from '../bots.ts'
import { HZ } from '../rules.ts'
import { addShip, createSim, step, worldOf } from '../sim.ts'
import type { Battle } from './battle.ts'

const GUESTS = ['Deneb', 'Mira', 'Spica', 'Castor'] as const

/** Returns a function that stops the demo. */
export function startDemo(battle: Battle): () => void {
  const sim = createSim()
  const { random } = Math
  adjustBots(sim, random)
  for (const [i, nick] of GUESTS.entries()) addShip(sim, i, { nick, score: 0 }, random, true)
  battle.reset()
  const pilots = [...sim.ships.values()].map(({ seat, pilot, hue, bot }) => ({
    ...pilot,
    seat,
    hue,
    bot: bot && seat > 9,
    away: false,
  }))
  battle.roster(pilots)
  const timer = setInterval(() => {
    steerBots(sim, random)
    const hits = step(sim, 1 / HZ, random)
    battle.world(worldOf(sim))
    for (const { by, target, shot } of hits) {
      const { x, y } = target
      battle.hit({ by: by.seat, target: target.seat, shot: shot.id, x, y, score: by.pilot.score })
    }
  }, 1_000 / HZ)
  return () => clearInterval(timer)
}
