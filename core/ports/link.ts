import { EMPTY_BYTES } from '../wire/bytes.ts'
import type { ErrorKind } from '../wire/message.ts'
import type { ShardId } from '../wire/shardid.ts'

/** The gateway's side of a channel: what a shard tells it. */
export interface ChannelOut {
  /** The channel stands (again). `lost`: calls above the mark that were sent before are gone. */
  channelOpened(activation: number, mark: number, callsLost: boolean): void
  reply(sequence: number, command: number, body: Uint8Array): void
  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void
  /** `body` is the same object for all receivers of a broadcast. */
  event(sequence: number, event: number, body: Uint8Array): void
  /** Every call up to `mark` has taken effect; said where no reply says it. */
  callsApplied(mark: number): void
  /** What the shard must be told when the gateway opens this channel again: the membership. */
  membershipToken(token: Uint8Array): void
  /** From now on this session means `key` when it speaks to that contract. */
  keyBound(contract: string, key: string): void
  /** This session is that of `uid` from now on, since its `epoch`-th login. */
  loggedIn(uid: string, epoch: number): void
  /** Events up to this number do not come (any more): fresh state follows, if the game sends it. */
  resyncRequired(events: number): void
  /** The shard ends the channel. */
  channelClosed(code: string): void
}

/** The shard's side of a channel: what a gateway tells it. */
export interface ChannelIn {
  /** `body` is only borrowed for the call's turn. */
  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void
  ack(calls: number, events: number): void
  /** The client reads too slowly: events are kept here, or (false) flow again. */
  pauseEvents(isPaused: boolean): void
  /** The session has logged in. */
  identify(uid: string, epoch: number): void
  /** The connection is gone, or (`forget`) the client will not come back to this channel. */
  closeChannel(forget: boolean): void
}
/** Call flag: the reply is kept until it is acknowledged, because the caller can send the call again. */
export const RETAIN = 1

export interface OpenRequest {
  readonly shard: ShardId
  /** 16 bytes. */
  readonly session: Uint8Array
  /** Unique in the session. */
  readonly channel: number
  /** A legacy client: refusals are answered by the contract's legacy body. */
  readonly legacy: boolean
  /** The activation the client last knew, 0 = none. */
  readonly activation: number
  /** From an earlier `memo`, empty = none. */
  readonly membershipToken: Uint8Array
  /** The last event of `activation` that the client has. */
  readonly eventAck: number
  /** Who has logged in, '' = nobody; and with which login of that uid. */
  readonly uid: string
  readonly epoch: number
  /** Rises with each connection of a session: what a link of an older one brings late takes nothing over. */
  readonly generation: number
  /** It was admitted before, and comes back from sleep. */
  readonly admitted?: boolean
}

/** A channel that is opened for the first time, of a session that nobody has logged in. */
export const NEW_CHANNEL_DEFAULTS = {
  legacy: false,
  activation: 0,
  membershipToken: EMPTY_BYTES,
  eventAck: 0,
  uid: '',
  epoch: 0,
  generation: 0,
} as const satisfies Partial<OpenRequest>

/** Why a channel is closed: its session came on another connection, where it goes on; or its uid logged in elsewhere. */
export const REPLACED = 'REPLACED'
export const SUPERSEDED = 'SUPERSEDED'
/** Stands before the reason of a kick. */
export const KICKED_PREFIX = 'KICKED '

/** A channel that is not to be: its gateway hears why, and what it still says is for nobody. */
export function refuseChannel(out: ChannelOut, code: string): ChannelIn {
  out.channelClosed(code)
  return CLOSED_CHANNEL
}

const ignore = (): void => {}
/** A channel that leads nowhere. */
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
