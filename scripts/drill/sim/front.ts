// A gateway that is a process of its own: engines end and come back behind it, and its clients keep their connections.
// Each channel has a trunk to the engine of its shard, as edge/uplink.ts has one to a Durable Object. Invariant: on one
// channel calls reach the shard in the order of their sequences, or not at all and then the next `opened` says `lost`.

import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import type { ErrorKind } from '../../../core/wire/message.ts'
import { lifeMark } from '../../../core/wire/record.ts'
import {
  RETAIN,
  shardName,
  type ChannelIn,
  type ChannelOut,
  type Link,
  type OpenRequest,
} from '../../../core/run/ports.ts'
import type { Gateway } from '../../../edge/gateway.ts'
import { Life } from './life.ts'
import { gatewayOf, logOf, type Process } from './process.ts'
import type { World } from './world.ts'

/** The channels that an engine serves, by session and number: the newest trunk of each has it. */
export type Ends = Map<string, EngineEnd>

const LATENCY_MS = 1
/** Until an end hears that the other is gone. */
const NOTICE_MS = 30
const FIRST_PAUSE_MS = 50
const LAST_PAUSE_MS = 2_000
/** A legacy client never sends again, so its trunk does. */
const MAX_KEPT = 256

export class Front {
  readonly life: Life
  readonly gateway: Gateway

  constructor(world: World, name: string) {
    this.life = new Life(name, world.clock, { wallMs: 0 })
    const link: Link = { open: (request, out) => new Trunk(world, this.life, request, out) }
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
class Trunk implements ChannelIn {
  readonly #world: World
  readonly #life: Life
  readonly #request: OpenRequest
  readonly #out: ChannelOut
  #pipe: Pipe | null = null
  #greeting = true
  #broken = false
  #activation: number
  #memo: Uint8Array
  #kept: Kept[] = []
  #tries = 0
  #over = false

  constructor(world: World, life: Life, request: OpenRequest, out: ChannelOut) {
    this.#world = world
    this.#life = life
    this.#request = request
    this.#out = out
    this.#activation = request.activation
    this.#memo = request.memo
    this.#connect()
  }

  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (this.#over) return
    const copy = body.slice()
    if (this.#request.legacy) return this.#legacyCall({ sequence, command, flags, body: copy })
    // The SDK sends it again when it hears `lost`; sent now, it would overtake those that are gone.
    if (this.#broken) return
    if (!this.#pipe) {
      if (this.#kept.length < MAX_KEPT) this.#kept.push({ sequence, command, flags, body: copy })
      return
    }
    const heard = this.#greeting ? 0 : lifeMark(this.#activation)
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

  close(forget: boolean): void {
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
    const request = { ...this.#request, activation: this.#activation, memo: this.#memo }
    const pipe = new Pipe(this.#world, this.#life, process, request, (run) => {
      if (this.#pipe === pipe && !this.#over) run(this)
    })
    this.#pipe = pipe
    this.#greeting = true
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

  opened(activation: number, mark: number, lost: boolean): void {
    const isRestartedInPlace = !this.#greeting
    const isLost = lost || this.#broken
    this.#activation = activation
    this.#greeting = false
    this.#broken = false
    this.#tries = 0
    this.#out.opened(activation, mark, isLost)
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

  applied(mark: number): void {
    this.#kept = this.#kept.filter(({ sequence }) => sequence > mark)
    this.#out.applied(mark)
  }

  memo(memo: Uint8Array): void {
    this.#memo = memo
    this.#out.memo(memo)
  }

  bind(contract: string, key: string): void {
    this.#out.bind(contract, key)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#out.event(sequence, event, body)
  }

  closed(code: string): void {
    this.#over = true
    this.#out.closed(code)
  }

  #done(sequence: number): void {
    this.#kept = this.#kept.filter((kept) => kept.sequence !== sequence)
  }
}

/** Both ways between a trunk and its engine, in order, each for as long as both processes live. */
class Pipe {
  readonly #world: World
  readonly #front: Life
  readonly #process: Process
  readonly #toTrunk: (run: (trunk: Trunk) => void) => void
  #end: EngineEnd | null = null
  #upMs = 0
  #downMs = 0

  constructor(
    world: World,
    front: Life,
    process: Process,
    request: OpenRequest,
    toTrunk: (run: (trunk: Trunk) => void) => void,
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

  #down(run: (trunk: Trunk) => void): void {
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
  readonly #down: (run: (trunk: Trunk) => void) => void
  readonly #legacy: boolean
  readonly #channel: ChannelIn
  #lifeMark = 0
  #fenced = false
  #over = false

  constructor(process: Process, request: OpenRequest, down: (run: (trunk: Trunk) => void) => void) {
    this.#name = `${shardName(request.shard)} ${request.session.join('.')}:${request.channel}`
    this.#ends = process.ends
    this.#down = down
    this.#legacy = request.legacy
    const before = this.#ends.get(this.#name)
    if (before) before.#over = true
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
    this.#channel.call(sequence, command, flags, replyAck, body)
  }

  ack(calls: number, events: number): void {
    if (!this.#over) this.#channel.ack(calls, events)
  }

  close(forget: boolean): void {
    if (this.#over) return
    this.#over = true
    this.#ends.delete(this.#name)
    this.#channel.close(forget)
  }

  gone(): void {
    this.close(false)
  }

  opened(activation: number, mark: number, lost: boolean): void {
    this.#fenced = lost && this.#lifeMark !== 0
    this.#lifeMark = lifeMark(activation)
    this.#tell((trunk) => trunk.opened(activation, mark, lost))
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
  applied(mark: number): void {
    this.#tell((trunk) => trunk.applied(mark))
  }
  memo(memo: Uint8Array): void {
    this.#tell((trunk) => trunk.memo(memo))
  }
  bind(contract: string, key: string): void {
    this.#tell((trunk) => trunk.bind(contract, key))
  }
  closed(code: string): void {
    this.#tell((trunk) => trunk.closed(code))
  }

  #tell(run: (trunk: Trunk) => void): void {
    if (!this.#over) this.#down(run)
  }
}
