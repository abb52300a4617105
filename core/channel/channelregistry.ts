// The channels of one shard: attach, introduction, detach, and the end of a channel whose uid logs in again. Invariant:
// a channel outlives its connection for a limited time, and an activation only while a connection carries it.

import type { ShardDefinition } from '../game/definition.ts'
import { bytesOfHex } from '../wire/bytes.ts'
import { TIMES, type Limits } from '../wire/limits.ts'
import {
  refuseChannel,
  REPLACED,
  SUPERSEDED,
  type ChannelIn,
  type ChannelOut,
  type OpenRequest,
} from '../ports/link.ts'
import type { StoredChannel } from '../ports/store.ts'
import { AdmissionQueue, type AdmissionServices } from './admissionqueue.ts'
import { Channel, channelName, type ChannelHost } from './channel.ts'
import type { MemberLifecycle } from './memberlifecycle.ts'

export interface ChannelServices extends AdmissionServices {
  readonly limits: Limits
  readonly detachedChannels: DetachedChannels
}

/** The detached channels of a process, in the order of their detachment. */
export type DetachedChannels = Map<Channel, ChannelRegistry>

export interface ChannelActivation {
  readonly number: number
  readonly memberLifecycle: MemberLifecycle
}

export interface ChannelShard {
  readonly name: string
  readonly plan: { readonly definition: ShardDefinition }
  readonly activation: ChannelActivation | null
  readonly calls: Pick<ChannelHost, 'handleCall'>
  /** Runs in the current or next activation, after the work that waits. */
  enqueueWork(run: (activation: ChannelActivation) => void): void
  enqueueWithoutSchedule(run: (activation: ChannelActivation) => void): void
  /** Reads a channel from the Store. Other turns wait until it is read. */
  readChannel(name: string, onRead: (stored: StoredChannel | null) => void, onFailed: (cause: unknown) => void): void
}

/** A uid has few sessions in one activation of its shard. */
const MAX_REMEMBERED_NUMBERS = 16

export class ChannelRegistry implements ChannelHost {
  readonly limits: Limits
  readonly #services: ChannelServices
  readonly #shard: ChannelShard
  readonly #channels = new Map<string, Channel>()
  /** The channel of the newest login, by uid. */
  readonly #channelByUid = new Map<string, Channel>()
  /** Last event numbers of removed session channels in this activation, by name. */
  readonly #lastEventNumbers = new Map<string, number>()

  constructor(services: ChannelServices, shard: ChannelShard) {
    this.#services = services
    this.#shard = shard
    this.limits = services.limits
  }

  get size(): number {
    return this.#channels.size
  }

  /** Bytes of the events and replies that clients have not acknowledged. */
  get retainedBytes(): number {
    let bytes = 0
    for (const channel of this.#channels.values()) bytes += channel.retainedBytes
    return bytes
  }

  get hasConnection(): boolean {
    for (const { out } of this.#channels.values()) if (out !== null) return true
    return false
  }

  /** Opens a gateway's channel. The shard is not activated before its game has admitted the session. */
  openChannel(request: OpenRequest, out: ChannelOut): ChannelIn {
    const { admit } = this.#shard.plan.definition
    if (!admit || request.admitted) return this.#attachChannel(request, out)
    const openChannel = (): ChannelIn => this.#attachChannel(request, out)
    return new AdmissionQueue(this.#services, admit, request, out, openChannel)
  }

  #attachChannel(request: OpenRequest, out: ChannelOut): ChannelIn {
    const known = this.#channels.get(channelName(request.session, request.channel))
    // The link of an older connection was interrupted, and reconnected too late.
    if (known && known.generation > request.generation) return refuseChannel(out, REPLACED)
    // The client has dropped this connection, and its gateway has not detected it.
    known?.out?.channelClosed(REPLACED)
    const channel = known ?? new Channel(this, request)
    this.#channels.set(channel.name, channel)
    const before = channel.uid
    channel.attach(out, request)
    this.#services.detachedChannels.delete(channel)
    this.loginChanged(channel, before)
    if (channel.out !== null) this.#shard.enqueueWork((activation) => this.#introduce(activation, channel))
    return channel
  }

  /**
   * Adds an away member for a session that was let in and whose gateway has not attached its own channel. Events are
   * retained for it within the bounds and the time of every other away member.
   */
  expectSession(activation: ChannelActivation, session: string): void {
    const channel = new Channel(this, { session: bytesOfHex(session), channel: 0, legacy: false })
    const known = this.#channels.get(channel.name)
    // A channel that never had a connection is of an abandoned login, and its seat has expired.
    if (known && (known.introducedActivation !== 0 || known.out !== null || known.member !== null)) return
    if (known) this.#removeChannel(known)
    this.#channels.set(channel.name, channel)
    activation.memberLifecycle.addMember(channel)
    this.detachChannel(channel, false)
  }

  handleCall(channel: Channel, sequence: number, command: number, flags: number, body: Uint8Array): void {
    this.#shard.calls.handleCall(channel, sequence, command, flags, body)
  }

  /** Of two logins of one uid the newer one keeps its channel; the other channel is ended. */
  loginChanged(channel: Channel, before: string): void {
    const { uid } = channel
    if (before !== uid && this.#channelByUid.get(before) === channel) this.#channelByUid.delete(before)
    if (uid === '') return
    const other = this.#channelByUid.get(uid)
    const isRival = other !== undefined && other.session !== channel.session && other.epoch !== channel.epoch
    const superseded = isRival ? (other.epoch < channel.epoch ? other : channel) : null
    if (superseded !== channel) this.#channelByUid.set(uid, channel)
    if (superseded) this.endChannel(superseded, SUPERSEDED)
  }

  /** Closes a channel from the shard's side. */
  endChannel(channel: Channel, code: string, reason?: string): void {
    channel.out?.channelClosed(code, reason)
    this.detachChannel(channel, true)
  }

  /** The connection is closed. A member keeps its seat for a while, unless (`isFinal`) it does not resume. */
  detachChannel(channel: Channel, isFinal: boolean): void {
    channel.detach(this.#services.clock.mono())
    if (isFinal) this.#removeChannel(channel)
    else this.#addDetached(channel)
    this.startSeatTimeout(channel)
  }

  /** Beyond the bound of the process, the channel that was detached first is removed. */
  #addDetached(channel: Channel): void {
    const { detachedChannels, limits } = this.#services
    detachedChannels.delete(channel)
    detachedChannels.set(channel, this)
    if (detachedChannels.size <= limits.maxAbsent) return
    const [oldest] = detachedChannels
    if (oldest) oldest[1].#evictDetached(oldest[0])
  }

  #evictDetached(channel: Channel): void {
    this.#removeChannel(channel)
    this.startSeatTimeout(channel)
  }

  /** Starts the time for which a detached member keeps its seat. */
  startSeatTimeout(channel: Channel): void {
    channel.setSeatTimer(null)
    if (!this.#shard.activation) return
    const seatTimeoutMs = this.#shard.plan.definition.lingerMs ?? TIMES.lingerMs
    const leavesNow = channel.legacy || seatTimeoutMs === 0 || this.#channels.get(channel.name) !== channel
    if (!leavesNow) channel.setSeatTimer(this.#services.clock.after(seatTimeoutMs, () => this.#seatExpired(channel)))
    this.#runIfDetached(channel, ({ memberLifecycle }) =>
      leavesNow ? memberLifecycle.removeMember(channel) : memberLifecycle.memberDetached(channel),
    )
  }

  #seatExpired(channel: Channel): void {
    this.#runIfDetached(channel, ({ memberLifecycle }) => {
      if (channel.member) channel.expireHistory()
      memberLifecycle.removeMember(channel)
    })
  }

