// Two well-behaved players beside an attack: one of our SDK on a WebSocket, one legacy client on TCP. Each calls as soon
// as it has its answer, and checks what it is told.

import { setTimeout as pause } from 'node:timers/promises'
import { connect, type Firefly } from '../../../client/index.ts'
import { frame, IDENTITY } from './frames.ts'
import { Yard } from './game.ts'
import { claims, ticket } from './mint.ts'
import { Peer } from './peer.ts'

const PACE_MS = 4
const ENTER = 30

export class Neighbours {
  readonly answers = { sdk: 0, legacy: 0 }
  /** What they had to complain of. */
  readonly failures: string[] = []
  /** The longest that one of them waited. */
  worstMs = 0
  readonly #sdk: Firefly
  readonly #legacy: Peer
  readonly #done: Promise<unknown>
  #leaving = false

  private constructor(sdk: Firefly, legacy: Peer) {
    this.#sdk = sdk
    this.#legacy = legacy
    sdk.on('state', (state) => this.#leaving || this.failures.push(`the SDK is ${state}`))
    this.#done = Promise.all([
      this.#play('sdk', (n) => this.#ask(n)),
      this.#play('legacy', (n) => this.#shout(n)),
    ])
  }

  /** `areMembers`: they log in, the one by a ticket, the other at the gate. */
  static async arrive(
    { http, tcp }: { readonly http: number; readonly tcp: number },
    areMembers: boolean,
  ): Promise<Neighbours> {
    const shown = areMembers ? { ticket: () => ticket(claims('the one beside it')) } : {}
    const sdk = await connect(`ws://127.0.0.1:${http}/ws`, { identity: IDENTITY, ...shown })
    const legacy = await Peer.dial(tcp)
    if (areMembers) {
      await legacy.send(frame(ENTER, { uid: 'the other beside it' }))
      await legacy.hears(1)
      legacy.heard.length = 0
    }
    return new Neighbours(sdk, legacy)
  }

  get total(): number {
    return this.answers.sdk + this.answers.legacy
  }

  /** What the game has counted. */
  async tally(): Promise<number> {
    const { count, polluted } = await this.#sdk.at(Yard).tally()
    if (polluted) this.failures.push('a prototype was changed')
    return count
  }

  async leave(): Promise<void> {
    this.#leaving = true
    await this.#done
    await this.#sdk.close()
    this.#legacy.socket.destroy()
  }

  async #play(who: 'sdk' | 'legacy', call: (n: number) => Promise<unknown>): Promise<void> {
    for (let n = 1; !this.#leaving && this.failures.length === 0; n++) {
      const begun = performance.now()
      try {
        const answer = await call(n)
        if (answer !== n) this.failures.push(`${who}: ${n} was answered by ${String(answer)}`)
        this.answers[who]++
      } catch (error) {
        this.failures.push(`${who}: ${String(error)}`)
      }
      this.worstMs = Math.max(this.worstMs, performance.now() - begun)
      await pause(PACE_MS)
    }
  }

  async #ask(n: number): Promise<unknown> {
    return (await this.#sdk.at(Yard).pack({ n })).n
  }

  async #shout(n: number): Promise<unknown> {
    await this.#legacy.send(frame(1, String(n)))
    await this.#legacy.hears(1)
    const [answer] = this.#legacy.heard.splice(0)
    return answer!.command === 1 && Number(answer!.body.toString())
  }
}
