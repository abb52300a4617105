// A gateway in a process of its own: engines end and start again behind it, and its clients keep their connections. Each
// channel has a link to the engine of its shard, as edge/worker has one to a Durable Object. Invariant: the calls of a channel
// reach the shard in the order of their sequences, or they are lost and the next `channelOpened` reports `callsLost`.

import { createHmac } from 'node:crypto'

import { RoutingTable, routingTableOf } from '../../../core/game/routing.ts'
import { RETAIN, type ChannelIn, type ChannelOut, type OpenRequest, type ShardLink } from '../../../core/ports/link.ts'
import { backoffMs } from '../../../core/wire/backoff.ts'
import { DEFAULT_FRAME_IDENTITY } from '../../../core/wire/frame.ts'
import { DEFAULT_LIMITS, type Limits } from '../../../core/wire/limits.ts'
import { activationTag } from '../../../core/wire/record.ts'
import { Gateway } from '../../../edge/gateway/gateway.ts'
import type { TokenSigner } from '../../../edge/gateway/token.ts'
import { override, whileOpen } from '../../support/override.ts'
import { ChannelLink, type EngineProcess } from './channellink.ts'
import type { SimEnvironment } from './environment.ts'
import { ProcessLifetime } from './lifetime.ts'
import { logOf } from './processlog.ts'

export interface GatewayEnvironment extends SimEnvironment {
  /** The process that serves the shard of this channel; null = it is not running. */
  processFor(request: OpenRequest): EngineProcess | null
}

const RECONNECT = { minMs: 50, maxMs: 2_000 }
/** A legacy client never sends a call again, so its channel does. */
const MAX_UNANSWERED = 256
/** Synchronous, and the same in every process: so that a seed alone decides. */
const TOKEN_SIGNER: TokenSigner = {
  sign: (bytes) => createHmac('sha256', 'the secret of all gateways').update(bytes).digest(),
}

/** The gateway of a process, standalone or beside an engine. */
export function gatewayOf(
  environment: SimEnvironment,
  lifetime: ProcessLifetime,
  link: ShardLink,
  limits: Limits,
): Gateway {
  return new Gateway({
    routingTable: new RoutingTable(routingTableOf(environment.game)),
    link,
    clock: lifetime.clock,
    log: logOf(environment, lifetime),
    frameIdentity: DEFAULT_FRAME_IDENTITY,
    limits,
    tokenSigner: TOKEN_SIGNER,
  })
}

export class StandaloneGateway {
  readonly lifetime: ProcessLifetime
  readonly gateway: Gateway

  constructor(environment: GatewayEnvironment, name: string) {
    this.lifetime = new ProcessLifetime(name, environment.clock, { wallMs: 0 })
    const link: ShardLink = { open: (request, out) => new GatewayChannel(environment, this.lifetime, request, out) }
    this.gateway = gatewayOf(environment, this.lifetime, link, DEFAULT_LIMITS)
  }
}

interface UnansweredCall {
  readonly sequence: number
  readonly command: number
  readonly flags: number
  readonly body: Uint8Array
}

class GatewayChannel implements ChannelIn {
  readonly #environment: GatewayEnvironment
  readonly #lifetime: ProcessLifetime
  /** Opens the channel at the next engine. */
  #request: OpenRequest
  /** What the engine calls. */
  readonly #out: ChannelOut
  #link: ChannelLink | null = null
  #awaitsOpened = true
  /** Calls were lost with the last link, and the client was not notified yet. */
  #isLinkLost = false
  /** The client reads too slowly. */
  #isPaused = false
  #unanswered: UnansweredCall[] = []
  #failures = 0
  #isClosed = false

