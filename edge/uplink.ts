// The Link of an edge Worker: one internal WebSocket for each channel, to the Durable Object of its shard. When it
// breaks (a deploy, a reset, the network) it is opened again and the client keeps its own socket.
// Invariant: on one channel calls reach the shard in the order of their sequences, or not at all and then the
// channel's next `opened` says `lost`. A socket belongs to the request that opened it: one Uplink a connection.

import type { Door } from '../core/run/door.ts'
import type { ChannelIn, ChannelOut, Clock, Link, Log, OpenRequest, Timer } from '../core/run/ports.ts'
import { RETAIN, shardName } from '../core/run/ports.ts'
import type { ErrorKind } from '../core/wire/message.ts'
import { readGatewayRecords } from '../core/wire/envelope.ts'
import { lifeMark, RecordBatch, type GatewayRecords } from '../core/wire/record.ts'
import { KeptCalls } from './kept.ts'

export interface UplinkOptions {
  readonly shards: DurableObjectNamespace
  readonly clock: Clock
  readonly log: Log
  /** The table in force; it tells which shards are to be kept awake. */
  readonly door: () => Door
  /** An `opened` came from a core with another door table. */
  readonly onDoorVersion: (version: string) => void
}

const BACKOFF = { firstMs: 50, mostMs: 2_000, tries: 60 } as const
/** An upgrade that takes longer is given up and tried again. */
const OPEN_MS = 10_000
const PING_MS = 30_000

export class Uplink implements Link {
  readonly options: UplinkOptions
  #dirty: Wire[] = []

  constructor(options: UplinkOptions) {
    this.options = options
  }

  open(request: OpenRequest, out: ChannelOut): ChannelIn {
    return new Wire(this, request, out)
  }

  /** @internal Sends the wire's records when the event in hand is done. */
  flushSoon(wire: Wire): void {
    this.#dirty.push(wire)
    if (this.#dirty.length > 1) return
    this.options.clock.defer(() => {
      const dirty = this.#dirty
      this.#dirty = []
      for (const one of dirty) one.flush()
    })
  }
}

class Wire implements ChannelIn, GatewayRecords {
  readonly #uplink: Uplink
  readonly #options: UplinkOptions
  readonly #request: OpenRequest
  readonly #out: ChannelOut
  readonly #batch = new RecordBatch()
  #socket: WebSocket | null = null
  /** `opened` has not come yet on this socket. */
  #greeting = true
  /** Calls went out on an earlier socket, or were dropped since: the next `opened` says `lost`. */
  #broken = false
  #activation: number
  #memo: Uint8Array
  /** The last event of that activation that was passed on. */
  #events: number
  #uid: string
  #epoch: number
  /** The client reads too slowly. */
  #held = false
  /** Calls kept while they cannot be sent, or until a legacy client's durable call is answered. */
  readonly #kept = new KeptCalls()
  #tries = 0
  #timer: Timer | null = null
  #pinger: Timer | null = null
  /** A ping was not answered yet. */
  #unheard = false
  #dirty = false
  #over = false

  constructor(uplink: Uplink, request: OpenRequest, out: ChannelOut) {
    this.#uplink = uplink
    this.#options = uplink.options
    this.#request = request
    this.#out = out
    this.#activation = request.activation
    this.#memo = request.memo
    this.#events = request.eventAck
    this.#uid = request.uid
    this.#epoch = request.epoch
    this.#connect()
  }

  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (this.#over) return
    if (this.#request.legacy) return this.#legacyCall(sequence, command, flags, body)
    if (this.#socket !== null && !(this.#greeting && this.#broken)) {
      const heard = this.#greeting ? flags : flags | (lifeMark(this.#activation) << 1)
      this.#batch.call(sequence, command, heard, replyAck, body)
      this.#soon()
    } else if (this.#broken) {
      // The SDK sends it again when it hears `lost`; sent now, it would overtake those that are gone.
    } else if (!this.#kept.add(sequence, command, flags, replyAck, body)) {
      this.#refuse(sequence, command)
    }
  }

  /** A legacy client never sends again, so this does: durable calls until they are answered, others until sent. */
  #legacyCall(sequence: number, command: number, flags: number, body: Uint8Array): void {
    const attached = this.#socket !== null
    if (
      (!attached || (flags & RETAIN) !== 0) &&
      !this.#kept.add(sequence, command, flags, 0, body) &&
      !attached
    ) {
      return this.#refuse(sequence, command)
    }
    if (!attached) return
    this.#batch.call(sequence, command, flags, this.#kept.answered(sequence), body)
    this.#soon()
  }

