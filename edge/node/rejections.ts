// What the Node listeners turned away before the gateway saw it: counts by reason, as plain numbers.

/** Why. */
export type RejectionReason =
  | 'accept' // the system could not accept a connection, for want of descriptors as a rule
  | 'crowd' // too many connections in all, or of one address, that had not come as far as the gateway
  | 'origin' // a WebSocket of a page that is not in the list of origins
  | 'request' // bytes on the HTTP port that are no request, or one of too many or too slow headers
  | 'tls' // no TLS, or none that both sides can speak
  | 'tls_timeout' // a TLS handshake that did not end in time
  | 'upgrade' // an HTTP upgrade of another path, to something else than a WebSocket, or one that RFC 6455 forbids
  | 'websocket' // a frame that RFC 6455 forbids, or a message above its bound

export class ListenerRejections {
  readonly counts = new Map<RejectionReason, number>()

  count(reason: RejectionReason): void {
    this.counts.set(reason, (this.counts.get(reason) ?? 0) + 1)
  }
}
