// Players in the engine's own process: each has one channel to one shard and keeps its calls in flight. What they are
// told in one turn of the event loop they answer in the next, as a gateway that reads a socket does. Invariant: answers
// come in the order of the calls, and anything else than an answer is an error of the measurement.

import { setTimeout as sleep } from 'node:timers/promises'

import type { Engine } from '../../../core/engine/engine.ts'
import { RETAIN, type ChannelIn, type ChannelOut } from '../../../core/ports/link.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { percentile, measureLag, type EventLoopLag } from './environment.ts'

export interface Call {
  readonly command: number
  readonly body: Uint8Array
}
export interface LoadGeneratorOptions {
  readonly engine: Engine
  readonly shards: readonly ShardId[]
  readonly inFlight: number
  /** The next call of this player; a body of its own each time. */
  readonly call: (player: number) => Call
}
export interface Sample extends EventLoopLag {
  readonly perSecond: number
  /** From call to answer. */
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of the whole process: engine, Store, flusher, and the players themselves. */
  readonly cpuUsPerTurn: number
}

const SESSION_BYTES = 16

export class LoadGenerator {
  readonly #options: LoadGeneratorOptions
  readonly #players: readonly VirtualPlayer[]
  /** Players with calls to make in the next turn of the event loop. */
  #due: VirtualPlayer[] = []
  #isScheduled = false
  #isStopping = false
  #inFlight = 0
  #latenciesMs: number[] = []
  #ended: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(options: LoadGeneratorOptions) {
    this.#options = options
    this.#players = options.shards.map((shard, player) => new VirtualPlayer(this, options, shard, player))
  }

  /** So many calls of each player, until all are answered. Resolves with milliseconds from call to answer, in no order. */
  async runCalls(calls: number): Promise<readonly number[]> {
    this.#latenciesMs = []
    this.#start(calls)
    await this.#ended.promise
    return this.#latenciesMs
  }

  /** Calls without end, and a look at those that are answered in the `ms` after `warmMs`. */
  async sample({ ms, warmMs }: { readonly ms: number; readonly warmMs: number }): Promise<Sample> {
    this.#start(Infinity)
    await Promise.race([sleep(warmMs), this.#ended.promise])
    const cpu = process.cpuUsage()
    const startMs = performance.now()
    this.#latenciesMs = []
    const [waits, lag] = await measureLag(async () => {
      // A disk that stands still makes it longer.
      do await Promise.race([sleep(ms), this.#ended.promise])
      while (this.#latenciesMs.length === 0)
      return this.#latenciesMs
    })
    const seconds = (performance.now() - startMs) / 1_000
    const { user, system } = process.cpuUsage(cpu)
    this.#latenciesMs = []
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

  closeChannels(): void {
    for (const seat of this.#players) seat.closeChannel()
  }

  /** @internal */
  onReply(seat: VirtualPlayer, sentMs: number): void {
    this.#inFlight--
    this.#latenciesMs.push(performance.now() - sentMs)
    if (seat.callsDue++ === 0) this.#due.push(seat)
    this.#schedule()
  }

  /** @internal */
  onFailure(error: Error): void {
    this.#ended.reject(error)
  }

  #start(calls: number): void {
    this.#ended = Promise.withResolvers()
    this.#isStopping = false
    this.#due = [...this.#players]
    for (const seat of this.#players) {
      seat.callsLeft = calls
      seat.callsDue = this.#options.inFlight
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
      const { callsDue: owed } = seat
      seat.callsDue = 0
      if (this.#isStopping) continue
      for (let i = 0; i < owed && seat.callsLeft > 0; i++) {
        seat.callsLeft--
        this.#inFlight++
        seat.send()
      }
    }
    if (this.#inFlight === 0 && this.#due.length === 0) this.#ended.resolve()
  }
}

/** One player's place: the gateway's side of a channel. */
class VirtualPlayer implements ChannelOut {
  /** Calls that it may make now. */
  callsDue = 0
  /** Calls that it may still make at all. */
  callsLeft = 0
  readonly #crowd: LoadGenerator
  readonly #call: LoadGeneratorOptions['call']
  readonly #player: number
  readonly #in: ChannelIn
  readonly #sentMs: number[] = []
  #sequence = 0
  #answered = 0

  constructor(crowd: LoadGenerator, { engine, call }: LoadGeneratorOptions, shard: ShardId, player: number) {
    this.#crowd = crowd
    this.#call = call
    this.#player = player
    this.#in = engine.open(
      {
        shard,
        session: newSessionId(player),
        channel: 1,
        legacy: false,
        activation: 0,
        membershipToken: EMPTY_BYTES,
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
    this.#in.submitCall(sequence, command, RETAIN, this.#answered, body)
  }

  reply(sequence: number): void {
    if (sequence !== this.#answered + 1)
      return this.#crowd.onFailure(new Error(`${sequence} was answered after ${this.#answered}`))
    this.#answered = sequence
    this.#crowd.onReply(this, this.#sentMs.shift()!)
  }

  error(sequence: number, _command: number, _kind: string, code: string, message: string): void {
    this.#crowd.onFailure(new Error(`call ${sequence} of player ${this.#player}: ${code}: ${message}`))
  }

  channelOpened(_activation: number, _mark: number, lost: boolean): void {
    if (lost) this.#crowd.onFailure(new Error(`the shard of player ${this.#player} was restarted`))
  }

  channelClosed(code: string): void {
    this.#crowd.onFailure(new Error(`the channel of player ${this.#player} was closed: ${code}`))
  }

  closeChannel(): void {
    this.#in.closeChannel(true)
  }

  event(): void {}
  callsApplied(): void {}
  membershipToken(): void {}
  keyBound(): void {}
  loggedIn(): void {}
  resyncRequired(): void {}
}

let sessions = 0
/** Never the same one twice: a crowd that comes to a shard of the last one is new to it. */
function newSessionId(player: number): Uint8Array {
  const bytes = new Uint8Array(SESSION_BYTES)
  new DataView(bytes.buffer).setUint32(0, player)
  new DataView(bytes.buffer).setUint32(4, ++sessions)
  return bytes
}
const EMPTY_BYTES = new Uint8Array(0)
