// Two well-behaved players beside an attack: the SDK on a WebSocket and a legacy client on TCP. Each sends its next call
// after the reply to the last one, and checks every reply.

import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type Firefly } from '../../../client/index.ts'
import type { Ready } from '../../support/serverprocess.ts'
import { frame, IDENTITY } from './frames.ts'
import { COMMAND, Room } from './game.ts'
import { RawPeer } from './peer.ts'
import { signTicket, validClaims } from './ticketfactory.ts'

const CALL_INTERVAL_MS = 4

export class ControlPlayers {
  readonly replies = { sdk: 0, legacy: 0 }
  readonly failures: string[] = []
  /** The longest wait for a reply. */
  maxLatencyMs = 0
  readonly #sdk: Firefly
  readonly #legacy: RawPeer
  readonly #done: Promise<unknown>
  #isClosing = false

  private constructor(sdk: Firefly, legacy: RawPeer) {
    this.#sdk = sdk
    this.#legacy = legacy
    sdk.on('state', (state) => this.#isClosing || this.failures.push(`the SDK is ${state}`))
    this.#done = Promise.all([
      this.#callRepeatedly('sdk', (n) => this.#callSdk(n)),
      this.#callRepeatedly('legacy', (n) => this.#callLegacy(n)),
    ])
  }

  /** `logIn`: the SDK logs in by a ticket, the legacy client by a command. */
  static async connectPlayers({ http, tcp }: Ready, logIn: boolean): Promise<ControlPlayers> {
    const ticketOptions = logIn ? { ticket: () => signTicket(validClaims('sdk player')) } : {}
    const sdk = await connect(`ws://127.0.0.1:${http}/ws`, { identity: IDENTITY, ...ticketOptions })
    const legacy = await RawPeer.connect(tcp)
    if (logIn) {
      await legacy.send(frame(COMMAND.LOGIN, { uid: 'legacy player' }))
      await legacy.waitForFrames(1)
      legacy.frames.length = 0
    }
    return new ControlPlayers(sdk, legacy)
  }

  get replyCount(): number {
    return this.replies.sdk + this.replies.legacy
  }

  /** The counter of the game. Records a failure when a prototype was modified. */
  async readGameCount(): Promise<number> {
    const { count, polluted } = await this.#sdk.at(Room).tally()
    if (polluted) this.failures.push('a prototype was modified')
    return count
  }

  async closePlayers(): Promise<void> {
    this.#isClosing = true
    await this.#done
    await this.#sdk.close()
    this.#legacy.socket.destroy()
  }

  async #callRepeatedly(player: 'sdk' | 'legacy', call: (n: number) => Promise<unknown>): Promise<void> {
    for (let n = 1; !this.#isClosing && this.failures.length === 0; n++) {
      const startMs = performance.now()
      try {
        const reply = await call(n)
        if (reply !== n) this.failures.push(`${player}: the reply to ${n} is ${String(reply)}`)
        this.replies[player]++
      } catch (error) {
        this.failures.push(`${player}: ${String(error)}`)
      }
      this.maxLatencyMs = Math.max(this.maxLatencyMs, performance.now() - startMs)
      await sleep(CALL_INTERVAL_MS)
    }
  }

  async #callSdk(n: number): Promise<unknown> {
    return (await this.#sdk.at(Room).pack({ n })).n
  }

  async #callLegacy(n: number): Promise<unknown> {
    await this.#legacy.send(frame(COMMAND.RAW, String(n)))
    await this.#legacy.waitForFrames(1)
    const [reply] = this.#legacy.frames.splice(0)
    return reply!.command === COMMAND.RAW && Number(reply!.body.toString())
  }
}
