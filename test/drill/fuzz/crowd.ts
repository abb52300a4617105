// Many connections that play cases block by block: whoever is free takes the next block, on a connection that is left
// over from another where the way allows it.

import { BLOCK, makeCase, wayOf, isHello, type Case, type Way } from './cases.ts'
import { Line, type Tongue } from './line.ts'
import type { Tally } from './tally.ts'

export interface CrowdOptions {
  readonly seed: number
  /** Numbers of the first case and of the one behind the last. */
  readonly from: number
  readonly to: number
  readonly ports: { readonly tcp: number; readonly http: number }
  readonly tally: Tally
  /** The server is gone: the rest makes no sense. */
  readonly isOver: () => boolean
}

/** Blocks at a time. More would be read by the server in one go, and look like a stall. */
const WIDTH = 16
/** A connection is left after so many blocks, so that many are opened and closed. */
const MAX_BLOCKS = 40
const WATCH_MS = 1_000

export class Crowd {
  readonly #options: CrowdOptions
  readonly #idle = new Map<string, Line[]>()
  readonly #lines = new Set<Line>()
  readonly #underWay = new Set<readonly Case[]>()
  #next: number

  constructor(options: CrowdOptions) {
    this.#options = options
    this.#next = options.from
  }

  /** Resolves when all cases have ended, and every connection with them. */
  async run(): Promise<void> {
    const watching = setInterval(() => {
      for (const line of this.#lines) line.watch()
    }, WATCH_MS)
    await Promise.all(Array.from({ length: WIDTH }, () => this.#work()))
    for (const line of this.#lines) line.leave(false)
    clearInterval(watching)
  }

  /** Cases that were sent and have not ended. */
  get underWay(): readonly Case[] {
    return [...this.#underWay].flat()
  }

  async #work(): Promise<void> {
    const { seed, to, isOver } = this.#options
    while (this.#next < to && !isOver()) {
      const from = this.#next
      const end = Math.min(to, (Math.floor(from / BLOCK) + 1) * BLOCK)
      this.#next = end
      const way = wayOf(seed, from)
      if (way.on === 'resume') await this.#resume(way, from, end)
      else {
        const cases = Array.from({ length: end - from }, (_, i) => makeCase(seed, from + i))
        if (way.on === 'fresh') await this.#fresh(way, cases)
        else await this.#shared(way, way.on, cases)
      }
    }
  }

  async #shared(way: Way, tongue: Tongue, cases: readonly Case[]): Promise<void> {
    let left = cases
    while (left.length > 0 && !this.#options.isOver()) {
      const line = this.#line(way, tongue)
      const broken = left.findIndex(({ isWhole }) => !isWhole)
      const ended = await this.#play(line, broken < 0 ? left : left.slice(0, broken + 1))
      left = left.slice(ended)
      if (ended > 0) line.blocks++
      if (line.isOver || (broken >= 0 && ended > broken)) continue
      if (line.blocks >= MAX_BLOCKS || line.isFull) line.leave(line.blocks % 2 === 0)
      else this.#shelf(way).push(line)
    }
  }

  /** Each on a connection of its own, all of a block at once. */
  async #fresh(way: Way, cases: readonly Case[]): Promise<void> {
    await Promise.all(
      cases.map(async (one) => {
        const line = this.#dial(isHello(one) ? 'session' : 'legacy', way)
        await this.#play(line, [one])
        line.leave(one.number % 2 === 0)
      }),
    )
  }

  /** One session that comes back again and again, as long as it is let. */
  async #resume(way: Way, from: number, end: number): Promise<void> {
    const { seed, isOver } = this.#options
    let last: Line | null = null
    for (let number = from; number < end && !isOver(); number++) {
      if (last === null) {
        last = this.#dial('session', way)
        last.greet()
        await last.play([])
      }
      const one = makeCase(seed, number, last.live)
      last.leave(number % 2 === 0)
      const line = this.#dial(isHello(one) ? 'session' : 'legacy', way)
      await this.#play(line, [one])
      last = line.live.token.length > 0 ? line : null
      if (last === null) line.leave(true)
    }
    last?.leave(true)
  }

  async #play(line: Line, cases: readonly Case[]): Promise<number> {
    this.#underWay.add(cases)
    const ended = await line.play(cases)
    this.#underWay.delete(cases)
    for (const one of cases.slice(0, ended)) this.#options.tally.case(one)
    return ended
  }

  #line(way: Way, tongue: Tongue): Line {
    const shelf = this.#shelf(way)
    for (let line = shelf.pop(); line; line = shelf.pop()) if (!line.isOver) return line
    const line = this.#dial(tongue, way)
    if (tongue === 'session') line.greet()
    return line
  }

  #dial(tongue: Tongue, { via }: Way): Line {
    const { ports, tally } = this.#options
    const line = new Line(tongue, via, via === 'tcp' ? ports.tcp : ports.http, tally, () =>
      this.#lines.delete(line),
    )
    this.#lines.add(line)
    return line
  }

  #shelf({ on, via }: Way): Line[] {
    const name = `${on} ${via}`
    let shelf = this.#idle.get(name)
    if (!shelf) this.#idle.set(name, (shelf = []))
    return shelf
  }
}
