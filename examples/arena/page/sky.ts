// The background: nebulae and a planet, three layers of stars at different depths, and a few twinkling stars. Seamless tiles are
// painted once and then only moved, so the sky costs a few images per frame.

import { wrap } from '../rules.ts'

interface Layer {
  readonly tile: HTMLCanvasElement
  readonly size: number
  /** Fraction of the camera's movement that the layer follows. */
  readonly depth: number
}
interface Twinkle {
  readonly x: number
  readonly y: number
  readonly size: number
  readonly hue: number
  readonly phase: number
}

const TWINKLE_FIELD = 1_500
/** Wider than most screens, so that the planet is rarely visible twice. */
const NEBULA_SIZE = 2_200

export class Sky {
  readonly #layers: readonly Layer[]
  readonly #twinkles: readonly Twinkle[]

  constructor(seed = 7) {
    const random = seededRandom(seed)
    this.#layers = [
      { tile: nebulaTile(NEBULA_SIZE, random), size: NEBULA_SIZE, depth: 0.06 },
      { tile: stars(700, 190, 0.75, 0.5, random), size: 700, depth: 0.1 },
      { tile: stars(820, 100, 1.1, 0.75, random), size: 820, depth: 0.22 },
      { tile: stars(960, 42, 1.6, 0.95, random), size: 960, depth: 0.42 },
    ]
    this.#twinkles = Array.from({ length: 26 }, () => ({
      x: random() * TWINKLE_FIELD,
      y: random() * TWINKLE_FIELD,
      size: 5 + random() * 9,
      hue: random() < 0.5 ? 205 + random() * 30 : 20 + random() * 30,
      phase: random() * 7,
    }))
  }

  /** `x` and `y`: the camera's position, not wrapped, so that no layer jumps. */
  draw(ctx: CanvasRenderingContext2D, width: number, height: number, x: number, y: number, nowMs: number): void {
    ctx.fillStyle = '#04050c'
    ctx.fillRect(0, 0, width, height)
    for (const { tile, size, depth } of this.#layers) {
      const left = -wrap(x * depth, size)
      const top = -wrap(y * depth, size)
      for (let ty = top; ty < height; ty += size) {
        for (let tx = left; tx < width; tx += size) ctx.drawImage(tile, tx, ty, size, size)
      }
    }
    ctx.globalCompositeOperation = 'lighter'
    for (const star of this.#twinkles) {
      for (let sy = wrap(star.y - y * 0.3, TWINKLE_FIELD); sy < height; sy += TWINKLE_FIELD) {
        for (let sx = wrap(star.x - x * 0.3, TWINKLE_FIELD); sx < width; sx += TWINKLE_FIELD) {
          twinkle(ctx, sx, sy, star, 0.55 + 0.45 * Math.sin(nowMs / 700 + star.phase))
        }
      }
    }
    ctx.globalAlpha = 1
    ctx.globalCompositeOperation = 'source-over'
  }
}

function twinkle(ctx: CanvasRenderingContext2D, x: number, y: number, star: Twinkle, light: number): void {
  const arm = star.size * (0.6 + light * 0.4)
  ctx.globalAlpha = 0.2 + light * 0.6
  ctx.fillStyle = `hsl(${star.hue} 100% 85%)`
  ctx.beginPath()
  for (let i = 0; i < 8; i++) {
    const reach = i % 2 === 0 ? arm : arm * 0.09
    ctx.lineTo(x + Math.cos((i * Math.PI) / 4) * reach, y + Math.sin((i * Math.PI) / 4) * reach)
  }
  ctx.fill()
}

function stars(size: number, count: number, radius: number, light: number, random: () => number): HTMLCanvasElement {
  const [tile, ctx] = canvas(size * 2)
  ctx.scale(2, 2)
  for (let i = 0; i < count; i++) {
    const hue = random() < 0.6 ? 215 : random() * 60
    ctx.globalAlpha = light * (0.3 + random() * 0.7)
    ctx.fillStyle = `hsl(${hue} ${random() * 70}% ${80 + random() * 18}%)`
    ctx.beginPath()
    // Not at the edges, so that no star is cut.
    const inside = size - 4
    ctx.arc(2 + random() * inside, 2 + random() * inside, radius * (0.5 + random() * 0.6), 0, Math.PI * 2)
    ctx.fill()
  }
  return tile
}

