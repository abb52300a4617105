// Members whose connections outlived an activation: all are seated again before any hook or call runs, and the game
// hears of each when its channel is introduced.

import type { Activation } from './activation.ts'
import type { Channel } from './channel.ts'
import { decodeMemo } from './members.ts'

export class Homecoming {
  readonly #life: Activation
  /** Seated, and the game does not know it yet. */
  readonly #returned = new Set<Channel>()

  constructor(life: Activation) {
    this.#life = life
  }

  /** A member's seat and groups again, as its gateway remembers them. */
  seat(channel: Channel): void {
    const memo = decodeMemo(channel.memo)
    channel.memo = NO_BYTES
    if (!memo || channel.member || !channel.out) return
    const { members } = this.#life
    members.add(channel, memo.seat)
    for (const group of memo.groups) members.join(channel.member!, group)
    this.#life.membershipChanged()
    this.#returned.add(channel)
  }

  /** The channel is introduced: a member of before is told to the game. */
  welcome(channel: Channel): void {
    this.seat(channel)
    if (!this.#returned.delete(channel) || !channel.member) return
    const life = this.#life
    life.sendMemo(channel)
    if (life.plan.rejoin) life.run(life.turnOf(channel), life.plan.rejoin, undefined)
  }
}

const NO_BYTES = new Uint8Array(0)
