// A legacy client's session: commands by number, no sequences, no keys. Each contract it speaks to is one channel, to
// the key its game has bound it to, else to the contract's default key. What it does wrong is met with silence and a
// strike.

import type { DoorContract } from '../core/run/door.ts'
import { RETAIN, SUPERSEDED, type ChannelIn, type ChannelOut } from '../core/run/ports.ts'
import { FIRST_RESERVED, type ErrorKind } from '../core/wire/message.ts'
import type { CloseReason } from '../core/wire/errors.ts'
import type { Connection } from './connection.ts'
import type { Gateway } from './gateway.ts'
import { Identity, type IdentityOwner } from './identity.ts'

/** Bytes of commands that came before the answer that says whose shard they are for. */
const MAX_EARLY_BYTES = 65_536

interface Early {
  readonly command: number
  readonly body: Uint8Array
}

export class LegacySession implements IdentityOwner {
  readonly connection: Connection
  readonly identity: Identity
  readonly #channels = new Map<string, LegacyChannel>()
  #opened = 0
  #held = false
  /** Calls without an answer yet. */
  #waiting = 0
  /** In the order they came: the first is for a shard that this session is not bound to yet. */
  #early: Early[] = []
  #earlyBytes = 0

  constructor(connection: Connection) {
    this.connection = connection
    this.identity = new Identity(this, connection.gateway.clock.id())
  }

