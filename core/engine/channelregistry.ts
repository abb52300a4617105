// Who is attached to a shard: its channels, and what becomes of one whose connection is gone or whose uid logs in anew.
// Channels outlive connections for a while and activations as long as a connection carries them.

import { bytesOfHex } from '../wire/bytes.ts'
import { TIMES } from '../wire/limits.ts'
import type { Activation } from './activation.ts'
import { Channel, channelName } from '../channel/channel.ts'
import type { Engine } from './engine.ts'
import { AdmissionQueue } from '../channel/admissionqueue.ts'
import {
  NEW_CHANNEL_DEFAULTS,
  refuseChannel,
  REPLACED,
  SUPERSEDED,
  type ChannelIn,
  type ChannelOut,
  type OpenRequest,
} from '../ports/link.ts'
import type { StoredChannel } from '../ports/store.ts'
import type { Shard } from './shard.ts'

/** A uid has few sessions in one life of its shard. */
const MAX_REMEMBERED_NUMBERS = 16

export class ChannelRegistry {
  readonly #engine: Engine
  readonly #shard: Shard
  readonly #channels = new Map<string, Channel>()
  /** The channel of the newest login, by uid. */
  readonly #channelByUid = new Map<string, Channel>()
  /** Last events of the sessions' own channels that this life has forgotten, by name. */
  readonly #lastEventNumbers = new Map<string, number>()

  constructor(engine: Engine, shard: Shard) {
    this.#engine = engine
    this.#shard = shard
  }

  get size(): number {
    return this.#channels.size
  }

