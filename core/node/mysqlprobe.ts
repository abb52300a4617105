// Who answers where MySQL should: it speaks first, so its first bytes tell it from a web server, an SSH server or noise.
// Invariant: what is not said to be a stranger may be MySQL, and what is said to be one is not.

import type { Socket } from 'node:net'
import { shorten } from '../wire/errors.ts'

/** Something answers there, and it is no MySQL: waiting does not cure it. */
export class NotMysqlError extends Error {
  override readonly name = 'StrangerError'
}

/** Length of 3 bytes, number 0, and the version of the protocol, or 255 for a refusal. */
const MYSQL_HEADER_BYTES = 5
const PROTOCOL_VERSIONS: readonly number[] = [9, 10, 255]
const ADVICE = 'look at host and port of the URL'
const MAX_QUOTED_BYTES = 40
/** A web server waits to be asked. */
const HTTP_REQUEST = 'GET / HTTP/1.0\r\n\r\n'
const HTTP_WAIT_MS = 250

/** Listens on a fresh socket until MySQL has greeted. */
export class MysqlProbe {
  readonly #socket: Socket
  readonly #onNotMysql: (error: NotMysqlError) => void
  #bytes: Buffer = Buffer.alloc(0)
  /** Something that may be MySQL has greeted. */
  isMysql = false

  constructor(socket: Socket, onNotMysql: (error: NotMysqlError) => void) {
    this.#socket = socket
    this.#onNotMysql = onNotMysql
    socket.on('data', this.#onData)
  }

  /** Why the other side has hung up. */
  get closedError(): Error {
    const why = 'the server closed the connection'
    return new Error(
      this.isMysql ? why : `${why} and said nothing, where MySQL would greet; if it is none, ${ADVICE}`,
    )
  }

  /** After a wait in vain; `said` is given why. */
  async reportTimeout(timeoutMessage: string, report: (error: Error) => void): Promise<void> {
    if (this.isMysql) return report(new Error(timeoutMessage))
    if (this.#socket.connecting)
      return report(new Error(`${timeoutMessage}: nothing answers at host and port`))
    this.#socket.write(HTTP_REQUEST)
    await new Promise((resolve) => setTimeout(resolve, HTTP_WAIT_MS))
    report(
      new Error(
        `${timeoutMessage}: nothing is said there, where MySQL would greet; if it is none, ${ADVICE}`,
      ),
    )
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    const bytes = this.#bytes
    const isNotMysql =
      (bytes.length > 2 && bytes[2] !== 0) ||
      (bytes.length > 3 && bytes[3] !== 0) ||
      (bytes.length > 4 && !PROTOCOL_VERSIONS.includes(bytes[4]!))
    if (!isNotMysql && bytes.length < MYSQL_HEADER_BYTES) return
    this.isMysql = !isNotMysql
    this.#socket.off('data', this.#onData)
    if (!isNotMysql) return
    const [line = ''] = bytes.subarray(0, MAX_QUOTED_BYTES).toString('latin1').split(/\r?\n/)
    const received = /^[ -~]+$/.test(line)
      ? shorten(line)
      : `the bytes ${bytes.subarray(0, 8).toString('hex')}`
    const error = `what answers there does not speak the MySQL protocol, it says ${received}: ${ADVICE}`
    this.#onNotMysql(new NotMysqlError(error))
  }
}