  constructor(environment: GatewayEnvironment, lifetime: ProcessLifetime, request: OpenRequest, out: ChannelOut) {
    this.#environment = environment
    this.#lifetime = lifetime
    this.#request = request
    this.#out = this.#observe(out)
    this.#connect()
  }

  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (this.#isClosed) return
    const call = { sequence, command, flags, body: body.slice() }
    if (this.#request.legacy) return this.#submitLegacyCall(call)
    // After `callsLost` the SDK sends it again. Sent now, it would overtake the lost calls.
    if (this.#isLinkLost) return
    if (!this.#link) return this.#buffer(call)
    const knownTag = this.#awaitsOpened ? 0 : activationTag(this.#request.activation)
    this.#link.toEngine.call(knownTag, sequence, command, flags, replyAck, call.body)
  }

  #submitLegacyCall(call: UnansweredCall): void {
    const isDurable = (call.flags & RETAIN) !== 0
    if (!this.#link || isDurable) this.#buffer(call)
    const { sequence, command, flags, body } = call
    const answered = (this.#unanswered[0]?.sequence ?? sequence) - 1
    this.#link?.toEngine.call(0, sequence, command, flags, answered, body)
  }

  #buffer(call: UnansweredCall): void {
    if (this.#unanswered.length < MAX_UNANSWERED) this.#unanswered.push(call)
  }

  ack(calls: number, events: number): void {
    this.#link?.toEngine.ack(calls, events)
  }

  pauseEvents(isPaused: boolean): void {
    this.#isPaused = isPaused
    this.#link?.toEngine.pauseEvents(isPaused)
  }

  identify(uid: string, epoch: number): void {
    this.#request = { ...this.#request, uid, epoch }
    this.#link?.toEngine.identify(uid, epoch)
  }

  closeChannel(forget: boolean): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#link?.toEngine.close(forget)
    this.#link = null
  }

  #connect(): void {
    const { clock } = this.#lifetime
    const process = this.#environment.processFor(this.#request)
    if (this.#isClosed) return
    if (!process || process.visibleLifetime.isOver)
      return void clock.after(backoffMs(this.#failures++, RECONNECT, clock.random()), () => this.#connect())
    const link = new ChannelLink({
      environment: this.#environment,
      gateway: this.#lifetime,
      process,
      request: this.#request,
      out: whileOpen(this.#out, () => this.#link === link && !this.#isClosed),
      onLost: () => {
        if (this.#link !== link || this.#isClosed) return
        this.#link = null
        this.#isLinkLost = true
        this.#connect()
      },
    })
    this.#link = link
    this.#awaitsOpened = true
    if (this.#isPaused) link.toEngine.pauseEvents(true)
    this.#resend(link, 0)
  }

  #resend(link: ChannelLink, mark: number): void {
    const answered = Math.max(0, (this.#unanswered[0]?.sequence ?? 0) - 1)
    for (const { sequence, command, flags, body } of this.#unanswered)
      if (sequence > mark) link.toEngine.call(0, sequence, command, flags, answered, body)
    const isResentAgain = ({ flags }: UnansweredCall): boolean => this.#request.legacy && (flags & RETAIN) !== 0
    this.#unanswered = this.#unanswered.filter(isResentAgain)
  }

  /** Records what the next link needs. */
  #observe(out: ChannelOut): ChannelOut {
    const forget = (isAnswered: (call: UnansweredCall) => boolean): void => {
      this.#unanswered = this.#unanswered.filter((call) => !isAnswered(call))
    }
    return override(out, {
      channelOpened: (activation, mark, callsLost) => {
        const isRestartedInPlace = !this.#awaitsOpened
        const isLost = callsLost || this.#isLinkLost
        const eventAck = activation === this.#request.activation ? this.#request.eventAck : 0
        this.#request = { ...this.#request, activation, eventAck }
        this.#awaitsOpened = false
        this.#isLinkLost = false
        this.#failures = 0
        out.channelOpened(activation, mark, isLost)
        if (isRestartedInPlace && callsLost && this.#request.legacy && this.#link) this.#resend(this.#link, mark)
      },
      reply: (sequence, command, body) => {
        forget((call) => call.sequence === sequence)
        out.reply(sequence, command, body)
      },
      error: (sequence, ...error) => {
        forget((call) => call.sequence === sequence)
        out.error(sequence, ...error)
      },
      callsApplied: (mark) => {
        forget(({ sequence }) => sequence <= mark)
        out.callsApplied(mark)
      },
      membershipToken: (membershipToken) => {
        this.#request = { ...this.#request, membershipToken }
        out.membershipToken(membershipToken)
      },
      event: (sequence, event, body) => {
        this.#request = { ...this.#request, eventAck: sequence }
        out.event(sequence, event, body)
      },
      resyncRequired: (events) => {
        this.#request = { ...this.#request, eventAck: events }
        out.resyncRequired(events)
      },
      channelClosed: (code) => {
        this.#isClosed = true
        out.channelClosed(code)
      },
    })
  }
}
