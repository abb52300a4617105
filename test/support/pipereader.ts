// The reading end of a FIFO: a pipe that a test reads, stops reading, closes and opens again.

import { execFileSync } from 'node:child_process'
import { constants, openSync } from 'node:fs'
import { Socket } from 'node:net'

/** What writes to its path has a pipe like any other. */
export class PipeReader implements Disposable {
  readonly path: string
  text = ''
  #socket: Socket | null = null

  constructor(path: string) {
    this.path = path
    execFileSync('mkfifo', [path])
    this.open()
  }

  open(): void {
    const socket = new Socket({ fd: openSync(this.path, constants.O_RDONLY | constants.O_NONBLOCK) })
    socket.on('data', (chunk: Buffer) => (this.text += chunk.toString()))
    this.#socket = socket
  }

  stopReading(): void {
    this.#socket!.pause()
  }

  resumeReading(): void {
    this.#socket!.resume()
  }

  /** The writer gets EPIPE until `open`. */
  close(): void {
    this.#socket!.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
