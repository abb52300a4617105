// Channels on the gateway's side: the calls that were sent and are pending. Sequence numbers, marks, replies and events of
// a version 2 channel are made by the client and the shard. Invariant: settled calls <= sent calls.

import {
  CLOSED_CHANNEL,
  REPLACED,
  SUPERSEDED,
  type ChannelIn,
  type ChannelOut,
  type OpenRequest,
  type ShardLink,
} from '../../core/ports/link.ts'
import type { Log } from '../../core/ports/log.ts'
import { encodeAck, encodeClose, encodeOpened, encodeResync, MESSAGE, type ErrorKind } from '../../core/wire/message.ts'
import { shardName } from '../../core/wire/shardid.ts'
import type { GatewayContext } from './context.ts'
import { LOGGED_IN_ELSEWHERE, RESUMED_ELSEWHERE, type SessionConnection } from './gatewaysession.ts'
import type { SessionIdentity } from './identity.ts'

type CallContext = Pick<GatewayContext, 'clock' | 'meter'>
type CallCounter = Pick<SessionConnection, 'addPendingCalls'>

/** What the channels of both kinds of session share. */
export abstract class GatewayChannel {
  readonly #context: CallContext
  readonly #calls: CallCounter
  /** Set when `link.open` returns; the link may use this channel before that. */
  #shard: ChannelIn = CLOSED_CHANNEL
  #lastSent = 0
  #lastSettled = 0
  /** The call that is being timed; 0 = none. */
  #sampledSequence = 0
  #sampledMs = 0

  constructor(context: CallContext, calls: CallCounter) {
    this.#context = context
    this.#calls = calls
  }

  get shard(): ChannelIn {
    return this.#shard
  }

  get lastSent(): number {
    return this.#lastSent
  }

  get lastSettled(): number {
    return this.#lastSettled
  }

  get isSettled(): boolean {
    return this.#lastSettled >= this.#lastSent
  }

  openShard(this: GatewayChannel & ChannelOut, link: ShardLink, request: OpenRequest): void {
    this.#shard = link.open(request, this)
  }