  frame(command: number, source: Uint8Array, start: number, end: number): void {
    if (this.#early.length > 0) return this.#hold(command, source.slice(start, end))
    const { gateway } = this.connection
    const entry = gateway.door.byNumber.get(command)
    if (!entry || !(entry.contract.public || entry.contract.bound || entry.contract.players)) {
      const what = command >= FIRST_RESERVED ? 'a session message before HELLO' : 'unknown command'
      return this.connection.strike(`${what} ${command}`)
    }
    const { contract } = entry
    const { maxBytes, durable, cost } = entry.command
    if (maxBytes !== 0 && end - start > maxBytes) {
      return this.connection.strike(`command ${command}: body ${end - start} bytes exceeds ${maxBytes}`)
    }
    if (!this.#mayReach(contract)) {
      // A client that does not wait for the answer of its login: that answer says whose shard this is for.
      if (this.#waiting > 0) return this.#hold(command, source.slice(start, end))
      return this.connection.strike(`command ${command}: this session may not speak to ${contract.name} yet`)
    }
    if (cost > 1) this.connection.spend(cost - 1)
    const body = this.connection.opened(source.subarray(start, end))
    const channel = this.#channels.get(contract.name) ?? this.#open(contract)
    channel?.call(command, durable ? RETAIN : 0, body)
  }

  #mayReach({ name, bound, players, public: isPublic }: DoorContract): boolean {
    if (bound && this.identity.keyOf(name) !== undefined) return true
    return isPublic || (players === true && this.identity.uid !== '')
  }

  #hold(command: number, body: Uint8Array): void {
    this.#early.push({ command, body })
    this.#earlyBytes += body.length
    this.connection.count(1)
    if (this.#earlyBytes > MAX_EARLY_BYTES)
      this.connection.close('OVERLOADED', `${this.#earlyBytes} bytes wait for a login`)
  }

  #open(contract: DoorContract): LegacyChannel | null {
    const { gateway } = this.connection
    if (this.#channels.size >= gateway.limits.maxChannels) {
      this.connection.strike(`more than ${gateway.limits.maxChannels} shards`)
      return null
    }
    this.connection.spend(OPEN_COST)
    const key = this.identity.keyOf(contract.name) ?? contract.key
    const channel = new LegacyChannel(this, ++this.#opened, contract, key)
    if (this.#held) channel.shard.hold(true)
    this.#channels.set(contract.name, channel)
    return channel
  }

  /** The game says which key of a contract this session means from now on. */
  bind(contract: string, key: string): void {
    if (!this.identity.bind(contract, key)) return
    const channel = this.#channels.get(contract)
    if (!channel) return
    this.#channels.delete(contract)
    channel.leave()
  }

  /** It reads too slowly. */
  hold(on: boolean): void {
    this.#held = on
    this.identity.hold(on)
    for (const { shard } of this.#channels.values()) shard.hold(on)
  }

  get gateway(): Gateway {
    return this.connection.gateway
  }

  /** It has logged in. */
  changed(): void {
    const { uid, epoch } = this.identity
    this.connection.spoken(uid)
    if (uid !== '') for (const { shard } of this.#channels.values()) shard.identify(uid, epoch)
  }

  anchored(): void {}

  pushed(_sequence: number, event: number, body: Uint8Array): void {
    this.connection.event(event, body)
  }

  /** It has no word for what it missed. */
  missed(): void {
    this.connection.close('SLOW_CONSUMER', 'events were lost')
  }

  close(reason: CloseReason, message: string, forget = false): void {
    this.connection.close(reason, message, forget)
  }

  /** The game does not admit this session to the shard: what was sent there is void. */
  refused(channel: LegacyChannel): void {
    for (const [contract, open] of this.#channels) if (open === channel) this.#channels.delete(contract)
    channel.void()
    this.connection.strike('the shard does not admit this session')
  }

  /** `count` calls were sent (negative: have ended). */
  count(count: number): void {
    this.#waiting += count
    this.connection.count(count)
    if (count < 0 && this.#early.length > 0) this.connection.gateway.clock.defer(() => this.#release())
  }

  /** Takes up the commands that came early, as far as it goes. */
  #release(): void {
    const early = this.#early
    this.#early = []
    this.#earlyBytes = 0
    this.connection.replay(() => {
      let taken = 0
      try {
        for (const { command, body } of early) {
          if (this.connection.over) return
          // It may be the last thing that a closing connection waits for, and opens no channel after that.
          this.frame(command, body, 0, body.length)
          taken++
          this.connection.count(-1)
        }
      } finally {
        // What came behind a fault is void.
        this.connection.count(taken - early.length)
      }
    })
  }

  ended(): void {
    for (const channel of this.#channels.values()) channel.shard.close(true)
    this.identity.ended(true)
  }
}

class LegacyChannel implements ChannelOut {
  readonly #session: LegacySession
  readonly shard: ChannelIn
  #sent = 0
  #done = 0
  /** The session was bound to another key: answers still come, events do not. */
  #left = false
  /** The call that is being timed, and since when. */
  #timed = 0
  #timedMs = 0

  constructor(session: LegacySession, channel: number, { name: contract }: DoorContract, key: string) {
    this.#session = session
    const shard = { contract, key }
    const { session: id, uid, epoch, connection: generation } = session.identity
    const request = {
      shard,
      session: id,
      channel,
      legacy: true,
      activation: 0,
      memo: NO_BYTES,
      eventAck: 0,
      uid,
      epoch,
      generation,
    }
    this.shard = session.connection.gateway.link.open(request, this)
  }

  call(command: number, flags: number, body: Uint8Array): void {
    const { gateway } = this.#session.connection
    if (gateway.meter.sample()) {
      this.#timed = this.#sent + 1
      this.#timedMs = gateway.clock.mono()
    }
    this.#session.count(1)
    this.shard.call(++this.#sent, command, flags, this.#done, body)
  }

  /** Nothing of it will be answered. */
  void(): void {
    this.#left = true
    this.#ended(this.#sent)
  }

  /** Closed once its calls are answered. */
  leave(): void {
    this.#left = true
    if (this.#done >= this.#sent) this.shard.close(true)
  }

  #ended(sequence: number): void {
    if (sequence <= this.#done) return
    const { gateway } = this.#session.connection
    if (this.#timed !== 0 && sequence >= this.#timed) {
      gateway.meter.took(gateway.clock.mono() - this.#timedMs)
      this.#timed = 0
    }
    const ended = sequence - this.#done
    this.#done = sequence
    this.#session.count(-ended)
    if (this.#left && this.#done >= this.#sent) this.shard.close(true)
  }

  opened(_activation: number, _mark: number, lost: boolean): void {
    if (lost) this.#ended(this.#sent)
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    const { connection } = this.#session
    connection.outflow.frame(command, connection.sealed(body))
    this.#ended(sequence)
  }

  error(sequence: number, command: number, _kind: ErrorKind, code: string, message: string): void {
    this.#ended(sequence)
    if (code === 'BAD_INPUT' || code === 'UNKNOWN_COMMAND')
      this.#session.connection.strike(`command ${command}: ${message}`)
  }

  event(_sequence: number, event: number, body: Uint8Array): void {
    if (!this.#left) this.#session.connection.event(event, body)
  }

  applied(mark: number): void {
    this.#ended(mark)
  }

  memo(): void {}

  bind(contract: string, key: string): void {
    this.#session.bind(contract, key)
  }

  login(uid: string, epoch: number): void {
    this.#session.identity.login(uid, epoch)
  }

  resync(): void {
    if (!this.#left) this.#session.missed()
  }

  closed(code: string): void {
    if (this.#left) return
    const { connection } = this.#session
    if (code === SUPERSEDED) connection.close('REPLACED', 'this player has logged in elsewhere')
    else if (code === 'FORBIDDEN') this.#session.refused(this)
    else connection.close('OVERLOADED', `the shard ended the channel: ${code}`)
  }
}

/** What opening a channel costs of a session's budget: it may wake a shard. */
const OPEN_COST = 20
const NO_BYTES = new Uint8Array(0)
