// A gateway that is a process of its own: engines end and come back behind it, and its clients keep their connections.
// Each channel has a trunk to the engine of its shard, as edge/worker/link.ts has one to a Durable Object. Invariant: on one
// channel calls reach the shard in the order of their sequences, or not at all and then the next `opened` says `lost`.

import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import type { ErrorKind } from '../../../core/wire/message.ts'
import { activationTag } from '../../../core/wire/record.ts'
import {
  RETAIN,
  type ChannelIn,
  type ChannelOut,
  type ShardLink,
  type OpenRequest,
} from '../../../core/ports/link.ts'
import type { Gateway } from '../../../edge/gateway/gateway.ts'
import { Life } from './life.ts'
import { Pipe, type TrunkEnd } from './pipe.ts'
import { gatewayOf, logOf } from './process.ts'
import type { World } from './world.ts'

const FIRST_PAUSE_MS = 50
const LAST_PAUSE_MS = 2_000
/** A legacy client never sends again, so its trunk does. */
const MAX_KEPT = 256

export class Front {
  readonly life: Life
  readonly gateway: Gateway

  constructor(world: World, name: string) {
    this.life = new Life(name, world.clock, { wallMs: 0 })
    const link: ShardLink = { open: (request, out) => new Trunk(world, this.life, request, out) }
    this.gateway = gatewayOf(world, {
      life: this.life,
      link,
      log: logOf(world, this.life),
      limits: DEFAULT_LIMITS,
    })
  }
}

interface Kept {
  readonly sequence: number
  readonly command: number
  readonly flags: number
  readonly body: Uint8Array
}

/** The gateway's end. */
class Trunk implements ChannelIn, TrunkEnd {
  readonly #world: World
  readonly #life: Life
  readonly #request: OpenRequest
  readonly #out: ChannelOut
  #pipe: Pipe | null = null
  #greeting = true
  #broken = false
  #activation: number
  #memo: Uint8Array
  /** The last event of that activation that was passed on. */
  #events: number
  #uid: string
  #epoch: number
  /** The client reads too slowly. */
  #held = false
  #kept: Kept[] = []
  #tries = 0
  #over = false

  constructor(world: World, life: Life, request: OpenRequest, out: ChannelOut) {
    this.#world = world
    this.#life = life
    this.#request = request
    this.#out = out
    this.#activation = request.activation
    this.#memo = request.membershipToken
    this.#events = request.eventAck
    this.#uid = request.uid
    this.#epoch = request.epoch
    this.#connect()
  }

  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (this.#over) return
    const copy = body.slice()
    if (this.#request.legacy) return this.#legacyCall({ sequence, command, flags, body: copy })
    // The SDK sends it again when it hears `lost`; sent now, it would overtake those that are gone.
    if (this.#broken) return
    if (!this.#pipe) {
      if (this.#kept.length < MAX_KEPT) this.#kept.push({ sequence, command, flags, body: copy })
      return
    }
    const heard = this.#greeting ? 0 : activationTag(this.#activation)
    this.#pipe.up((end) => end.call(sequence, command, flags, replyAck, copy, heard))
  }

  #legacyCall(call: Kept): void {
    const isDurable = (call.flags & RETAIN) !== 0
    if ((!this.#pipe || isDurable) && this.#kept.length < MAX_KEPT) this.#kept.push(call)
    const { sequence, command, flags, body } = call
    const answered = (this.#kept[0]?.sequence ?? sequence) - 1
    this.#pipe?.up((end) => end.call(sequence, command, flags, answered, body, 0))
  }

  ack(calls: number, events: number): void {
    this.#pipe?.up((end) => end.ack(calls, events))
  }

  pauseEvents(on: boolean): void {
    this.#held = on
    this.#pipe?.up((end) => end.hold(on))
  }

  identify(uid: string, epoch: number): void {
    this.#uid = uid
    this.#epoch = epoch
    this.#pipe?.up((end) => end.identify(uid, epoch))
  }

  closeChannel(forget: boolean): void {
    if (this.#over) return
    this.#over = true
    const pipe = this.#pipe
    this.#pipe = null
    pipe?.up((end) => end.close(forget))
  }

  #connect(): void {
    const { clock } = this.#life
    const process = this.#world.processFor(this.#request)
    if (this.#over) return
    if (!process || process.presence.over) {
      const ms = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#tries++)
      return void clock.after(ms * (0.5 + clock.random() / 2), () => this.#connect())
    }
    const request = {
      ...this.#request,
      activation: this.#activation,
      memo: this.#memo,
      eventAck: this.#events,
      uid: this.#uid,
      epoch: this.#epoch,
    }
    const pipe = new Pipe(this.#world, this.#life, process, request, (run) => {
      if (this.#pipe === pipe && !this.#over) run(this)
    })
    this.#pipe = pipe
    this.#greeting = true
    if (this.#held) pipe.up((end) => end.hold(true))
    this.#resend(pipe, 0)
  }

  #resend(pipe: Pipe, mark: number): void {
    const answered = (this.#kept[0]?.sequence ?? 0) - 1
    for (const { sequence, command, flags, body } of this.#kept)
      if (sequence > mark)
        pipe.up((end) => end.call(sequence, command, flags, Math.max(0, answered), body, 0))
    this.#kept = this.#request.legacy ? this.#kept.filter(({ flags }) => (flags & RETAIN) !== 0) : []
  }

  lost(): void {
    this.#pipe = null
    this.#broken = true
    this.#connect()
  }

  channelOpened(activation: number, mark: number, lost: boolean): void {
    const isRestartedInPlace = !this.#greeting
    const isLost = lost || this.#broken
    if (activation !== this.#activation) this.#events = 0
    this.#activation = activation
    this.#greeting = false
    this.#broken = false
    this.#tries = 0
    this.#out.channelOpened(activation, mark, isLost)
    if (isRestartedInPlace && lost && this.#request.legacy && this.#pipe) this.#resend(this.#pipe, mark)
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#done(sequence)
    this.#out.reply(sequence, command, body)
  }

  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#done(sequence)
    this.#out.error(sequence, command, kind, code, message)
  }

  callsApplied(mark: number): void {
    this.#kept = this.#kept.filter(({ sequence }) => sequence > mark)
    this.#out.callsApplied(mark)
  }

  membershipToken(memo: Uint8Array): void {
    this.#memo = memo
    this.#out.membershipToken(memo)
  }

  keyBound(contract: string, key: string): void {
    this.#out.keyBound(contract, key)
  }

  loggedIn(uid: string, epoch: number): void {
    this.#out.loggedIn(uid, epoch)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#events = sequence
    this.#out.event(sequence, event, body)
  }

  resyncRequired(events: number): void {
    this.#events = events
    this.#out.resyncRequired(events)
  }

  channelClosed(code: string): void {
    this.#over = true
    this.#out.channelClosed(code)
  }

  #done(sequence: number): void {
    this.#kept = this.#kept.filter((kept) => kept.sequence !== sequence)
  }
}
