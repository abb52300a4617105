// Row caches that share one bound: those of the objects in a Worker isolate. When they exceed it, the largest cache evicts its
// rows first. Invariant: only pinned rows exceed the bound. A cache whose engine the platform has discarded is counted
// until the next eviction.

/** A row cache, as its pool uses it. */
export interface PooledCache {
  readonly bytes: number
  /** Evicts rows of at least so many bytes, as far as they are not pinned. */
  evict(bytes: number): void
}

/** Evicting some more at once makes the search for the largest cache rare. */
const EVICT_TO = 7 / 8
/** With pinned rows above the bound, the caches are searched again after so many more bytes. */
const RETRY_BYTES = 16_384

export class RowPool {
  readonly maxBytes: number
  #caches: WeakRef<PooledCache>[] = []
  #bytes = 0
  #evictAboveBytes: number

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
    this.#evictAboveBytes = maxBytes
  }

  add(cache: PooledCache): void {
    this.#caches.push(new WeakRef(cache))
  }

  /** A cache grew by so many bytes, or shrank. */
  addBytes(bytes: number): void {
    this.#bytes += bytes
  }

  /** Evicts rows above the bound. `isUnpinned`: there is a new one that can be evicted. */
  shrink(isUnpinned: boolean): void {
    if (this.#bytes > (isUnpinned ? this.maxBytes : this.#evictAboveBytes)) this.#evict()
  }

  #evict(): void {
    const caches = this.#caches.map((ref) => ref.deref()).filter((cache) => cache !== undefined)
    this.#caches = caches.map((cache) => new WeakRef(cache))
    this.#bytes = caches.reduce((sum, { bytes }) => sum + bytes, 0)
    const targetBytes = EVICT_TO * this.maxBytes
    if (this.#bytes > this.maxBytes) {
      caches.sort((a, b) => b.bytes - a.bytes)
      for (const cache of caches) if (this.#bytes > targetBytes) cache.evict(this.#bytes - targetBytes)
    }
    this.#evictAboveBytes = this.#bytes > this.maxBytes ? this.#bytes + RETRY_BYTES : this.maxBytes
  }
}
