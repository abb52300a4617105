// Company for a lone newcomer: when bots come and go, and what each holds down. A bot hunts the nearest ship, aims
// ahead of it, and shoots less well than it could, because a newcomer should win. All chance comes in as `random`.

import { CREW, FIELD, gap, SHOT, turnTo } from './rules.ts'
import { addShip, IDLE, removeShip, type Random, type Ship, type Sim, type Steering } from './sim.ts'

const SIGHT = 620
const MIN_DISTANCE = 170
const RANGE = 430
/** Chance of pulling the trigger in one step of 1/20 s when the aim is good: about 1.5 shots a second. */
const FIRE_CHANCE = 0.08

/** Bots come while few humans fly and go when there are enough; true when anybody came or went. */
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

/** Every bot looks at the battle once and steers. */
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
  // Too near: swerve past instead of ramming. The side depends on the seat, so two bots do not mirror each other.
  const course = distance < MIN_DISTANCE ? aim + (me.seat % 2 === 0 ? 0.9 : -0.9) : aim
  const off = turnTo(me.heading, course)
  const steady = Math.abs(off) < 0.12
  return {
    turn: steady || random() < 0.15 ? 0 : Math.sign(off),
    thrust:
      Math.abs(off) < 0.9 && (distance > MIN_DISTANCE ? Math.hypot(me.vx, me.vy) < 230 : random() < 0.4),
    fire:
      me.shield <= 0 && target.shield <= 0 && distance < RANGE && random() < FIRE_CHANCE && facing(me, aim),
  }
}

function facing(me: Ship, aim: number): boolean {
  return Math.abs(turnTo(me.heading, aim)) < 0.2
}

// Beyond sight a bot still heads for somebody, but a human counts as nearer than another bot.
function nearest(sim: Sim, me: Ship): Ship | null {
  let found: Ship | null = null
  let best = Infinity
  for (const ship of sim.ships.values()) {
    if (ship === me || ship.respawn > 0) continue
    const away = Math.hypot(gap(me.x, ship.x, FIELD.width), gap(me.y, ship.y, FIELD.height))
    const cost = ship.bot ? away + SIGHT : away
    if (cost < best) {
      best = cost
      found = ship
    }
  }
  return found
}
