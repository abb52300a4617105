// Limits open connections: in total, per address, and unauthenticated ones (before their first complete frame, or before
// the login where the game requires one). An address also counts for the seats that its closed connections may resume.
// Invariant: each admitted connection is released exactly once, and an address without any takes no memory.

import type { Limits } from '../../core/wire/limits.ts'
import { addressKey, LOOPBACK, UNKNOWN } from './address.ts'

type ConnectionLimits = Pick<Limits, 'maxConnections' | 'maxPerAddress' | 'maxPerLoopback' | 'maxUnproven'>

export type ConnectionBound = 'total' | 'address' | 'unproven'

/** The connection must be closed with OVERLOADED. It is not counted and must not be released. */
export interface ConnectionRejection {
  readonly reason: ConnectionBound
  /** Count and bound; safe to send to the peer, as it contains no address. */
  readonly message: string
}

/** A connection that is counted. Methods may be called in any order and more than once. */
export interface ConnectionPermit {
  readonly reason: null
  /**
   * Called after the first complete frame. A connection admitted on the place of a reserved seat must be the one that
   * resumes it (`isResuming`). Returns null when the connection is accepted.
   */
  confirmFirstFrame(isResuming: boolean): ConnectionRejection | null
  /** Called after the first complete frame, or after the login where the game requires one. */
  markAuthenticated(): void
  /** The connection closed, but its session may be resumed: it counts for its address only. */
  reserveForResume(): void
  release(): void
}

export class ConnectionLimiter {
  readonly #limits: ConnectionLimits
  readonly #counts: ConnectionCounts = {
    open: 0,
    unauthenticated: 0,
    addresses: new Map(),
    rejections: { total: 0, address: 0, unproven: 0 },
  }

  constructor(limits: ConnectionLimits) {
    this.#limits = limits
  }

  /** Open connections, unauthenticated ones among them, and the rejections since the start. */
  get counts(): Readonly<Pick<ConnectionCounts, 'open' | 'unauthenticated' | 'rejections'>> {
    return this.#counts
  }

  /** Distinct addresses with a connection or a reservation. */
  get addressCount(): number {
    return this.#counts.addresses.size
  }

  /** Counts a new connection of a peer address, or rejects it. */
  admit(address: string): ConnectionPermit | ConnectionRejection {
    const { maxConnections, maxPerAddress, maxPerLoopback, maxUnproven } = this.#limits
    const counts = this.#counts
    if (counts.open >= maxConnections) return reject(counts, 'total', 'connections', counts.open, maxConnections)
    const key = addressKey(address)
    const max = key === LOOPBACK || key === UNKNOWN ? maxPerLoopback : maxPerAddress
    const known = counts.addresses.get(key)
    const count = known?.connections ?? 0
    if (count >= max) return reject(counts, 'address', 'connections of this address', count, max)
    if (counts.unauthenticated >= maxUnproven)
      return reject(counts, 'unproven', 'unauthenticated connections', counts.unauthenticated, maxUnproven)
    const addressUse = known ?? { key, max, connections: 0, reservations: 0 }
    if (known === undefined) counts.addresses.set(key, addressUse)
    addressUse.connections++
    counts.open++
    counts.unauthenticated++
    return new CountedPermit(counts, addressUse)
  }
}

/** Shared by a limiter and its permits. */
interface ConnectionCounts {
  open: number
  unauthenticated: number
  readonly addresses: Map<string, AddressUse>
  readonly rejections: Record<ConnectionBound, number>
}

interface AddressUse {
  readonly key: string
  readonly max: number
  /** Open connections. */
  connections: number
  /** Closed connections whose sessions may be resumed. */
  reservations: number
}

class CountedPermit implements ConnectionPermit {
  readonly reason = null
  readonly #counts: ConnectionCounts
  readonly #address: AddressUse
  #state: 'unauthenticated' | 'authenticated' | 'reserved' | 'released' = 'unauthenticated'
  /** The address has no place but that of a reserved seat. */
  #mustResume: boolean

  constructor(counts: ConnectionCounts, address: AddressUse) {
    this.#counts = counts
    this.#address = address
    this.#mustResume = exceedsLimit(address)
  }

  confirmFirstFrame(isResuming: boolean): ConnectionRejection | null {
    if (this.#state === 'released' || !this.#mustResume || isResuming) return null
    const { connections, reservations, max } = this.#address
    if (exceedsLimit(this.#address)) {
      const what = 'connections and reserved seats of this address'
      return reject(this.#counts, 'address', what, connections - 1 + reservations, max)
    }
    this.#mustResume = false
    return null
  }

  markAuthenticated(): void {
    if (this.#state !== 'unauthenticated') return
    this.#state = 'authenticated'
    this.#counts.unauthenticated--
  }

  reserveForResume(): void {
    this.markAuthenticated()
    if (this.#state !== 'authenticated') return
    this.#state = 'reserved'
    this.#counts.open--
    this.#address.connections--
    this.#address.reservations++
  }

  release(): void {
    this.reserveForResume()
    if (this.#state !== 'reserved') return
    this.#state = 'released'
    const { key, connections } = this.#address
    if (--this.#address.reservations + connections === 0) this.#counts.addresses.delete(key)
  }
}

function exceedsLimit({ connections, reservations, max }: AddressUse): boolean {
  return connections + reservations > max
}

function reject(
  { rejections }: ConnectionCounts,
  reason: ConnectionBound,
  what: string,
  count: number,
  max: number,
): ConnectionRejection {
  rejections[reason]++
  return { reason, message: `${count} ${what} reach the limit of ${max}` }
}
