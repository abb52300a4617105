// What lies between a gateway's trunk and the engine of its shard: both ways in order, and both ends hear late that the
// other one is gone. Invariant: whoever is over says nothing more and hears nothing more.

import { shardName } from '../../../core/wire/shardid.ts'
import type { ChannelIn, ChannelOut, OpenRequest } from '../../../core/ports/link.ts'
import type { ErrorKind } from '../../../core/wire/message.ts'
import { activationTag } from '../../../core/wire/record.ts'
import type { Life } from './life.ts'
import type { Process } from './process.ts'
import type { World } from './world.ts'

/** The channels that an engine serves, by session and number: the newest trunk of each has it. */
export type Ends = Map<string, EngineEnd>

/** The gateway's end. */
export interface TrunkEnd extends ChannelOut {
  lost(): void
}

const LATENCY_MS = 1
/** Until an end hears that the other is gone. */
const NOTICE_MS = 30

/** Both ways between a trunk and its engine, in order, each for as long as both processes live. */
export class Pipe {
  readonly #world: World
  readonly #front: Life
  readonly #process: Process
  readonly #toTrunk: (run: (trunk: TrunkEnd) => void) => void
  #end: EngineEnd | null = null
  #upMs = 0
  #downMs = 0

  constructor(
    world: World,
    front: Life,
    process: Process,
    request: OpenRequest,
    toTrunk: (run: (trunk: TrunkEnd) => void) => void,
  ) {
    this.#world = world
    this.#front = front
    this.#process = process
    this.#toTrunk = toTrunk
    const { clock, random } = world
    process.presence.onEnd(() => {
      front.clock.after(random.net.next() * NOTICE_MS, () => toTrunk((trunk) => trunk.lost()))
    })
    front.onEnd(() => {
      clock.after(random.net.next() * NOTICE_MS, () => {
        if (!process.presence.over) this.#end?.gone()
      })
    })
    this.#later('up', () => {
      this.#end = new EngineEnd(process, request, (run) => this.#down(run))
    })
  }

  up(run: (end: EngineEnd) => void): void {
    this.#later('up', () => {
      if (this.#end) run(this.#end)
    })
  }

  #down(run: (trunk: TrunkEnd) => void): void {
    this.#later('down', () => this.#toTrunk(run))
  }

  #later(way: 'up' | 'down', run: () => void): void {
    const { clock, random } = this.#world
    const before = way === 'up' ? this.#upMs : this.#downMs
    const atMs = Math.max(before, clock.mono() + random.net.next() * LATENCY_MS)
    if (way === 'up') this.#upMs = atMs
    else this.#downMs = atMs
    clock.after(atMs - clock.mono(), () => {
      if (!this.#front.over && !this.#process.presence.over) run()
    })
  }
}

/** The engine's end, as core/durable/line.ts. */
class EngineEnd implements ChannelOut {
  readonly #name: string
  readonly #ends: Ends
  readonly #down: (run: (trunk: TrunkEnd) => void) => void
  readonly #legacy: boolean
  readonly #channel: ChannelIn
  #lifeMark = 0
  #fenced = false
  #over = false

  constructor(process: Process, request: OpenRequest, down: (run: (trunk: TrunkEnd) => void) => void) {
    this.#name = `${shardName(request.shard)} ${request.session.join('.')}:${request.channel}`
    this.#ends = process.ends
    this.#down = down
    this.#legacy = request.legacy
    this.#ends.get(this.#name)?.replaced()
    this.#ends.set(this.#name, this)
    this.#channel = process.link.open(request, this)
  }

  call(
    sequence: number,
    command: number,
    flags: number,
    replyAck: number,
    body: Uint8Array,
    heard: number,
  ): void {
    if (this.#over) return
    // Sent before the gateway heard `lost`; its client sends it again, behind what is older.
    if (this.#fenced && heard !== this.#lifeMark && !this.#legacy) return
    this.#channel.submitCall(sequence, command, flags, replyAck, body)
  }

  ack(calls: number, events: number): void {
    if (!this.#over) this.#channel.ack(calls, events)
  }

  hold(on: boolean): void {
    if (!this.#over) this.#channel.pauseEvents(on)
  }

  identify(uid: string, epoch: number): void {
    if (!this.#over) this.#channel.identify(uid, epoch)
  }

  close(forget: boolean): void {
    if (this.#over) return
    this.#over = true
    this.#ends.delete(this.#name)
    this.#channel.closeChannel(forget)
  }

  gone(): void {
    this.close(false)
  }

  /** A newer trunk has the channel. */
  replaced(): void {
    this.channelClosed('REPLACED')
    this.#over = true
  }

  channelOpened(activation: number, mark: number, lost: boolean): void {
    this.#fenced = lost && this.#lifeMark !== 0
    this.#lifeMark = activationTag(activation)
    this.#tell((trunk) => trunk.channelOpened(activation, mark, lost))
  }
  reply(sequence: number, command: number, body: Uint8Array): void {
    const copy = body.slice()
    this.#tell((trunk) => trunk.reply(sequence, command, copy))
  }
  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#tell((trunk) => trunk.error(sequence, command, kind, code, message))
  }
  event(sequence: number, event: number, body: Uint8Array): void {
    const copy = body.slice()
    this.#tell((trunk) => trunk.event(sequence, event, copy))
  }
  callsApplied(mark: number): void {
    this.#tell((trunk) => trunk.callsApplied(mark))
  }
  membershipToken(memo: Uint8Array): void {
    this.#tell((trunk) => trunk.membershipToken(memo))
  }
  keyBound(contract: string, key: string): void {
    this.#tell((trunk) => trunk.keyBound(contract, key))
  }
  loggedIn(uid: string, epoch: number): void {
    this.#tell((trunk) => trunk.loggedIn(uid, epoch))
  }
  resyncRequired(events: number): void {
    this.#tell((trunk) => trunk.resyncRequired(events))
  }
  channelClosed(code: string): void {
    this.#tell((trunk) => trunk.channelClosed(code))
  }

  #tell(run: (trunk: TrunkEnd) => void): void {
    if (!this.#over) this.#down(run)
  }
}
