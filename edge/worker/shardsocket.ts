// The edge's end of one channel: an internal WebSocket to the Durable Object of its shard. When it breaks (a deploy, a reset,
// the network) it is opened again, and the client keeps its own socket. Invariant: calls reach the shard in the order of
// their sequence numbers, or some are dropped and the next `channelOpened` reports them as lost.

import type { RoutingTable } from '../../core/game/routing.ts'
import type { Clock, Timer } from '../../core/ports/clock.ts'
import { RETAIN, type ChannelIn, type ChannelOut, type OpenRequest } from '../../core/ports/link.ts'
import type { Log } from '../../core/ports/log.ts'
import { backoffMs } from '../../core/wire/backoff.ts'
import type { ErrorKind } from '../../core/wire/message.ts'
import { activationTag, RecordBatch, type GatewayRecords } from '../../core/wire/record.ts'
import { readGatewayRecords } from '../../core/wire/recordreader.ts'
import { shardName } from '../../core/wire/shardid.ts'
import { ResendBuffer } from './resendbuffer.ts'

export interface ShardSocketContext {
  readonly shards: DurableObjectNamespace
  readonly clock: Clock
  readonly log: Log
  /** The current table, which marks the shards that need pings. */
  readonly routingTable: () => RoutingTable
  /** The core has another version of the routing table. */
  readonly onRoutingTableVersion: (version: string) => void
}

const BACKOFF = { minMs: 50, maxMs: 2_000 } as const
const MAX_ATTEMPTS = 60
/** An upgrade that takes longer has failed. */
const OPEN_TIMEOUT_MS = 10_000
const PING_INTERVAL_MS = 30_000

export class ShardSocket implements ChannelIn, GatewayRecords {
  readonly #context: ShardSocketContext
  /** Kept up to date, for the next time that the channel is opened. */
  readonly #request: { -readonly [K in keyof OpenRequest]: OpenRequest[K] }
  readonly #out: ChannelOut
  readonly #batch = new RecordBatch()
  /** `connecting`: no socket; `opening`: OPEN was sent on a socket, OPENED has not arrived; `closed` is final. */
  #state: 'connecting' | 'opening' | 'open' | 'closed' = 'connecting'
  /** null while connecting or closed. */
  #socket: WebSocket | null = null
  /** Calls were sent on an earlier socket, or dropped since: the next `channelOpened` reports them as lost. */
  #areCallsLost = false
  #areEventsPaused = false
  /** Calls to be sent once connected, and a legacy client's durable calls until they are answered. */
  readonly #resendBuffer = new ResendBuffer()
  #attempts = 0
  #connectTimer: Timer | null = null
  #pingTimer: Timer | null = null
  #isPongPending = false
  #isFlushScheduled = false

