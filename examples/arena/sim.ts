// The simulation: ships with inertia on a field without edges, shots, hits, respawns. Invariant: it uses no network, no clock and
// no randomness but `random`, so the same seed and the same steering give the same battle.

import { FIELD, gap, hueOf, SHIP, SHOT, wrap } from './rules.ts'
import type { World } from './world.ts'

/** Uniform in 0 <= x < 1. */
export type Random = () => number

/** Outlives its ship, so that the score survives a lost connection or a restart. */
export interface Pilot {
  nick: string
  score: number
}

export interface Steering {
  turn: number
  thrust: boolean
  fire: boolean
}

export interface Ship extends Steering {
  readonly seat: number
  readonly pilot: Pilot
  readonly hue: number
  readonly bot: boolean
  /** The pilot is disconnected. */
  away: boolean
  x: number
  y: number
  vx: number
  vy: number
  heading: number
  /** Seconds until the next shot, until the respawn (0 = alive), and of remaining invulnerability. */
  cooldown: number
  respawn: number
  shield: number
}

/** No control is pressed: the ship drifts. */
export const IDLE: Steering = { turn: 0, thrust: false, fire: false }

export interface Shot {
  readonly id: number
  readonly owner: number
  x: number
  y: number
  readonly vx: number
  readonly vy: number
  left: number
  /** Fired in the last step, so not yet announced. */
  fresh: boolean
}

export interface Sim {
  clockMs: number
  readonly ships: Map<number, Ship>
  shots: Shot[]
  nextShot: number
}

export interface Hit {
  readonly by: Ship
  readonly target: Ship
  readonly shot: Shot
}

export function createSim(): Sim {
  return { clockMs: 0, ships: new Map(), shots: [], nextShot: 0 }
}

export function addShip(sim: Sim, seat: number, pilot: Pilot, random: Random, bot = false): Ship {
  const ship: Ship = {
    seat,
    pilot,
    hue: hueOf(seat),
    bot,
    away: false,
    x: 0,
    y: 0,
    vx: 0,
    vy: 0,
    heading: 0,
    ...IDLE,
    cooldown: 0,
    respawn: 0,
    shield: 0,
  }
  placeShip(sim, ship, random)
  sim.ships.set(seat, ship)
  return ship
}

/** Removes the ship and its shots: another pilot may take the seat. */
export function removeShip(sim: Sim, seat: number): void {
  sim.ships.delete(seat)
  sim.shots = sim.shots.filter((shot) => shot.owner !== seat)
}

/** Advances the simulation by `seconds`. Returns the hits; their scores are counted and their targets respawn later. */
export function step(sim: Sim, seconds: number, random: Random): Hit[] {
  sim.clockMs += seconds * 1_000
  const hits: Hit[] = []
  sim.shots = sim.shots.filter((shot) => {
    shot.fresh = false
    shot.left -= seconds
    const target = shot.left > 0 ? shipHitBy(sim, shot, seconds) : null
    shot.x = wrap(shot.x + shot.vx * seconds, FIELD.width)
    shot.y = wrap(shot.y + shot.vy * seconds, FIELD.height)
    const by = sim.ships.get(shot.owner)
    if (target && by) hits.push(destroy({ by, target, shot }))
    return shot.left > 0 && !target
  })
  for (const ship of sim.ships.values()) {
    if (ship.respawn > 0) {
      ship.respawn -= seconds
      if (ship.respawn <= 0) placeShip(sim, ship, random)
    } else {
      fly(ship, seconds)
      if (ship.fire && ship.cooldown <= 0) shoot(sim, ship)
    }
  }
  return hits
}

/** The world for the clients: all ships and the new shots, or (for a client that has just joined) all shots. */
export function worldOf(sim: Sim, allShots = false): World {
  const ships = []
  for (const ship of sim.ships.values()) {
    const { seat, x, y, heading, thrust, shield, respawn } = ship
    const dead = respawn > 0
    ships.push({ seat, x, y, heading, thrust: thrust && !dead, shield: shield > 0 && !dead, dead })
  }
  const shots = []
  for (const { id, owner, x, y, vx, vy, left, fresh } of sim.shots) {
    if (fresh || allShots) shots.push({ id, owner, x, y, vx, vy, leftMs: left * 1_000 })
  }
  return { clock: Math.round(sim.clockMs) % 0x1_0000_0000, ships, shots }
}

