// Who answers where MySQL should: it speaks first, so its first bytes tell it from a web server, an SSH server or noise.
// Invariant: what is not said to be a stranger may be MySQL, and what is said to be one is not.

import type { Socket } from 'node:net'
import { shorten } from '../wire/errors.ts'

/** Something answers there, and it is no MySQL: waiting does not cure it. */
export class StrangerError extends Error {
  override readonly name = 'StrangerError'
}

/** Length of 3 bytes, number 0, and the version of the protocol, or 255 for a refusal. */
const HEADER_BYTES = 5
const PROTOCOLS: readonly number[] = [9, 10, 255]
const ADVICE = 'look at host and port of the URL'
const MAX_SAID = 40
/** A web server waits to be asked. */
const QUESTION = 'GET / HTTP/1.0\r\n\r\n'
const PATIENCE_MS = 250

/** Listens on a fresh socket until MySQL has greeted. */
export class Greeting {
  readonly #socket: Socket
  readonly #onStranger: (error: StrangerError) => void
  #bytes: Buffer = Buffer.alloc(0)
  /** Something that may be MySQL has greeted. */
  done = false

  constructor(socket: Socket, onStranger: (error: StrangerError) => void) {
    this.#socket = socket
    this.#onStranger = onStranger
    socket.on('data', this.#onData)
  }

  /** Why the other side has hung up. */
  get ended(): Error {
    const why = 'the server closed the connection'
    return new Error(
      this.done ? why : `${why} and said nothing, where MySQL would greet; if it is none, ${ADVICE}`,
    )
  }

  /** After a wait in vain; `said` is given why. */
  async missed(late: string, said: (error: Error) => void): Promise<void> {
    if (this.done) return said(new Error(late))
    if (this.#socket.connecting) return said(new Error(`${late}: nothing answers at host and port`))
    this.#socket.write(QUESTION)
    await new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))
    said(new Error(`${late}: nothing is said there, where MySQL would greet; if it is none, ${ADVICE}`))
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    const bytes = this.#bytes
    const isStranger =
      (bytes.length > 2 && bytes[2] !== 0) ||
      (bytes.length > 3 && bytes[3] !== 0) ||
      (bytes.length > 4 && !PROTOCOLS.includes(bytes[4]!))
    if (!isStranger && bytes.length < HEADER_BYTES) return
    this.done = !isStranger
    this.#socket.off('data', this.#onData)
    if (!isStranger) return
    const [line = ''] = bytes.subarray(0, MAX_SAID).toString('latin1').split(/\r?\n/)
    const said = /^[ -~]+$/.test(line) ? shorten(line) : `the bytes ${bytes.subarray(0, 8).toString('hex')}`
    const error = `what answers there does not speak the MySQL protocol, it says ${said}: ${ADVICE}`
    this.#onStranger(new StrangerError(error))
  }
}
