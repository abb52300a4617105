// Who is attached to a shard: its channels, and what becomes of one whose connection is gone or whose uid logs in anew.
// Channels outlive connections for a while and activations as long as a connection carries them.

import { bytesOfHex } from '../wire/bytes.ts'
import { TIMES } from '../wire/limits.ts'
import type { Activation } from './activation.ts'
import { Channel, channelName } from './channel.ts'
import type { Engine } from './engine.ts'
import { Gate } from './gate.ts'
import {
  NEWCOMER,
  refused,
  REPLACED,
  SUPERSEDED,
  type ChannelIn,
  type ChannelOut,
  type OpenRequest,
  type StoredChannel,
} from './ports.ts'
import type { Shard } from './shard.ts'

/** A uid has few sessions in one life of its shard. */
const MAX_NUMBERED = 16

export class Attendance {
  readonly #engine: Engine
  readonly #shard: Shard
  readonly #channels = new Map<string, Channel>()
  /** The channel of the newest login, by uid. */
  readonly #logins = new Map<string, Channel>()
  /** Last events of the sessions' own channels that this life has forgotten, by name. */
  readonly #numbered = new Map<string, number>()

  constructor(engine: Engine, shard: Shard) {
    this.#engine = engine
    this.#shard = shard
  }

  get size(): number {
    return this.#channels.size
  }

  /** Somebody is connected. */
  get isAwaited(): boolean {
    for (const { out } of this.#channels.values()) if (out !== null) return true
    return false
  }

  /** A gateway brings a channel; whom the game does not admit, the shard is not even activated for. */
  open(request: OpenRequest, out: ChannelOut): ChannelIn {
    const { admit } = this.#shard.plan
    if (!admit || request.admitted) return this.#attach(request, out)
    return new Gate(this.#engine, admit, request, out, () => this.#attach(request, out))
  }

  #attach(request: OpenRequest, out: ChannelOut): ChannelIn {
    const name = channelName(request.session, request.channel)
    const known = this.#channels.get(name)
    // The link of a connection that is not the newest any more was away, and comes too late.
    if (known && known.generation > request.generation) return refused(out, REPLACED)
    // A connection that the client has given up, and its gateway not yet.
    known?.out?.closed(REPLACED)
    const channel = known ?? new Channel(this.#shard, request)
    this.#channels.set(channel.name, channel)
    const before = channel.uid
    channel.attach(out, request)
    this.#engine.absent.delete(channel)
    this.identified(channel, before)
    if (channel.out !== null) this.#shard.soon((life) => this.#introduce(life, channel))
    return channel
  }

  /**
   * A session was let in, and its gateway is yet to bring its own channel: a member that is away. What is pushed until
   * then waits for it, within the bounds of every member's events and for as long.
   */
  expect(life: Activation, session: string): void {
    const own = { shard: this.#shard.id, session: bytesOfHex(session), channel: 0 }
    const channel = new Channel(this.#shard, { ...NEWCOMER, ...own })
    const known = this.#channels.get(channel.name)
    // One that no gateway has ever brought was for a login that came to nothing, and its time is over.
    if (known && (known.told !== 0 || known.out !== null || known.member !== null)) return
    if (known) this.#drop(known)
    this.#channels.set(channel.name, channel)
    life.members.add(channel)
    life.membershipChanged()
    this.detach(channel, false)
  }

  /** Of two logins of one uid the newer one speaks to this shard; the other is let go. */
  identified(channel: Channel, before: string): void {
    const { uid } = channel
    if (before !== uid && this.#logins.get(before) === channel) this.#logins.delete(before)
    if (uid === '') return
    const other = this.#logins.get(uid)
    const isRival = other !== undefined && other.session !== channel.session && other.epoch !== channel.epoch
    const loser = isRival ? (other.epoch < channel.epoch ? other : channel) : null
    if (loser !== channel) this.#logins.set(uid, channel)
    if (loser) this.expel(loser, SUPERSEDED)
  }

  /** Ends a channel from here. */
  expel(channel: Channel, code: string): void {
    channel.out?.closed(code)
    this.detach(channel, true)
  }

  /** The connection is gone. A member keeps its seat for a while, unless (`forget`) it does not come back. */
  detach(channel: Channel, forget: boolean): void {
    const { clock } = this.#engine
    channel.detach()
    channel.detachedMs = clock.mono()
    if (forget) this.#drop(channel)
    else this.#engine.leaveOne(channel)
    this.linger(channel)
  }

  /** Too many are absent, and this one longest: it leaves now. */
  abandon(channel: Channel): void {
    this.#drop(channel)
    this.linger(channel)
  }

  /** A member without connection: how long it keeps its seat. */
  linger(channel: Channel): void {
    channel.linger?.cancel()
    if (!this.#shard.life) return
    const lingerMs = this.#shard.plan.definition.lingerMs ?? TIMES.lingerMs
    const leaves = channel.legacy || lingerMs === 0 || this.#channels.get(channel.name) !== channel
    if (!leaves) channel.linger = this.#engine.clock.after(lingerMs, () => this.#goodbye(channel))
    this.#absent(channel, (life) => (leaves ? life.presence.goodbye(channel) : life.presence.away(channel)))
  }

  #goodbye(channel: Channel): void {
    channel.linger = null
    if (!this.#shard.life) return
    this.#absent(channel, (life) => {
      if (channel.member) channel.lapse()
      life.presence.goodbye(channel)
    })
  }

  /** In its turn, if the channel is still without connection then. */
  #absent(channel: Channel, run: (life: Activation) => void): void {
    this.#shard.soon((life) => {
      if (channel.out === null) run(life)
    })
  }

  /** Events of a slow reader gave way: its game may send it fresh state. */
  resynced(channel: Channel): void {
    if (!this.#shard.life) return
    this.#shard.soon((life) => {
      if (channel.out !== null) life.presence.resync(channel)
    })
  }

