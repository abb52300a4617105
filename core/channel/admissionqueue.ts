// A channel that its game has not admitted yet. Calls wait here in order, so that the shard need not be activated for a
// session without admission. Invariant: a refused session gets FORBIDDEN, and its calls have had no effect.

import type { Admit, Admittance } from '../game/definition.ts'
import { hexOf } from '../wire/bytes.ts'
import { TIMES, type Limits } from '../wire/limits.ts'
import { shardName } from '../wire/shardid.ts'
import type { ChannelIn, ChannelOut, OpenRequest } from '../ports/link.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'

export interface AdmissionServices {
  readonly clock: Clock
  readonly log: Log
  readonly limits: Pick<Limits, 'maxWaiting'>
}
type ChannelAction = (channel: ChannelIn) => void

/** Of the calls that wait for `admit`. */
const MAX_QUEUED_BYTES = 262_144

export class AdmissionQueue implements ChannelIn {
  readonly #maxWaiting: number
  readonly #out: ChannelOut
  readonly #openChannel: () => ChannelIn
  readonly #shard: string
  readonly #timer: Timer
  #channel: ChannelIn | null = null
  #queue: ChannelAction[] = []
  #bytes = 0
  #isClosed = false

  constructor(
    { clock, log, limits }: AdmissionServices,
    admit: Admit,
    request: OpenRequest,
    out: ChannelOut,
    openChannel: () => ChannelIn,
  ) {
    this.#maxWaiting = limits.maxWaiting
    this.#out = out
    this.#openChannel = openChannel
    this.#shard = shardName(request.shard)
    const { uid, session, remote } = request
    const admittance: Admittance = { uid, session: hexOf(session), remote, now: clock.now(), log }
    this.#timer = clock.after(TIMES.callMs, () => this.#refuse('UNAVAILABLE'))
    const onFailed = (error: unknown): void => {
      log.error('admit threw; the channel is refused', { shard: this.#shard, error })
      this.#refuse('UNAVAILABLE')
    }
    // Deferred like every output of a shard, because the gateway's channel is still being constructed.
    clock.defer(() => {
      try {
        const answer = admit(admittance, request.shard.key)
        if (answer instanceof Promise) answer.then((isAdmitted) => this.#onDecided(isAdmitted), onFailed)
        else this.#onDecided(answer)
      } catch (error) {
        onFailed(error)
      }
    })
  }

  #onDecided(isAdmitted: boolean): void {
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
    if (this.#queue.length >= this.#maxWaiting || this.#bytes > MAX_QUEUED_BYTES) {
      const message = `${this.#queue.length} calls wait for ${this.#shard}`
      return this.#out.error(sequence, command, 'system', 'OVERLOADED', message)
    }
    const copy = new Uint8Array(body)
    this.#runOrQueue((channel) => channel.submitCall(sequence, command, flags, replyAck, copy))
  }

  ack(calls: number, events: number): void {
    this.#channel?.ack(calls, events)
  }

  pauseEvents(isPaused: boolean): void {
    this.#runOrQueue((channel) => channel.pauseEvents(isPaused))
  }

  identify(uid: string, epoch: number): void {
    this.#runOrQueue((channel) => channel.identify(uid, epoch))
  }

  closeChannel(isFinal: boolean): void {
    if (this.#channel) this.#channel.closeChannel(isFinal)
    else this.#discardQueue()
  }
}
