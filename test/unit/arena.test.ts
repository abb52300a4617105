// The arena's simulation and its packed world: determinism, hits, the field without edges, packing and unpacking.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Ping } from '../../examples/arena/page/ping.ts'
import { adjustBots, steerBots } from '../../examples/arena/bots.ts'
import { CREW, FIELD, gap, HZ, hueOf, SHIP, SHOT, wrap } from '../../examples/arena/rules.ts'
import { addShip, createSim, IDLE, removeShip, step, worldOf } from '../../examples/arena/sim.ts'
import type { Ship, Sim } from '../../examples/arena/sim.ts'
import { packWorld, unpackWorld, type World } from '../../examples/arena/world.ts'

const TICK = 1 / HZ

function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 0x1_0000_0000
  }
}

function place(sim: Sim, seat: number, at: Partial<Ship>): Ship {
  const ship = addShip(sim, seat, { nick: `pilot ${seat}`, score: 0 }, seeded(seat + 1))
  return Object.assign(ship, { vx: 0, vy: 0, heading: 0, shield: 0 }, at)
}

/** A shooter and a target 100 units ahead of it. */
function shooterAndTarget(targetX = 600): { sim: Sim; shooter: Ship; target: Ship } {
  const sim = createSim()
  const shooter = place(sim, 0, { x: 500, y: 450, fire: true })
  return { sim, shooter, target: place(sim, 1, { x: targetX, y: 450 }) }
}

function battle(seed: number, ticks: number): { sim: Sim; hits: number; bytes: string } {
  const sim = createSim()
  const random = seeded(seed)
  adjustBots(sim, random)
  let hits = 0
  for (let i = 0; i < ticks; i++) {
    steerBots(sim, random)
    hits += step(sim, TICK, random).length
  }
  return { sim, hits, bytes: Buffer.from(packWorld(worldOf(sim, true))).toString('hex') }
}

test('the same seed gives the same battle, another seed a different one', () => {
  const first = battle(42, 1_200)
  assert.ok(first.hits > 0, 'three bots score a hit within a minute')
  assert.deepEqual(battle(42, 1_200), first)
  assert.notEqual(battle(43, 1_200).bytes, first.bytes)
})

test('a hit gives the shooter a point; the target respawns later with a shield', () => {
  const { sim, shooter, target } = shooterAndTarget()
  const hits = Array.from({ length: 5 }, () => step(sim, TICK, seeded(5))).flat()
  const seats = hits.map(({ by, target: hit }) => [by.seat, hit.seat])
  assert.deepEqual(seats, [[0, 1]])
  assert.equal(shooter.pilot.score, 1)
  assert.equal(target.pilot.score, 0)
  assert.ok(target.respawn > 0)
  assert.equal(worldOf(sim).ships[1]?.dead, true)
  for (let i = 0; i < SHIP.respawnSeconds * HZ; i++) step(sim, TICK, seeded(6))
  assert.ok(target.respawn <= 0)
  assert.ok(target.shield > 0)
})

test('a shield stops hits and ends with the first own shot', () => {
  const { sim, shooter, target } = shooterAndTarget()
  shooter.shield = 1
  target.shield = 1
  for (let i = 0; i < 10; i++) assert.deepEqual(step(sim, TICK, seeded(1)), [])
  assert.equal(shooter.shield, 0)
})

test('a fast shot does not pass through a hull between two ticks', () => {
  for (let x = 560; x < 620; x++) {
    const { sim } = shooterAndTarget(x)
    const hits = Array.from({ length: 6 }, () => step(sim, TICK, seeded(1))).flat()
    assert.equal(hits.length, 1, `target at ${x}`)
  }
})

test('ships and shots leave on one side and enter on the other', () => {
  const sim = createSim()
  const ship = place(sim, 0, { x: FIELD.width - 1, y: 2, vx: 300, vy: -300, fire: true })
  step(sim, TICK, seeded(1))
  assert.ok(ship.x < 20 && ship.y > FIELD.height - 20, `${ship.x}, ${ship.y}`)
  const [shot] = sim.shots
  step(sim, TICK, seeded(1))
  assert.ok(shot && shot.x >= 0 && shot.x < FIELD.width && shot.y >= 0 && shot.y < FIELD.height)
  const other = place(sim, 1, { x: FIELD.width - 20, y: 450 })
  const shooter = place(sim, 2, { x: 30, y: 450, heading: Math.PI, fire: true })
  const hits = Array.from({ length: 4 }, () => step(sim, TICK, seeded(1))).flat()
  const pairs = hits.map(({ by, target }) => [by, target])
  assert.deepEqual(pairs, [[shooter, other]])
})

test('wrap and gap use the shortest distance', () => {
  const rows: [from: number, to: number, size: number, distance: number][] = [
    [10, 30, 100, 20],
    [90, 10, 100, 20],
    [10, 90, 100, -20],
    [0, 50, 100, 50],
    [0, 100, 100, 0],
    [250, 10, 100, -40],
  ]
  for (const [from, to, size, distance] of rows) assert.equal(gap(from, to, size), distance, `${from} to ${to}`)
  const wrapped = [-1, 0, 99, 100, 201].map((value) => wrap(value, 100))
  assert.deepEqual(wrapped, [99, 0, 99, 0, 1])
})

