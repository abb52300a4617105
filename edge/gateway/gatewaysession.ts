// A connection and its session, each as the other one uses it.

import type { CloseReason } from '../../core/wire/errors.ts'
import type { OutboundWriter } from './outboundwriter.ts'
import type { FrameReader } from './reader.ts'

/** A version 2 or a legacy session as its connection uses it. */
export interface GatewaySession {
  readonly kind: 'legacy' | 'session'
  /** 32 hex digits of a session that the client can resume; '' = a legacy session, or WELCOME was not sent yet. */
  readonly resumableId: string
  /** Of the last resume token that was written; 0 = none. */
  readonly tokenGeneration: number
  /** @throws ProtocolError */
  handleFrame(command: number, source: Uint8Array, start: number, end: number): void
  /** Pauses events at their shards while the client reads too slowly. */
  pauseEvents(isPaused: boolean): void
  /** `isFinal`: the client does not resume the session. */
  onConnectionClosed(isFinal: boolean): void
}

export interface SessionConnection {
  /** IP address of the client; '' = unknown. */
  readonly remote: string
  readonly isClosed: boolean
  readonly reader: FrameReader
  readonly writer: OutboundWriter
  /** Records that `count` calls were sent to a shard (negative: are settled). */
  addPendingCalls(count: number): void
  /** Records a rejected message of a legacy client; too many close the connection. */
  addStrike(message: string): void
  /** Returns the plain body of a command. @throws ProtocolError BAD_MESSAGE when the cipher rejects it */
  decryptBody(body: Uint8Array): Uint8Array
  /** Returns the body of a reply or an event as it is sent. */
  encryptBody(body: Uint8Array): Uint8Array
  sendLegacyEvent(event: number, body: Uint8Array): void
  /** Takes the reply to a PING; returns the generation of the token before that PING, 0 = it is not such a reply. */
  handlePong(source: Uint8Array, start: number, end: number): number
  /** Records the first complete message ('') or the login of a uid. */
  updateAuthentication(uid: string): void
  /** Closes once the pending calls are answered. `isFinal`: the session ends with the connection. */
  closeConnection(reason: CloseReason, message: string, isFinal?: boolean): void
  /** Logs a bug and closes. */
  onInternalError(error: unknown): void
}

/** Cost of opening a channel: it may activate a shard. */
export const OPEN_COST = 20

/** Messages of the close reason REPLACED. */
export const RESUMED_ELSEWHERE = 'the session was resumed on a newer connection'
export const LOGGED_IN_ELSEWHERE = 'this player has logged in elsewhere'
