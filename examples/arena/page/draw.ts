// Draws one frame on a canvas: sky, grid, shots, ships, particles, map. It stores the camera but no state of the game. Glow is
// drawn by additive sprites, because canvas shadows are far slower with sixty ships.

import { FIELD, gap, SHIP } from '../rules.ts'
import { Particles, type Place } from './particles.ts'
import { Sky } from './sky.ts'
import type { ShipView, ShotView } from './timeline.ts'

export interface Look {
  readonly nick: string
  readonly hue: number
  readonly bot: boolean
}
export interface Scene {
  readonly ships: readonly ShipView[]
  readonly shots: readonly ShotView[]
  /** The seat that the camera follows; null = the camera drifts. */
  readonly seat: number | null
  /** The own thrust control, ahead of the server's world. */
  readonly thrust: boolean
  look(seat: number): Look
}

/** Smaller than the field, so that no object is drawn twice. */
const VIEW = { width: 1_480, height: 830 } as const
const GRID = 100 // divides both sides of the field, so the lines meet across its edges
const MAX_SHAKE = 16
const PUFF_MS = 11

export class Picture {
  readonly particles = new Particles()
  readonly #canvas: HTMLCanvasElement
  readonly #ctx: CanvasRenderingContext2D
  readonly #sky = new Sky()
  readonly #glows = new Map<number, HTMLCanvasElement>()
  readonly #reducedMotion = matchMedia('(prefers-reduced-motion: reduce)')
  #width = 0
  #height = 0
  #zoom = 1
  /** Centre of the view; not wrapped, so that the sky moves continuously. */
  #camera = { x: FIELD.width / 2, y: FIELD.height / 2 }
  #shake = 0
  #lastMs = 0

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas
    this.#ctx = canvas.getContext('2d', { alpha: false })!
    this.#resize()
    addEventListener('resize', () => this.#resize())
  }

