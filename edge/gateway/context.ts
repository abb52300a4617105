// What a gateway shares with its connections, and one client socket as a gateway uses it. Each host implements Transport
// for its kinds of sockets.

import type { RoutingTable } from '../../core/game/routing.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { ShardLink } from '../../core/ports/link.ts'
import type { Log } from '../../core/ports/log.ts'
import type { CipherFactory } from '../../core/wire/cipher.ts'
import type { Limits } from '../../core/wire/limits.ts'
import type { GatewayMeter } from './meter.ts'
import type { OverloadDetector } from './overload.ts'
import type { TicketVerifier } from './ticket.ts'
import type { TokenSigner } from './token.ts'
import type { UnreadBudget } from './unreadbudget.ts'
import type { Slab } from './writebuffer.ts'

/** Time limits in milliseconds. Default: TIMES. */
export type GatewayTimes = Record<
  | 'overloadMs'
  | 'retryAfterMs'
  | 'idleMs'
  | 'heartbeatMs'
  | 'firstFrameMs'
  | 'frameMs'
  | 'unreadMs'
  | 'stallMs'
  | 'loginMs'
  | 'floodMs',
  number
>

/** Each part of a gateway picks what it needs. */
export interface GatewayContext {
  readonly clock: Clock
  readonly log: Log
  readonly limits: Limits
  readonly times: GatewayTimes
  readonly meter: Readonly<GatewayMeter>
  readonly overload: OverloadDetector
  readonly link: ShardLink
  /** Replaced when the core publishes another version. */
  readonly routingTable: RoutingTable
  /** Signs resume tokens; the same for all gateways of a game. */
  readonly tokenSigner: TokenSigner
  /** Verifies login tickets; null = only the game's `auth` does. */
  readonly ticketVerifier: Pick<TicketVerifier, 'verify'> | null
  /** For games whose clients encrypt bodies themselves. */
  readonly cipher: CipherFactory | null
  readonly frameIdentityBytes: Uint8Array
  /** Memory of outbound bytes, shared by all gateways of a process. */
  readonly slab: Slab
  /** Unread bytes of all connections, shared by all gateways of a process. */
  readonly unreadBudget: UnreadBudget
}

/** Largest WebSocket message: it may contain several frames, whose own limit the decoder checks. */
export function maxReceivedBytes({ maxBodyBytes }: Pick<Limits, 'maxBodyBytes'>): number {
  return maxBodyBytes + 65_536
}

export interface Transport {
  readonly kind: 'tcp' | 'ws'
  /** The peer, for logs. */
  readonly remote: string
  /** The peer's IP address alone; '' = unknown. */
  readonly address: string
  /** Written bytes that the peer has not taken yet; a message counts until it is sent completely. */
  readonly bufferedBytes: number
  /** Changes whenever a part of a message is sent, where the platform shows it. */
  readonly sendProgress?: number
  /** Takes ownership of the bytes; never throws. */
  write(bytes: Uint8Array): void
  /** Sends the written bytes, then closes. `reason`: at most 120 ASCII characters. */
  close(code: number, reason: string): void
  /** Closes at once; unsent bytes are dropped. */
  abort(code: number, reason: string): void
  /** Stop and restart reading, where the platform can. */
  pause?(): void
  resume?(): void
}