const LAUNCH_TRIES = 6

/** Of a few random places, takes the one farthest from any other ship. */
function placeShip(sim: Sim, ship: Ship, random: Random): void {
  let maxDistance = -1
  for (let i = 0; i < LAUNCH_TRIES; i++) {
    const x = random() * FIELD.width
    const y = random() * FIELD.height
    let nearest = Infinity
    for (const other of sim.ships.values()) {
      if (other === ship || other.respawn > 0) continue
      nearest = Math.min(nearest, Math.hypot(gap(x, other.x, FIELD.width), gap(y, other.y, FIELD.height)))
    }
    if (nearest <= maxDistance) continue
    maxDistance = nearest
    ship.x = x
    ship.y = y
  }
  ship.heading = random() * Math.PI * 2
  ship.vx = ship.vy = ship.cooldown = ship.respawn = 0
  ship.shield = SHIP.shieldSeconds
}

function fly(ship: Ship, seconds: number): void {
  ship.cooldown = Math.max(0, ship.cooldown - seconds)
  ship.shield = Math.max(0, ship.shield - seconds)
  ship.heading = wrap(ship.heading + ship.turn * SHIP.turnRate * seconds, Math.PI * 2)
  const push = ship.thrust ? SHIP.thrust * seconds : 0
  const glide = SHIP.glide ** seconds
  ship.vx = ship.vx * glide + Math.cos(ship.heading) * push
  ship.vy = ship.vy * glide + Math.sin(ship.heading) * push
  const excess = Math.hypot(ship.vx, ship.vy) / SHIP.maxSpeed
  if (excess > 1) {
    ship.vx /= excess
    ship.vy /= excess
  }
  ship.x = wrap(ship.x + ship.vx * seconds, FIELD.width)
  ship.y = wrap(ship.y + ship.vy * seconds, FIELD.height)
}

function shoot(sim: Sim, ship: Ship): void {
  const dx = Math.cos(ship.heading)
  const dy = Math.sin(ship.heading)
  sim.shots.push({
    id: sim.nextShot,
    owner: ship.seat,
    x: wrap(ship.x + dx * SHIP.radius, FIELD.width),
    y: wrap(ship.y + dy * SHIP.radius, FIELD.height),
    vx: ship.vx + dx * SHOT.speed,
    vy: ship.vy + dy * SHOT.speed,
    left: SHOT.lifeSeconds,
    fresh: true,
  })
  sim.nextShot = (sim.nextShot + 1) & 0xffff
  ship.cooldown = SHOT.cooldownSeconds
  ship.shield = 0
}

/**
 * The ship that the shot hits during this step: computes the closest approach of shot and ship, both moving. A test of the end
 * points alone would miss: a shot moves 28 units per step, a hull's radius is 14.
 */
function shipHitBy(sim: Sim, shot: Shot, seconds: number): Ship | null {
  for (const ship of sim.ships.values()) {
    if (ship.seat === shot.owner || ship.respawn > 0 || ship.shield > 0) continue
    const dx = gap(ship.x, shot.x, FIELD.width)
    const dy = gap(ship.y, shot.y, FIELD.height)
    const wx = (shot.vx - ship.vx) * seconds
    const wy = (shot.vy - ship.vy) * seconds
    const squared = wx * wx + wy * wy
    const share = squared === 0 ? 0 : Math.min(1, Math.max(0, -(dx * wx + dy * wy) / squared))
    if (Math.hypot(dx + wx * share, dy + wy * share) <= SHIP.radius) return ship
  }
  return null
}

function destroy(hit: Hit): Hit {
  hit.by.pilot.score++
  hit.target.respawn = SHIP.respawnSeconds
  hit.target.vx = hit.target.vy = 0
  return hit
}
