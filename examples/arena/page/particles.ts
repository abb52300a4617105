// Short-lived effects: exhaust, sparks, wreckage, shock waves, texts. Bounded: above the maximum the oldest particle is removed.

import { FIELD, wrap } from '../rules.ts'

type Kind = 'puff' | 'spark' | 'shard' | 'ring' | 'flash' | 'text'
interface Particle {
  readonly kind: Kind
  x: number
  y: number
  vx: number
  vy: number
  readonly hue: number
  readonly size: number
  angle: number
  readonly spin: number
  readonly text: string
  readonly lifeMs: number
  leftMs: number
}
/** Returns the screen position of a field position, or null when it is not visible. */
export type Place = (x: number, y: number, margin: number) => { x: number; y: number } | null

const MAX_PARTICLES = 1_400

export class Particles {
  #all: Particle[] = []

  clear(): void {
    this.#all = []
  }

  exhaust(x: number, y: number, heading: number, vx: number, vy: number, hue: number): void {
    const direction = heading + Math.PI + spread(0.5)
    const speed = 110 + Math.random() * 120
    const from = { x: x - Math.cos(heading) * 11, y: y - Math.sin(heading) * 11 }
    const drift = { vx: vx * 0.6 + Math.cos(direction) * speed, vy: vy * 0.6 + Math.sin(direction) * speed }
    this.#add('puff', from, drift, {
      hue: hue + spread(24),
      size: 6 + Math.random() * 7,
      lifeMs: 300 + Math.random() * 320,
    })
  }

  muzzle(x: number, y: number, hue: number): void {
    this.#add('flash', { x, y }, NO_VELOCITY, { hue, size: 16, lifeMs: 90 })
  }

  explosion(x: number, y: number, hue: number): void {
    this.#add('flash', { x, y }, NO_VELOCITY, { hue, size: 95, lifeMs: 260 })
    this.#add('ring', { x, y }, NO_VELOCITY, { hue, size: 105, lifeMs: 620 })
    this.#add('ring', { x, y }, NO_VELOCITY, { hue: hue + 30, size: 62, lifeMs: 420 })
    for (let i = 0; i < 46; i++) {
      const speed = 40 + Math.random() ** 2 * 420
      this.#add('spark', { x, y }, heading(speed), {
        hue: hue + spread(30),
        size: 1 + Math.random() * 1.4,
        lifeMs: 350 + Math.random() * 750,
      })
    }
    for (let i = 0; i < 16; i++) {
      this.#add('puff', { x, y }, heading(20 + Math.random() * 90), {
        hue: 20 + spread(18),
        size: 10 + Math.random() * 14,
        lifeMs: 400 + Math.random() * 500,
      })
    }
    for (let i = 0; i < 7; i++) {
      this.#add('shard', { x, y }, heading(30 + Math.random() * 110), {
        hue,
        size: 6 + Math.random() * 8,
        lifeMs: 900 + Math.random() * 700,
      })
    }
  }

  /** A ship joins or respawns. */
  arrival(x: number, y: number, hue: number): void {
    this.#add('ring', { x, y }, NO_VELOCITY, { hue, size: 46, lifeMs: 500 })
    for (let i = 0; i < 18; i++) {
      this.#add('spark', { x, y }, heading(90 + Math.random() * 60), {
        hue,
        size: 1.1,
        lifeMs: 300 + Math.random() * 250,
      })
    }
  }

  floatingText(x: number, y: number, hue: number, text: string): void {
    this.#add('text', { x, y }, { vx: 0, vy: -46 }, { hue, size: 19, lifeMs: 1_000, text })
  }

  advance(ms: number): void {
    const seconds = ms / 1_000
    const slower = 0.35 ** seconds
    this.#all = this.#all.filter((p) => (p.leftMs -= ms) > 0)
    for (const p of this.#all) {
      p.x = wrap(p.x + p.vx * seconds, FIELD.width)
      p.y = wrap(p.y + p.vy * seconds, FIELD.height)
      p.vx *= slower
      p.vy *= slower
      p.angle += p.spin * seconds
    }
  }

  draw(ctx: CanvasRenderingContext2D, place: Place, glow: (hue: number) => CanvasImageSource): void {
    ctx.globalCompositeOperation = 'lighter'
    for (const p of this.#all) {
      const at = place(p.x, p.y, 110)
      if (at) DRAW[p.kind](ctx, p, at.x, at.y, p.leftMs / p.lifeMs, glow)
    }
    ctx.globalAlpha = 1
    ctx.globalCompositeOperation = 'source-over'
  }

  #add(
    kind: Kind,
    at: { x: number; y: number },
    { vx, vy }: { vx: number; vy: number },
    look: { hue: number; size: number; lifeMs: number; text?: string },
  ): void {
    const { hue, size, lifeMs, text = '' } = look
    const angle = Math.random() * Math.PI * 2
    this.#all.push({ kind, ...at, vx, vy, hue, size, angle, spin: spread(9), text, lifeMs, leftMs: lifeMs })
    if (this.#all.length > MAX_PARTICLES) this.#all.shift()
  }
}

