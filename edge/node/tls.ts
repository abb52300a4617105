// The certificate of the Node listeners, from two PEM files that may be renewed while players are connected. What
// cannot be read, or does not fit together, never takes the place of what can.

import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions, type Server } from 'node:tls'

export interface TlsFiles {
  /** PEM: the certificate, then those between it and the root. */
  readonly certFile: string
  /** PEM: its private key, without a passphrase. */
  readonly keyFile: string
}

/** A certificate or key that cannot be used; the message names the file and the cause. */
export class TlsError extends Error {
  override readonly name = 'TlsError'
}

export class Certificate {
  readonly #files: TlsFiles
  readonly #servers: Server[] = []
  /** What a server of node:tls or node:https is made with. */
  readonly credentials: SecureContextOptions

  /** @throws TlsError */
  constructor(files: TlsFiles) {
    this.#files = files
    this.credentials = readCredentials(files)
  }

  /** From now on `reload` is for this server, too. */
  addServer(server: Server): void {
    this.#servers.push(server)
  }

  /** Reads the files again, for connections to come; those that stand stay. @throws TlsError, and nothing has changed */
  reload(): void {
    const credentials = readCredentials(this.#files)
    for (const server of this.#servers) server.setSecureContext(credentials)
  }
}

function readCredentials({ certFile, keyFile }: TlsFiles): SecureContextOptions {
  const credentials: SecureContextOptions = {
    cert: readPem('certificate', certFile),
    key: readPem('key', keyFile),
    minVersion: 'TLSv1.2',
  }
  try {
    createSecureContext(credentials)
  } catch (cause) {
    const why = (cause as Error).message
    throw new TlsError(`TLS certificate ${certFile} and key ${keyFile} cannot be used together: ${why}`, {
      cause,
    })
  }
  return credentials
}

function readPem(what: string, file: string): Buffer {
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch (cause) {
    throw new TlsError(`TLS ${what} ${file} cannot be read (${(cause as NodeJS.ErrnoException).code})`, {
      cause,
    })
  }
  // OpenSSL takes an empty key without a word and then fails every handshake.
  if (bytes.includes('-----BEGIN ')) return bytes
  throw new TlsError(`TLS ${what} ${file} is not PEM: it has no -----BEGIN line`)
}