  /** Runs in its own turn, if the channel is still detached then. */
  #runIfDetached(channel: Channel, run: (activation: ChannelActivation) => void): void {
    if (!this.#shard.activation) return
    this.#shard.enqueueWork((activation) => {
      if (channel.out === null) run(activation)
    })
  }

  requestResync(channel: Channel): void {
    if (!this.#shard.activation) return
    this.#shard.enqueueWork(({ memberLifecycle }) => {
      if (channel.out !== null) memberLifecycle.requestResync(channel)
    })
  }

  /** An activation begins. Restores all seats before any hook or call runs. */
  restoreMembers({ memberLifecycle }: ChannelActivation): void {
    for (const channel of this.#channels.values()) memberLifecycle.restoreSeat(channel)
    for (const channel of this.#channels.values())
      this.#shard.enqueueWithoutSchedule((activation) => this.#introduce(activation, channel))
  }

  /** The activation has ended. Detached channels are removed, the others wait for the next activation. */
  endActivation(): void {
    for (const channel of this.#channels.values()) {
      channel.setSeatTimer(null)
      if (channel.out === null) this.#removeChannel(channel)
      else channel.endActivation()
    }
    this.#lastEventNumbers.clear()
  }

  markCallsLost(): void {
    for (const channel of this.#channels.values()) channel.markCallsLost()
  }

  /** Removes channels without member that were detached for `rememberMs`. */
  sweep(nowMs: number, rememberMs: number): void {
    for (const channel of this.#channels.values()) {
      const isOver = channel.out === null && channel.member === null
      if (isOver && nowMs - channel.detachedMs >= rememberMs) this.#removeChannel(channel)
    }
  }

  #removeChannel(channel: Channel): void {
    this.#services.detachedChannels.delete(channel)
    this.#channels.delete(channel.name)
    if (channel.isSessionChannel && channel.introducedActivation !== 0 && channel.lastEvent > 0) {
      this.#lastEventNumbers.delete(channel.name)
      this.#lastEventNumbers.set(channel.name, channel.lastEvent)
      if (this.#lastEventNumbers.size > MAX_REMEMBERED_NUMBERS)
        this.#lastEventNumbers.delete(this.#lastEventNumbers.keys().next().value!)
    }
    if (this.#channelByUid.get(channel.uid) === channel) this.#channelByUid.delete(channel.uid)
  }

  /** Introduces a channel to an activation: before its first call, and again after a restart. */
  #introduce(activation: ChannelActivation, channel: Channel): void {
    if (channel.state !== 'attaching') return
    const { plan, name } = this.#shard
    if (channel.introducedActivation === activation.number || plan.definition.stateless)
      return this.#completeIntroduction(activation, channel, null)
    this.#shard.readChannel(
      channel.name,
      (stored) => this.#completeIntroduction(activation, channel, stored),
      (cause) => {
        this.#services.log.error('a channel could not be read', { shard: name, cause: String(cause) })
        channel.refuseCalls()
        this.endChannel(channel, 'UNAVAILABLE')
      },
    )
  }

  #completeIntroduction(activation: ChannelActivation, channel: Channel, stored: StoredChannel | null): void {
    if (stored) channel.restore(stored)
    const isComplete = channel.introduce(activation.number, this.#lastEventNumbers.get(channel.name) ?? 0)
    activation.memberLifecycle.channelIntroduced(channel)
    if (!isComplete) activation.memberLifecycle.requestResync(channel)
  }
}
