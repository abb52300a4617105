// Members whose connections come and go, as the game hears of it: away, back, gone for good, and what they have missed.
// After a restart all are seated again before any hook or call runs, and the game hears of each when it is introduced.

import type { Activation } from './activation.ts'
import type { Channel } from './channel.ts'
import { decodeMemo } from './members.ts'

export class Presence {
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

  /** The channel is introduced: a member of the last activation, or one that was away, is told to the game. */
  welcome(channel: Channel): void {
    const life = this.#life
    this.seat(channel)
    // Its gateway may be another one than before.
    if (channel.member) life.sendMemo(channel)
    if (this.#returned.delete(channel) && channel.member && life.plan.rejoin)
      life.run(life.turnOf(channel), life.plan.rejoin, undefined)
    if (!channel.away) return
    channel.away = false
    if (channel.member && life.plan.back) life.run(life.turnOf(channel), life.plan.back, undefined)
  }

  /** The connection of a member is gone; it keeps its seat until it lingers no more. */
  away(channel: Channel): void {
    if (!channel.member || channel.away) return
    channel.away = true
    const life = this.#life
    if (life.plan.away) life.run(life.turnOf(channel), life.plan.away, undefined)
  }

  /** A member is gone for good: its seat is free, and the game hears it with the seat still in hand. */
  goodbye(channel: Channel): void {
    const { member } = channel
    channel.away = false
    if (!member) return
    const life = this.#life
    life.members.remove(member)
    life.membershipChanged()
    if (!life.plan.leave) return
    const turn = life.turnOf(channel)
    turn.leaving = member
    life.run(turn, life.plan.leave, undefined)
  }

  /** A member may have missed what nobody has kept. */
  missed(channel: Channel): void {
    channel.miss()
    this.resync(channel)
  }

  /** A member has missed events that are not kept any more: its game may send it fresh state. */
  resync(channel: Channel): void {
    const life = this.#life
    life.meter.resyncs++
    if (channel.member && life.plan.resync) life.run(life.turnOf(channel), life.plan.resync, undefined)
  }
}

const NO_BYTES = new Uint8Array(0)
