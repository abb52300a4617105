// Members whose connections come and go, as the game hears of it: away, back, gone for good, and what they have missed.
// After a restart all are seated again before any hook or call runs, and the game hears of each when it is introduced.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import type { Activation } from './activation.ts'
import type { Channel } from '../channel/channel.ts'
import { decodeMembershipToken } from '../channel/members.ts'

export class MemberLifecycle {
  readonly #activation: Activation
  /** Seated, and the game does not know it yet. */
  readonly #unreported = new Set<Channel>()

  constructor(activation: Activation) {
    this.#activation = activation
  }

  /** A member's seat and groups again, as its gateway remembers them. */
  restoreSeat(channel: Channel): void {
    const membership = decodeMembershipToken(channel.membershipToken)
    channel.membershipToken = EMPTY_BYTES
    if (!membership || channel.member || !channel.out) return
    const { members } = this.#activation
    members.add(channel, membership.seat)
    for (const group of membership.groups) members.joinGroup(channel.member!, group)
    this.#activation.membershipChanged()
    this.#unreported.add(channel)
  }

  /** The channel is introduced: a member of the last activation, or one that was away, is told to the game. */
  channelIntroduced(channel: Channel): void {
    const activation = this.#activation
    this.restoreSeat(channel)
    // Its gateway may be another one than before.
    if (channel.member) activation.sendMembershipToken(channel)
    if (this.#unreported.delete(channel) && channel.member && activation.plan.rejoin)
      activation.runTurn(activation.newTurn(channel), activation.plan.rejoin, undefined)
    if (!channel.isAway) return
    channel.isAway = false
    if (channel.member && activation.plan.back)
      activation.runTurn(activation.newTurn(channel), activation.plan.back, undefined)
  }

  /** The connection of a member is gone; it keeps its seat until it lingers no more. */
  memberDetached(channel: Channel): void {
    if (!channel.member || channel.isAway) return
    channel.isAway = true
    const activation = this.#activation
    if (activation.plan.away) activation.runTurn(activation.newTurn(channel), activation.plan.away, undefined)
  }

  /** A member is gone for good: its seat is free, and the game hears it with the seat still in hand. */
  removeMember(channel: Channel): void {
    const { member } = channel
    channel.isAway = false
    if (!member) return
    const activation = this.#activation
    activation.members.remove(member)
    activation.membershipChanged()
    if (!activation.plan.leave) return
    const turn = activation.newTurn(channel)
    turn.leavingMember = member
    activation.runTurn(turn, activation.plan.leave, undefined)
  }

  /** A member may have missed what nobody has kept. */
  eventsMissed(channel: Channel): void {
    channel.eventsMissed()
    this.requestResync(channel)
  }

  /** A member has missed events that are not kept any more: its game may send it fresh state. */
  requestResync(channel: Channel): void {
    const activation = this.#activation
    activation.meter.resyncs++
    if (channel.member && activation.plan.resync)
      activation.runTurn(activation.newTurn(channel), activation.plan.resync, undefined)
  }
}
