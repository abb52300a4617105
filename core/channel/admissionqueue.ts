// A channel that its game has not admitted yet. Calls wait here in order, so that the shard need not be activated for a
// stranger; who is refused hears FORBIDDEN and has touched nothing.

import type { Admit, Admittance } from '../game/shard.ts'
import { hexOf } from '../wire/bytes.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName } from '../wire/shardid.ts'
import type { ChannelIn, ChannelOut, OpenRequest } from '../ports/link.ts'
import type { Timer } from '../ports/clock.ts'
import type { Engine } from '../engine/engine.ts'

type ChannelAction = (channel: ChannelIn) => void

/** Of the calls that wait for an `admit`. */
const MAX_QUEUED_BYTES = 262_144

export class AdmissionQueue implements ChannelIn {
  readonly #engine: Engine
  readonly #out: ChannelOut
  readonly #openChannel: () => ChannelIn
  readonly #shard: string
  readonly #timer: Timer
  #channel: ChannelIn | null = null
  #queue: ChannelAction[] = []
  #bytes = 0
  #isClosed = false

  constructor(
    engine: Engine,
    admit: Admit,
    request: OpenRequest,
    out: ChannelOut,
    openChannel: () => ChannelIn,
  ) {
    this.#engine = engine
    this.#out = out
    this.#openChannel = openChannel
    this.#shard = shardName(request.shard)
    const { log, clock } = engine
    const admittance: Admittance = {
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
        const answer = admit(admittance, request.shard.key)
        if (answer instanceof Promise) answer.then((isAdmitted) => this.#admissionDecided(isAdmitted), failed)
        else this.#admissionDecided(answer)
      } catch (error) {
        failed(error)
      }
    })
  }

  #admissionDecided(isAdmitted: boolean): void {
    if (this.#isClosed) return
    if (!isAdmitted) return this.#refuse('FORBIDDEN')
    this.#timer.cancel()
    const channel = this.#openChannel()
    this.#channel = channel
    for (const action of this.#queue.splice(0)) action(channel)
  }

  #refuse(code: 'FORBIDDEN' | 'UNAVAILABLE'): void {
    if (this.#isClosed || this.#channel) return
    this.#discardQueue()
    this.#out.channelClosed(code)
  }

  #discardQueue(): void {
    this.#isClosed = true
    this.#queue = []
    this.#timer.cancel()
  }

  #runOrQueue(action: ChannelAction): void {
    if (this.#channel) action(this.#channel)
    else if (!this.#isClosed) this.#queue.push(action)
  }

  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (this.#channel) return this.#channel.submitCall(sequence, command, flags, replyAck, body)
    this.#bytes += body.length
    if (this.#queue.length >= this.#engine.limits.maxWaiting || this.#bytes > MAX_QUEUED_BYTES) {
      const message = `${this.#queue.length} calls wait for ${this.#shard}`
      return this.#out.error(sequence, command, 'system', 'OVERLOADED', message)
    }
    const copy = new Uint8Array(body)
    this.#runOrQueue((channel) => channel.submitCall(sequence, command, flags, replyAck, copy))
  }

  ack(calls: number, events: number): void {
    this.#channel?.ack(calls, events)
  }

  pauseEvents(on: boolean): void {
    this.#runOrQueue((channel) => channel.pauseEvents(on))
  }

  identify(uid: string, epoch: number): void {
    this.#runOrQueue((channel) => channel.identify(uid, epoch))
  }

  closeChannel(forget: boolean): void {
    if (this.#channel) this.#channel.closeChannel(forget)
    else this.#discardQueue()
  }
}