  /** `force`: 0..1; reduced by the distance from the camera. */
  shake(force: number, x: number, y: number): void {
    const distance = Math.hypot(gap(this.#camera.x, x, FIELD.width), gap(this.#camera.y, y, FIELD.height))
    this.#shake = Math.min(1, this.#shake + force * Math.max(0, 1 - distance / 700))
  }

  draw(scene: Scene, nowMs: number): void {
    const ms = Math.min(100, nowMs - this.#lastMs)
    this.#lastMs = nowMs
    this.#moveCamera(scene, ms)
    for (const ship of scene.ships) this.#emitExhaust(scene, ship, ms)
    this.particles.advance(ms)
    const ctx = this.#ctx
    const shake = this.#reducedMotion.matches ? 0 : this.#shake ** 2 * MAX_SHAKE
    this.#shake = Math.max(0, this.#shake - ms / 650)
    ctx.setTransform(1, 0, 0, 1, 0, 0)
    const scale = this.#canvas.width / this.#width
    ctx.setTransform(scale, 0, 0, scale, Math.sin(nowMs / 17) * shake * scale, Math.cos(nowMs / 13) * shake * scale)
    // The sky is larger than the screen, so that a shaken picture has no unpainted edge.
    ctx.translate(-MAX_SHAKE, -MAX_SHAKE)
    this.#sky.draw(
      ctx,
      this.#width + 2 * MAX_SHAKE,
      this.#height + 2 * MAX_SHAKE,
      this.#camera.x,
      this.#camera.y,
      nowMs,
    )
    ctx.translate(MAX_SHAKE, MAX_SHAKE)
    ctx.scale(this.#zoom, this.#zoom)
    ctx.lineCap = ctx.lineJoin = 'round'
    this.#grid()
    for (const shot of scene.shots) this.#shot(shot, scene.look(shot.owner).hue)
    for (const ship of scene.ships) if (!ship.dead) this.#ship(ship, scene, nowMs)
    this.particles.draw(ctx, this.#place, this.#glow)
    ctx.setTransform(scale, 0, 0, scale, 0, 0)
    if (scene.seat !== null && this.#width < FIELD.width * this.#zoom * 0.7) this.#map(scene)
  }

  #resize(): void {
    // More than two device pixels are not visible and would halve the frame rate.
    const dpr = Math.min(2, devicePixelRatio || 1)
    this.#width = innerWidth
    this.#height = innerHeight
    this.#canvas.width = Math.round(innerWidth * dpr)
    this.#canvas.height = Math.round(innerHeight * dpr)
    this.#zoom = Math.max(this.#width / VIEW.width, this.#height / VIEW.height)
  }

  #moveCamera(scene: Scene, ms: number): void {
    const own = scene.ships.find((ship) => ship.seat === scene.seat)
    if (!own) {
      this.#camera.x += ms * 0.02
      return
    }
    // Aims ahead in the direction of flight and moves smoothly, also to the place of a respawn.
    const dx = gap(this.#camera.x, own.x + own.vx * 0.18, FIELD.width)
    const dy = gap(this.#camera.y, own.y + own.vy * 0.18, FIELD.height)
    const pull = 1 - 0.002 ** (ms / 1_000)
    this.#camera.x += dx * pull
    this.#camera.y += dy * pull
  }

  readonly #place: Place = (x, y, margin) => {
    const sx = gap(this.#camera.x, x, FIELD.width) + this.#width / this.#zoom / 2
    const sy = gap(this.#camera.y, y, FIELD.height) + this.#height / this.#zoom / 2
    const seen =
      sx > -margin && sy > -margin && sx < this.#width / this.#zoom + margin && sy < this.#height / this.#zoom + margin
    return seen ? { x: sx, y: sy } : null
  }

  readonly #glow = (hue: number): HTMLCanvasElement => {
    const step = (((Math.round(hue / 6) * 6) % 360) + 360) % 360
    let sprite = this.#glows.get(step)
    if (!sprite) {
      sprite = document.createElement('canvas')
      sprite.width = sprite.height = 64
      const ctx = sprite.getContext('2d')!
      const light = ctx.createRadialGradient(32, 32, 0, 32, 32, 32)
      light.addColorStop(0, `hsl(${step} 100% 88%)`)
      light.addColorStop(0.18, `hsl(${step} 100% 66% / 0.75)`)
      light.addColorStop(0.5, `hsl(${step} 100% 52% / 0.2)`)
      light.addColorStop(1, `hsl(${step} 100% 50% / 0)`)
      ctx.fillStyle = light
      ctx.fillRect(0, 0, 64, 64)
      this.#glows.set(step, sprite)
    }
    return sprite
  }

  #emitExhaust(scene: Scene, ship: ShipView, ms: number): void {
    if (!this.#hasExhaust(scene, ship)) return
    const { hue } = scene.look(ship.seat)
    // By time, not by frame: the amount must not depend on the frame rate.
    for (let puffs = ms / PUFF_MS; puffs > Math.random(); puffs--) {
      this.particles.exhaust(ship.x, ship.y, ship.heading, ship.vx, ship.vy, hue)
    }
  }

  #hasExhaust(scene: Scene, ship: ShipView): boolean {
    return !ship.dead && (ship.seat === scene.seat ? scene.thrust : ship.thrust)
  }

  #grid(): void {
    const ctx = this.#ctx
    const width = this.#width / this.#zoom
    const height = this.#height / this.#zoom
    ctx.strokeStyle = 'rgb(120 150 255 / 0.05)'
    ctx.lineWidth = 1
    ctx.beginPath()
    for (let x = gridStart(this.#camera.x, width); x < width; x += GRID) {
      ctx.moveTo(x, 0)
      ctx.lineTo(x, height)
    }
    for (let y = gridStart(this.#camera.y, height); y < height; y += GRID) {
      ctx.moveTo(0, y)
      ctx.lineTo(width, y)
    }
    ctx.stroke()
  }

  #shot(shot: ShotView, hue: number): void {
    const at = this.#place(shot.x, shot.y, 60)
    if (!at) return
    const ctx = this.#ctx
    const speed = Math.hypot(shot.vx, shot.vy) || 1
    const length = 34 * Math.min(1, (1 - shot.remaining) * 12)
    const tail = { x: at.x - (shot.vx / speed) * length, y: at.y - (shot.vy / speed) * length }
    ctx.globalCompositeOperation = 'lighter'
    ctx.globalAlpha = Math.min(1, shot.remaining * 5)
    const trail = ctx.createLinearGradient(tail.x, tail.y, at.x, at.y)
    trail.addColorStop(0, `hsl(${hue} 100% 60% / 0)`)
    trail.addColorStop(1, `hsl(${hue} 100% 75%)`)
    ctx.strokeStyle = trail
    ctx.lineWidth = 3
    ctx.beginPath()
    ctx.moveTo(tail.x, tail.y)
    ctx.lineTo(at.x, at.y)
    ctx.stroke()
    ctx.drawImage(this.#glow(hue), at.x - 14, at.y - 14, 28, 28)
    ctx.fillStyle = '#fff'
    ctx.beginPath()
    ctx.arc(at.x, at.y, 1.8, 0, Math.PI * 2)
    ctx.fill()
    ctx.globalAlpha = 1
    ctx.globalCompositeOperation = 'source-over'
  }

  #ship(ship: ShipView, scene: Scene, nowMs: number): void {
    const at = this.#place(ship.x, ship.y, 60)
    if (!at) return
    const { hue, nick, bot } = scene.look(ship.seat)
    const own = ship.seat === scene.seat
    const ctx = this.#ctx
    ctx.save()
    ctx.translate(at.x, at.y)
    ctx.globalCompositeOperation = 'lighter'
    ctx.globalAlpha = own ? 0.5 : 0.34
    ctx.drawImage(this.#glow(hue), -46, -46, 92, 92)
    ctx.globalAlpha = 1
    ctx.rotate(ship.heading)
    if (this.#hasExhaust(scene, ship)) flame(ctx, hue, nowMs + ship.seat * 37)
    ctx.globalCompositeOperation = 'source-over'
    hull(ctx, bot)
    ctx.fillStyle = `hsl(${hue} 70% 9%)`
    ctx.fill()
    ctx.strokeStyle = `hsl(${hue} 100% 60% / 0.28)`
    ctx.lineWidth = 6
    ctx.stroke()
    ctx.strokeStyle = `hsl(${hue} 100% ${own ? 82 : 70}%)`
    ctx.lineWidth = 2
    ctx.stroke()
    ctx.fillStyle = `hsl(${hue} 100% 85%)`
    ctx.beginPath()
    ctx.ellipse(bot ? 0 : 3, 0, bot ? 3 : 4.5, bot ? 3 : 2, 0, 0, Math.PI * 2)
    ctx.fill()
    ctx.rotate(-ship.heading)
    if (ship.shield) shield(ctx, hue, nowMs)
    ctx.font = `${own ? 700 : 500} 12px system-ui, sans-serif`
    ctx.textAlign = 'center'
    ctx.fillStyle = own ? '#fff' : `hsl(${hue} 80% 84% / 0.85)`
    ctx.fillText(nick, 0, 36)
    ctx.restore()
  }

  #map(scene: Scene): void {
    const ctx = this.#ctx
    const width = Math.min(128, this.#width * 0.3)
    const scale = width / FIELD.width
    const left = this.#width - width - 16
    const top = 44
    ctx.fillStyle = 'rgb(10 14 30 / 0.6)'
    ctx.strokeStyle = 'rgb(140 165 255 / 0.25)'
    ctx.lineWidth = 1
    ctx.beginPath()
    ctx.roundRect(left, top, width, FIELD.height * scale, 6)
    ctx.fill()
    ctx.stroke()
    for (const ship of scene.ships) {
      if (ship.dead) continue
      const own = ship.seat === scene.seat
      ctx.fillStyle = own ? '#fff' : `hsl(${scene.look(ship.seat).hue} 100% 65%)`
      ctx.beginPath()
      ctx.arc(left + ship.x * scale, top + ship.y * scale, own ? 2.6 : 1.9, 0, Math.PI * 2)
      ctx.fill()
    }
  }
}

function gridStart(camera: number, span: number): number {
  return -(((camera - span / 2) % GRID) + GRID) % GRID
}

/** Humans have darts, bots have diamonds, to distinguish them without reading. */
function hull(ctx: CanvasRenderingContext2D, bot: boolean): void {
  const r = SHIP.radius
  ctx.beginPath()
  if (bot) {
    ctx.moveTo(r * 1.1, 0)
    ctx.lineTo(0, r * 0.8)
    ctx.lineTo(-r * 0.85, 0)
    ctx.lineTo(0, -r * 0.8)
  } else {
    ctx.moveTo(r * 1.25, 0)
    ctx.lineTo(-r * 0.85, r * 0.82)
    ctx.lineTo(-r * 0.45, 0)
    ctx.lineTo(-r * 0.85, -r * 0.82)
  }
  ctx.closePath()
}

function flame(ctx: CanvasRenderingContext2D, hue: number, nowMs: number): void {
  const length = 20 + Math.sin(nowMs / 23) * 5 + Math.sin(nowMs / 11) * 3
  const heat = ctx.createLinearGradient(-6, 0, -8 - length, 0)
  heat.addColorStop(0, '#fff')
  heat.addColorStop(0.25, `hsl(${hue} 100% 72%)`)
  heat.addColorStop(1, `hsl(${hue} 100% 50% / 0)`)
  ctx.fillStyle = heat
  ctx.beginPath()
  ctx.moveTo(-7, 4.5)
  ctx.quadraticCurveTo(-16, 4, -8 - length, 0)
  ctx.quadraticCurveTo(-16, -4, -7, -4.5)
  ctx.fill()
}

function shield(ctx: CanvasRenderingContext2D, hue: number, nowMs: number): void {
  const beat = 0.5 + 0.5 * Math.sin(nowMs / 120)
  ctx.strokeStyle = `hsl(${hue} 100% 80% / ${0.35 + beat * 0.4})`
  ctx.lineWidth = 1.5
  ctx.setLineDash([7, 5])
  ctx.lineDashOffset = -nowMs / 40
  ctx.beginPath()
  ctx.arc(0, 0, SHIP.radius + 9 + beat * 1.5, 0, Math.PI * 2)
  ctx.stroke()
  ctx.setLineDash([])
}
