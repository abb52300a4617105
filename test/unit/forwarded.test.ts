// The client's address behind HTTP proxies, the networks that are trusted, and addresses as text.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalAddress, hostAndPort, NetworkError, networkFilter } from '../../edge/gateway/address.ts'
import { forwardedClient, ForwardedError } from '../../edge/gateway/forwarded.ts'

const isTrusted = networkFilter('10.0.0.0/8, 127.0.0.1,fd00::/8')
const PROXY = '10.0.0.1'

function clientOf(xForwardedFor: string | null, forwarded: string | null = null, peer = PROXY): string {
  return forwardedClient(peer, { xForwardedFor, forwarded }, isTrusted)
}

test('X-Forwarded-For: the rightmost address that is not trusted', () => {
  const rows: [list: string, client: string][] = [
    ['192.0.2.7', '192.0.2.7'],
    ['6.6.6.6, 192.0.2.7', '192.0.2.7'],
    ['6.6.6.6,192.0.2.7,10.0.0.2, 10.0.0.3', '192.0.2.7'],
    ['10.0.0.9, 10.0.0.2', '10.0.0.9'],
    ['2001:DB8::7', '2001:db8::7'],
    ['[2001:db8::7]:4711', '2001:db8::7'],
    ['[2001:db8::7]', '2001:db8::7'],
    ['192.0.2.7:4711', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['192.0.2.7, fd00::1', '192.0.2.7'],
    // Unknown hops end the list: what is before them was not added by a trusted proxy.
    ['6.6.6.6, unknown', PROXY],
    ['6.6.6.6, unknown, 10.0.0.2', '10.0.0.2'],
    ['6.6.6.6,', PROXY],
    ['', PROXY],
    ['6.6.6.6, 1.2.3.4.5', PROXY],
    [`6.6.6.6, ${'1'.repeat(5_000)}`, PROXY],
  ]
  for (const [list, client] of rows) assert.equal(clientOf(list), client, list.slice(0, 80))
})

test('Forwarded: the rightmost address that is not trusted, by RFC 7239', () => {
  const rows: [header: string, client: string][] = [
    ['for=192.0.2.7', '192.0.2.7'],
    ['For="192.0.2.7:80"', '192.0.2.7'],
    ['for=192.0.2.43, for="[2001:db8:cafe::17]:4711"', '2001:db8:cafe::17'],
    ['for=6.6.6.6;proto=http;by=203.0.113.43 , host=x;for=192.0.2.7 ; proto=https', '192.0.2.7'],
    ['for=192.0.2.7, for=10.0.0.2', '192.0.2.7'],
    ['for=6.6.6.6, for=_hidden', PROXY],
    ['for=6.6.6.6, for=unknown, for=10.0.0.2', '10.0.0.2'],
    ['for=6.6.6.6, proto=https', PROXY],
    ['by="a, for=6.6.6.6";for=192.0.2.7', '192.0.2.7'],
    ['for=192.0.2.7;', '192.0.2.7'],
    [';for=192.0.2.7;;proto=https; ', '192.0.2.7'],
    [',for=192.0.2.7', '192.0.2.7'],
    ['for=6.6.6.6,', PROXY],
    ['', PROXY],
    [String.raw`by="\"";for="192.0.2\.7"`, '192.0.2.7'],
  ]
  for (const [header, client] of rows) assert.equal(clientOf(null, header), client, header)
})

test('a Forwarded that a client left open is refused, not read across the entry of the proxy', () => {
  const headers = ['for="6.6.6.6, for=192.0.2.7', 'for="a, for="[2001:db8::7]"', 'for', 'for=', 'x y=1', 'for=1 x']
  for (const header of headers) assert.throws(() => clientOf(null, header), ForwardedError, header)
})

test('two headers must name one client', () => {
  assert.equal(clientOf('6.6.6.6, 192.0.2.7', 'for=192.0.2.7'), '192.0.2.7')
  for (const [list, header] of [
    ['192.0.2.7', 'for=6.6.6.6'],
    ['6.6.6.6', 'for=192.0.2.7'],
    ['192.0.2.7', 'for=unknown'],
  ] as const)
    assert.throws(() => clientOf(list, header), /name two clients/)
})

test('headers of a peer that is not trusted are ignored, whatever they contain', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (list, header) => {
      assert.equal(clientOf(list, header, '192.0.2.9'), '192.0.2.9')
    }),
  )
  assert.equal(clientOf('6.6.6.6', null, ''), '')
})

test('any headers of a proxy give an address or a ForwardedError', () => {
  const list = fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string())).map((entries) => entries.join(','))
  fc.assert(
    fc.property(list, fc.option(fc.string()), (xForwardedFor, forwarded) => {
      try {
        const client = clientOf(xForwardedFor, forwarded)
        assert.equal(canonicalAddress(client), client)
      } catch (error) {
        assert.ok(error instanceof ForwardedError)
      }
    }),
  )
})

test('networks contain addresses in any form', () => {
  const rows: [list: string, address: string, isContained: boolean][] = [
    ['', '127.0.0.1', false],
    [' , ', '127.0.0.1', false],
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.1.2.3/8', '10.9.9.9', true],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['192.0.2.7', '::ffff:192.0.2.7', true],
    ['::ffff:10.0.0.0/104', '10.1.1.1', true],
    ['::ffff:192.0.2.7', '192.0.2.7', true],
    ['::ffff:192.0.2.7', '192.0.2.8', false],
    ['fd00::/8', 'fdff::1', true],
    ['fd00::/8', 'fe80::1', false],
    ['::1', '::1', true],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['0.0.0.0/0', '1.2.3.4', true],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '2001:db8::7', true],
    ['10.0.0.0/8', '', false],
    ['10.0.0.0/8', 'localhost', false],
  ]
  for (const [list, address, isContained] of rows)
    assert.equal(networkFilter(list)(address), isContained, `${list} ${address}`)
  for (const list of [
    'x',
    '10.0.0.0/33',
    '10.0.0/8',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '::ffff:10.0.0.0/8',
    'fe80::1%eth0',
    '10.0.0.0/8,x',
  ])
    assert.throws(() => networkFilter(list), NetworkError, list)
})

test('addresses have one form, and IPv6 ones are in brackets before a port', () => {
  const rows: [text: string | null | undefined, canonical: string][] = [
    ['192.0.2.7', '192.0.2.7'],
    ['::FFFF:192.0.2.7', '192.0.2.7'],
    ['::ffff:c000:207', '192.0.2.7'],
    ['2001:DB8:0:0::7', '2001:db8::7'],
    ['fe80::1%eth0', 'fe80::1'],
    ['010.0.0.1', ''],
    ['game.example', ''],
    ['', ''],
    [null, ''],
    [undefined, ''],
  ]
  for (const [text, canonical] of rows) assert.equal(canonicalAddress(text), canonical, String(text))
  assert.equal(hostAndPort('::1', 80), '[::1]:80')
  assert.equal(hostAndPort('127.0.0.1', 80), '127.0.0.1:80')
  assert.equal(hostAndPort('game.example', 80), 'game.example:80')
})
