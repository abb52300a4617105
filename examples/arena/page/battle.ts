// One battle on the page: receives its events, tracks the roster, and updates picture, scores and sound. The events come from the
// server or from the demo behind the start screen.

import { FIELD, gap, hueOf } from '../rules.ts'
import type { World } from '../world.ts'
import type { Look, Picture } from './draw.ts'
import type { Hud, ScoreLine } from './hud.ts'
import type { Sound } from './sound.ts'
import { Timeline, type ShipView } from './timeline.ts'

export interface HitEvent {
  readonly by: number
  readonly target: number
  readonly shot: number
  readonly x: number
  readonly y: number
  readonly score: number
}

const HEARING_RANGE = 900

export class Battle {
  readonly #picture: Picture
  readonly #hud: Hud
  readonly #sound: Sound
  readonly #timeline = new Timeline()
  #roster = new Map<number, ScoreLine>()
  #alive = new Set<number>()
  #scoresStale = true
  #killer = ''
  #seat: number | null = null

  constructor(picture: Picture, hud: Hud, sound: Sound) {
    this.#picture = picture
    this.#hud = hud
    this.#sound = sound
  }

  /** Discards all state of the previous activation. */
  reset(): void {
    this.#timeline.reset()
    this.#picture.particles.clear()
    this.#alive.clear()
    this.#killer = ''
    this.#scoresStale = true
  }

  get newest(): World | undefined {
    return this.#timeline.newest
  }

  /** The own seat; null = not playing. */
  get seat(): number | null {
    return this.#seat
  }

  takeSeat(seat: number | null): void {
    this.#seat = seat
  }

  get humans(): number {
    let humans = 0
    for (const line of this.#roster.values()) if (!line.bot) humans++
    return humans
  }

  pilotOf(seat: number): ScoreLine | undefined {
    return this.#roster.get(seat)
  }

  world(world: World): void {
    this.#timeline.push(world, performance.now())
    for (const { owner, x, y, leftMs } of world.shots) {
      if (leftMs < 900) continue // fired before this page joined
      this.#timeline.schedule(() => {
        this.#picture.particles.muzzle(x, y, this.#look(owner).hue)
        this.#sound.shot(owner === this.#seat ? 1 : this.#volumeAt(x, y) * 0.6)
      })
    }
  }

  roster(lines: readonly ScoreLine[]): void {
    this.#roster = new Map(lines.map((line) => [line.seat, line]))
    this.#scoresStale = true
  }

  joined(seat: number, nick: string): void {
    if (seat !== this.#seat) this.#hud.feed({ nick, hue: this.#look(seat).hue }, 'joined the battle')
  }

  left(seat: number, nick: string): void {
    this.#timeline.removeShots(seat)
    this.#hud.feed({ nick, hue: this.#look(seat).hue }, 'left')
  }

  hit({ by, target, shot, x, y, score }: HitEvent): void {
    const shooter = this.#roster.get(by)
    if (shooter) this.#roster.set(by, { ...shooter, score })
    this.#timeline.endShot(shot)
    // Looked up now: a pilot that leaves in the meantime is removed from the roster.
    const victim = this.#look(target)
    const winner = this.#look(by)
    this.#timeline.schedule(() => {
      this.#scoresStale = true
      this.#picture.particles.explosion(x, y, victim.hue)
      this.#picture.shake(target === this.#seat ? 1 : 0.55, x, y)
      this.#sound.explosion(this.#volumeAt(x, y))
      if (by === this.#seat) this.#picture.particles.floatingText(x, y, winner.hue, '+1')
      if (target === this.#seat) this.#killer = winner.nick
      this.#hud.feed(winner, '✦', victim)
    })
  }

  /** Draws one frame. `thrust`: the own thrust control is pressed. */
  frame(nowMs: number, thrust: boolean): void {
    const { ships, shots } = this.#timeline.at(nowMs)
    this.#showArrivals(ships)
    const own = ships.find((ship) => ship.seat === this.#seat)
    if (own && !own.dead) this.#killer = ''
    this.#hud.deathMessage(own?.dead && this.#killer ? `destroyed by ${this.#killer}` : '')
    this.#sound.engine(thrust && own !== undefined && !own.dead)
    this.#picture.draw({ ships, shots, seat: this.#seat, thrust, look: (seat) => this.#look(seat) }, nowMs)
    if (!this.#scoresStale) return
    this.#scoresStale = false
    this.#hud.scores(this.#roster.values(), this.#seat)
  }

  #showArrivals(ships: readonly ShipView[]): void {
    const alive = new Set<number>()
    for (const { seat, dead, x, y } of ships) {
      if (dead) continue
      alive.add(seat)
      if (!this.#alive.has(seat)) this.#picture.particles.arrival(x, y, this.#look(seat).hue)
    }
    this.#alive = alive
  }

  #look(seat: number): Look {
    return this.#roster.get(seat) ?? { nick: '', hue: hueOf(seat), bot: false }
  }

  /** 1 at the own ship, 0 beyond HEARING_RANGE; 0 without own ship, as in the demo. */
  #volumeAt(x: number, y: number): number {
    const own = this.newest?.ships.find((ship) => ship.seat === this.#seat)
    if (!own) return 0
    return Math.max(0, 1 - Math.hypot(gap(own.x, x, FIELD.width), gap(own.y, y, FIELD.height)) / HEARING_RANGE)
  }
}
