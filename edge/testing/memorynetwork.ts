// Connections in memory between clients and a gateway. Invariant: as on a wire, bytes arrive in a later step of the clock,
// in order, and a connection reports its end once.

import type { Clock } from '../../core/ports/clock.ts'
import type { Connection } from '../gateway/connection.ts'
import type { Gateway } from '../gateway/gateway.ts'

/** The address of all clients. */
export const CLIENT_ADDRESS = '127.0.0.1'

/** What the client receives. */
export interface ClientEnd {
  arrived(bytes: Uint8Array): void
  closed(reason: string): void
}

/** The client's end of a connection. */
export interface MemoryConnection {
  send(bytes: Uint8Array): void
  /** false = what the gateway writes is unread from now on. */
  setReading(isReading: boolean): void
  /** After what was sent before. `leave` = the session ends. */
  close(leave?: boolean): void
  /** The connection breaks at once, without a message. */
  cut(reason: string): void
}

/** `clock`: of the client. */
export function connectInMemory(
  gateway: Gateway,
  clock: Pick<Clock, 'defer'>,
  kind: 'tcp' | 'ws',
  client: ClientEnd,
): MemoryConnection {
  let hasClosed = false
  /** Written while the client does not read; null = it reads. */
  let unread: Uint8Array[] | null = null
  const deliver = (bytes: Uint8Array): void => clock.defer(() => client.arrived(bytes))
  const closeOnce = (reason: string): void => {
    if (hasClosed) return
    hasClosed = true
    clock.defer(() => client.closed(reason))
  }
  const connection: Connection | null = gateway.accept({
    kind,
    remote: `${CLIENT_ADDRESS}:1`,
    address: CLIENT_ADDRESS,
    get bufferedBytes() {
      return unread?.reduce((sum, { length }) => sum + length, 0) ?? 0
    },
    write: (bytes) => void (unread?.push(bytes.slice()) ?? deliver(bytes.slice())),
    close: (_code, reason) => closeOnce(reason),
    abort: (_code, reason) => closeOnce(reason),
  })
  const closeTransport = (reason: string, leave: boolean): void => {
    connection?.onTransportClosed(leave)
    closeOnce(reason)
  }
  return {
    send: (bytes) => clock.defer(() => connection?.receive(bytes)),
    setReading: (isReading) => {
      if (isReading) for (const bytes of unread ?? []) deliver(bytes)
      unread = isReading ? null : (unread ?? [])
    },
    close: (leave = false) => clock.defer(() => closeTransport('closed by the client', leave)),
    cut: (reason) => closeTransport(reason, false),
  }
}
