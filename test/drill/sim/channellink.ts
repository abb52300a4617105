// The path of one channel between a standalone gateway and the engine of its shard. Invariant: both directions are in order,
// and an end that has ended neither sends nor receives; the other end notices it later.

import type { ChannelIn, ChannelOut, OpenRequest, ShardLink } from '../../../core/ports/link.ts'
import { activationTag } from '../../../core/wire/record.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import { override } from '../../support/override.ts'
import type { SimEnvironment } from './environment.ts'
import type { ProcessLifetime } from './lifetime.ts'

/** The channels that an engine serves, by session and number. A newer link replaces an older one. */
export type EngineEnds = Map<string, EngineEnd>

/** The process behind the link. */
export interface EngineProcess {
  readonly visibleLifetime: ProcessLifetime
  readonly engineEnds: EngineEnds
  readonly link: ShardLink
}

export interface ChannelLinkOptions {
  readonly environment: Pick<SimEnvironment, 'clock' | 'random'>
  readonly gateway: ProcessLifetime
  readonly process: EngineProcess
  readonly request: OpenRequest
  /** Receives what the engine sends. */
  readonly out: ChannelOut
  /** The process of the engine has ended. */
  readonly onLost: () => void
}

const LATENCY_MS = 1
/** Until an end notices that the other one has ended. */
const NOTICE_MS = 30

export class ChannelLink {
  /** Each call is sent to the engine's end. */
  readonly toEngine: Omit<EngineEnd, 'closeReplaced'>
  readonly #options: ChannelLinkOptions
  #engineEnd: EngineEnd | null = null
  #upMs = 0
  #downMs = 0

  constructor(options: ChannelLinkOptions) {
    this.#options = options
    const { environment, gateway, process, request, out, onLost } = options
    const noticeMs = (): number => environment.random.connections.next() * NOTICE_MS
    process.visibleLifetime.onEnd(() => void gateway.clock.after(noticeMs(), onLost))
    gateway.onEnd(() => {
      environment.clock.after(noticeMs(), () => {
        if (!process.visibleLifetime.isOver) this.#engineEnd?.close(false)
      })
    })
    this.toEngine = senderOf<EngineEnd>((call) => this.#later('up', () => this.#engineEnd && call(this.#engineEnd)))
    const toGateway = senderOf<ChannelOut>((call) => {
      if (!this.#engineEnd?.isClosed) this.#later('down', () => call(out))
    })
    this.#later('up', () => (this.#engineEnd = new EngineEnd(process, request, toGateway)))
  }

  #later(direction: 'up' | 'down', run: () => void): void {
    const { environment, gateway, process } = this.#options
    const { clock, random } = environment
    const before = direction === 'up' ? this.#upMs : this.#downMs
    const atMs = Math.max(before, clock.mono() + random.connections.next() * LATENCY_MS)
    if (direction === 'up') this.#upMs = atMs
    else this.#downMs = atMs
    clock.after(atMs - clock.mono(), () => {
      if (!gateway.isOver && !process.visibleLifetime.isOver) run()
    })
  }
}

/** The engine's end, as core/durable has it. */
class EngineEnd {
  isClosed = false
  readonly #name: string
  readonly #ends: EngineEnds
  readonly #isLegacy: boolean
  readonly #out: ChannelOut
  readonly #channel: ChannelIn
  #activationTag = 0
  /** Calls that the gateway sent before it received `callsLost` are dropped. */
  #isFenced = false

  constructor(process: EngineProcess, request: OpenRequest, out: ChannelOut) {
    this.#name = `${shardName(request.shard)} ${request.session.join('.')}:${request.channel}`
    this.#ends = process.engineEnds
    this.#isLegacy = request.legacy
    this.#out = override(out, {
      channelOpened: (activation, mark, callsLost) => {
        this.#isFenced = callsLost && this.#activationTag !== 0
        this.#activationTag = activationTag(activation)
        out.channelOpened(activation, mark, callsLost)
      },
    })
    this.#ends.get(this.#name)?.closeReplaced()
    this.#ends.set(this.#name, this)
    this.#channel = process.link.open(request, this.#out)
  }

  /** `knownTag`: the activation that the gateway knew when it sent the call. */
  call(knownTag: number, ...call: Parameters<ChannelIn['submitCall']>): void {
    if (this.isClosed) return
    // The client sends a dropped call again, after the older ones.
    if (this.#isFenced && knownTag !== this.#activationTag && !this.#isLegacy) return
    this.#channel.submitCall(...call)
  }

  ack(calls: number, events: number): void {
    if (!this.isClosed) this.#channel.ack(calls, events)
  }

  pauseEvents(isPaused: boolean): void {
    if (!this.isClosed) this.#channel.pauseEvents(isPaused)
  }

  identify(uid: string, epoch: number): void {
    if (!this.isClosed) this.#channel.identify(uid, epoch)
  }

  close(forget: boolean): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#ends.delete(this.#name)
    this.#channel.closeChannel(forget)
  }

  /** A newer link serves the channel. */
  closeReplaced(): void {
    this.#out.channelClosed('REPLACED')
    this.isClosed = true
  }
}

/** An object whose methods are sent to the other end and run there, with copies of their byte arguments. */
function senderOf<End extends object>(send: (call: (end: End) => void) => void): End {
  const methods = new Map<PropertyKey, (...args: unknown[]) => void>()
  return new Proxy({} as End, {
    get(_, name) {
      const method =
        methods.get(name) ??
        ((...args: unknown[]): void => {
          const copies = args.map((arg) => (arg instanceof Uint8Array ? arg.slice() : arg))
          send((end) => void Reflect.apply(Reflect.get(end, name) as () => void, end, copies))
        })
      methods.set(name, method)
      return method
    },
  })
}
