// The Link of an edge Worker: one internal WebSocket for each channel, to the Durable Object of its shard. When it
// breaks (a deploy, a reset, the network) it is opened again and the client keeps its own socket.
// Invariant: on one channel calls reach the shard in the order of their sequences, or not at all and then the
// channel's next `opened` says `lost`. A socket belongs to the request that opened it: one Uplink a connection.

import { backoffMs } from '../../core/wire/backoff.ts'
import type { RoutingTable } from '../../core/game/routing.ts'
import type { ChannelIn, ChannelOut, ShardLink, OpenRequest } from '../../core/ports/link.ts'
import type { Clock, Timer } from '../../core/ports/clock.ts'
import type { Log } from '../../core/ports/log.ts'
import { RETAIN } from '../../core/ports/link.ts'
import { shardName } from '../../core/wire/shardid.ts'
import type { ErrorKind } from '../../core/wire/message.ts'
import { readGatewayRecords } from '../../core/wire/recordreader.ts'
import { activationTag, RecordBatch, type GatewayRecords } from '../../core/wire/record.ts'
import { ResendBuffer } from './resendbuffer.ts'

export interface DurableObjectLinkOptions {
  readonly shards: DurableObjectNamespace
  readonly clock: Clock
  readonly log: Log
  /** The table in force; it tells which shards are to be kept awake. */
  readonly routingTable: () => RoutingTable
  /** An `opened` came from a core with another door table. */
  readonly onRoutingTableVersion: (version: string) => void
}

const BACKOFF = { minMs: 50, maxMs: 2_000 } as const
const MAX_ATTEMPTS = 60
/** An upgrade that takes longer is given up and tried again. */
const OPEN_TIMEOUT_MS = 10_000
const PING_INTERVAL_MS = 30_000

export class DurableObjectLink implements ShardLink {
  readonly options: DurableObjectLinkOptions
  #unflushedSockets: ShardSocket[] = []

  constructor(options: DurableObjectLinkOptions) {
    this.options = options
  }

  open(request: OpenRequest, out: ChannelOut): ChannelIn {
    return new ShardSocket(this, request, out)
  }

  /** @internal Sends the wire's records when the event in hand is done. */
  scheduleFlush(socket: ShardSocket): void {
    this.#unflushedSockets.push(socket)
    if (this.#unflushedSockets.length > 1) return
    this.options.clock.defer(() => {
      const sockets = this.#unflushedSockets
      this.#unflushedSockets = []
      for (const socket of sockets) socket.flush()
    })
  }
}

class ShardSocket implements ChannelIn, GatewayRecords {
  readonly #link: DurableObjectLink
  readonly #options: DurableObjectLinkOptions
  readonly #request: OpenRequest
  readonly #out: ChannelOut
  readonly #batch = new RecordBatch()
  #socket: WebSocket | null = null
  /** `opened` has not come yet on this socket. */
  #isOpening = true
  /** Calls went out on an earlier socket, or were dropped since: the next `opened` says `lost`. */
  #areCallsLost = false
  #activation: number
  #membershipToken: Uint8Array
  /** The last event of that activation that was passed on. */
  #lastEvent: number
  #uid: string
  #epoch: number
  /** The client reads too slowly. */
  #areEventsPaused = false
  /** Calls kept while they cannot be sent, or until a legacy client's durable call is answered. */
  readonly #resendBuffer = new ResendBuffer()
  #attempts = 0
  #connectTimer: Timer | null = null
  #pingTimer: Timer | null = null
  /** A ping was not answered yet. */
  #isPongPending = false
  #isFlushScheduled = false
  #isClosed = false

