// A TCP proxy between one player and the server that cuts connections after a planned number of bytes of one
// direction. Invariant: of that direction exactly the planned number of bytes was forwarded.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

import { EMPTY_BYTES } from '../../../core/wire/bytes.ts'
import type { Random } from '../../support/random.ts'

/** FIN to both sides, RST to both sides, or silence: the connection stays half-open on the server's side. */
export type CutMode = 'end' | 'reset' | 'half'

export interface Cut {
  readonly towards: 'server' | 'player'
  /** Bytes of that direction that are forwarded before it. */
  readonly bytes: number
  readonly mode: CutMode
  /** How long the player's side of a half-open connection stays open, milliseconds. */
  readonly stallMs: number
}

/** Returns the cut of the next connection, null = none. */
export type CutPlan = () => Cut | null

/** Most bytes before a cut. */
export interface CutBounds {
  readonly towardsPlayer: number
  readonly towardsServer: number
}

/** Share of the cuts that come so early that most hit the handshake. */
const EARLY_SHARE = 0.25
const EARLY_BYTES = 1_500
const HALF_OPEN_SHARE = 0.05
const RESET_SHARE = 0.4
const MAX_STALL_MS = 4_000
/** After it the server's side of a half-open connection is closed, noticed or not. */
const MAX_HALF_OPEN_MS = 60_000

/** Cuts at random places; the seed repeats them. */
export function randomCuts(random: Random, { towardsPlayer, towardsServer }: CutBounds): CutPlan {
  return () => {
    const towards = random.chance(0.5) ? 'server' : 'player'
    const bound = towards === 'server' ? towardsServer : towardsPlayer
    const bytes = 1 + random.below(random.chance(EARLY_SHARE) ? Math.min(EARLY_BYTES, bound) : bound)
    const mode = random.chance(HALF_OPEN_SHARE) ? 'half' : random.chance(RESET_SHARE) ? 'reset' : 'end'
    return { towards, bytes, mode, stallMs: random.below(MAX_STALL_MS) }
  }
}

/** Most bytes of a login: of the call with its envelope, and of OPENED, TOKEN and the answer. */
const LOGIN_UP_BYTES = 120
const LOGIN_DOWN_BYTES = 320
/** Share of the cuts that lose the answer and everything sent with it. */
const LOGIN_ANSWER_LOST_SHARE = 0.4

/** A cut in the middle of a login whose call was just written. */
export function loginCut(random: Random): Cut {
  const towards = random.chance(0.25) ? 'server' : 'player'
  const bound = towards === 'server' ? LOGIN_UP_BYTES : LOGIN_DOWN_BYTES
  const isAnswerLost = towards === 'player' && random.chance(LOGIN_ANSWER_LOST_SHARE)
  const bytes = isAnswerLost ? 0 : random.below(bound)
  return { towards, bytes, mode: random.chance(RESET_SHARE) ? 'reset' : 'end', stallMs: 0 }
}

export class FaultProxy {
  /** The port that the player dials. */
  readonly port: number
  cuts = 0
  onCut: (atMs: number) => void = () => {}
  readonly #server: Server
  readonly #target: number
  readonly #connections = new Set<ProxiedConnection>()
  #plan: CutPlan
  #nextCut: Cut | null = null
  #isBlocked = false
  #isCutting = true

  /** A proxy in front of port `target` of the loopback address. */
  static async open(target: number, plan: CutPlan): Promise<FaultProxy> {
    const server = createServer({ noDelay: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new FaultProxy(server, target, plan)
  }

  private constructor(server: Server, target: number, plan: CutPlan) {
    this.#server = server
    this.#target = target
    this.#plan = plan
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (player) => this.#accept(player))
  }

  #accept(player: Socket): void {
    if (this.#isBlocked) return void player.destroy()
    const server = connect({ port: this.#target, host: '127.0.0.1', noDelay: true })
    const connection = new ProxiedConnection(player, server, this.#nextCut ?? this.#plan(), {
      cut: () => {
        this.cuts++
        this.onCut(performance.now())
      },
      closed: () => void this.#connections.delete(connection),
    })
    this.#nextCut = null
    this.#connections.add(connection)
  }

  /** Cuts every connection and accepts none until `unblock`. */
  blockAll(): void {
    this.#isBlocked = true
    for (const connection of this.#connections) {
      connection.cut('end')
      connection.destroy()
    }
  }

  /** `next`: the cut of the next connection, in place of the planned one. */
  unblock(next: Cut | null = null): void {
    this.#isBlocked = false
    this.#nextCut = next
  }

  /** Cuts the open connection, if there is one, after so many more bytes of that direction; 0 = before the next. */
  scheduleCut(cut: Cut): void {
    if (this.#isCutting) for (const connection of this.#connections) connection.scheduleCut(cut)
  }

  stopCutting(): void {
    this.#isCutting = false
    this.#plan = () => null
    this.#nextCut = null
    for (const connection of this.#connections) connection.plan = null
  }

  close(): void {
    this.#server.close()
    for (const connection of this.#connections) connection.destroy()
  }
}

interface ProxyEvents {
  readonly cut: () => void
  /** Both sides are closed. */
  readonly closed: () => void
}

class ProxiedConnection {
  plan: Cut | null
  readonly #player: Socket
  readonly #server: Socket
  readonly #events: ProxyEvents
  readonly #forwarded = { server: 0, player: 0 }
  #isCut = false
  readonly #timers: NodeJS.Timeout[] = []

  constructor(player: Socket, server: Socket, plan: Cut | null, events: ProxyEvents) {
    this.#player = player
    this.#server = server
    this.plan = plan
    this.#events = events
    this.#pipe(player, server, 'server')
    this.#pipe(server, player, 'player')
  }

  #pipe(from: Socket, to: Socket, towards: Cut['towards']): void {
    from.on('data', (chunk) => {
      if (this.#isCut) return
      const forwarded = this.#forwarded[towards]
      this.#forwarded[towards] += chunk.length
      const { plan } = this
      if (plan?.towards === towards && forwarded + chunk.length >= plan.bytes)
        return this.cut(plan.mode, to, chunk.subarray(0, Math.max(0, plan.bytes - forwarded)), plan.stallMs)
      if (to.write(chunk)) return
      from.pause()
      to.once('drain', () => from.resume())
    })
    // Errors are expected: the proxy causes them.
    from.on('error', () => {})
    from.on('close', () => {
      if (!this.#isCut) to.destroySoon()
      if (!this.#player.closed || !this.#server.closed) return
      for (const timer of this.#timers) clearTimeout(timer)
      this.#events.closed()
    })
  }

  scheduleCut(cut: Cut): void {
    this.plan = { ...cut, bytes: this.#forwarded[cut.towards] + cut.bytes }
  }

  /** Forwards `last` to `to`, and nothing more. */
  cut(mode: CutMode, to: Socket = this.#player, last: Uint8Array = EMPTY_BYTES, stallMs = 0): void {
    if (this.#isCut) return
    this.#isCut = true
    this.#events.cut()
    // What still arrives is read and discarded, so that an end is noticed.
    this.#player.resume()
    this.#server.resume()
    to.write(last, () => {
      if (mode === 'half') {
        this.#timers.push(
          setTimeout(() => this.#player.destroy(), stallMs),
          setTimeout(() => this.#server.destroy(), MAX_HALF_OPEN_MS),
        )
      } else if (mode === 'reset') {
        // A socket that already ends must not be reset: it would never close.
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
}