test('no ship exceeds the maximum speed or the rate of shots', () => {
  const sim = createSim()
  const ship = place(sim, 0, { x: 0, y: 0, thrust: true, fire: true })
  let fired = 0
  for (let i = 0; i < 5 * HZ; i++) {
    step(sim, TICK, seeded(1))
    fired += worldOf(sim).shots.length
    assert.ok(Math.hypot(ship.vx, ship.vy) <= SHIP.maxSpeed + 1e-9)
  }
  assert.ok(fired <= 5 / SHOT.cooldownSeconds + 1, `${fired} shots in 5 s`)
  assert.ok(sim.shots.length <= SHOT.lifeSeconds / SHOT.cooldownSeconds + 1)
})

test('a ship without pilot keeps its course, slows down, does not fire and can be hit', () => {
  const { sim, shooter, target } = shooterAndTarget(900)
  Object.assign(target, { vx: 200, turn: 1, thrust: true, fire: true }, IDLE)
  shooter.fire = false
  for (let i = 0; i < HZ; i++) step(sim, TICK, seeded(1))
  assert.deepEqual([target.heading, target.vy, sim.shots.length], [0, 0, 0])
  assert.ok(target.x > 1_000 && target.vx > 0 && target.vx < 200, `${target.x}, ${target.vx}`)
  Object.assign(shooter, { x: target.x - 60, fire: true })
  const hits = Array.from({ length: 5 }, () => step(sim, TICK, seeded(1))).flat()
  const targets = hits.map((hit) => hit.target)
  assert.deepEqual(targets, [target])
})

test('bots join while there are few humans and leave when there are enough', () => {
  const sim = createSim()
  place(sim, 0, {})
  assert.equal(adjustBots(sim, seeded(1)), true)
  assert.equal(sim.ships.size, 1 + CREW.bots.length)
  assert.equal(adjustBots(sim, seeded(1)), false)
  for (let seat = 1; seat < CREW.enoughHumans; seat++) place(sim, seat, {})
  assert.equal(adjustBots(sim, seeded(1)), true)
  assert.equal(sim.ships.size, CREW.enoughHumans)
  assert.equal(new Set([0, 1, 2, 60_000, 60_001, 60_002].map(hueOf)).size, 6)
})

test('removing a ship removes its shots', () => {
  const { sim } = shooterAndTarget()
  step(sim, TICK, seeded(1))
  assert.equal(sim.shots.length, 1)
  removeShip(sim, 0)
  assert.deepEqual([sim.ships.size, sim.shots.length], [1, 0])
})

test('a packed world is unpacked with the precision of its grid', () => {
  const world: World = {
    clock: 4_294_967_295,
    ships: [
      { seat: 0, x: 0, y: 899.96875, heading: 0, thrust: true, shield: false, dead: false },
      { seat: 65_535, x: 1_599.96875, y: 0, heading: Math.PI, thrust: false, shield: true, dead: false },
      { seat: 7, x: 800.5, y: 450.25, heading: Math.PI / 2, thrust: false, shield: false, dead: true },
    ],
    shots: [{ id: 65_535, owner: 7, x: 3.5, y: 4.25, vx: -930, vy: 929.96875, leftMs: 1_000 }],
  }
  const bytes = packWorld(world)
  assert.equal(bytes.length, 8 + 3 * 9 + 14)
  assert.deepEqual(unpackWorld(bytes), world)
  const larger = new Uint8Array(bytes.length + 9)
  larger.set(bytes, 5)
  assert.deepEqual(unpackWorld(larger.subarray(5, 5 + bytes.length)), world)
})

test('the far edge of the field is packed as its near edge', () => {
  const sim = createSim()
  place(sim, 0, { x: FIELD.width - 0.001, y: FIELD.height - 0.001 })
  const [ship] = unpackWorld(packWorld(worldOf(sim))).ships
  assert.deepEqual([ship?.x, ship?.y], [0, 0])
})

test('rejects every truncated world', () => {
  const sim = createSim()
  place(sim, 0, { fire: true, x: 0, y: 0 })
  step(sim, TICK, seeded(1))
  const bytes = packWorld(worldOf(sim))
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => unpackWorld(bytes.subarray(0, length)), RangeError, `${length} bytes`)
  }
})

test('sixty ships that all fire at the same time take less than 4 KB', () => {
  const sim = createSim()
  for (let seat = 0; seat < 60; seat++) place(sim, seat, { x: seat * 26, y: seat * 15, fire: true, cooldown: 0 })
  step(sim, TICK, seeded(1))
  const { length } = packWorld(worldOf(sim))
  assert.ok(length < 4_096, `${length} bytes`)
})

test('the ping excludes the time of a frame that delays the answer', () => {
  const ping = new Ping()
  assert.equal(ping.ms, 0)
  ping.measured(40, 1_000)
  assert.equal(ping.ms, 40)
  // A frame from 2,000 to 2,080; the answer, sent for at 1,990, is handled after it or at its end.
  ping.frameStarted(2_000)
  ping.measured(90, 2_080)
  assert.equal(ping.ms, 10)
  ping.frameEnded(2_080)
  ping.measured(91, 2_081)
  assert.equal(ping.ms, 10)
  ping.measured(30, 2_100)
  assert.equal(ping.ms, 30, 'handled long after the frame')
  ping.frameStarted(3_000)
  ping.measured(20, 3_050)
  assert.equal(ping.ms, 0.1, 'sent and answered during one frame')
})
