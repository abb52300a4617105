// The PROXY headers of both versions: what they name, every prefix, every changed byte, and what the specification forbids.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hasProxySignature, ProxyHeaderError, readProxyHeader } from '../../edge/gateway/proxyheader.ts'
import { addressesV4, addressesV6, proxyV1, proxyV2 } from '../support/proxyheader.ts'

const ADA = { address: '192.0.2.7', port: 56_324 }
const SIX = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7]
const text = (line: string): Buffer => Buffer.from(line, 'latin1')
const tlv = [0xea, Uint8Array.of(1, 2, 3)] as const

const VALID: readonly (readonly [what: string, header: Buffer, client: object | null])[] = [
  ['version 1, IPv4', proxyV1('192.0.2.7'), ADA],
  ['version 1, IPv6', proxyV1('2001:db8::7', 0), { address: '2001:db8::7', port: 0 }],
  ['version 1, IPv4 in IPv6', proxyV1('::ffff:192.0.2.7'), ADA],
  ['version 1, upper case', proxyV1('2001:DB8:0:0:0:0:0:7', 65_535), { address: '2001:db8::7', port: 65_535 }],
  ['version 1, UNKNOWN', text('PROXY UNKNOWN\r\n'), null],
  ['version 1, UNKNOWN with addresses', text('PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n'), null],
  ['version 2, IPv4', proxyV2(), ADA],
  ['version 2, IPv4 with TLVs', proxyV2({ tlvs: [tlv, [0x04, new Uint8Array(300)]] }), ADA],
  ['version 2, IPv6', proxyV2({ family: 0x21, addresses: addressesV6(SIX) }), { address: '2001:db8::7', port: 56_324 }],
  [
    'version 2, IPv4 in IPv6',
    proxyV2({ family: 0x21, addresses: addressesV6([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0207]), tlvs: [tlv] }),
    ADA,
  ],
  ['version 2, UNSPEC', proxyV2({ family: 0, addresses: Buffer.alloc(0) }), null],
  ['version 2, UNSPEC with TLVs', proxyV2({ family: 0, addresses: Buffer.alloc(0), tlvs: [tlv] }), null],
  ['version 2, AF_UNIX', proxyV2({ family: 0x31, addresses: Buffer.alloc(216, 47) }), null],
  ['version 2, a datagram', proxyV2({ family: 0x12 }), null],
  ['version 2, LOCAL', proxyV2({ command: 0x20, family: 0, addresses: Buffer.alloc(0) }), null],
  ['version 2, LOCAL with addresses', proxyV2({ command: 0x20 }), null],
  [
    'version 2, LOCAL of any family, with any bytes',
    proxyV2({ command: 0x20, family: 0xff, addresses: Buffer.alloc(5, 9) }),
    null,
  ],
]

for (const [what, header, client] of VALID) {
  test(`${what}: names the client, and every prefix is incomplete`, () => {
    for (let length = 0; length < header.length; length++)
      assert.equal(readProxyHeader(header.subarray(0, length)), 'incomplete', `${length} bytes`)
    const glued = Buffer.concat([header, Buffer.from('PROXY TCP4')])
    for (const bytes of [header, glued]) assert.deepEqual(readProxyHeader(bytes), { client, length: header.length })
  })

  test(`${what}: with any byte changed it is valid, incomplete, another protocol or an error, and never longer`, () => {
    for (let at = 0; at < header.length; at++)
      for (let flip = 1; flip < 256; flip++) {
        const bad = Buffer.from(header)
        bad[at]! ^= flip
        const result = readOrError(bad)
        if (typeof result === 'object') assert.ok(result.length <= bad.length, `byte ${at} ^ ${flip}`)
      }
  })
}

function readOrError(bytes: Uint8Array): ReturnType<typeof readProxyHeader> | 'error' {
  try {
    return readProxyHeader(bytes)
  } catch (error) {
    assert.ok(error instanceof ProxyHeaderError, String(error))
    return 'error'
  }
}