  constructor(link: DurableObjectLink, request: OpenRequest, out: ChannelOut) {
    this.#link = link
    this.#options = link.options
    this.#request = request
    this.#out = out
    this.#activation = request.activation
    this.#membershipToken = request.membershipToken
    this.#lastEvent = request.eventAck
    this.#uid = request.uid
    this.#epoch = request.epoch
    this.#connect()
  }

  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (this.#isClosed) return
    if (this.#request.legacy) return this.#sendLegacyCall(sequence, command, flags, body)
    if (this.#socket !== null && !(this.#isOpening && this.#areCallsLost)) {
      const markedFlags = this.#isOpening ? flags : flags | (activationTag(this.#activation) << 1)
      this.#batch.call(sequence, command, markedFlags, replyAck, body)
      this.#scheduleFlush()
    } else if (this.#areCallsLost) {
      // The SDK sends it again when it hears `lost`; sent now, it would overtake those that are gone.
    } else if (!this.#resendBuffer.add(sequence, command, flags, replyAck, body)) {
      this.#rejectCall(sequence, command)
    }
  }

  /** A legacy client never sends again, so this does: durable calls until they are answered, others until sent. */
  #sendLegacyCall(sequence: number, command: number, flags: number, body: Uint8Array): void {
    const isConnected = this.#socket !== null
    if (
      (!isConnected || (flags & RETAIN) !== 0) &&
      !this.#resendBuffer.add(sequence, command, flags, 0, body) &&
      !isConnected
    ) {
      return this.#rejectCall(sequence, command)
    }
    if (!isConnected) return
    this.#batch.call(sequence, command, flags, this.#resendBuffer.replyAck(sequence), body)
    this.#scheduleFlush()
  }

  #rejectCall(sequence: number, command: number): void {
    const message = `${this.#resendBuffer.callCount} calls wait for ${shardName(this.#request.shard)}`
    this.#out.error(sequence, command, 'system', 'OVERLOADED', message)
  }

