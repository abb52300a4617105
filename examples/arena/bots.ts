// Bots for an arena with few players: when they join and leave, and how they steer. A bot follows the nearest ship and aims ahead
// of it, but shoots rarely, so that a new player can win. The caller passes `random`.

import { CREW, FIELD, gap, SHOT, turnTo } from './rules.ts'
import { addShip, IDLE, removeShip, type Random, type Ship, type Sim, type Steering } from './sim.ts'

const SIGHT = 620
const MIN_DISTANCE = 170
const RANGE = 430
/** Probability of a shot per step of 1/20 s while aiming well: about 1.5 shots per second. */
const FIRE_CHANCE = 0.08

/** Adds the bots while there are few humans, removes them otherwise. Returns true when a ship was added or removed. */
export function adjustBots(sim: Sim, random: Random): boolean {
  const wanted = humansIn(sim) < CREW.enoughHumans ? CREW.bots.length : 0
  let changed = false
  for (const [i, nick] of CREW.bots.entries()) {
    const seat = CREW.firstBotSeat + i
    if (sim.ships.has(seat) === i < wanted) continue
    if (i < wanted) addShip(sim, seat, { nick, score: 0 }, random, true)
    else removeShip(sim, seat)
    changed = true
  }
  return changed
}

export function humansIn(sim: Sim): number {
  let humans = 0
  for (const ship of sim.ships.values()) if (!ship.bot) humans++
  return humans
}

/** Computes the steering of every bot. */
export function steerBots(sim: Sim, random: Random): void {
  for (const ship of sim.ships.values()) if (ship.bot) Object.assign(ship, steeringOf(sim, ship, random))
}

function steeringOf(sim: Sim, me: Ship, random: Random): Steering {
  const target = nearest(sim, me)
  if (!target || me.respawn > 0) return IDLE
  const dx = gap(me.x, target.x, FIELD.width)
  const dy = gap(me.y, target.y, FIELD.height)
  const distance = Math.hypot(dx, dy)
  const flight = distance / SHOT.speed
  const aim = Math.atan2(dy + (target.vy - me.vy) * flight, dx + (target.vx - me.vx) * flight)
  // Too close: turn aside instead of colliding. The side depends on the seat, so two bots do not mirror each other.
  const course = distance < MIN_DISTANCE ? aim + (me.seat % 2 === 0 ? 0.9 : -0.9) : aim
  const off = turnTo(me.heading, course)
  const steady = Math.abs(off) < 0.12
  return {
    turn: steady || random() < 0.15 ? 0 : Math.sign(off),
    thrust: Math.abs(off) < 0.9 && (distance > MIN_DISTANCE ? Math.hypot(me.vx, me.vy) < 230 : random() < 0.4),
    fire: me.shield <= 0 && target.shield <= 0 && distance < RANGE && random() < FIRE_CHANCE && facing(me, aim),
  }
}

function facing(me: Ship, aim: number): boolean {
  return Math.abs(turnTo(me.heading, aim)) < 0.2
}

// The distance to a bot is increased by SIGHT, so that humans are preferred.
function nearest(sim: Sim, me: Ship): Ship | null {
  let target: Ship | null = null
  let minCost = Infinity
  for (const ship of sim.ships.values()) {
    if (ship === me || ship.respawn > 0) continue
    const distance = Math.hypot(gap(me.x, ship.x, FIELD.width), gap(me.y, ship.y, FIELD.height))
    const cost = ship.bot ? distance + SIGHT : distance
    if (cost < minCost) {
      minCost = cost
      target = ship
    }
  }
  return target
}
