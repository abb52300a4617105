// Connections and requests that the Node listeners rejected before the gateway: counts by reason, as plain numbers.

export type RejectionReason =
  | 'accept' // the system could not accept a connection, usually because it has no free descriptors
  | 'crowd' // too many pending connections in total, or of one address
  | 'origin' // a WebSocket of a page whose origin is not in the list
  | 'request' // bytes on the HTTP port that are not a request, or a request with too many or too slow headers
  | 'tls' // not TLS, or no version and cipher in common
  | 'tls_timeout' // a TLS handshake that exceeded its deadline
  | 'upgrade' // an HTTP upgrade to another path or protocol, or one that RFC 6455 forbids
  | 'websocket' // a frame that RFC 6455 forbids, or a message above its limit

export class ListenerRejections {
  readonly counts = new Map<RejectionReason, number>()

  count(reason: RejectionReason): void {
    this.counts.set(reason, (this.counts.get(reason) ?? 0) + 1)
  }
}