  #refuse(sequence: number, command: number): void {
    const message = `${this.#kept.size} calls wait for ${shardName(this.#request.shard)}`
    this.#out.error(sequence, command, 'system', 'OVERLOADED', message)
  }

  ack(calls: number, events: number): void {
    if (this.#socket === null || this.#over) return
    this.#batch.ack(calls, events)
    this.#soon()
  }

  hold(on: boolean): void {
    this.#held = on
    if (this.#socket === null || this.#over) return
    this.#batch.hold(on)
    this.#soon()
  }

  identify(uid: string, epoch: number): void {
    this.#uid = uid
    this.#epoch = epoch
    if (this.#socket === null || this.#over) return
    this.#batch.identify(uid, epoch)
    this.#soon()
  }

  close(forget: boolean): void {
    if (this.#over) return
    if (this.#socket !== null) {
      this.#batch.close(forget)
      this.flush()
    }
    this.#end()
  }

  #end(): void {
    this.#over = true
    this.#timer?.cancel()
    this.#pinger?.cancel()
    this.#kept.clear()
    const socket = this.#socket
    this.#socket = null
    socket?.close(1000, 'closed')
  }

  #connect(): void {
    let settled = false
    const fail = (cause: unknown): void => {
      if (settled || this.#over) return
      settled = true
      this.#lost(String(cause))
    }
    this.#timer = this.#options.clock.after(OPEN_MS, () => fail(`no answer in ${OPEN_MS} ms`))
    this.#upgrade().then((socket) => {
      if (settled || this.#over) return socket.close(1000, 'too late')
      settled = true
      this.#timer?.cancel()
      this.#attach(socket)
    }, fail)
  }

  async #upgrade(): Promise<WebSocket> {
    const { shard } = this.#request
    // A new stub each time: one that saw its object's reset stays broken.
    const stub = this.#options.shards.get(this.#options.shards.idFromName(shardName(shard)))
    const query = new URLSearchParams({ contract: shard.contract, key: shard.key })
    const response = await stub.fetch(`http://shard/link?${query}`, { headers: { Upgrade: 'websocket' } })
    const socket = response.webSocket
    if (!socket) throw new Error(`the shard answers ${response.status}`)
    socket.binaryType = 'arraybuffer'
    socket.accept()
    return socket
  }

  #attach(socket: WebSocket): void {
    this.#socket = socket
    this.#greeting = true
    socket.addEventListener('message', ({ data }) => {
      if (this.#socket === socket && data instanceof ArrayBuffer) this.#receive(new Uint8Array(data))
    })
    const gone = (why: string) => (): void => {
      if (this.#socket === socket) this.#lost(why)
    }
    socket.addEventListener('close', gone('the link was closed'))
    socket.addEventListener('error', gone('the link broke'))
    const { session, channel, legacy, generation } = this.#request
    this.#batch.clear()
    this.#batch.open({
      session,
      channel,
      legacy,
      activation: this.#activation,
      memo: this.#memo,
      eventAck: this.#events,
      uid: this.#uid,
      epoch: this.#epoch,
      generation,
    })
    if (this.#held) this.#batch.hold(true)
    this.#resend(0)
    this.flush()
  }

  #receive(message: Uint8Array): void {
    try {
      readGatewayRecords(message, this)
    } catch (error) {
      this.#lost(error instanceof Error ? error.message : String(error))
    }
  }