  constructor(context: ShardSocketContext, request: OpenRequest, out: ChannelOut) {
    this.#context = context
    this.#request = { ...request }
    this.#out = out
    this.#connect()
  }

  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    const state = this.#state
    if (state === 'closed') return
    if (this.#request.legacy) return this.#sendLegacyCall(sequence, command, flags, body)
    if (state === 'open' || (state === 'opening' && !this.#areCallsLost)) {
      const taggedFlags = state === 'open' ? flags | (activationTag(this.#request.activation) << 1) : flags
      this.#batch.call(sequence, command, taggedFlags, replyAck, body)
      this.#scheduleFlush()
    } else if (this.#areCallsLost) {
      // The client sends it again when it receives `lost`; sent now, it would overtake the lost calls.
    } else if (!this.#resendBuffer.add(sequence, command, flags, replyAck, body)) {
      this.#rejectCall(sequence, command)
    }
  }

  /** A legacy client never resends, so this class does: durable calls until they are answered, others until sent. */
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
    const message = `${this.#resendBuffer.calls.length} calls wait for ${shardName(this.#request.shard)}`
    this.#out.error(sequence, command, 'system', 'OVERLOADED', message)
  }

  ack(calls: number, events: number): void {
    if (this.#socket === null) return
    this.#batch.ack(calls, events)
    this.#scheduleFlush()
  }

  pauseEvents(isPaused: boolean): void {
    this.#areEventsPaused = isPaused
    if (this.#socket === null) return
    this.#batch.pauseEvents(isPaused)
    this.#scheduleFlush()
  }

  identify(uid: string, epoch: number): void {
    this.#request.uid = uid
    this.#request.epoch = epoch
    if (this.#socket === null) return
    this.#batch.identify(uid, epoch)
    this.#scheduleFlush()
  }

  closeChannel(isFinal: boolean): void {
    if (this.#state === 'closed') return
    if (this.#socket !== null) {
      this.#batch.close(isFinal)
      this.#flush()
    }
    this.#close()
  }

  #close(): void {
    this.#state = 'closed'
    this.#connectTimer?.cancel()
    this.#pingTimer?.cancel()
    this.#resendBuffer.clear()
    this.#dropSocket('closed')
  }

  #dropSocket(reason: string): void {
    const socket = this.#socket
    this.#socket = null
    socket?.close(1000, reason)
  }

  #connect(): void {
    let isSettled = false
    const onFailure = (cause: unknown): void => {
      if (isSettled || this.#state === 'closed') return
      isSettled = true
      this.#reconnect(String(cause))
    }
    this.#connectTimer = this.#context.clock.after(OPEN_TIMEOUT_MS, () =>
      onFailure(`no answer in ${OPEN_TIMEOUT_MS} ms`),
    )
    this.#upgrade().then((socket) => {
      if (isSettled || this.#state === 'closed') return socket.close(1000, 'too late')
      isSettled = true
      this.#connectTimer?.cancel()
      this.#attachSocket(socket)
    }, onFailure)
  }

  async #upgrade(): Promise<WebSocket> {
    const { shard } = this.#request
    const { shards } = this.#context
    // A new stub each time: the stub of an object that was reset stays broken.
    const stub = shards.get(shards.idFromName(shardName(shard)))
    const query = new URLSearchParams({ contract: shard.contract, key: shard.key })
    const response = await stub.fetch(`http://shard/link?${query}`, { headers: { Upgrade: 'websocket' } })
    const socket = response.webSocket
    if (!socket) throw new Error(`the shard answered ${response.status}`)
    socket.binaryType = 'arraybuffer'
    socket.accept()
    return socket
  }

  #attachSocket(socket: WebSocket): void {
    this.#socket = socket
    this.#state = 'opening'
    socket.addEventListener('message', ({ data }) => {
      if (this.#socket === socket && data instanceof ArrayBuffer) this.#receive(new Uint8Array(data))
    })
    const onDisconnect = (cause: string) => (): void => {
      if (this.#socket === socket) this.#reconnect(cause)
    }
    socket.addEventListener('close', onDisconnect('the socket was closed'))
    socket.addEventListener('error', onDisconnect('the socket failed'))
    this.#batch.clear()
    this.#batch.open(this.#request)
    if (this.#areEventsPaused) this.#batch.pauseEvents(true)
    this.#resend(0)
    this.#flush()
  }

  #receive(message: Uint8Array): void {
    try {
      readGatewayRecords(message, this)
    } catch (error) {
      this.#reconnect(error instanceof Error ? error.message : String(error))
    }
  }

  /** Sends the buffered calls above `mark` in order; then keeps only those that still need a reply. */
  #resend(mark: number): void {
    if (this.#resendBuffer.calls.length === 0) return
    const { legacy } = this.#request
    const legacyReplyAck = this.#resendBuffer.replyAck(0)
    for (const { sequence, command, flags, replyAck, body } of this.#resendBuffer.calls) {
      if (sequence > mark) this.#batch.call(sequence, command, flags, legacy ? legacyReplyAck : replyAck, body)
    }
    if (legacy) this.#resendBuffer.removeNonDurable()
    else this.#resendBuffer.clear()
    this.#scheduleFlush()
  }

  #reconnect(cause: string): void {
    if (this.#state === 'closed') return
    const { clock, log } = this.#context
    const shard = shardName(this.#request.shard)
    if (this.#socket) this.#areCallsLost = true
    this.#state = 'connecting'
    this.#dropSocket('replaced')
    this.#connectTimer?.cancel()
    this.#pingTimer?.cancel()
    this.#pingTimer = null
    this.#batch.clear()
    if (this.#attempts >= MAX_ATTEMPTS) {
      log.error('the link to a shard failed', { shard, attempts: this.#attempts, cause })
      this.#close()
      return this.#out.channelClosed('UNAVAILABLE')
    }
    const delayMs = backoffMs(this.#attempts, BACKOFF, clock.random())
    if (this.#attempts++ > 0)
      log.warn('the link to a shard is opened again', { shard, attempts: this.#attempts, cause })
    this.#connectTimer = clock.after(delayMs, () => this.#connect())
  }

  opened(activation: number, mark: number, lost: boolean, routingVersion: string): void {
    const { routingTable, onRoutingTableVersion } = this.#context
    const isSameSocket = this.#state === 'open'
    const callsLost = lost || this.#areCallsLost
    if (activation !== this.#request.activation) this.#request.eventAck = 0
    this.#request.activation = activation
    if (this.#state === 'opening') this.#state = 'open'
    this.#areCallsLost = false
    this.#attempts = 0
    if (routingVersion !== routingTable().version) onRoutingTableVersion(routingVersion)
    this.#out.channelOpened(activation, mark, callsLost)
    // An object that hibernated has forgotten it.
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
    this.#request.eventAck = sequence
    this.#out.event(sequence, event, body)
  }

  applied(mark: number): void {
    this.#resendBuffer.removeThrough(mark)
    this.#out.callsApplied(mark)
  }

  membershipToken(token: Uint8Array): void {
    this.#request.membershipToken = token
    this.#out.membershipToken(token)
    this.#updatePingTimer()
  }

  bind(contract: string, key: string): void {
    this.#out.keyBound(contract, key)
  }

  resync(events: number): void {
    this.#request.eventAck = events
    this.#out.resyncRequired(events)
  }

  login(uid: string, epoch: number): void {
    this.#out.loggedIn(uid, epoch)
  }

  closed(code: string, reason: string): void {
    this.#close()
    this.#out.channelClosed(code, reason)
  }

  pong(): void {
    this.#isPongPending = false
  }

  /** Pings keep a shard that ticks for a member from being evicted, and detect broken sockets. */
  #updatePingTimer(): void {
    const { membershipToken, shard } = this.#request
    const contract = this.#context.routingTable().byName.get(shard.contract)
    if (membershipToken.length === 0 || !contract?.ticks) {
      this.#pingTimer?.cancel()
      this.#pingTimer = null
    } else if (this.#pingTimer === null && this.#socket !== null) {
      this.#isPongPending = false
      this.#schedulePing()
    }
  }

  #schedulePing(): void {
    this.#pingTimer = this.#context.clock.after(PING_INTERVAL_MS, () => {
      if (this.#isPongPending) return this.#reconnect(`no answer to a ping in ${PING_INTERVAL_MS} ms`)
      this.#isPongPending = true
      this.#batch.ping()
      this.#flush()
      this.#schedulePing()
    })
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    // Once per event.
    this.#context.clock.defer(() => this.#flush())
  }

  #flush(): void {
    this.#isFlushScheduled = false
    if (this.#socket === null || this.#batch.size === 0) return
    try {
      this.#socket.send(this.#batch.takeMessage())
    } catch (error) {
      this.#reconnect(String(error))
    }
  }
}