  /** An activation begins. All members are back before any hook or call of it runs. */
  begin(life: Activation): void {
    for (const channel of this.#channels.values()) life.presence.seat(channel)
    for (const channel of this.#channels.values()) this.#shard.queue((next) => this.#introduce(next, channel))
  }

  /** The activation is over: those without connection go with it, the others wait for the next. */
  endLife(): void {
    for (const channel of this.#channels.values()) {
      channel.linger?.cancel()
      if (channel.out === null) this.#drop(channel)
      else channel.reset()
    }
    this.#numbered.clear()
  }

  /** Calls that were on their way are lost. */
  sever(): void {
    for (const channel of this.#channels.values()) channel.severed = true
  }

  /** Forgets channels that nobody came back to. */
  sweep(nowMs: number, rememberMs: number): void {
    for (const channel of this.#channels.values()) {
      const isOver = channel.out === null && channel.member === null
      if (isOver && nowMs - channel.detachedMs >= rememberMs) this.#drop(channel)
    }
  }

  #drop(channel: Channel): void {
    this.#engine.absent.delete(channel)
    this.#channels.delete(channel.name)
    if (channel.isOwn && channel.told !== 0 && channel.lastEvent > 0) {
      this.#numbered.delete(channel.name)
      this.#numbered.set(channel.name, channel.lastEvent)
      if (this.#numbered.size > MAX_NUMBERED) this.#numbered.delete(this.#numbered.keys().next().value!)
    }
    if (this.#logins.get(channel.uid) === channel) this.#logins.delete(channel.uid)
  }

  /** Tells a channel which life it speaks to: before its first call, and again in each new life. */
  #introduce(life: Activation, channel: Channel): void {
    if (!channel.isStrangerTo(life.number)) return
    const { plan, name } = this.#shard
    if (channel.told === life.number || plan.definition.stateless) return this.#tell(life, channel, null)
    const stored = this.#shard.stored(channel.name)
    if (!(stored instanceof Promise)) return this.#tell(life, channel, stored)
    const resume = this.#shard.hold()
    stored.then(
      (found) => resume(() => this.#tell(life, channel, found)),
      (cause: unknown) =>
        resume(() => {
          this.#engine.log.error('a channel could not be read', { shard: name, cause: String(cause) })
          channel.out?.closed('UNAVAILABLE')
        }),
    )
  }

  #tell(life: Activation, channel: Channel, stored: StoredChannel | null): void {
    if (stored) channel.restore(stored)
    const isWhole = channel.introduce(life.number, this.#numbered.get(channel.name) ?? 0)
    life.presence.welcome(channel)
    if (!isWhole) life.presence.resync(channel)
  }
}
