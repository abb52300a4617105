// Bodies that a game's clients encrypt themselves: the gateway decrypts and encrypts them per connection; frame headers stay
// readable. Prefer TLS where it is available.

/** The cipher of one connection. Both methods are synchronous and return new bytes; the argument is only borrowed. */
export interface Cipher {
  /** Decrypts the body of a command. A throw closes the connection with BAD_MESSAGE. */
  open(body: Uint8Array): Uint8Array
  /**
   * Encrypts the body of a reply or event. A throw closes only this connection (UNAVAILABLE): the command has run, and the
   * session can resume.
   */
  seal(body: Uint8Array): Uint8Array
}

/** Called once per connection; a throw rejects the connection (UNAVAILABLE). */
export type CipherFactory = (peer: { readonly remote: string; readonly kind: 'tcp' | 'ws' }) => Cipher
