// Calls buffered by a link while it has no socket, and durable calls of a legacy client until they are answered. Invariant:
// in order, and bounded.

import { RETAIN } from '../../core/ports/link.ts'

interface BufferedCall {
  readonly sequence: number
  readonly command: number
  readonly flags: number
  readonly replyAck: number
  readonly body: Uint8Array
}

const MAX = { calls: 256, bytes: 1_048_576 } as const

export class ResendBuffer {
  #calls: BufferedCall[] = []
  #bytes = 0

  /** Oldest first. */
  get calls(): readonly BufferedCall[] {
    return this.#calls
  }

  /** Copies the body. Returns false when the buffer is full. */
  add(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): boolean {
    if (this.#calls.length >= MAX.calls) return false
    if (this.#calls.length > 0 && this.#bytes + body.length > MAX.bytes) return false
    this.#calls.push({ sequence, command, flags, replyAck, body: body.slice() })
    this.#bytes += body.length
    return true
  }

  /** Returns the last call that will not be sent again; all before `nextSequence` when the buffer is empty. */
  replyAck(nextSequence: number): number {
    return (this.#calls[0]?.sequence ?? nextSequence) - 1
  }

  /** Removes a call that is answered. */
  remove(sequence: number): void {
    const at = this.#calls.findIndex((call) => call.sequence === sequence)
    if (at < 0) return
    this.#bytes -= this.#calls[at]!.body.length
    this.#calls.splice(at, 1)
  }

  /** Removes the calls up to the mark: they have taken effect. */
  removeThrough(mark: number): void {
    while (this.#calls.length > 0 && this.#calls[0]!.sequence <= mark) this.remove(this.#calls[0]!.sequence)
  }

  /** Removes what needs no reply once it is sent. */
  removeNonDurable(): void {
    this.#calls = this.#calls.filter(({ flags }) => (flags & RETAIN) !== 0)
    this.#bytes = this.#calls.reduce((sum, { body }) => sum + body.length, 0)
  }

  clear(): void {
    this.#calls = []
    this.#bytes = 0
  }
}
