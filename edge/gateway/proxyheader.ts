// The header of the PROXY protocol, versions 1 and 2 (HAProxy's specification), with which a proxy names the client at
// the start of a connection. Invariant: every prefix of a valid header is `incomplete`, and bytes behind the header are
// never consumed.

import { canonicalAddress } from './address.ts'

/** The header violates the specification; the message names the part. */
export class ProxyHeaderError extends Error {
  override readonly name = 'ProxyHeaderError'
}

export interface ProxyHeader {
  /** The client's IP address and port; null = the peer is the client itself (LOCAL, UNKNOWN, UNSPEC, AF_UNIX). */
  readonly client: { readonly address: string; readonly port: number } | null
  /** Bytes of the header. */
  readonly length: number
}

const V1_SIGNATURE = bytesOf('PROXY ')
const V2_SIGNATURE = bytesOf('\r\n\r\n\0\r\nQUIT\n')
/** Of the specification, with CRLF. */
const MAX_V1_BYTES = 107
const V2_FIXED_BYTES = 16
/** Addresses have at most 216 bytes, and TLVs (a TLS client's name, a cloud's endpoint id) some hundred. */
const MAX_V2_BYTES = 4_096

/** `none`: the bytes begin otherwise, so the peer sends no header. */
export type ProxyHeaderResult = ProxyHeader | 'incomplete' | 'none'

/** Reads the header at the start of `bytes`. @throws ProxyHeaderError */
export function readProxyHeader(bytes: Uint8Array): ProxyHeaderResult {
  for (const [signature, read] of VERSIONS) {
    const common = Math.min(bytes.length, signature.length)
    if (!signature.subarray(0, common).every((byte, i) => byte === bytes[i])) continue
    return common < signature.length ? 'incomplete' : read(bytes)
  }
  return 'none'
}

/** Returns true when the bytes begin with a complete signature of either version. */
export function hasProxySignature(bytes: Uint8Array): boolean {
  return VERSIONS.some(([signature]) => signature.every((byte, i) => byte === bytes[i]))
}

const VERSIONS = [
  [V1_SIGNATURE, readV1],
  [V2_SIGNATURE, readV2],
] as const

/** `PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n` */
function readV1(bytes: Uint8Array): ProxyHeader | 'incomplete' {
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf(LF)
  if (end < 0) {
    if (bytes.length < MAX_V1_BYTES) return 'incomplete'
    throw new ProxyHeaderError(`version 1: no line end within ${MAX_V1_BYTES} bytes`)
  }
  if (bytes[end - 1] !== CR) throw new ProxyHeaderError('version 1: the line does not end with CR LF')
  const length = end + 1
  const line = String.fromCharCode(...bytes.subarray(V1_SIGNATURE.length, end - 1))
  if (/^UNKNOWN( |$)/.test(line)) return { client: null, length }
  const [protocol, source = '', destination = '', sourcePort = '', destinationPort = '', ...rest] = line.split(' ')
  if (protocol !== 'TCP4' && protocol !== 'TCP6')
    throw new ProxyHeaderError('version 1: the protocol is not TCP4, TCP6 or UNKNOWN')
  const isOfFamily = (text: string): boolean => text.includes(':') === (protocol === 'TCP6') && !text.includes('%')
  const address = isOfFamily(source) ? canonicalAddress(source) : ''
  if (address === '' || !isOfFamily(destination) || canonicalAddress(destination) === '')
    throw new ProxyHeaderError(`version 1: an address is not one of ${protocol}`)
  if (rest.length > 0 || !isPort(sourcePort) || !isPort(destinationPort))
    throw new ProxyHeaderError('version 1: the ports are not two numbers from 0 to 65535')
  return { client: { address, port: Number(sourcePort) }, length }
}
const [CR, LF] = [13, 10]

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535
}

/** Signature, version and command, family and transport, length, addresses, TLVs. */
function readV2(bytes: Uint8Array): ProxyHeader | 'incomplete' {
  // Each field is checked as soon as it is there, so that an invalid header does not wait for its end.
  const at = V2_SIGNATURE.length
  const [versionAndCommand, familyAndTransport] = [bytes[at], bytes[at + 1]]
  if (versionAndCommand !== undefined && versionAndCommand !== LOCAL && versionAndCommand !== PROXY)
    throw new ProxyHeaderError(`version 2: version and command 0x${versionAndCommand.toString(16)}`)
  const isLocal = versionAndCommand === LOCAL
  if (familyAndTransport !== undefined && !isLocal && !isAssigned(familyAndTransport))
    throw new ProxyHeaderError(`version 2: family and transport 0x${familyAndTransport.toString(16)}`)
  if (bytes.length < V2_FIXED_BYTES) return 'incomplete'
  const length = V2_FIXED_BYTES + ((bytes[at + 2]! << 8) | bytes[at + 3]!)
  if (length > MAX_V2_BYTES) throw new ProxyHeaderError(`version 2: ${length} bytes exceed ${MAX_V2_BYTES}`)
  const addressBytes = isLocal ? 0 : ADDRESS_BYTES[familyAndTransport! >> 4]!
  if (length < V2_FIXED_BYTES + addressBytes)
    throw new ProxyHeaderError(
      `version 2: a length of ${length - V2_FIXED_BYTES} is below the ${addressBytes} of its addresses`,
    )
  if (bytes.length < length) return 'incomplete'
  // The receiver ignores what a LOCAL header contains.
  if (isLocal) return { client: null, length }
  checkTlvs(bytes, V2_FIXED_BYTES + addressBytes, length)
  return { client: clientOf(bytes, familyAndTransport!), length }
}
const [LOCAL, PROXY] = [0x20, 0x21]
/** Of both addresses and ports, by family: UNSPEC, AF_INET, AF_INET6, AF_UNIX. */
const ADDRESS_BYTES = [0, 12, 36, 216]

function isAssigned(familyAndTransport: number): boolean {
  return familyAndTransport >> 4 < ADDRESS_BYTES.length && (familyAndTransport & 0xf) <= 2
}

/** Only TCP over IPv4 or IPv6 has a client with an IP address. */
function clientOf(bytes: Uint8Array, familyAndTransport: number): ProxyHeader['client'] {
  const at = V2_FIXED_BYTES
  const u16 = (offset: number): number => (bytes[offset]! << 8) | bytes[offset + 1]!
  if (familyAndTransport === 0x11) return { address: bytes.subarray(at, at + 4).join('.'), port: u16(at + 8) }
  if (familyAndTransport !== 0x21) return null
  const groups = Array.from({ length: 8 }, (_, i) => u16(at + 2 * i).toString(16))
  return { address: canonicalAddress(groups.join(':')), port: u16(at + 32) }
}

/** Their values are ignored, but they must fill the header exactly: u8 type, u16 length, value. */
function checkTlvs(bytes: Uint8Array, from: number, end: number): void {
  for (let at = from; at < end;) {
    const next = at + 3 > end ? Infinity : at + 3 + ((bytes[at + 1]! << 8) | bytes[at + 2]!)
    if (next > end) throw new ProxyHeaderError(`version 2: the TLV at byte ${at} exceeds the header`)
    at = next
  }
}

function bytesOf(ascii: string): Uint8Array {
  return Uint8Array.from(ascii, (char) => char.charCodeAt(0))
}