  /** Records a call, before it is sent; it may be one that is sent again. */
  protected recordCall(sequence: number): void {
    const { meter, clock } = this.#context
    if (sequence > this.#lastSent) {
      // The first call of a resumed channel: earlier ones are not pending on this connection.
      if (this.#lastSent === 0) this.#lastSettled = sequence - 1
      this.#calls.addPendingCalls(sequence - Math.max(this.#lastSent, this.#lastSettled))
      this.#lastSent = sequence
    }
    if (meter.shouldSample()) {
      this.#sampledSequence = sequence
      this.#sampledMs = clock.mono()
    }
  }

  /** Settles the calls up to this one: they are answered, or known to have taken effect. */
  settle(sequence: number): void {
    const { meter, clock } = this.#context
    if (this.#sampledSequence !== 0 && sequence >= this.#sampledSequence) {
      meter.recordLatency('call', clock.mono() - this.#sampledMs)
      this.#sampledSequence = 0
    }
    const settled = Math.min(sequence, this.#lastSent) - this.#lastSettled
    if (settled <= 0) return
    this.#lastSettled += settled
    this.#calls.addPendingCalls(-settled)
  }

  /** Settles all calls: they are answered or dropped. */
  settleAll(): void {
    this.settle(this.#lastSent)
  }
}

export interface ChannelOwner {
  readonly identity: Pick<SessionIdentity, 'bindKey' | 'applyLogin'> | null
  sendError(channel: number, sequence: number, kind: ErrorKind, code: string, message: string): void
  /** A REPLY was written. */
  replySent(channel: number, sequence: number): void
  /** The channel no longer exists. */
  removeChannel(number: number): void
}

export class SessionChannel extends GatewayChannel implements ChannelOut {
  readonly #owner: ChannelOwner
  readonly #connection: SessionConnection
  readonly #log: Log
  readonly #number: number
  readonly #shardName: string
  /** The last call that an ACK must report, because it may get no other answer; 0 = none. */
  #ackDueCall = 0
  /** Of the last OPENED. */
  #openedMark = 0
  /** Calls of an older opening were sent before the client received `lost`. */
  #minOpening = 0
  #areEventsPaused = false
  #openedCount = 0

  constructor(
    owner: ChannelOwner,
    connection: SessionConnection,
    context: CallContext & Pick<GatewayContext, 'log'>,
    { channel, shard }: OpenRequest,
  ) {
    super(context, connection)
    this.#owner = owner
    this.#connection = connection
    this.#log = context.log
    this.#number = channel
    this.#shardName = shardName(shard)
  }

  /** True for a call that was sent before the client received `lost`: the client sends it again, in order. */
  isStale(opening: number): boolean {
    return opening < this.#minOpening
  }

  /** `flags`: those of `submitCall`. */
  sendCall(
    sequence: number,
    command: number,
    flags: number,
    isDurable: boolean,
    replyAck: number,
    body: Uint8Array,
  ): void {
    // A call at or below an earlier one, or below the mark, may not run: then nothing else answers it.
    const isRepeated = sequence <= this.lastSent || sequence <= this.#openedMark
    if (isDurable || isRepeated) this.#ackDueCall = Math.max(this.#ackDueCall, sequence)
    this.recordCall(sequence)
    this.shard.submitCall(sequence, command, flags, replyAck, body)
  }

  pauseEvents(isPaused: boolean): void {
    if (isPaused === this.#areEventsPaused) return
    this.#areEventsPaused = isPaused
    this.shard.pauseEvents(isPaused)
  }

  channelOpened(activation: number, mark: number, lost: boolean): void {
    const channel = this.#number
    const opening = ++this.#openedCount
    this.#openedMark = mark
    this.#connection.writer.writeFrame(MESSAGE.OPENED, encodeOpened({ channel, activation, mark, lost, opening }))
    if (!lost) return
    this.#minOpening = opening
    this.settleAll()
  }

  reply(sequence: number, _command: number, body: Uint8Array): void {
    const { writer } = this.#connection
    writer.writeMessage(MESSAGE.REPLY, this.#number, sequence, null, this.#connection.encryptBody(body))
    this.#owner.replySent(this.#number, sequence)
    this.settle(sequence)
  }

  error(sequence: number, _command: number, kind: ErrorKind, code: string, message: string): void {
    this.#owner.sendError(this.#number, sequence, kind, code, message)
    this.settle(sequence)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    const { writer } = this.#connection
    writer.writeMessage(MESSAGE.EVENT, this.#number, sequence, event, this.#connection.encryptBody(body))
  }

  resyncRequired(events: number): void {
    this.#connection.writer.writeFrame(MESSAGE.RESYNC, encodeResync({ channel: this.#number, events }))
  }

  callsApplied(mark: number): void {
    if (this.#ackDueCall !== 0) {
      this.#connection.writer.writeFrame(MESSAGE.ACK, encodeAck({ channel: this.#number, calls: mark, events: 0 }))
      if (mark >= this.#ackDueCall) this.#ackDueCall = 0
    }
    this.settle(mark)
  }

  membershipToken(): void {}

  keyBound(contract: string, key: string): void {
    this.#owner.identity?.bindKey(contract, key)
  }

  loggedIn(uid: string, epoch: number): void {
    this.#owner.identity?.applyLogin(uid, epoch)
  }

  channelClosed(code: string): void {
    const connection = this.#connection
    this.#owner.removeChannel(this.#number)
    this.settleAll()
    if (code === REPLACED) return connection.closeConnection('REPLACED', RESUMED_ELSEWHERE)
    if (code === SUPERSEDED) return connection.closeConnection('REPLACED', LOGGED_IN_ELSEWHERE, true)
    if (code === 'FORBIDDEN')
      this.#owner.sendError(this.#number, 0, 'system', code, `${this.#shardName} does not admit this session`)
    else connection.writer.writeFrame(MESSAGE.CLOSE, encodeClose({ channel: this.#number, code }))
    this.#log.info('a shard closed a channel', { shard: this.#shardName, code })
  }
}