type Draw = (
  ctx: CanvasRenderingContext2D,
  p: Particle,
  x: number,
  y: number,
  left: number,
  glow: (hue: number) => CanvasImageSource,
) => void

const DRAW: Record<Kind, Draw> = {
  puff(ctx, p, x, y, left, glow) {
    const r = p.size * (1.7 - left * 0.7)
    ctx.globalAlpha = left * 0.55
    ctx.drawImage(glow(p.hue), x - r, y - r, r * 2, r * 2)
  },
  flash(ctx, p, x, y, left, glow) {
    const r = p.size * (1.4 - left * 0.4)
    ctx.globalAlpha = left * left
    ctx.drawImage(glow(p.hue), x - r, y - r, r * 2, r * 2)
    ctx.drawImage(glow(p.hue), x - r / 2, y - r / 2, r, r)
  },
  spark(ctx, p, x, y, left) {
    ctx.globalAlpha = Math.min(1, left * 1.6)
    ctx.strokeStyle = `hsl(${p.hue} 100% ${60 + left * 30}%)`
    ctx.lineWidth = p.size
    ctx.beginPath()
    ctx.moveTo(x, y)
    ctx.lineTo(x - p.vx * 0.05, y - p.vy * 0.05)
    ctx.stroke()
  },
  shard(ctx, p, x, y, left) {
    const dx = Math.cos(p.angle) * p.size
    const dy = Math.sin(p.angle) * p.size
    ctx.globalAlpha = left
    ctx.strokeStyle = `hsl(${p.hue} 95% 70%)`
    ctx.lineWidth = 2
    ctx.beginPath()
    ctx.moveTo(x - dx, y - dy)
    ctx.lineTo(x + dx, y + dy)
    ctx.stroke()
  },
  ring(ctx, p, x, y, left) {
    ctx.globalAlpha = left * 0.8
    ctx.strokeStyle = `hsl(${p.hue} 100% 72%)`
    ctx.lineWidth = 0.5 + 3.5 * left
    ctx.beginPath()
    ctx.arc(x, y, p.size * (1 - left ** 3), 0, Math.PI * 2)
    ctx.stroke()
  },
  text(ctx, p, x, y, left) {
    ctx.globalAlpha = Math.min(1, left * 2)
    ctx.fillStyle = `hsl(${p.hue} 100% 80%)`
    ctx.font = `700 ${p.size}px system-ui, sans-serif`
    ctx.textAlign = 'center'
    ctx.fillText(p.text, x, y - 22)
  },
}

const NO_VELOCITY = { vx: 0, vy: 0 }

function heading(speed: number): { vx: number; vy: number } {
  const angle = Math.random() * Math.PI * 2
  return { vx: Math.cos(angle) * speed, vy: Math.sin(angle) * speed }
}

function spread(width: number): number {
  return (Math.random() * 2 - 1) * width
}
