// A channel that its game has not admitted yet. Calls wait here in order, so that the shard need not be activated for a
// stranger; who is refused hears FORBIDDEN and has touched nothing.

import type { Admit, Admittance } from '../game/shard.ts'
import { hexOf } from '../wire/bytes.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName, type ChannelIn, type ChannelOut, type OpenRequest, type Timer } from './ports.ts'
import type { Engine } from './engine.ts'

type Waiting = (channel: ChannelIn) => void

/** Of the calls that wait for an `admit`. */
const MAX_BYTES = 262_144

export class Gate implements ChannelIn {
  readonly #engine: Engine
  readonly #out: ChannelOut
  readonly #enter: () => ChannelIn
  readonly #shard: string
  readonly #timer: Timer
  #channel: ChannelIn | null = null
  #waiting: Waiting[] = []
  #bytes = 0
  #over = false

  constructor(engine: Engine, admit: Admit, request: OpenRequest, out: ChannelOut, enter: () => ChannelIn) {
    this.#engine = engine
    this.#out = out
    this.#enter = enter
    this.#shard = shardName(request.shard)
    const { log, clock } = engine
    const who: Admittance = {
      uid: request.uid,
      session: hexOf(request.session),
      now: clock.now(),
      log,
    }
    this.#timer = clock.after(TIMES.callMs, () => this.#refuse('UNAVAILABLE'))
    const failed = (error: unknown): void => {
      log.error('admit threw; the channel is refused', { shard: this.#shard, error: String(error) })
      this.#refuse('UNAVAILABLE')
    }
    // In its own moment, like every answer of a shard: the gateway's channel is not put together yet.
    clock.defer(() => {
      try {
        const answer = admit(who, request.shard.key)
        if (answer instanceof Promise) answer.then((isAdmitted) => this.#decided(isAdmitted), failed)
        else this.#decided(answer)
      } catch (error) {
        failed(error)
      }
    })
  }

  #decided(isAdmitted: boolean): void {
    if (this.#over) return
    if (!isAdmitted) return this.#refuse('FORBIDDEN')
    this.#timer.cancel()
    const channel = this.#enter()
    this.#channel = channel
    for (const say of this.#waiting.splice(0)) say(channel)
  }

  #refuse(code: 'FORBIDDEN' | 'UNAVAILABLE'): void {
    if (this.#over || this.#channel) return
    this.#end()
    this.#out.closed(code)
  }

  #end(): void {
    this.#over = true
    this.#waiting = []
    this.#timer.cancel()
  }

  #say(say: Waiting): void {
    if (this.#channel) say(this.#channel)
    else if (!this.#over) this.#waiting.push(say)
  }

  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (this.#channel) return this.#channel.call(sequence, command, flags, replyAck, body)
    this.#bytes += body.length
    if (this.#waiting.length >= this.#engine.limits.maxWaiting || this.#bytes > MAX_BYTES) {
      const message = `${this.#waiting.length} calls wait for ${this.#shard}`
      return this.#out.error(sequence, command, 'system', 'OVERLOADED', message)
    }
    const kept = new Uint8Array(body)
    this.#say((channel) => channel.call(sequence, command, flags, replyAck, kept))
  }

  ack(calls: number, events: number): void {
    this.#channel?.ack(calls, events)
  }

  hold(on: boolean): void {
    this.#say((channel) => channel.hold(on))
  }

  identify(uid: string, epoch: number): void {
    this.#say((channel) => channel.identify(uid, epoch))
  }

  close(forget: boolean): void {
    if (this.#channel) this.#channel.close(forget)
    else this.#end()
  }
}