  /** Says again, in order, what was kept above `mark`; then keeps only what is still to be answered. */
  #resend(mark: number): void {
    if (this.#kept.size === 0) return
    const { legacy } = this.#request
    const answered = this.#kept.answered(0)
    for (const { sequence, command, flags, replyAck, body } of this.#kept.all) {
      if (sequence > mark) this.#batch.call(sequence, command, flags, legacy ? answered : replyAck, body)
    }
    if (legacy) this.#kept.retain()
    else this.#kept.clear()
    this.#soon()
  }

  /** The link is down: opened again after a pause that grows, with chance in it so that a thousand do not meet. */
  #lost(why: string): void {
    const { clock, log } = this.#options
    const shard = shardName(this.#request.shard)
    if (this.#socket) {
      this.#broken = true
      const socket = this.#socket
      this.#socket = null
      socket.close(1000, 'replaced')
    }
    this.#timer?.cancel()
    this.#pinger?.cancel()
    this.#pinger = null
    this.#batch.clear()
    if (this.#tries >= BACKOFF.tries) {
      log.error('a link is given up', { shard, tries: this.#tries, why })
      this.#end()
      return this.#out.closed('UNAVAILABLE')
    }
    const pauseMs = Math.min(BACKOFF.mostMs, BACKOFF.firstMs * 2 ** this.#tries) * (0.5 + clock.random() / 2)
    if (this.#tries++ > 0) log.warn('a link is opened again', { shard, tries: this.#tries, why })
    this.#timer = clock.after(pauseMs, () => this.#connect())
  }

  opened(activation: number, mark: number, lost: boolean, doorVersion: string): void {
    const restartedInPlace = !this.#greeting
    if (activation !== this.#activation) this.#events = 0
    const broken = this.#broken
    this.#activation = activation
    this.#greeting = false
    this.#broken = false
    this.#tries = 0
    if (doorVersion !== this.#options.door().version) this.#options.onDoorVersion(doorVersion)
    this.#out.opened(activation, mark, lost || broken)
    // An object that slept has forgotten it.
    if (restartedInPlace && this.#held) this.hold(true)
    if (restartedInPlace && lost && this.#request.legacy) this.#resend(mark)
    this.#keepAwake()
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#kept.done(sequence)
    this.#out.reply(sequence, command, body)
  }

  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#kept.done(sequence)
    this.#out.error(sequence, command, kind, code, message)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#events = sequence
    this.#out.event(sequence, event, body)
  }

  applied(mark: number): void {
    this.#kept.applied(mark)
    this.#out.applied(mark)
  }

  memo(memo: Uint8Array): void {
    this.#memo = memo
    this.#out.memo(memo)
    this.#keepAwake()
  }

  bind(contract: string, key: string): void {
    this.#out.bind(contract, key)
  }

  resync(events: number): void {
    this.#events = events
    this.#out.resync(events)
  }

  login(uid: string, epoch: number): void {
    this.#out.login(uid, epoch)
  }

  closed(code: string): void {
    this.#end()
    this.#out.closed(code)
  }

  pong(): void {
    this.#unheard = false
  }

  /** A shard that ticks for a member would be evicted without an event now and then; the ping also finds dead links. */
  #keepAwake(): void {
    const joined =
      this.#memo.length > 0 && this.#options.door().byName.get(this.#request.shard.contract)?.ticks
    if (!joined) {
      this.#pinger?.cancel()
      this.#pinger = null
    } else if (this.#pinger === null && this.#socket !== null) {
      this.#unheard = false
      this.#armPing()
    }
  }

  #armPing(): void {
    this.#pinger = this.#options.clock.after(PING_MS, () => {
      if (this.#unheard) return this.#lost(`no answer to a ping in ${PING_MS} ms`)
      this.#unheard = true
      this.#batch.ping()
      this.flush()
      this.#armPing()
    })
  }

  #soon(): void {
    if (this.#dirty) return
    this.#dirty = true
    this.#uplink.flushSoon(this)
  }

  flush(): void {
    this.#dirty = false
    if (this.#socket === null || this.#batch.size === 0) return
    try {
      this.#socket.send(this.#batch.take())
    } catch (error) {
      this.#lost(String(error))
    }
  }
}
