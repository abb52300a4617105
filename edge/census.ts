// How many connections stand: in all, of each address, and those that have not proven yet that they speak the protocol
// (or have not logged in, where the game demands it). An address also counts for the seats that its lost connections
// keep. What enters leaves exactly once, and an address that has neither left takes no memory.

import type { Limits } from '../core/wire/limits.ts'

type CensusLimits = Pick<Limits, 'maxConnections' | 'maxPerAddress' | 'maxPerLoopback' | 'maxUnproven'>

/** Which bound a connection met. */
export type CensusReason = 'total' | 'address' | 'unproven'

/** The connection must be closed (OVERLOADED); it was not counted and has nothing to leave. */
export interface Refused {
  readonly reason: CensusReason
  /** Says how many stand and the bound; fit for the peer, as it names no address. */
  readonly message: string
}

/** A connection that is counted. Its calls may come in any order and more than once. */
export interface Entry {
  readonly reason: null
  /**
   * It has said its first whole frame. Where its address had room only because somebody may come back, it must be that
   * one (`returns`); null = it is welcome.
   */
  claim(returns: boolean): Refused | null
  /** It has said its first whole frame, or has logged in. */
  proven(): void
  /** It is gone, but keeps seats: it counts for its address and for nothing else. */
  linger(): void
  /** It is gone. */
  leave(): void
}

export class Census {
  readonly #limits: CensusLimits
  readonly #addresses = new Map<string, Address>()
  /** Connections that stand. */
  total = 0
  /** Of these, the ones that have proven nothing yet. */
  unproven = 0
  /** Connections refused since the start. */
  readonly refused: Record<CensusReason, number> = { total: 0, address: 0, unproven: 0 }

  constructor(limits: CensusLimits) {
    this.#limits = limits
  }

  /** Distinct addresses with a connection or a seat. */
  get addresses(): number {
    return this.#addresses.size
  }

  /** Counts a connection of this peer address in; an entry has `reason` null. */
  enter(address: string): Entry | Refused {
    const { maxConnections, maxPerAddress, maxPerLoopback, maxUnproven } = this.#limits
    if (this.total >= maxConnections) return this.refuse('total', 'connections', this.total, maxConnections)
    const key = addressKey(address)
    const max = key === LOOPBACK || key === UNKNOWN ? maxPerLoopback : maxPerAddress
    const known = this.#addresses.get(key)
    const count = known?.count ?? 0
    if (count >= max) return this.refuse('address', 'connections of this address', count, max)
    if (this.unproven >= maxUnproven) {
      return this.refuse('unproven', 'connections without a first message', this.unproven, maxUnproven)
    }
    const entry = known ?? { key, max, count: 0, seats: 0 }
    if (known === undefined) this.#addresses.set(key, entry)
    entry.count++
    this.total++
    this.unproven++
    return new Counted(this, this.#addresses, entry)
  }

  /** @internal */
  refuse(reason: CensusReason, what: string, count: number, max: number): Refused {
    this.refused[reason]++
    return { reason, message: `${count} ${what} stand, at most ${max} may` }
  }
}

interface Address {
  readonly key: string
  readonly max: number
  /** Connections that stand. */
  count: number
  /** What others have left behind that may come back. */
  seats: number
}

class Counted implements Entry {
  readonly reason = null
  readonly #census: Census
  readonly #addresses: Map<string, Address>
  /** null = it has left. */
  #address: Address | null
  #unproven = true
  /** Its address has no room for it but that of a seat. */
  #isLent: boolean
  #lingers = false

  constructor(census: Census, addresses: Map<string, Address>, address: Address) {
    this.#census = census
    this.#addresses = addresses
    this.#address = address
    this.#isLent = isOver(address)
  }

  claim(returns: boolean): Refused | null {
    const address = this.#address
    if (address === null || !this.#isLent || returns) return null
    const { count, seats, max } = address
    if (isOver(address))
      return this.#census.refuse(
        'address',
        'connections and kept seats of this address',
        count - 1 + seats,
        max,
      )
    this.#isLent = false
    return null
  }

  proven(): void {
    if (!this.#unproven) return
    this.#unproven = false
    this.#census.unproven--
  }

  linger(): void {
    const address = this.#address
    if (address === null || this.#lingers) return
    this.#lingers = true
    this.proven()
    this.#census.total--
    address.count--
    address.seats++
  }

  leave(): void {
    this.linger()
    const address = this.#address
    if (address === null) return
    this.#address = null
    if (--address.seats + address.count === 0) this.#addresses.delete(address.key)
  }
}

function isOver({ count, seats, max }: Address): boolean {
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
  if (!address.includes(':')) return ipv4Key(ipv4(address))
  const groups = ipv6(address.split('%', 1)[0]!)
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
function ipv4(text: string): readonly number[] | null {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part))) return null
  const bytes = parts.map(Number)
  return bytes.every((byte) => byte <= 255) ? bytes : null
}

/** Eight groups of 16 bits, of any spelling of RFC 4291 section 2.2. */
function ipv6(text: string): readonly number[] | null {
  const halves = text.split('::')
  if (halves.length > 2) return null
  const head = groups(halves[0]!, halves.length === 1)
  if (head === null) return null
  if (halves.length === 1) return head.length === 8 ? head : null
  const tail = groups(halves[1]!, true)
  // A `::` stands for one group at least.
  if (tail === null || head.length + tail.length > 7) return null
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail]
}

/** The groups of one side of `::`; only the last two of an address may be written as dotted decimals. */
function groups(text: string, last: boolean): readonly number[] | null {
  if (text === '') return []
  const found: number[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    if (last && index === parts.length - 1 && part.includes('.')) {
      const bytes = ipv4(part)
      if (bytes === null) return null
      found.push(bytes[0]! * 256 + bytes[1]!, bytes[2]! * 256 + bytes[3]!)
    } else if (/^[\da-f]{1,4}$/i.test(part)) found.push(Number.parseInt(part, 16))
    else return null
  }
  return found
}