const MALFORMED: readonly (readonly [header: Buffer, message: RegExp])[] = [
  [text('PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n'), /CR LF/],
  [text('PROXY TCP5 192.0.2.7 198.51.100.1 56324 443\r\n'), /not TCP4, TCP6 or UNKNOWN/],
  [text('PROXY UNKNOWNS\r\n'), /not TCP4/],
  [text('PROXY  TCP4 192.0.2.7 198.51.100.1 56324 443\r\n'), /not TCP4/],
  [text('PROXY TCP4\r\n'), /address/],
  [text('PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n'), /address/],
  [text('PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n'), /address/],
  [text('PROXY TCP4 192.0.2.07 198.51.100.1 56324 443\r\n'), /address/],
  [text('PROXY TCP4 192.0.2.256 198.51.100.1 56324 443\r\n'), /address/],
  [text('PROXY TCP4 192.0.2.7 198.51.100 56324 443\r\n'), /address/],
  [text('PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n'), /address/],
  [text('PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n'), /ports/],
  [text('PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n'), /ports/],
  [text('PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n'), /ports/],
  [text('PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n'), /ports/],
  [text('PROXY TCP4 192.0.2.7 198.51.100.1 1 443 x\r\n'), /ports/],
  [text(`PROXY UNKNOWN ${'x'.repeat(107)}`), /no line end within 107/],
  [proxyV2({ command: 0x11 }), /version and command 0x11/],
  [proxyV2({ command: 0x22 }), /version and command 0x22/],
  [proxyV2({ family: 0x41 }), /family and transport 0x41/],
  [proxyV2({ family: 0x13 }), /family and transport 0x13/],
  [proxyV2({ addresses: addressesV4('192.0.2.7').subarray(1) }), /length of 11 is below the 12/],
  [proxyV2({ family: 0x21 }), /length of 12 is below the 36/],
  [proxyV2({ addresses: Buffer.concat([addressesV4('192.0.2.7'), Uint8Array.of(1, 0)]) }), /TLV at byte 28/],
  [proxyV2({ addresses: Buffer.concat([addressesV4('192.0.2.7'), Uint8Array.of(1, 0, 4, 9)]) }), /TLV at byte 28/],
  [proxyV2({ tlvs: [[1, new Uint8Array(5_000)]] }), /exceed 4096/],
]

test('a malformed header is an error that names its fault', () => {
  for (const [header, message] of MALFORMED)
    assert.throws(() => readProxyHeader(header), { name: 'ProxyHeaderError', message }, header.toString('latin1'))
})

test('other bytes are no header from the first byte that differs', () => {
  for (const bytes of ['GET / HTTP/1.1', 'POST /', 'PROXX', 'PROXY\t', '\x16\x03\x01', '\r\n\r\n\0\r\nQUIT\r', '\0'])
    assert.equal(readProxyHeader(text(bytes)), 'none', bytes)
  for (const bytes of ['', 'P', 'PROXY', '\r', '\r\n\r\n\0\r\nQUIT']) {
    assert.equal(readProxyHeader(text(bytes)), 'incomplete', bytes)
    assert.equal(hasProxySignature(text(bytes)), false, bytes)
  }
})

test('any bytes are read without another error than ProxyHeaderError', () => {
  const start = fc.constantFrom(text(''), text('PROXY '), proxyV2().subarray(0, 12), proxyV2().subarray(0, 14))
  const rest = fc.oneof(fc.uint8Array({ maxLength: 600 }), fc.string({ maxLength: 200 }).map(text))
  fc.assert(
    fc.property(start, rest, (head, tail) => void readOrError(Buffer.concat([head, tail]))),
    { numRuns: 2_000 },
  )
})

test('a version 1 header of any address names it in canonical form', () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.ipV6(), fc.nat(65_535), (four, six, port) => {
      assert.deepEqual(readProxyHeader(proxyV1(four, port)), {
        client: { address: four, port },
        length: proxyV1(four, port).length,
      })
      const result = readProxyHeader(proxyV1(six, port))
      assert.ok(typeof result === 'object' && result.client !== null && result.client.port === port)
    }),
  )
})
