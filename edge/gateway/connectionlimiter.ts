// How many connections stand: in all, of each address, and those that have not proven yet that they speak the protocol
// (or have not logged in, where the game demands it). An address also counts for the seats that its lost connections
// keep. What enters leaves exactly once, and an address that has neither left takes no memory.

import type { Limits } from '../../core/wire/limits.ts'

type ConnectionLimits = Pick<Limits, 'maxConnections' | 'maxPerAddress' | 'maxPerLoopback' | 'maxUnproven'>

/** Which bound a connection met. */
export type ConnectionBound = 'total' | 'address' | 'unproven'

/** The connection must be closed (OVERLOADED); it was not counted and has nothing to leave. */
export interface ConnectionRejection {
  readonly reason: ConnectionBound
  /** Says how many stand and the bound; fit for the peer, as it names no address. */
  readonly message: string
}

/** A connection that is counted. Its calls may come in any order and more than once. */
export interface ConnectionPermit {
  readonly reason: null
  /**
   * It has said its first whole frame. Where its address had room only because somebody may come back, it must be that
   * one (`returns`); null = it is welcome.
   */
  confirmFirstFrame(isResuming: boolean): ConnectionRejection | null
  /** It has said its first whole frame, or has logged in. */
  markAuthenticated(): void
  /** It is gone, but keeps seats: it counts for its address and for nothing else. */
  reserveForResume(): void
  /** It is gone. */
  release(): void
}

export class ConnectionLimiter {
  readonly #limits: ConnectionLimits
  readonly #addresses = new Map<string, AddressUse>()
  /** Connections that stand. */
  openConnections = 0
  /** Of these, the ones that have proven nothing yet. */
  unauthenticated = 0
  /** Connections refused since the start. */
  readonly rejections: Record<ConnectionBound, number> = { total: 0, address: 0, unproven: 0 }

  constructor(limits: ConnectionLimits) {
    this.#limits = limits
  }

  /** Distinct addresses with a connection or a seat. */
  get addressCount(): number {
    return this.#addresses.size
  }

  /** Counts a connection of this peer address in; an entry has `reason` null. */
  admit(address: string): ConnectionPermit | ConnectionRejection {
    const { maxConnections, maxPerAddress, maxPerLoopback, maxUnproven } = this.#limits
    if (this.openConnections >= maxConnections)
      return this.reject('total', 'connections', this.openConnections, maxConnections)
    const key = addressKey(address)
    const max = key === LOOPBACK || key === UNKNOWN ? maxPerLoopback : maxPerAddress
    const known = this.#addresses.get(key)
    const count = known?.connections ?? 0
    if (count >= max) return this.reject('address', 'connections of this address', count, max)
    if (this.unauthenticated >= maxUnproven) {
      return this.reject('unproven', 'connections without a first message', this.unauthenticated, maxUnproven)
    }
    const addressUse = known ?? { key, max, connections: 0, reservations: 0 }
    if (known === undefined) this.#addresses.set(key, addressUse)
    addressUse.connections++
    this.openConnections++
    this.unauthenticated++
    return new CountedPermit(this, this.#addresses, addressUse)
  }

  /** @internal */
  reject(reason: ConnectionBound, what: string, count: number, max: number): ConnectionRejection {
    this.rejections[reason]++
    return { reason, message: `${count} ${what} stand, at most ${max} may` }
  }
}

interface AddressUse {
  readonly key: string
  readonly max: number
  /** Connections that stand. */
  connections: number
  /** What others have left behind that may come back. */
  reservations: number
}

class CountedPermit implements ConnectionPermit {
  readonly reason = null
  readonly #limiter: ConnectionLimiter
  readonly #addresses: Map<string, AddressUse>
  /** null = it has left. */
  #address: AddressUse | null
  #isUnauthenticated = true
  /** Its address has no room for it but that of a seat. */
  #mustResume: boolean
  #isReserved = false

