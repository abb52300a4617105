// Players in the engine's process: each has one channel to one shard and a fixed number of calls in flight. After
// replies in one turn of the event loop, the next calls follow in the next turn, as with a gateway that reads a socket.
// Invariant: replies arrive in the order of the calls, and any other message than a reply is an error of the
// measurement.

import { setTimeout as sleep } from 'node:timers/promises'

import type { Engine } from '../../../core/engine/engine.ts'
import { NEW_CHANNEL_DEFAULTS, RETAIN, type ChannelIn } from '../../../core/ports/link.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { IGNORING_CHANNEL_OUT } from '../../support/channelout.ts'
import { percentile, measureLag, type EventLoopLag } from '../latency.ts'

export interface Call {
  readonly command: number
  readonly body: Uint8Array
}
export interface LoadGeneratorOptions {
  readonly engine: Engine
  readonly shards: readonly ShardId[]
  readonly inFlight: number
  /** The next call of this player, with a new body each time. */
  readonly call: (player: number) => Call
}
export interface Sample extends EventLoopLag {
  readonly perSecond: number
  /** From call to reply. */
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of the whole process: engine, Store, flusher and players. */
  readonly cpuUsPerTurn: number
}

const SESSION_BYTES = 16

export class LoadGenerator {
  readonly #options: LoadGeneratorOptions
  readonly #players: readonly VirtualPlayer[]
  /** Players that call in the next turn of the event loop. */
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

  /** Makes so many calls of each player. Returns the latencies of all replies in milliseconds, in any order. */
  async runCalls(calls: number): Promise<readonly number[]> {
    this.#latenciesMs = []
    this.#start(calls)
    await this.#ended.promise
    return this.#latenciesMs
  }

  /** Calls continuously, and measures the replies within `ms` after `warmMs`. */
  async sample({ ms, warmMs }: { readonly ms: number; readonly warmMs: number }): Promise<Sample> {
    this.#start(Infinity)
    await Promise.race([sleep(warmMs), this.#ended.promise])
    const cpu = process.cpuUsage()
    const startMs = performance.now()
    this.#latenciesMs = []
    const [latenciesMs, lag] = await measureLag(async () => {
      // Longer when the disk stalls and there is no reply.
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
      perSecond: latenciesMs.length / seconds,
      p50Ms: percentile(latenciesMs, 0.5),
      p99Ms: percentile(latenciesMs, 0.99),
      cpuUsPerTurn: (user + system) / latenciesMs.length,
      ...lag,
    }
  }

  closeChannels(): void {
    for (const player of this.#players) player.closeChannel()
  }

  /** @internal */
  onReply(player: VirtualPlayer, sentMs: number): void {
    this.#inFlight--
    this.#latenciesMs.push(performance.now() - sentMs)
    if (player.callsDue++ === 0) this.#due.push(player)
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
    for (const player of this.#players) {
      player.callsLeft = calls
      player.callsDue = this.#options.inFlight
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
    for (const player of due) {
      const { callsDue } = player
      player.callsDue = 0
      if (this.#isStopping) continue
      for (let i = 0; i < callsDue && player.callsLeft > 0; i++) {
        player.callsLeft--
        this.#inFlight++
        player.send()
      }
    }
    if (this.#inFlight === 0 && this.#due.length === 0) this.#ended.resolve()
  }
}

class VirtualPlayer {
  /** Calls that may be sent now. */
  callsDue = 0
  /** Calls of this run that are not yet sent. */
  callsLeft = 0
  readonly #generator: LoadGenerator
  readonly #call: LoadGeneratorOptions['call']
  readonly #index: number
  readonly #channel: ChannelIn
  readonly #sentMs: number[] = []
  #sequence = 0
  #answered = 0

  constructor(generator: LoadGenerator, { engine, call }: LoadGeneratorOptions, shard: ShardId, player: number) {
    this.#generator = generator
    this.#call = call
    this.#index = player
    const fail = (reason: string): void => generator.onFailure(new Error(`player ${player}: ${reason}`))
    this.#channel = engine.open(
      { ...NEW_CHANNEL_DEFAULTS, shard, session: newSessionId(player), channel: 1 },
      {
        ...IGNORING_CHANNEL_OUT,
        reply: (sequence) => this.#reply(sequence),
        error: (sequence, _command, _kind, code, message) => fail(`call ${sequence}: ${code}: ${message}`),
        channelOpened: (_activation, _mark, callsLost) => {
          if (callsLost) fail('the shard was restarted')
        },
        channelClosed: (code) => fail(`the channel was closed: ${code}`),
      },
    )
  }

  send(): void {
    const sequence = ++this.#sequence
    const { command, body } = this.#call(this.#index)
    this.#sentMs.push(performance.now())
    this.#channel.submitCall(sequence, command, RETAIN, this.#answered, body)
  }

  closeChannel(): void {
    this.#channel.closeChannel(true)
  }

  #reply(sequence: number): void {
    if (sequence !== this.#answered + 1)
      return this.#generator.onFailure(new Error(`reply ${sequence} followed reply ${this.#answered}`))
    this.#answered = sequence
    this.#generator.onReply(this, this.#sentMs.shift()!)
  }
}

let sessions = 0
/** A new id each time: a later generator is new to the same shard. */
function newSessionId(player: number): Uint8Array {
  const bytes = new Uint8Array(SESSION_BYTES)
  new DataView(bytes.buffer).setUint32(0, player)
  new DataView(bytes.buffer).setUint32(4, ++sessions)
  return bytes
}
