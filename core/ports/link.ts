// The link port: both sides of a channel between a gateway and a shard, and how a channel is opened and closed.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import type { ErrorKind } from '../wire/message.ts'
import type { OpenRecord } from '../wire/record.ts'
import type { ShardId } from '../wire/shardid.ts'

/** The gateway's side of a channel: what the shard sends. */
export interface ChannelOut {
  /** The channel is introduced to an activation. `callsLost`: calls above the mark that were sent before are lost. */
  channelOpened(activation: number, mark: number, callsLost: boolean): void
  reply(sequence: number, command: number, body: Uint8Array): void
  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void
  /** `body` is the same object for all receivers of a broadcast. */
  event(sequence: number, event: number, body: Uint8Array): void
  /** Every call up to `mark` has taken effect; sent where no reply reports it. */
  callsApplied(mark: number): void
  /** The membership, which the gateway presents when it opens this channel again. */
  membershipToken(token: Uint8Array): void
  /** From now on `key` is the key of this session for that contract. */
  keyBound(contract: string, key: string): void
  /** The session has logged in as `uid`: the `epoch`-th login of that uid. */
  loggedIn(uid: string, epoch: number): void
  /** Events up to this number are lost: fresh state follows, if the game sends it. */
  resyncRequired(events: number): void
  /** The shard closes the channel. `reason`: the game's reason, when the code is KICKED. */
  channelClosed(code: string, reason?: string): void
}

/** The shard's side of a channel: what the gateway sends. */
export interface ChannelIn {
  /** `body` is borrowed until the turn of the call ends. */
  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void
  ack(calls: number, events: number): void
  /** true = the client reads too slowly: retain events until false follows. */
  pauseEvents(isPaused: boolean): void
  /** The session has logged in. */
  identify(uid: string, epoch: number): void
  /** The connection is closed. `isFinal`: the client does not resume this channel. */
  closeChannel(isFinal: boolean): void
}
/** Call flag: the reply is retained until it is acknowledged, because the caller can send the call again. */
export const RETAIN = 1

/** Call flag: the gateway is overloaded, so the call is refused. The shard does it, to store the refusal like an answer. */
export const REFUSE = 2

export interface OpenRequest extends OpenRecord {
  readonly shard: ShardId
  /** The game has admitted the session before this object hibernated. */
  readonly admitted?: boolean
}

/** A channel that is opened for the first time, of a session without login. */
export const NEW_CHANNEL_DEFAULTS = {
  legacy: false,
  activation: 0,
  membershipToken: EMPTY_BYTES,
  eventAck: 0,
  uid: '',
  epoch: 0,
  generation: 0,
  remote: '',
} as const satisfies Partial<OpenRequest>

/** Close code: the session continues on a newer connection. */
export const REPLACED = 'REPLACED'
/** Close code: the uid has logged in with another session. */
export const SUPERSEDED = 'SUPERSEDED'
/** Close code: the game has ended the session, with a reason. */
export const KICKED = 'KICKED'

/** Refuses to open a channel. The gateway gets the code, and what it still sends is ignored. */
export function refuseChannel(out: ChannelOut, code: string): ChannelIn {
  out.channelClosed(code)
  return CLOSED_CHANNEL
}

const ignore = (): void => {}
/** A channel that ignores everything. */
export const CLOSED_CHANNEL: ChannelIn = {
  submitCall: ignore,
  ack: ignore,
  pauseEvents: ignore,
  identify: ignore,
  closeChannel: ignore,
}

/** The path from a gateway to the shards. */
export interface ShardLink {
  open(request: OpenRequest, out: ChannelOut): ChannelIn
}
