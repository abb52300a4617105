// The members of one activation as their connections come and go. It restores their seats, releases them, and runs the
// game's hooks. Invariant: after a restart every seat is restored before any hook or call runs, and the hook of a member
// runs when its channel is introduced.

import type { MemberHook } from '../game/definition.ts'
import type { Channel } from './channel.ts'
import { decodeMembershipToken, type Member, type Members } from './members.ts'

/** What the lifecycle needs of its activation. */
export interface MemberHost {
  readonly members: Members<Channel>
  readonly meter: { resyncs: number }
  membershipChanged(): void
  /** Runs a hook in its own turn, if the game declares it. `leaving`: the member whose seat was released. */
  runMemberHook(hook: MemberHook, channel: Channel, leaving?: Member<Channel>): void
}

export class MemberLifecycle {
  readonly #host: MemberHost
  /** Restored seats whose `onRejoin` hook has not run. */
  readonly #restored = new Set<Channel>()
  /** Members whose `onDisconnect` hook has run, and no `onReconnect` or `onLeave` since. */
  readonly #away = new WeakSet<Channel>()

  constructor(host: MemberHost) {
    this.#host = host
  }

  addMember(channel: Channel): void {
    this.#host.members.add(channel)
    this.#host.membershipChanged()
  }

  /** Restores a member's seat and groups from the token that its gateway presented. */
  restoreSeat(channel: Channel): void {
    const membership = decodeMembershipToken(channel.takeMembershipToken())
    if (!membership || channel.member || !channel.out) return
    const { members } = this.#host
    members.add(channel, membership.seat)
    for (const group of membership.groups) members.joinGroup(channel.member!, group)
    this.#host.membershipChanged()
    this.#restored.add(channel)
  }

  /** Runs `onRejoin` for a member of the last activation, and `onReconnect` for a member that was away. */
  channelIntroduced(channel: Channel): void {
    this.restoreSeat(channel)
    // The gateway may be another one than before.
    if (channel.member) channel.sendMembershipToken()
    if (this.#restored.delete(channel) && channel.member) this.#host.runMemberHook('onRejoin', channel)
    if (this.#away.delete(channel) && channel.member) this.#host.runMemberHook('onReconnect', channel)
  }

  /** The connection of a member is closed. It keeps its seat until its seat timer fires. */
  memberDetached(channel: Channel): void {
    if (!channel.member || this.#away.has(channel)) return
    this.#away.add(channel)
    this.#host.runMemberHook('onDisconnect', channel)
  }

  /** Releases the seat of a member. The `onLeave` hook can still read the seat. */
  removeMember(channel: Channel): void {
    const { member } = channel
    this.#away.delete(channel)
    if (!member) return
    this.#host.members.remove(member)
    this.#host.membershipChanged()
    this.#host.runMemberHook('onLeave', channel, member)
  }

  /** A member may have missed events that are in no history. */
  eventsMissed(channel: Channel): void {
    channel.eventsMissed()
    this.requestResync(channel)
  }

  /** A member has missed events that were dropped: its game may send fresh state. */
  requestResync(channel: Channel): void {
    this.#host.meter.resyncs++
    if (channel.member) this.#host.runMemberHook('onResync', channel)
  }
}
