// Plays the received worlds back with a short delay: it interpolates between two received worlds instead of predicting, so motion
// stays smooth while packets jitter. Ships, shots and effects share one clock.

import { FIELD, gap, turnTo, wrap } from '../rules.ts'
import type { ShipDot, ShotDot, World } from '../world.ts'

export interface ShipView extends ShipDot {
  /** Units per second, from the last two worlds. */
  readonly vx: number
  readonly vy: number
}
export interface ShotView {
  readonly owner: number
  readonly x: number
  readonly y: number
  readonly vx: number
  readonly vy: number
  /** 1 when fired, falling to 0 at its end. */
  readonly remaining: number
}

interface Flight extends ShotDot {
  readonly clock: number
  /** Game time at which it hit something. */
  endsAt: number
}

/** Two worlds at 20 Hz: one late packet is not visible. */
const BEHIND_MS = 100
/** Beyond the newest world ships continue for this long, then stop. */
const GLIDE_MS = 120
const MAX_WORLDS = 30
/** A hidden page draws nothing: events older than this are dropped when it is visible again. */
const STALE_MS = 700
const MAX_SCHEDULED = 256
/** A ship that moved farther between two worlds has respawned. */
const JUMP = 120

export class Timeline {
  #worlds: World[] = []
  #flights = new Map<number, Flight>()
  #scheduled: { readonly at: number; readonly run: () => void }[] = []
  /** Local time minus game time of the fastest packets. */
  #offset: number | null = null

  reset(): void {
    this.#worlds = []
    this.#flights.clear()
    this.#scheduled = []
    this.#offset = null
  }

  /** The last received world, ahead of the picture. */
  get newest(): World | undefined {
    return this.#worlds.at(-1)
  }

  push(world: World, nowMs: number): void {
    const last = this.#worlds.at(-1)
    if (last && world.clock < last.clock) this.reset()
    this.#synchroniseClock(nowMs - world.clock)
    if (last?.clock === world.clock) this.#worlds.pop()
    this.#worlds.push(world)
    if (this.#worlds.length > MAX_WORLDS) this.#worlds.shift()
    for (const [id, flight] of this.#flights) if (flight.endsAt + STALE_MS < world.clock) this.#flights.delete(id)
    for (const shot of world.shots) {
      if (!this.#flights.has(shot.id)) {
        this.#flights.set(shot.id, { ...shot, clock: world.clock, endsAt: world.clock + shot.leftMs })
      }
    }
  }

  /** Runs a function when the picture reaches the newest world: an event belongs to the world before it. */
  schedule(run: () => void): void {
    this.#scheduled.push({ at: this.newest?.clock ?? 0, run })
    if (this.#scheduled.length > MAX_SCHEDULED) this.#scheduled.shift()
  }

  endShot(id: number): void {
    const flight = this.#flights.get(id)
    if (flight) flight.endsAt = this.newest?.clock ?? 0
  }

  removeShots(owner: number): void {
    for (const [id, flight] of this.#flights) if (flight.owner === owner) this.#flights.delete(id)
  }

  at(nowMs: number): { ships: ShipView[]; shots: ShotView[] } {
    const clock = nowMs - (this.#offset ?? nowMs) - BEHIND_MS
    while (this.#scheduled[0] && this.#scheduled[0].at <= clock) {
      const { at, run } = this.#scheduled.shift()!
      if (clock - at < STALE_MS) run()
    }
    return { ships: this.#shipsAt(clock), shots: this.#shotsAt(clock) }
  }

  /** Adapts to faster packets quickly and to slower ones slowly, because only the delay varies. */
  #synchroniseClock(sample: number): void {
    const off = this.#offset === null ? Infinity : sample - this.#offset
    if (Math.abs(off) > 500) this.#offset = sample
    else this.#offset! += off * (off < 0 ? 0.25 : 0.01)
  }

  #shipsAt(clock: number): ShipView[] {
    const worlds = this.#worlds
    let next = worlds.findIndex((world) => world.clock >= clock)
    if (next < 0) next = worlds.length - 1
    const to = worlds[next]
    if (!to) return []
    const from = worlds[Math.max(0, next - 1)]!
    const span = to.clock - from.clock
    const share = span === 0 ? 1 : Math.min((clock - from.clock) / span, 1 + GLIDE_MS / span)
    const before = new Map(from.ships.map((ship) => [ship.seat, ship]))
    return to.ships.map((ship) => between(before.get(ship.seat), ship, share, span))
  }

  #shotsAt(clock: number): ShotView[] {
    const shots: ShotView[] = []
    for (const flight of this.#flights.values()) {
      const age = clock - flight.clock
      if (age < 0 || clock >= flight.endsAt) continue
      const { owner, vx, vy } = flight
      const x = wrap(flight.x + (vx * age) / 1_000, FIELD.width)
      const y = wrap(flight.y + (vy * age) / 1_000, FIELD.height)
      shots.push({ owner, x, y, vx, vy, remaining: 1 - age / flight.leftMs })
    }
    return shots
  }
}

function between(from: ShipDot | undefined, to: ShipDot, share: number, span: number): ShipView {
  if (!from || span === 0) return { ...to, vx: 0, vy: 0 }
  const dx = gap(from.x, to.x, FIELD.width)
  const dy = gap(from.y, to.y, FIELD.height)
  // A respawn or a destruction is not interpolated: the change is shown at its time.
  const cut = from.dead !== to.dead || Math.hypot(dx, dy) > JUMP
  if (cut) return { ...(share < 1 ? from : to), vx: 0, vy: 0 }
  return {
    ...to,
    x: wrap(from.x + dx * share, FIELD.width),
    y: wrap(from.y + dy * share, FIELD.height),
    heading: from.heading + turnTo(from.heading, to.heading) * Math.min(1, share),
    vx: (dx * 1_000) / span,
    vy: (dy * 1_000) / span,
  }
}
