// The client's address in the headers that HTTP proxies add: X-Forwarded-For, and Forwarded (RFC 7239). Invariant: only
// what trusted proxies have added is believed, so the list is read from its end to the first address that is not
// trusted, and nothing before it. Decision: docs/decisions/018-forwarded-headers.md.

import { canonicalAddress, type NetworkFilter } from './address.ts'

/** The headers are malformed or contradictory; the message names them. */
export class ForwardedError extends Error {
  override readonly name = 'ForwardedError'
}

/** Values of the headers, each joined by commas if there are several; null = none. */
export interface ForwardedHeaders {
  readonly xForwardedFor: string | null
  readonly forwarded: string | null
}

/**
 * Returns the address of the client behind `peer`, which is `peer` itself unless it is trusted.
 * @throws ForwardedError when a trusted peer sends a malformed Forwarded, or when the two headers name two clients
 */
export function forwardedClient(
  peer: string,
  { xForwardedFor, forwarded }: ForwardedHeaders,
  isTrusted: NetworkFilter,
): string {
  if (!isTrusted(peer)) return peer
  const byList = xForwardedFor === null ? null : rightmostUntrusted(peer, addressesOf(xForwardedFor), isTrusted)
  const byForwarded = forwarded === null ? null : rightmostUntrusted(peer, parseForwarded(forwarded), isTrusted)
  if (byList !== null && byForwarded !== null && byList !== byForwarded)
    throw new ForwardedError(
      'X-Forwarded-For and Forwarded name two clients: the proxy must remove the one that it does not write',
    )
  return byList ?? byForwarded ?? peer
}

/** `hops`: '' = no address; what is before it was added by an unknown hop. */
function rightmostUntrusted(peer: string, hops: readonly string[], isTrusted: NetworkFilter): string {
  let client = peer
  for (const hop of hops.toReversed()) {
    if (hop === '') return client
    client = hop
    if (!isTrusted(hop)) return client
  }
  return client
}

function addressesOf(list: string): string[] {
  return list.split(',').map((entry) => nodeAddress(entry.trim()))
}

/** An address with or without port: `192.0.2.7:80`, `[2001:db8::7]:80`; '' for any other text, such as `unknown`. */
function nodeAddress(node: string): string {
  const [, bracketed] = /^\[([^\]]*)\](?::[\w.-]+)?$/.exec(node) ?? []
  if (bracketed !== undefined) return canonicalAddress(bracketed)
  return canonicalAddress(/^([^:]*):[\w.-]+$/.exec(node)?.[1] ?? node)
}

/** `name=token`, `name="quoted"`, or nothing: RFC 7239 allows empty pairs and elements. */
const PAIR = /^\s*(?:([!#$%&'*+.^_`|~\w-]+)=(?:([!#$%&'*+.^_`|~\w:[\]-]+)|"((?:[^"\\]|\\.)*)")\s*)?(?=[,;]|$)/

/** The `for` of each element, '' = none. @throws ForwardedError */
function parseForwarded(header: string): string[] {
  const hops: string[] = []
  let hop = ''
  for (let rest = header; ;) {
    const [pair, name, token, quoted] = PAIR.exec(rest) ?? []
    if (pair === undefined) throw new ForwardedError('Forwarded is not a list of RFC 7239')
    if (name?.toLowerCase() === 'for') hop = nodeAddress(token ?? quoted!.replaceAll(/\\(.)/g, '$1'))
    rest = rest.slice(pair.length)
    if (rest.startsWith(',') || rest === '') {
      hops.push(hop)
      hop = ''
    }
    if (rest === '') return hops
    rest = rest.slice(1)
  }
}
