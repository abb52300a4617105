// IP addresses as text: their canonical form, the group that an address counts for, and networks. Invariant: text that is
// no address never throws; it is `''` or `unknown`.

import ipaddr from 'ipaddr.js'

export const LOOPBACK = 'loopback'
export const UNKNOWN = 'unknown'
/** The longest text of an IPv6 address has 45 characters; a zone id may follow. */
const MAX_ADDRESS_CHARS = 80

type IpAddress = ipaddr.IPv4 | ipaddr.IPv6

/** An IPv6 address that contains an IPv4 one becomes that; null = no address. */
function parseAddress(text: string): IpAddress | null {
  if (text.length > MAX_ADDRESS_CHARS) return null
  if (!text.includes(':')) return ipaddr.IPv4.isValidFourPartDecimal(text) ? ipaddr.IPv4.parse(text) : null
  const withoutZone = withoutDottedTail(text.split('%', 1)[0]!)
  if (!ipaddr.IPv6.isValid(withoutZone)) return null
  const parsed = ipaddr.IPv6.parse(withoutZone)
  return parsed.isIPv4MappedAddress() ? parsed.toIPv4Address() : parsed
}

/** ipaddr.js reads a dotted tail with octal numbers, and `::1.2.3.4` as mapped: such a tail is written as two groups. */
function withoutDottedTail(text: string): string {
  if (!text.includes('.')) return text
  const at = text.lastIndexOf(':') + 1
  const tail = text.slice(at)
  if (!ipaddr.IPv4.isValidFourPartDecimal(tail)) return ''
  const mapped = ipaddr.IPv4.parse(tail).toIPv4MappedAddress().toString()
  return text.slice(0, at) + mapped.slice('::ffff:'.length)
}

/** The form of RFC 5952, without zone, at most 39 characters; an IPv4 address in IPv6 becomes IPv4. '' = no address. */
export function canonicalAddress(text: string | null | undefined): string {
  return parseAddress(text ?? '')?.toString() ?? ''
}

/**
 * The group an address counts for: an IPv4 address (also one mapped into IPv6) alone, an IPv6 address as its /64, the
 * smallest network of one home; `loopback`, or `unknown` for text that is no address.
 */
export function addressKey(address: string): string {
  const parsed = parseAddress(address)
  if (parsed === null) return UNKNOWN
  if (parsed.range() === 'loopback') return LOOPBACK
  if (!(parsed instanceof ipaddr.IPv6)) return parsed.toString()
  const network = parsed.parts.slice(0, 4).map((part) => part.toString(16))
  return `${network.join(':')}::/64`
}

/** `host:port` as a URL contains it: an IPv6 address is in brackets. */
export function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Returns true for an address, in any form, of one of the networks. */
export type NetworkFilter = (address: string) => boolean

/** An invalid entry of a list of networks; the message contains it and valid examples. */
export class NetworkError extends Error {
  override readonly name = 'NetworkError'
}

/** The filter of a list such as `10.0.0.0/8,192.0.2.7,fd00::/8`; an empty list contains nothing. @throws NetworkError */
export function networkFilter(list: string): NetworkFilter {
  const networks = list
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map(parseNetwork)
  if (networks.length === 0) return () => false
  return (text) => {
    const address = parseAddress(text)
    return (
      address !== null && networks.some(([base, bits]) => base.kind() === address.kind() && address.match(base, bits))
    )
  }
}

function parseNetwork(entry: string): [IpAddress, number] {
  const [text = '', digits, ...rest] = entry.split('/')
  const base = parseAddress(text)
  const isMapped = base instanceof ipaddr.IPv4 && text.includes(':')
  const width = base instanceof ipaddr.IPv6 || isMapped ? 128 : 32
  const bits = Number(digits ?? width) - (isMapped ? 96 : 0)
  const isValid = rest.length === 0 && /^\d{1,3}$/.test(digits ?? '0') && bits >= 0 && Number(digits ?? 0) <= width
  if (base !== null && isValid && !text.includes('%')) return [base, bits]
  throw new NetworkError(
    `network ${JSON.stringify(entry.slice(0, 120))} is not like 10.0.0.0/8, 192.0.2.7, fd00::/8 or ::1`,
  )
}
