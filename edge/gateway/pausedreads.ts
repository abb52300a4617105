// Bytes that came while a connection is not read: in order, bounded, for the platforms that cannot stop a socket.

const MAX_BYTES = 262_144

export class PausedReads {
  /** null = nothing waits, as is the rule. */
  #chunks: Uint8Array[] | null = null
  bytes = 0

  /** False when it holds too much now. */
  push(chunk: Uint8Array): boolean {
    this.#chunks ??= []
    this.#chunks.push(chunk)
    this.bytes += chunk.length
    return this.bytes <= MAX_BYTES
  }

  shift(): Uint8Array | undefined {
    const chunk = this.#chunks?.shift()
    this.bytes -= chunk?.length ?? 0
    if (this.#chunks?.length === 0) this.#chunks = null
    return chunk
  }

  /** What waits, taken out while the chunk before it is worked on. */
  takeAll(): Uint8Array[] | null {
    const chunks = this.#chunks
    this.clear()
    return chunks
  }

  /** Behind what was kept of the chunk in hand. */
  putBack(chunks: readonly Uint8Array[] | null): void {
    for (const chunk of chunks ?? []) this.push(chunk)
  }

  clear(): void {
    this.#chunks = null
    this.bytes = 0
  }
}
