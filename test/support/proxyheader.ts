// Encodes PROXY headers for tests.

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

/** Version 1 of a client that connects to 198.51.100.1:443. */
export function proxyV1(address: string, port = 56_324): Buffer {
  const [protocol, destination] = address.includes(':') ? ['TCP6', '2001:db8::1'] : ['TCP4', '198.51.100.1']
  return Buffer.from(`PROXY ${protocol} ${address} ${destination} ${port} 443\r\n`, 'latin1')
}

export interface ProxyV2 {
  /** 0x21 = PROXY, 0x20 = LOCAL. */
  readonly command?: number
  /** 0x11 = TCP over IPv4. */
  readonly family?: number
  /** Both addresses, then both ports. */
  readonly addresses?: Uint8Array
  readonly tlvs?: readonly (readonly [type: number, value: Uint8Array])[]
}

export function proxyV2({ command = 0x21, family = 0x11, addresses = V4, tlvs = [] }: ProxyV2 = {}): Buffer {
  const encoded = tlvs.map(([type, value]) => Buffer.concat([Uint8Array.of(type), u16(value.length), value]))
  const payload = Buffer.concat([addresses, ...encoded])
  return Buffer.concat([SIGNATURE, Uint8Array.of(command, family), u16(payload.length), payload])
}

const V4 = addressesV4('192.0.2.7')

export function addressesV4(address: string, port = 56_324): Buffer {
  const octets = address.split('.').map(Number)
  return Buffer.concat([Uint8Array.from(octets), Uint8Array.of(198, 51, 100, 1), u16(port), u16(443)])
}

/** `groups`: eight 16-bit numbers. */
export function addressesV6(groups: readonly number[], port = 56_324): Buffer {
  const source = Buffer.concat(groups.map(u16))
  return Buffer.concat([source, Buffer.alloc(16, 1), u16(port), u16(443)])
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff])
}
