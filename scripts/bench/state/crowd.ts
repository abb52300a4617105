// Players in the engine's own process: each has one channel to one shard and keeps its calls in flight. What they are
// told in one turn of the event loop they answer in the next, as a gateway that reads a socket does. Invariant: answers
// come in the order of the calls, and anything else than an answer is an error of the measurement.

import { setTimeout as sleep } from 'node:timers/promises'

import type { Engine } from '../../../core/run/engine.ts'
import { RETAIN, type ChannelIn, type ChannelOut, type ShardId } from '../../../core/run/ports.ts'
import { percentile, withLag, type Lag } from './lab.ts'

export interface Call {
  readonly command: number
  readonly body: Uint8Array
}
export interface CrowdOptions {
  readonly engine: Engine
  readonly shards: readonly ShardId[]
  readonly inFlight: number
  /** The next call of this player; a body of its own each time. */
  readonly call: (player: number) => Call
}
export interface Sample extends Lag {
  readonly perSecond: number
  /** From call to answer. */
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of the whole process: engine, Store, flusher, and the players themselves. */
  readonly cpuUsPerTurn: number
}

const SESSION_BYTES = 16

export class Crowd {
  readonly #options: CrowdOptions
  readonly #seats: readonly Seat[]
  /** Players with calls to make in the next turn of the event loop. */
  #due: Seat[] = []
  #isScheduled = false
  #isStopping = false
  #under = 0
  #waits: number[] = []
  #ended: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(options: CrowdOptions) {
    this.#options = options
    this.#seats = options.shards.map((shard, player) => new Seat(this, options, shard, player))
  }

  /** So many calls of each player, until all are answered. Resolves with milliseconds from call to answer, in no order. */
  async play(calls: number): Promise<readonly number[]> {
    this.#waits = []
    this.#start(calls)
    await this.#ended.promise
    return this.#waits
  }

  /** Calls without end, and a look at those that are answered in the `ms` after `warmMs`. */
  async sample({ ms, warmMs }: { readonly ms: number; readonly warmMs: number }): Promise<Sample> {
    this.#start(Infinity)
    await Promise.race([sleep(warmMs), this.#ended.promise])
    const cpu = process.cpuUsage()
    const startMs = performance.now()
    this.#waits = []
    const [waits, lag] = await withLag(async () => {
      // A disk that stands still makes it longer.
      do await Promise.race([sleep(ms), this.#ended.promise])
      while (this.#waits.length === 0)
      return this.#waits
    })
    const seconds = (performance.now() - startMs) / 1_000
    const { user, system } = process.cpuUsage(cpu)
    this.#waits = []
    this.#isStopping = true
    await this.#ended.promise
    return {
      perSecond: waits.length / seconds,
      p50Ms: percentile(waits, 0.5),
      p99Ms: percentile(waits, 0.99),
      cpuUsPerTurn: (user + system) / waits.length,
      ...lag,
    }
  }

  close(): void {
    for (const seat of this.#seats) seat.close()
  }

  /** @internal */
  answered(seat: Seat, sentMs: number): void {
    this.#under--
    this.#waits.push(performance.now() - sentMs)
    if (seat.owed++ === 0) this.#due.push(seat)
    this.#schedule()
  }

  /** @internal */
  failed(error: Error): void {
    this.#ended.reject(error)
  }

  #start(calls: number): void {
    this.#ended = Promise.withResolvers()
    this.#isStopping = false
    this.#due = [...this.#seats]
    for (const seat of this.#seats) {
      seat.left = calls
      seat.owed = this.#options.inFlight
    }
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#send()
    })
  }

  #send(): void {
    const due = this.#due
    this.#due = []
    for (const seat of due) {
      const { owed } = seat
      seat.owed = 0
      if (this.#isStopping) continue
      for (let i = 0; i < owed && seat.left > 0; i++) {
        seat.left--
        this.#under++
        seat.send()
      }
    }
    if (this.#under === 0 && this.#due.length === 0) this.#ended.resolve()
  }
}

/** One player's place: the gateway's side of a channel. */
class Seat implements ChannelOut {
  /** Calls that it may make now. */
  owed = 0
  /** Calls that it may still make at all. */
  left = 0
  readonly #crowd: Crowd
  readonly #call: CrowdOptions['call']
  readonly #player: number
  readonly #in: ChannelIn
  readonly #sentMs: number[] = []
  #sequence = 0
  #answered = 0

  constructor(crowd: Crowd, { engine, call }: CrowdOptions, shard: ShardId, player: number) {
    this.#crowd = crowd
    this.#call = call
    this.#player = player
    this.#in = engine.open(
      {
        shard,
        session: session(player),
        channel: 1,
        legacy: false,
        activation: 0,
        memo: NO_BYTES,
        eventAck: 0,
        uid: '',
        epoch: 0,
        generation: 0,
      },
      this,
    )
  }

  send(): void {
    const sequence = ++this.#sequence
    const { command, body } = this.#call(this.#player)
    this.#sentMs.push(performance.now())
    this.#in.call(sequence, command, RETAIN, this.#answered, body)
  }

  reply(sequence: number): void {
    if (sequence !== this.#answered + 1)
      return this.#crowd.failed(new Error(`${sequence} was answered after ${this.#answered}`))
    this.#answered = sequence
    this.#crowd.answered(this, this.#sentMs.shift()!)
  }

  error(sequence: number, _command: number, _kind: string, code: string, message: string): void {
    this.#crowd.failed(new Error(`call ${sequence} of player ${this.#player}: ${code}: ${message}`))
  }

  opened(_activation: number, _mark: number, lost: boolean): void {
    if (lost) this.#crowd.failed(new Error(`the shard of player ${this.#player} was restarted`))
  }

  closed(code: string): void {
    this.#crowd.failed(new Error(`the channel of player ${this.#player} was closed: ${code}`))
  }

  close(): void {
    this.#in.close(true)
  }

  event(): void {}
  applied(): void {}
  memo(): void {}
  bind(): void {}
  login(): void {}
  resync(): void {}
}

let sessions = 0
/** Never the same one twice: a crowd that comes to a shard of the last one is new to it. */
function session(player: number): Uint8Array {
  const bytes = new Uint8Array(SESSION_BYTES)
  new DataView(bytes.buffer).setUint32(0, player)
  new DataView(bytes.buffer).setUint32(4, ++sessions)
  return bytes
}
const NO_BYTES = new Uint8Array(0)