/** Soft clouds of a few colours; each is painted nine times, so that the tile is seamless. */
function nebulaTile(size: number, random: () => number): HTMLCanvasElement {
  const [tile, ctx] = canvas(size / 2)
  ctx.scale(0.5, 0.5)
  ctx.globalCompositeOperation = 'lighter'
  for (const [x, y, hue] of NEBULA_CENTRES) {
    for (let i = 0; i < 9; i++) {
      const cx = x * size + (random() + random() - 1) * 520
      const cy = y * size + (random() + random() - 1) * 330
      cloud(ctx, size, cx, cy, 150 + random() * 300, `${hue + random() * 44 - 22} 80% 46%`, 0.05 + random() * 0.075)
    }
  }
  ctx.globalCompositeOperation = 'source-over'
  planet(ctx, size * 0.63, size * 0.17, 118)
  return tile
}

const NEBULA_CENTRES = [
  [0.16, 0.2, 232],
  [0.5, 0.24, 282],
  [0.3, 0.62, 196],
  [0.78, 0.5, 318],
  [0.8, 0.86, 222],
] as const

function cloud(
  ctx: CanvasRenderingContext2D,
  size: number,
  x: number,
  y: number,
  radius: number,
  colour: string,
  light: number,
): void {
  for (let copy = 0; copy < 9; copy++) {
    const cx = x + ((copy % 3) - 1) * size
    const cy = y + (Math.floor(copy / 3) - 1) * size
    const mist = ctx.createRadialGradient(cx, cy, 0, cx, cy, radius)
    mist.addColorStop(0, `hsl(${colour} / ${light})`)
    mist.addColorStop(0.5, `hsl(${colour} / ${light * 0.38})`)
    mist.addColorStop(1, `hsl(${colour} / 0)`)
    ctx.fillStyle = mist
    ctx.fillRect(cx - radius, cy - radius, radius * 2, radius * 2)
  }
}

/** Lit from the upper left, with an atmosphere and a ring that is drawn behind and in front of the planet. */
function planet(ctx: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  ctx.save()
  ctx.translate(x, y)
  const air = ctx.createRadialGradient(0, 0, radius * 0.9, 0, 0, radius * 1.35)
  air.addColorStop(0, 'hsl(205 90% 60% / 0.22)')
  air.addColorStop(1, 'hsl(205 90% 60% / 0)')
  ctx.fillStyle = air
  ctx.fillRect(-radius * 2, -radius * 2, radius * 4, radius * 4)
  ring(ctx, radius, Math.PI, Math.PI * 2)
  const ball = ctx.createRadialGradient(
    -radius * 0.55,
    -radius * 0.6,
    radius * 0.08,
    -radius * 0.2,
    -radius * 0.2,
    radius * 1.25,
  )
  ball.addColorStop(0, 'hsl(199 52% 56%)')
  ball.addColorStop(0.35, 'hsl(212 50% 32%)')
  ball.addColorStop(0.72, 'hsl(226 50% 12%)')
  ball.addColorStop(1, 'hsl(232 60% 4%)')
  ctx.fillStyle = ball
  ctx.beginPath()
  ctx.arc(0, 0, radius, 0, Math.PI * 2)
  ctx.fill()
  ring(ctx, radius, 0, Math.PI)
  ctx.restore()
}

function ring(ctx: CanvasRenderingContext2D, radius: number, from: number, to: number): void {
  for (const [reach, width, light] of [
    [1.5, 7, 0.2],
    [1.68, 13, 0.26],
    [1.88, 4, 0.14],
  ] as const) {
    ctx.strokeStyle = `hsl(36 65% 72% / ${light})`
    ctx.lineWidth = width
    ctx.beginPath()
    ctx.ellipse(0, 0, radius * reach, radius * reach * 0.24, -0.32, from, to)
    ctx.stroke()
  }
}

function canvas(size: number): [HTMLCanvasElement, CanvasRenderingContext2D] {
  const tile = document.createElement('canvas')
  tile.width = tile.height = size
  return [tile, tile.getContext('2d')!]
}

/** mulberry32; a fixed seed gives the same sky on every page. */
function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let z = Math.imul(state ^ (state >>> 15), state | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) / 4_294_967_296
  }
}