  /** Somebody is connected. */
  get hasConnection(): boolean {
    for (const { out } of this.#channels.values()) if (out !== null) return true
    return false
  }

  /** A gateway brings a channel; whom the game does not admit, the shard is not even activated for. */
  openChannel(request: OpenRequest, out: ChannelOut): ChannelIn {
    const { admit } = this.#shard.plan
    if (!admit || request.admitted) return this.#attachChannel(request, out)
    return new AdmissionQueue(this.#engine, admit, request, out, () => this.#attachChannel(request, out))
  }

  #attachChannel(request: OpenRequest, out: ChannelOut): ChannelIn {
    const name = channelName(request.session, request.channel)
    const known = this.#channels.get(name)
    // The link of a connection that is not the newest any more was away, and comes too late.
    if (known && known.generation > request.generation) return refuseChannel(out, REPLACED)
    // A connection that the client has given up, and its gateway not yet.
    known?.out?.channelClosed(REPLACED)
    const channel = known ?? new Channel(this.#shard, request)
    this.#channels.set(channel.name, channel)
    const before = channel.uid
    channel.attach(out, request)
    this.#engine.detachedChannels.delete(channel)
    this.loginChanged(channel, before)
    if (channel.out !== null)
      this.#shard.enqueueWork((activation) => this.#introduceActivation(activation, channel))
    return channel
  }

  /**
   * A session was let in, and its gateway is yet to bring its own channel: a member that is away. What is pushed until
   * then waits for it, within the bounds of every member's events and for as long.
   */
  expectSession(activation: Activation, session: string): void {
    const own = { shard: this.#shard.id, session: bytesOfHex(session), channel: 0 }
    const channel = new Channel(this.#shard, { ...NEW_CHANNEL_DEFAULTS, ...own })
    const known = this.#channels.get(channel.name)
    // One that no gateway has ever brought was for a login that came to nothing, and its time is over.
    if (known && (known.introducedActivation !== 0 || known.out !== null || known.member !== null)) return
    if (known) this.#removeChannel(known)
    this.#channels.set(channel.name, channel)
    activation.members.add(channel)
    activation.membershipChanged()
    this.detachChannel(channel, false)
  }

  /** Of two logins of one uid the newer one speaks to this shard; the other is let go. */
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

  /** Ends a channel from here. */
  endChannel(channel: Channel, code: string): void {
    channel.out?.channelClosed(code)
    this.detachChannel(channel, true)
  }

  /** The connection is gone. A member keeps its seat for a while, unless (`forget`) it does not come back. */
  detachChannel(channel: Channel, forget: boolean): void {
    const { clock } = this.#engine
    channel.detach()
    channel.detachedMs = clock.mono()
    if (forget) this.#removeChannel(channel)
    else this.#engine.addDetached(channel)
    this.startSeatTimeout(channel)
  }

  /** Too many are absent, and this one longest: it leaves now. */
  evictDetached(channel: Channel): void {
    this.#removeChannel(channel)
    this.startSeatTimeout(channel)
  }

  /** A member without connection: how long it keeps its seat. */
  startSeatTimeout(channel: Channel): void {
    channel.seatTimer?.cancel()
    if (!this.#shard.activation) return
    const seatTimeoutMs = this.#shard.plan.definition.lingerMs ?? TIMES.lingerMs
    const leavesNow = channel.legacy || seatTimeoutMs === 0 || this.#channels.get(channel.name) !== channel
    if (!leavesNow)
      channel.seatTimer = this.#engine.clock.after(seatTimeoutMs, () => this.#seatExpired(channel))
    this.#runIfDetached(channel, (activation) =>
      leavesNow
        ? activation.memberLifecycle.removeMember(channel)
        : activation.memberLifecycle.memberDetached(channel),
    )
  }

  #seatExpired(channel: Channel): void {
    channel.seatTimer = null
    if (!this.#shard.activation) return
    this.#runIfDetached(channel, (activation) => {
      if (channel.member) channel.expireHistory()
      activation.memberLifecycle.removeMember(channel)
    })
  }

  /** In its turn, if the channel is still without connection then. */
  #runIfDetached(channel: Channel, run: (activation: Activation) => void): void {
    this.#shard.enqueueWork((activation) => {
      if (channel.out === null) run(activation)
    })
  }

  /** Events of a slow reader gave way: its game may send it fresh state. */
  requestResync(channel: Channel): void {
    if (!this.#shard.activation) return
    this.#shard.enqueueWork((activation) => {
      if (channel.out !== null) activation.memberLifecycle.requestResync(channel)
    })
  }

  /** An activation begins. All members are back before any hook or call of it runs. */
  restoreMembers(activation: Activation): void {
    for (const channel of this.#channels.values()) activation.memberLifecycle.restoreSeat(channel)
    for (const channel of this.#channels.values())
      this.#shard.enqueueWithoutSchedule((next) => this.#introduceActivation(next, channel))
  }

  /** The activation is over: those without connection go with it, the others wait for the next. */
  endActivation(): void {
    for (const channel of this.#channels.values()) {
      channel.seatTimer?.cancel()
      if (channel.out === null) this.#removeChannel(channel)
      else channel.reset()
    }
    this.#lastEventNumbers.clear()
  }

  /** Calls that were on their way are lost. */
  markCallsLost(): void {
    for (const channel of this.#channels.values()) channel.callsLost = true
  }

  /** Forgets channels that nobody came back to. */
  sweep(nowMs: number, rememberMs: number): void {
    for (const channel of this.#channels.values()) {
      const isOver = channel.out === null && channel.member === null
      if (isOver && nowMs - channel.detachedMs >= rememberMs) this.#removeChannel(channel)
    }
  }

  #removeChannel(channel: Channel): void {
    this.#engine.detachedChannels.delete(channel)
    this.#channels.delete(channel.name)
    if (channel.isSessionChannel && channel.introducedActivation !== 0 && channel.lastEvent > 0) {
      this.#lastEventNumbers.delete(channel.name)
      this.#lastEventNumbers.set(channel.name, channel.lastEvent)
      if (this.#lastEventNumbers.size > MAX_REMEMBERED_NUMBERS)
        this.#lastEventNumbers.delete(this.#lastEventNumbers.keys().next().value!)
    }
    if (this.#channelByUid.get(channel.uid) === channel) this.#channelByUid.delete(channel.uid)
  }

  /** Tells a channel which life it speaks to: before its first call, and again in each new life. */
  #introduceActivation(activation: Activation, channel: Channel): void {
    if (!channel.needsIntroduction(activation.number)) return
    const { plan, name } = this.#shard
    if (channel.introducedActivation === activation.number || plan.definition.stateless)
      return this.#completeIntroduction(activation, channel, null)
    const stored = this.#shard.readChannel(channel.name)
    if (!(stored instanceof Promise)) return this.#completeIntroduction(activation, channel, stored)
    const resume = this.#shard.beginAsyncTurn()
    stored.then(
      (found) => resume(() => this.#completeIntroduction(activation, channel, found)),
      (cause: unknown) =>
        resume(() => {
          this.#engine.log.error('a channel could not be read', { shard: name, cause: String(cause) })
          channel.out?.channelClosed('UNAVAILABLE')
        }),
    )
  }

  #completeIntroduction(activation: Activation, channel: Channel, stored: StoredChannel | null): void {
    if (stored) channel.restore(stored)
    const isComplete = channel.introduceActivation(
      activation.number,
      this.#lastEventNumbers.get(channel.name) ?? 0,
    )
    activation.memberLifecycle.channelIntroduced(channel)
    if (!isComplete) activation.memberLifecycle.requestResync(channel)
  }
}