  constructor(limiter: ConnectionLimiter, addresses: Map<string, AddressUse>, address: AddressUse) {
    this.#limiter = limiter
    this.#addresses = addresses
    this.#address = address
    this.#mustResume = exceedsLimit(address)
  }

  confirmFirstFrame(isResuming: boolean): ConnectionRejection | null {
    const address = this.#address
    if (address === null || !this.#mustResume || isResuming) return null
    const { connections: count, reservations: seats, max } = address
    if (exceedsLimit(address))
      return this.#limiter.reject(
        'address',
        'connections and kept seats of this address',
        count - 1 + seats,
        max,
      )
    this.#mustResume = false
    return null
  }

  markAuthenticated(): void {
    if (!this.#isUnauthenticated) return
    this.#isUnauthenticated = false
    this.#limiter.unauthenticated--
  }

  reserveForResume(): void {
    const address = this.#address
    if (address === null || this.#isReserved) return
    this.#isReserved = true
    this.markAuthenticated()
    this.#limiter.openConnections--
    address.connections--
    address.reservations++
  }

  release(): void {
    this.reserveForResume()
    const address = this.#address
    if (address === null) return
    this.#address = null
    if (--address.reservations + address.connections === 0) this.#addresses.delete(address.key)
  }
}

function exceedsLimit({ connections: count, reservations: seats, max }: AddressUse): boolean {
  return count + seats > max
}

const LOOPBACK = 'loopback'
const UNKNOWN = 'unknown'
/** The longest text of an IPv6 address has 45 characters; a zone id may follow. */
const MAX_ADDRESS_CHARS = 80

/**
 * Whom an address counts for: an IPv4 address (also one mapped into IPv6) as it is, an IPv6 address as its /64, the
 * least that one home has; `loopback` and `unknown` for what these words say.
 */
export function addressKey(address: string): string {
  if (address.length > MAX_ADDRESS_CHARS) return UNKNOWN
  if (!address.includes(':')) return ipv4Key(parseIpv4(address))
  const groups = parseIpv6(address.split('%', 1)[0]!)
  if (groups === null) return UNKNOWN
  const [a, b, c, d, e, f, g, h] = groups as [number, number, number, number, number, number, number, number]
  if ((a | b | c | d | e) === 0) {
    if (f === 0xffff) return ipv4Key([g >> 8, g & 255, h >> 8, h & 255])
    if ((f | g) === 0 && h === 1) return LOOPBACK
  }
  return `${a.toString(16)}:${b.toString(16)}:${c.toString(16)}:${d.toString(16)}::/64`
}

function ipv4Key(bytes: readonly number[] | null): string {
  if (bytes === null) return UNKNOWN
  return bytes[0] === 127 ? LOOPBACK : bytes.join('.')
}

/** Four bytes of dotted decimals. */
function parseIpv4(text: string): readonly number[] | null {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part))) return null
  const bytes = parts.map(Number)
  return bytes.every((byte) => byte <= 255) ? bytes : null
}

/** Eight groups of 16 bits, of any spelling of RFC 4291 section 2.2. */
function parseIpv6(text: string): readonly number[] | null {
  const halves = text.split('::')
  if (halves.length > 2) return null
  const head = parseGroups(halves[0]!, halves.length === 1)
  if (head === null) return null
  if (halves.length === 1) return head.length === 8 ? head : null
  const tail = parseGroups(halves[1]!, true)
  // A `::` stands for one group at least.
  if (tail === null || head.length + tail.length > 7) return null
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail]
}

/** The groups of one side of `::`; only the last two of an address may be written as dotted decimals. */
function parseGroups(text: string, isLast: boolean): readonly number[] | null {
  if (text === '') return []
  const parsed: number[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    if (isLast && index === parts.length - 1 && part.includes('.')) {
      const bytes = parseIpv4(part)
      if (bytes === null) return null
      parsed.push(bytes[0]! * 256 + bytes[1]!, bytes[2]! * 256 + bytes[3]!)
    } else if (/^[\da-f]{1,4}$/i.test(part)) parsed.push(Number.parseInt(part, 16))
    else return null
  }
  return parsed
}
