// Checks the first bytes of a connection. A MySQL server sends a greeting first, so the bytes distinguish it from a web
// server, an SSH server or noise. Invariant: no MySQL server is reported as not MySQL; another server may pass.

import type { Socket } from 'node:net'
import { shorten } from '../wire/errors.ts'

/** The server is not MySQL; a retry does not cure it. */
export class NotMysqlError extends Error {
  override readonly name = 'NotMysqlError'
}

/** Length of 3 bytes, sequence 0, and the protocol version, or 255 for an error packet. */
const MYSQL_HEADER_BYTES = 5
const PROTOCOL_VERSIONS: readonly number[] = [9, 10, 255]
const ADVICE = 'check host and port of the URL'
const MAX_QUOTED_BYTES = 40
/** A web server sends nothing before a request. */
const HTTP_REQUEST = 'GET / HTTP/1.0\r\n\r\n'
const HTTP_WAIT_MS = 250

/** Reads a new socket until the MySQL greeting. */
export class MysqlProbe {
  readonly #socket: Socket
  readonly #onFailure: (error: Error) => void
  #bytes: Buffer = Buffer.alloc(0)
  /** The first bytes may be a MySQL greeting. */
  #isMysql = false

  /** `onFailure` receives a NotMysqlError, or the reason of a timeout. */
  constructor(socket: Socket, onFailure: (error: Error) => void) {
    this.#socket = socket
    this.#onFailure = onFailure
    socket.on('data', this.#onData)
  }

  /** The error for a connection that the server closed. */
  get closedError(): Error {
    const closed = 'the server closed the connection'
    return new Error(this.#isMysql ? closed : `${closed} without a MySQL greeting; if it is not MySQL, ${ADVICE}`)
  }

  /** Called after a timeout: reports the reason. */
  async reportTimeout(timeoutMessage: string): Promise<void> {
    if (this.#isMysql) return this.#onFailure(new Error(timeoutMessage))
    if (this.#socket.connecting)
      return this.#onFailure(new Error(`${timeoutMessage}: no server answers at host and port`))
    // The answer of a web server reaches #onData, which reports it.
    this.#socket.write(HTTP_REQUEST)
    await new Promise((resolve) => setTimeout(resolve, HTTP_WAIT_MS))
    this.#onFailure(new Error(`${timeoutMessage}: the server sent no MySQL greeting; if it is not MySQL, ${ADVICE}`))
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    const bytes = this.#bytes
    const isNotMysql =
      (bytes.length > 2 && bytes[2] !== 0) ||
      (bytes.length > 3 && bytes[3] !== 0) ||
      (bytes.length > 4 && !PROTOCOL_VERSIONS.includes(bytes[4]!))
    if (!isNotMysql && bytes.length < MYSQL_HEADER_BYTES) return
    this.#isMysql = !isNotMysql
    this.#socket.off('data', this.#onData)
    if (!isNotMysql) return
    const [line = ''] = bytes.subarray(0, MAX_QUOTED_BYTES).toString('latin1').split(/\r?\n/)
    const received = /^[ -~]+$/.test(line) ? shorten(line) : `the bytes ${bytes.subarray(0, 8).toString('hex')}`
    this.#onFailure(new NotMysqlError(`the server does not use the MySQL protocol, it sent ${received}: ${ADVICE}`))
  }
}
