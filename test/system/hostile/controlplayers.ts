// Two well-behaved players beside an attack: one of our SDK on a WebSocket, one legacy client on TCP. Each calls as soon
// as it has its answer, and checks what it is told.

import { setTimeout as pause } from 'node:timers/promises'
import { connect, type Firefly } from '../../../client/index.ts'
import { frame, IDENTITY } from './frames.ts'
import { Yard } from './game.ts'
import { validClaims, signTicket } from './ticketfactory.ts'
import { RawPeer } from './peer.ts'

const CALL_INTERVAL_MS = 4
const ENTER = 30

export class ControlPlayers {
  readonly answers = { sdk: 0, legacy: 0 }
  /** What they had to complain of. */
  readonly failures: string[] = []
  /** The longest that one of them waited. */
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

  /** `areMembers`: they log in, the one by a ticket, the other at the gate. */
  static async connectPlayers(
    { http, tcp }: { readonly http: number; readonly tcp: number },
    logIn: boolean,
  ): Promise<ControlPlayers> {
    const ticketOptions = logIn ? { ticket: () => signTicket(validClaims('the one beside it')) } : {}
    const sdk = await connect(`ws://127.0.0.1:${http}/ws`, { identity: IDENTITY, ...ticketOptions })
    const legacy = await RawPeer.connect(tcp)
    if (logIn) {
      await legacy.send(frame(ENTER, { uid: 'the other beside it' }))
      await legacy.waitForFrames(1)
      legacy.frames.length = 0
    }
    return new ControlPlayers(sdk, legacy)
  }

  get answerCount(): number {
    return this.answers.sdk + this.answers.legacy
  }

  /** What the game has counted. */
  async readGameCount(): Promise<number> {
    const { count, polluted } = await this.#sdk.at(Yard).tally()
    if (polluted) this.failures.push('a prototype was changed')
    return count
  }

  async closePlayers(): Promise<void> {
    this.#isClosing = true
    await this.#done
    await this.#sdk.close()
    this.#legacy.socket.destroy()
  }

  async #callRepeatedly(who: 'sdk' | 'legacy', call: (n: number) => Promise<unknown>): Promise<void> {
    for (let n = 1; !this.#isClosing && this.failures.length === 0; n++) {
      const begun = performance.now()
      try {
        const answer = await call(n)
        if (answer !== n) this.failures.push(`${who}: ${n} was answered by ${String(answer)}`)
        this.answers[who]++
      } catch (error) {
        this.failures.push(`${who}: ${String(error)}`)
      }
      this.maxLatencyMs = Math.max(this.maxLatencyMs, performance.now() - begun)
      await pause(CALL_INTERVAL_MS)
    }
  }

  async #callSdk(n: number): Promise<unknown> {
    return (await this.#sdk.at(Yard).pack({ n })).n
  }

  async #callLegacy(n: number): Promise<unknown> {
    await this.#legacy.send(frame(1, String(n)))
    await this.#legacy.waitForFrames(1)
    const [answer] = this.#legacy.frames.splice(0)
    return answer!.command === 1 && Number(answer!.body.toString())
  }
}
