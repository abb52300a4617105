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
