// Calls that a link keeps while it is down, or until a legacy client's durable call is answered: in order, bounded.

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

  get callCount(): number {
    return this.#calls.length
  }

  /** Oldest first. */
  get calls(): readonly BufferedCall[] {
    return this.#calls
  }

  /** False when it is full. The body is copied. */
  add(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): boolean {
    if (this.#calls.length >= MAX.calls) return false
    if (this.#calls.length > 0 && this.#bytes + body.length > MAX.bytes) return false
    this.#calls.push({ sequence, command, flags, replyAck, body: body.slice() })
    this.#bytes += body.length
    return true
  }

  /** Replies up to here have reached the client: nothing below it will be sent again. `next` is the call in hand. */
  replyAck(nextSequence: number): number {
    return (this.#calls[0]?.sequence ?? nextSequence) - 1
  }

  /** The call is answered. */
  remove(sequence: number): void {
    const at = this.#calls.findIndex((call) => call.sequence === sequence)
    if (at < 0) return
    this.#bytes -= this.#calls[at]!.body.length
    this.#calls.splice(at, 1)
  }

  /** Every call up to the mark has taken effect. */
  removeThrough(mark: number): void {
    while (this.#calls.length > 0 && this.#calls[0]!.sequence <= mark) this.remove(this.#calls[0]!.sequence)
  }

  /** All has been sent again: what needs no answer is done with. */
  removeNonDurable(): void {
    this.#calls = this.#calls.filter(({ flags }) => (flags & RETAIN) !== 0)
    this.#bytes = this.#calls.reduce((sum, { body }) => sum + body.length, 0)
  }

  clear(): void {
    this.#calls = []
    this.#bytes = 0
  }
}
