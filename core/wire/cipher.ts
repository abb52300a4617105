// Bodies that a game's clients encrypt themselves: the gateway opens what comes and seals what goes, per connection; the
// frame around them stays readable. Where TLS can be had it is the better choice.

/** One connection's keys. Both return, at once, bytes of their own; the given ones are only borrowed. */
export interface Cipher {
  /** The plain body of a command. A throw is the peer's fault: BAD_MESSAGE. */
  open(body: Uint8Array): Uint8Array
  /**
   * The body of a reply or event as it travels. A throw ends this connection at once (UNAVAILABLE) and nothing else:
   * the command has run all the same, and the session may come back.
   */
  seal(body: Uint8Array): Uint8Array
}

/** Asked once for each connection; where it throws, the connection is refused (UNAVAILABLE). */
export type CipherFactory = (peer: { readonly remote: string; readonly kind: 'tcp' | 'ws' }) => Cipher
