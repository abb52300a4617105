// The players of one server: each has one deposit or transfer under way, asked again under the same id until it is
// answered, and thinks for a moment after it. Invariant: an answer is noted at the moment when it is heard.

import { setTimeout as sleep } from 'node:timers/promises'

import { LegacyLine, Unanswered } from '../crash/line.ts'
import { Random } from '../../support/random.ts'

export interface Ack {
  readonly player: string
  /** The caller's name for the request. */
  readonly id: string
  readonly atMs: number
}

type Input = Readonly<Record<'to' | 'id', string>> & { readonly amount: number }

const THINK_MS = 80
const AGAIN_MS = 40
const MAX_AMOUNT = 100
const DEPOSITS = 0.5

export class Crowd {
  readonly acks: Ack[] = []
  /** Players who were answered. */
  readonly present = new Set<string>()
  /** Hears each answer at once. */
  onAck: (ack: Ack) => void = () => {}
  readonly #port: number
  readonly #names: readonly string[]
  readonly #run: string
  #isStopping = false
  #playing: Promise<unknown> = Promise.resolve()

  /** `run` makes ids unique among all crowds of one database. */
  constructor(port: number, players: number, run: string) {
    this.#port = port
    this.#names = Array.from({ length: players }, (_, i) => `p${i}`)
    this.#run = run
  }

  start(): void {
    this.#playing = Promise.all(this.#names.map((name, i) => this.#play(name, new Random(i))))
  }

  /** Everything that was asked is answered. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#playing
  }

  /** Answers from one moment to another. */
  count(fromMs: number, toMs: number): number {
    let count = 0
    for (let i = this.acks.length - 1; i >= 0 && this.acks[i]!.atMs >= fromMs; i--)
      if (this.acks[i]!.atMs < toMs) count++
    return count
  }

  async #play(player: string, random: Random): Promise<void> {
    const line = new LegacyLine(player, this.#port)
    let gold = 0
    for (let n = 0; !this.#isStopping; n++) {
      const id = `${this.#run}-${n}`
      const deposits = gold === 0 || random.chance(DEPOSITS)
      const amount = 1 + random.below(deposits ? MAX_AMOUNT : Math.min(gold, MAX_AMOUNT))
      const to = this.#names[random.below(this.#names.length)]!
      const transfers = !deposits && to !== player
      gold = await this.#ask(line, transfers ? 'transfer' : 'deposit', { to, amount, id })
      const ack = { player, id, atMs: performance.now() }
      this.acks.push(ack)
      this.present.add(player)
      this.onAck(ack)
      await sleep(THINK_MS * (0.5 + random.next()))
    }
    line.close()
  }

  async #ask(line: LegacyLine, request: 'deposit' | 'transfer', input: Input): Promise<number> {
    for (;;) {
      try {
        const { gold } = (await line.ask(request, input)) as { gold: number }
        return gold
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error
        await sleep(AGAIN_MS)
      }
    }
  }
}
