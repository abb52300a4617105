// A line between one player and the server that breaks: TCP on both sides, bytes as they come, and after so many of one
// direction the connection ends. Invariant: of that direction exactly the planned number has been passed on.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

import type { Random } from '../../support/random.ts'

/** How a connection ends: with FIN, with RST, or for one side only, while the other hears nothing any more. */
const WAYS = ['end', 'reset', 'half'] as const
export type Way = (typeof WAYS)[number]

export interface Cut {
  readonly towards: 'server' | 'player'
  /** That may pass before it. */
  readonly bytes: number
  readonly way: Way
  /** How long a player may wait on a connection that is dead, milliseconds. */
  readonly stallMs: number
}

/** The cut of the next connection, null = none. */
export type Plan = () => Cut | null

export interface Chances {
  /** Most bytes before a cut, towards the player and towards the server. */
  readonly down: number
  readonly up: number
}

/** Of the cuts: so early that most are in the handshake. */
const EARLY = 0.25
const EARLY_BYTES = 1_500
const HALF = 0.05
const RESET = 0.4
const MAX_STALL_MS = 4_000
/** A server that does not notice the end of a player is not let wait longer. */
const MAX_SILENCE_MS = 60_000

/** Cuts at random places, repeated by the seed. */
export function randomPlan(random: Random, { down, up }: Chances): Plan {
  return () => {
    const towards = random.chance(0.5) ? 'server' : 'player'
    const bound = towards === 'server' ? up : down
    const bytes = 1 + random.below(random.chance(EARLY) ? Math.min(EARLY_BYTES, bound) : bound)
    const way = random.chance(HALF) ? 'half' : random.chance(RESET) ? 'reset' : 'end'
    return { towards, bytes, way, stallMs: random.below(MAX_STALL_MS) }
  }
}

/** Most bytes of a login: of the call and what goes with it, and of OPENED, TOKEN and the answer. */
const LOGIN_UP_BYTES = 120
const LOGIN_DOWN_BYTES = 320
/** So that its answer, and all that comes with it, is lost. */
const LOGIN_UNHEARD = 0.4

/** A cut in the middle of a login whose call has just been written. */
export function loginCut(random: Random): Cut {
  const towards = random.chance(0.25) ? 'server' : 'player'
  const bound = towards === 'server' ? LOGIN_UP_BYTES : LOGIN_DOWN_BYTES
  const bytes = towards === 'player' && random.chance(LOGIN_UNHEARD) ? 0 : random.below(bound)
  return { towards, bytes, way: random.chance(RESET) ? 'reset' : 'end', stallMs: 0 }
}

export class Line {
  /** Where the player dials. */
  readonly port: number
  cuts = 0
  /** Hears the moment of each. */
  onCut: (atMs: number) => void = () => {}
  readonly #server: Server
  readonly #target: number
  readonly #pairs = new Set<Pair>()
  #plan: Plan
  #next: Cut | null = null
  #isHeld = false
  #isCalm = false

  /** A line to `target` on the loopback address. */
  static async open(target: number, plan: Plan): Promise<Line> {
    const server = createServer({ noDelay: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Line(server, target, plan)
  }

  private constructor(server: Server, target: number, plan: Plan) {
    this.#server = server
    this.#target = target
    this.#plan = plan
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (player) => this.#join(player))
  }

  #join(player: Socket): void {
    if (this.#isHeld) return void player.destroy()
    const server = connect({ port: this.#target, host: '127.0.0.1', noDelay: true })
    const pair = new Pair(player, server, this.#next ?? this.#plan(), () => this.#cut())
    this.#next = null
    this.#pairs.add(pair)
    pair.over = () => void this.#pairs.delete(pair)
  }

  #cut(): void {
    this.cuts++
    this.onCut(performance.now())
  }

  /** Cuts, and lets nobody through until `release`. */
  hold(): void {
    this.#isHeld = true
    for (const pair of this.#pairs) {
      pair.cut('end')
      pair.destroy()
    }
  }

  /** `next`: the cut of the next connection, whatever is planned. */
  release(next: Cut | null = null): void {
    this.#isHeld = false
    this.#next = next
  }

  /** Cuts the connection that stands, if one does, after so many more bytes of that direction: 0 = before the next. */
  arm(cut: Cut): void {
    if (!this.#isCalm) for (const pair of this.#pairs) pair.arm(cut)
  }

  /** No more cuts. */
  calm(): void {
    this.#isCalm = true
    this.#plan = () => null
    this.#next = null
    for (const pair of this.#pairs) pair.plan = null
  }

  close(): void {
    this.#server.close()
    for (const pair of this.#pairs) pair.destroy()
  }
}

/** One connection through the line. */
class Pair {
  plan: Cut | null
  over: () => void = () => {}
  readonly #player: Socket
  readonly #server: Socket
  readonly #cut: () => void
  readonly #passed = { server: 0, player: 0 }
  #isCut = false
  readonly #timers: NodeJS.Timeout[] = []

  constructor(player: Socket, server: Socket, plan: Cut | null, cut: () => void) {
    this.#player = player
    this.#server = server
    this.plan = plan
    this.#cut = cut
    this.#pipe(player, server, 'server')
    this.#pipe(server, player, 'player')
  }

  #pipe(from: Socket, to: Socket, towards: Cut['towards']): void {
    from.on('data', (chunk) => {
      if (this.#isCut) return
      const passed = this.#passed[towards]
      this.#passed[towards] += chunk.length
      const { plan } = this
      if (plan?.towards === towards && passed + chunk.length >= plan.bytes)
        return this.cut(plan.way, to, chunk.subarray(0, Math.max(0, plan.bytes - passed)), plan.stallMs)
      if (to.write(chunk)) return
      from.pause()
      to.once('drain', () => from.resume())
    })
    // Ends are cut on purpose: what they are called does not matter.
    from.on('error', () => {})
    from.on('close', () => {
      if (!this.#isCut) to.destroySoon()
      if (this.#player.closed && this.#server.closed) this.#end()
    })
  }

  arm(cut: Cut): void {
    this.plan = { ...cut, bytes: this.#passed[cut.towards] + cut.bytes }
  }

  /** Lets `last` pass to `to`, and nothing more. */
  cut(way: Way, to: Socket = this.#player, last: Uint8Array = new Uint8Array(0), stallMs = 0): void {
    if (this.#isCut) return
    this.#isCut = true
    this.#cut()
    // What still comes is read and forgotten, so that an end is noticed.
    this.#player.resume()
    this.#server.resume()
    to.write(last, () => {
      if (way === 'half') {
        this.#later(stallMs, () => this.#player.destroy())
        this.#later(MAX_SILENCE_MS, () => this.#server.destroy())
      } else if (way === 'reset') {
        // One that shuts down already is not to be reset: it would never close.
        for (const side of [this.#player, this.#server])
          if (side.writableEnded) side.destroy()
          else side.resetAndDestroy()
      } else this.destroy()
    })
  }

  destroy(): void {
    this.#player.destroy()
    this.#server.destroy()
  }

  #later(ms: number, run: () => void): void {
    this.#timers.push(setTimeout(run, ms))
  }

  #end(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.over()
  }
}
