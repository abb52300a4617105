// The census of connections: its three bounds, what leaves, and whom an address counts for.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import {
  addressKey,
  ConnectionLimiter,
  type ConnectionPermit,
  type ConnectionRejection,
} from '../../edge/gateway/connectionlimiter.ts'

const LIMITS = { maxConnections: 10, maxPerAddress: 3, maxPerLoopback: 6, maxUnproven: 5 }

function assertAdmitted(result: ConnectionPermit | ConnectionRejection): ConnectionPermit {
  assert.equal(result.reason, null)
  return result
}

test('an address keys as its IPv4 address, its /64, or a word', () => {
  const table: readonly (readonly [string, string])[] = [
    ['203.0.113.7', '203.0.113.7'],
    ['0.0.0.0', '0.0.0.0'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::FFFF:203.0.113.7', '203.0.113.7'],
    ['::ffff:cb00:7107', '203.0.113.7'],
    ['0:0:0:0:0:ffff:cb00:7107', '203.0.113.7'],
    ['0000:0000:0000:0000:0000:FFFF:203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::ffff', '2001:db8:1:2::/64'],
    ['2001:db8:1:3::1', '2001:db8:1:3::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8::2:3:4:5', '2001:db8:0:0::/64'],
    ['2001::2:3:4:5:6', '2001:0:0:2::/64'],
    ['::2:3:4:5:6:7:8', '0:2:3:4::/64'],
    ['1:2:3:4:5:6:7::', '1:2:3:4::/64'],
    ['2001:db8:1:2:3:4:192.0.2.1', '2001:db8:1:2::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['fe80::2%25wlan0', 'fe80:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['127.0.0.1', 'loopback'],
    ['127.255.0.9', 'loopback'],
    ['::1', 'loopback'],
    ['0:0:0:0:0:0:0:1', 'loopback'],
    ['::1%lo', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
  ]
  for (const [address, key] of table) assert.equal(addressKey(address), key, address)
})

test('what is no address is one key', () => {
  const table = [
    '',
    ' ',
    'localhost',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4 ',
    '1.2.3.-4',
    '1..3.4',
    '1.2.3.4:80',
    '[::1]',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '12345::',
    'g::1',
    ':1::',
    '1.2.3.4::',
    '::1.2.3',
    '::ffff:1.2.3.999',
    '::1.2.3.4:5',
    '%eth0',
    `::1${'0'.repeat(100)}`,
  ]
  for (const address of table) assert.equal(addressKey(address), 'unknown', address)
})

test('any spelling of an IPv6 address has the same key', () => {
  const group = fc.integer({ min: 0, max: 0xffff })
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), fc.boolean(), (groups, upper) => {
      const plain = groups.map((one) => one.toString(16)).join(':')
      const padded = groups.map((one) => one.toString(16).padStart(4, '0')).join(':')
      const short = new URL(`http://[${plain}]/`).hostname.slice(1, -1)
      const key = addressKey(plain)
      assert.notEqual(key, 'unknown')
      assert.equal(addressKey(upper ? padded.toUpperCase() : padded), key)
      assert.equal(addressKey(short), key)
    }),
  )
})

test('any text at all has a key', () => {
  fc.assert(fc.property(fc.string({ maxLength: 60 }), (text) => addressKey(text).length > 0))
})

test('one address holds only so many, the neighbours are not hurt', () => {
  const census = new ConnectionLimiter(LIMITS)
  const mine = [1, 2, 3].map((host) => assertAdmitted(census.admit(`2001:db8::${host}`)))
  for (const one of mine) one.markAuthenticated()
  const refused = census.admit('2001:db8::4')
  assert.equal(refused.reason, 'address')
  assert.equal(refused.message, '3 connections of this address stand, at most 3 may')
  assertAdmitted(census.admit('2001:db8:0:1::4'))
  mine[0]!.release()
  assertAdmitted(census.admit('2001:db8::4'))
  assert.deepEqual(census.rejections, { total: 0, address: 1, unproven: 0 })
})

