// The certificate of the Node listeners, from two PEM files that can be reloaded while clients are connected. Invariant:
// invalid files never replace a valid certificate.

import { readFileSync } from 'node:fs'
import { thrownText } from '../../core/wire/errors.ts'
import { createSecureContext, type SecureContextOptions, type Server } from 'node:tls'

/** Certificate and key of the listeners. */
export interface TlsFiles {
  /** PEM: the certificate, then the intermediate certificates. */
  readonly certFile: string
  /** PEM: its private key, without a passphrase. */
  readonly keyFile: string
}

/** An invalid certificate or key; the message contains the file and the cause. */
export class TlsError extends Error {
  override readonly name = 'TlsError'
}

export class Certificate {
  readonly #files: TlsFiles
  readonly #servers: Server[] = []
  /** Options for a server of node:tls or node:https. */
  readonly credentials: SecureContextOptions

  /** @throws TlsError */
  constructor(files: TlsFiles) {
    this.#files = files
    this.credentials = readCredentials(files)
  }

  /** Adds a server that `reload` updates. */
  addServer(server: Server): void {
    this.#servers.push(server)
  }

  /** Reads the files again for new connections. @throws TlsError, and the old certificate stays in use */
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
    const { message } = cause as Error
    throw new TlsError(`TLS certificate ${certFile} and key ${keyFile} cannot be used together: ${message}`, { cause })
  }
  return credentials
}

/** The code of the system's error, such as ENOENT; for any other error its text. */
export function systemErrorText(error: unknown): string {
  return (error as Partial<NodeJS.ErrnoException> | null)?.code ?? thrownText(error)
}

function readPem(what: string, file: string): Buffer {
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch (cause) {
    throw new TlsError(`TLS ${what} ${file} cannot be read (${systemErrorText(cause)})`, { cause })
  }
  // OpenSSL accepts an empty key and then fails every handshake.
  if (bytes.includes('-----BEGIN ')) return bytes
  throw new TlsError(`TLS ${what} ${file} is not PEM: it has no -----BEGIN line`)
}
