// A legacy client's session: commands by number, no sequences, no keys. Each contract it speaks to is one channel, to
// the key its game has bound it to, else to the contract's default key. What it does wrong is met with silence and a
// strike.

import type { DoorContract } from '../core/run/door.ts'
import { RETAIN, type ChannelIn, type ChannelOut } from '../core/run/ports.ts'
import { FIRST_RESERVED, type ErrorKind } from '../core/wire/message.ts'
import type { Connection } from './connection.ts'

/** Bytes of commands that came before the answer that says whose shard they are for. */
const MAX_EARLY_BYTES = 65_536

interface Early {
  readonly command: number
  readonly body: Uint8Array
}

export class LegacySession {
  readonly connection: Connection
  readonly #session: Uint8Array
  readonly #channels = new Map<string, LegacyChannel>()
  readonly #keys = new Map<string, string>()
  #opened = 0
  /** Calls without an answer yet. */
  #waiting = 0
  /** In the order they came: the first is for a shard that this session is not bound to yet. */
  #early: Early[] = []
  #earlyBytes = 0

  constructor(connection: Connection) {
    this.connection = connection
    this.#session = connection.gateway.clock.id()
  }

  frame(command: number, source: Uint8Array, start: number, end: number): void {
    if (this.#early.length > 0) return this.#hold(command, source.slice(start, end))
    const { gateway } = this.connection
    const entry = gateway.door.byNumber.get(command)
    if (!entry || !(entry.contract.public || entry.contract.bound)) {
      const what = command >= FIRST_RESERVED ? 'a session message before HELLO' : 'unknown command'
      return this.connection.strike(`${what} ${command}`)
    }
    const { contract } = entry
    const { maxBytes, durable } = entry.command
    if (maxBytes !== 0 && end - start > maxBytes) {
      return this.connection.strike(`command ${command}: body ${end - start} bytes exceeds ${maxBytes}`)
    }
    if (contract.bound && !this.#keys.has(contract.name)) {
      // A client that does not wait for the answer of its login: that answer says whose shard this is for.
      if (this.#waiting > 0) return this.#hold(command, source.slice(start, end))
      return this.connection.strike(`command ${command}: no ${contract.name} is bound to this session`)
    }
    const channel = this.#channels.get(contract.name) ?? this.#open(contract)
    channel?.call(command, durable ? RETAIN : 0, source.subarray(start, end))
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
    const key = this.#keys.get(contract.name) ?? contract.key
    const channel = new LegacyChannel(this, this.#session, ++this.#opened, contract, key)
    this.#channels.set(contract.name, channel)
    return channel
  }

  /** The game says which key of a contract this session means from now on. */
  bind(contract: string, key: string): void {
    if (this.#keys.get(contract) === key) return
    this.#keys.set(contract, key)
    const channel = this.#channels.get(contract)
    if (!channel) return
    this.#channels.delete(contract)
    channel.leave()
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
    for (const { command, body } of early) {
      if (this.connection.over) return
      this.connection.count(-1)
      this.frame(command, body, 0, body.length)
    }
  }

  ended(): void {
    for (const channel of this.#channels.values()) channel.shard.close(true)
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

  constructor(
    session: LegacySession,
    id: Uint8Array,
    channel: number,
    { name: contract }: DoorContract,
    key: string,
  ) {
    this.#session = session
    const shard = { contract, key }
    const request = { shard, session: id, channel, legacy: true, activation: 0, memo: new Uint8Array(0) }
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
    this.#session.connection.frame(command, body)
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

  closed(code: string): void {
    if (!this.#left) this.#session.connection.close('OVERLOADED', `the shard ended the channel: ${code}`)
  }
}