test('loopback and the unknown have a bound of their own', () => {
  for (const address of ['127.0.0.1', '']) {
    const census = new ConnectionLimiter(LIMITS)
    for (let i = 0; i < 6; i++) assertAdmitted(census.admit(address)).markAuthenticated()
    assert.equal(census.admit(address).reason, 'address')
  }
})

test('connections without a first message are bounded until they prove themselves or leave', () => {
  const census = new ConnectionLimiter(LIMITS)
  const standing = Array.from({ length: 5 }, (_, i) => assertAdmitted(census.admit(`192.0.2.${i}`)))
  assert.equal(census.unauthenticated, 5)
  assert.equal(census.admit('192.0.2.9').reason, 'unproven')
  standing[0]!.markAuthenticated()
  standing.push(assertAdmitted(census.admit('192.0.2.9')))
  assert.equal(census.admit('192.0.2.10').reason, 'unproven')
  standing[1]!.release()
  assertAdmitted(census.admit('192.0.2.10'))
  assert.deepEqual(census.rejections, { total: 0, address: 0, unproven: 2 })
})

test('connections in all are bounded', () => {
  const census = new ConnectionLimiter(LIMITS)
  const standing = Array.from({ length: 10 }, (_, i) => {
    const entry = assertAdmitted(census.admit(`192.0.2.${i}`))
    entry.markAuthenticated()
    return entry
  })
  const refused = census.admit('192.0.2.99')
  assert.equal(refused.reason, 'total')
  assert.equal(refused.message, '10 connections stand, at most 10 may')
  standing[9]!.release()
  assertAdmitted(census.admit('192.0.2.99'))
})

test('proving and leaving twice counts once', () => {
  const census = new ConnectionLimiter(LIMITS)
  const first = assertAdmitted(census.admit('192.0.2.1'))
  assertAdmitted(census.admit('192.0.2.1'))
  first.markAuthenticated()
  first.markAuthenticated()
  assert.equal(census.unauthenticated, 1)
  first.release()
  first.release()
  first.markAuthenticated()
  assert.deepEqual([census.openConnections, census.unauthenticated, census.addressCount], [1, 1, 1])
})

test('what is refused changes nothing but its counter', () => {
  const census = new ConnectionLimiter({ ...LIMITS, maxUnproven: 0 })
  assert.equal(census.admit('192.0.2.1').reason, 'unproven')
  assert.deepEqual([census.openConnections, census.unauthenticated, census.addressCount], [0, 0, 0])
})

test('when all have left nothing is remembered, in any order of comings and goings', () => {
  const step = fc.record({ address: fc.integer({ min: 0, max: 4 }), what: fc.integer({ min: 0, max: 2 }) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const census = new ConnectionLimiter(LIMITS)
      let standing: ConnectionPermit[] = []
      for (const { address, what } of steps) {
        if (what > 0 && standing.length > 0) {
          const entry = standing[address % standing.length]!
          if (what === 1) entry.markAuthenticated()
          else {
            entry.release()
            standing = standing.filter((one) => one !== entry)
          }
        } else {
          const result = census.admit(`192.0.2.${address}`)
          if (result.reason === null) standing.push(result)
        }
        assert.equal(census.openConnections, standing.length)
        assert.ok(
          census.openConnections <= 10 &&
            census.unauthenticated <= 5 &&
            census.unauthenticated <= census.openConnections,
        )
      }
      for (const entry of standing) entry.release()
      assert.deepEqual([census.openConnections, census.unauthenticated, census.addressCount], [0, 0, 0])
    }),
  )
})

test('the default limits let a crowd in behind a proxy of this machine', () => {
  const census = new ConnectionLimiter(DEFAULT_LIMITS)
  for (let i = 0; i < DEFAULT_LIMITS.maxConnections; i++)
    assertAdmitted(census.admit('127.0.0.1')).markAuthenticated()
  assert.equal(census.admit('127.0.0.1').reason, 'total')
})