  ack(calls: number, events: number): void {
    if (this.#socket === null || this.#isClosed) return
    this.#batch.ack(calls, events)
    this.#scheduleFlush()
  }

  pauseEvents(on: boolean): void {
    this.#areEventsPaused = on
    if (this.#socket === null || this.#isClosed) return
    this.#batch.pauseEvents(on)
    this.#scheduleFlush()
  }

  identify(uid: string, epoch: number): void {
    this.#uid = uid
    this.#epoch = epoch
    if (this.#socket === null || this.#isClosed) return
    this.#batch.identify(uid, epoch)
    this.#scheduleFlush()
  }

  closeChannel(forget: boolean): void {
    if (this.#isClosed) return
    if (this.#socket !== null) {
      this.#batch.close(forget)
      this.flush()
    }
    this.#closeSocket()
  }

  #closeSocket(): void {
    this.#isClosed = true
    this.#connectTimer?.cancel()
    this.#pingTimer?.cancel()
    this.#resendBuffer.clear()
    const socket = this.#socket
    this.#socket = null
    socket?.close(1000, 'closed')
  }

  #connect(): void {
    let isSettled = false
    const onFailure = (cause: unknown): void => {
      if (isSettled || this.#isClosed) return
      isSettled = true
      this.#reconnect(String(cause))
    }
    this.#connectTimer = this.#options.clock.after(OPEN_TIMEOUT_MS, () =>
      onFailure(`no answer in ${OPEN_TIMEOUT_MS} ms`),
    )
    this.#upgrade().then((socket) => {
      if (isSettled || this.#isClosed) return socket.close(1000, 'too late')
      isSettled = true
      this.#connectTimer?.cancel()
      this.#attachSocket(socket)
    }, onFailure)
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

  #attachSocket(socket: WebSocket): void {
    this.#socket = socket
    this.#isOpening = true
    socket.addEventListener('message', ({ data }) => {
      if (this.#socket === socket && data instanceof ArrayBuffer) this.#receive(new Uint8Array(data))
    })
    const onDisconnect = (why: string) => (): void => {
      if (this.#socket === socket) this.#reconnect(why)
    }
    socket.addEventListener('close', onDisconnect('the link was closed'))
    socket.addEventListener('error', onDisconnect('the link broke'))
    const { session, channel, legacy, generation } = this.#request
    this.#batch.clear()
    this.#batch.open({
      session,
      channel,
      legacy,
      activation: this.#activation,
      membershipToken: this.#membershipToken,
      eventAck: this.#lastEvent,
      uid: this.#uid,
      epoch: this.#epoch,
      generation,
    })
    if (this.#areEventsPaused) this.#batch.pauseEvents(true)
    this.#resend(0)
    this.flush()
  }

  #receive(message: Uint8Array): void {
    try {
      readGatewayRecords(message, this)
    } catch (error) {
      this.#reconnect(error instanceof Error ? error.message : String(error))
    }
  }

  /** Says again, in order, what was kept above `mark`; then keeps only what is still to be answered. */
  #resend(mark: number): void {
    if (this.#resendBuffer.callCount === 0) return
    const { legacy } = this.#request
    const legacyReplyAck = this.#resendBuffer.replyAck(0)
    for (const { sequence, command, flags, replyAck, body } of this.#resendBuffer.calls) {
      if (sequence > mark)
        this.#batch.call(sequence, command, flags, legacy ? legacyReplyAck : replyAck, body)
    }
    if (legacy) this.#resendBuffer.removeNonDurable()
    else this.#resendBuffer.clear()
    this.#scheduleFlush()
  }

  /** The link is down: opened again after a pause that grows, with chance in it so that a thousand do not meet. */
  #reconnect(why: string): void {
    const { clock, log } = this.#options
    const shard = shardName(this.#request.shard)
    if (this.#socket) {
      this.#areCallsLost = true
      const socket = this.#socket
      this.#socket = null
      socket.close(1000, 'replaced')
    }
    this.#connectTimer?.cancel()
    this.#pingTimer?.cancel()
    this.#pingTimer = null
    this.#batch.clear()
    if (this.#attempts >= MAX_ATTEMPTS) {
      log.error('a link is given up', { shard, tries: this.#attempts, why })
      this.#closeSocket()
      return this.#out.channelClosed('UNAVAILABLE')
    }
    const delayMs = backoffMs(this.#attempts, BACKOFF, clock.random())
    if (this.#attempts++ > 0) log.warn('a link is opened again', { shard, tries: this.#attempts, why })
    this.#connectTimer = clock.after(delayMs, () => this.#connect())
  }

  opened(activation: number, mark: number, lost: boolean, doorVersion: string): void {
    const isSameSocket = !this.#isOpening
    if (activation !== this.#activation) this.#lastEvent = 0
    const callsLost = this.#areCallsLost
    this.#activation = activation
    this.#isOpening = false
    this.#areCallsLost = false
    this.#attempts = 0
    if (doorVersion !== this.#options.routingTable().version) this.#options.onRoutingTableVersion(doorVersion)
    this.#out.channelOpened(activation, mark, lost || callsLost)
    // An object that slept has forgotten it.
    if (isSameSocket && this.#areEventsPaused) this.pauseEvents(true)
    if (isSameSocket && lost && this.#request.legacy) this.#resend(mark)
    this.#updatePingTimer()
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#resendBuffer.remove(sequence)
    this.#out.reply(sequence, command, body)
  }

  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#resendBuffer.remove(sequence)
    this.#out.error(sequence, command, kind, code, message)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#lastEvent = sequence
    this.#out.event(sequence, event, body)
  }

  applied(mark: number): void {
    this.#resendBuffer.removeThrough(mark)
    this.#out.callsApplied(mark)
  }

  membershipToken(memo: Uint8Array): void {
    this.#membershipToken = memo
    this.#out.membershipToken(memo)
    this.#updatePingTimer()
  }

  bind(contract: string, key: string): void {
    this.#out.keyBound(contract, key)
  }

  resync(events: number): void {
    this.#lastEvent = events
    this.#out.resyncRequired(events)
  }

  login(uid: string, epoch: number): void {
    this.#out.loggedIn(uid, epoch)
  }

  closed(code: string, reason: string): void {
    this.#closeSocket()
    this.#out.channelClosed(code, reason)
  }

  pong(): void {
    this.#isPongPending = false
  }

  /** A shard that ticks for a member would be evicted without an event now and then; the ping also finds dead links. */
  #updatePingTimer(): void {
    const needsPing =
      this.#membershipToken.length > 0 &&
      this.#options.routingTable().byName.get(this.#request.shard.contract)?.ticks
    if (!needsPing) {
      this.#pingTimer?.cancel()
      this.#pingTimer = null
    } else if (this.#pingTimer === null && this.#socket !== null) {
      this.#isPongPending = false
      this.#schedulePing()
    }
  }

  #schedulePing(): void {
    this.#pingTimer = this.#options.clock.after(PING_INTERVAL_MS, () => {
      if (this.#isPongPending) return this.#reconnect(`no answer to a ping in ${PING_INTERVAL_MS} ms`)
      this.#isPongPending = true
      this.#batch.ping()
      this.flush()
      this.#schedulePing()
    })
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    this.#link.scheduleFlush(this)
  }

  flush(): void {
    this.#isFlushScheduled = false
    if (this.#socket === null || this.#batch.size === 0) return
    try {
      this.#socket.send(this.#batch.takeMessage())
    } catch (error) {
      this.#reconnect(String(error))
    }
  }
}
