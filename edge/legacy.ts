// A legacy client's session: commands by number, no sequences, no keys. Each contract it speaks to is one channel
// to that contract's default key. What it does wrong is met with silence and a strike.

import type { DoorContract } from '../core/run/door.ts'
import { RETAIN, type ChannelIn, type ChannelOut } from '../core/run/ports.ts'
import { FIRST_RESERVED, type ErrorKind } from '../core/wire/message.ts'
import type { Connection } from './connection.ts'

export class LegacySession {
  readonly connection: Connection
  readonly #session: Uint8Array
  readonly #channels = new Map<string, LegacyChannel>()

  constructor(connection: Connection) {
    this.connection = connection
    this.#session = connection.gateway.clock.id()
  }

  frame(command: number, source: Uint8Array, start: number, end: number): void {
    const { gateway } = this.connection
    const entry = gateway.door.byNumber.get(command)
    if (!entry || !entry.contract.public) {
      const what = command >= FIRST_RESERVED ? 'a session message before HELLO' : 'unknown command'
      return this.connection.strike(`${what} ${command}`)
    }
    const { maxBytes, durable } = entry.command
    if (maxBytes !== 0 && end - start > maxBytes) {
      return this.connection.strike(`command ${command}: body ${end - start} bytes exceeds ${maxBytes}`)
    }
    const channel = this.#channels.get(entry.contract.name) ?? this.#open(entry.contract)
    channel?.call(command, durable ? RETAIN : 0, source.subarray(start, end))
  }

  #open(contract: DoorContract): LegacyChannel | null {
    const { gateway } = this.connection
    if (this.#channels.size >= gateway.limits.maxChannels) {
      this.connection.strike(`more than ${gateway.limits.maxChannels} shards`)
      return null
    }
    const channel = new LegacyChannel(this.connection, this.#session, this.#channels.size + 1, contract)
    this.#channels.set(contract.name, channel)
    return channel
  }

  ended(): void {
    for (const channel of this.#channels.values()) channel.shard.close(true)
  }
}

class LegacyChannel implements ChannelOut {
  readonly #connection: Connection
  readonly shard: ChannelIn
  #sent = 0
  #done = 0
  /** The call that is being timed, and since when. */
  #timed = 0
  #timedMs = 0

  constructor(connection: Connection, session: Uint8Array, channel: number, contract: DoorContract) {
    this.#connection = connection
    const shard = { contract: contract.name, key: contract.key }
    const request = { shard, session, channel, legacy: true, activation: 0, memo: new Uint8Array(0) }
    this.shard = connection.gateway.link.open(request, this)
  }

  call(command: number, flags: number, body: Uint8Array): void {
    const { gateway } = this.#connection
    if (gateway.meter.sample()) {
      this.#timed = this.#sent + 1
      this.#timedMs = gateway.clock.mono()
    }
    this.#connection.count(1)
    this.shard.call(++this.#sent, command, flags, this.#done, body)
  }

  #ended(sequence: number): void {
    if (sequence <= this.#done) return
    if (this.#timed !== 0 && sequence >= this.#timed) {
      this.#connection.gateway.meter.took(this.#connection.gateway.clock.mono() - this.#timedMs)
      this.#timed = 0
    }
    const ended = sequence - this.#done
    this.#done = sequence
    this.#connection.count(-ended)
  }

  opened(_activation: number, _mark: number, lost: boolean): void {
    if (lost) this.#ended(this.#sent)
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#connection.frame(command, body)
    this.#ended(sequence)
  }

  error(sequence: number, command: number, _kind: ErrorKind, code: string, message: string): void {
    this.#ended(sequence)
    if (code === 'BAD_INPUT' || code === 'UNKNOWN_COMMAND')
      this.#connection.strike(`command ${command}: ${message}`)
  }

  event(_sequence: number, event: number, body: Uint8Array): void {
    this.#connection.event(event, body)
  }

  applied(mark: number): void {
    this.#ended(mark)
  }

  memo(): void {}

  closed(code: string): void {
    this.#connection.close('OVERLOADED', `the shard ended the channel: ${code}`)
  }
}
