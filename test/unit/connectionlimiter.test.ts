// The connection limiter: its three limits, release of permits, and the group that an address counts for.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { addressKey } from '../../edge/gateway/address.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import {
  ConnectionLimiter,
  type ConnectionPermit,
  type ConnectionRejection,
} from '../../edge/gateway/connectionlimiter.ts'

const LIMITS = { maxConnections: 10, maxPerAddress: 3, maxPerLoopback: 6, maxUnproven: 5 }

function assertAdmitted(result: ConnectionPermit | ConnectionRejection): ConnectionPermit {
  assert.equal(result.reason, null)
  return result
}

test('maps an address to its IPv4 address, its /64 network, or loopback', () => {
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

test('maps text that is not an address to one key', () => {
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

test('maps every spelling of an IPv6 address to the same key', () => {
  const group = fc.integer({ min: 0, max: 0xffff })
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), fc.boolean(), (groups, upper) => {
      const plain = groups.map((part) => part.toString(16)).join(':')
      const padded = groups.map((part) => part.toString(16).padStart(4, '0')).join(':')
      const short = new URL(`http://[${plain}]/`).hostname.slice(1, -1)
      const key = addressKey(plain)
      assert.notEqual(key, 'unknown')
      assert.equal(addressKey(upper ? padded.toUpperCase() : padded), key)
      assert.equal(addressKey(short), key)
    }),
  )
})

test('maps any text to a key', () => {
  fc.assert(fc.property(fc.string({ maxLength: 60 }), (text) => addressKey(text).length > 0))
})

test('limits the connections of one address without affecting others', () => {
  const limiter = new ConnectionLimiter(LIMITS)
  const permits = [1, 2, 3].map((host) => assertAdmitted(limiter.admit(`2001:db8::${host}`)))
  for (const permit of permits) permit.markAuthenticated()
  const rejected = limiter.admit('2001:db8::4')
  assert.equal(rejected.reason, 'address')
  assert.equal(rejected.message, '3 connections of this address reach the limit of 3')
  assertAdmitted(limiter.admit('2001:db8:0:1::4'))
  permits[0]!.release()
  assertAdmitted(limiter.admit('2001:db8::4'))
  assert.deepEqual(limiter.counts.rejections, { total: 0, address: 1, unproven: 0 })
})

test('limits loopback and unknown addresses separately', () => {
  for (const address of ['127.0.0.1', '']) {
    const limiter = new ConnectionLimiter(LIMITS)
    for (let i = 0; i < 6; i++) assertAdmitted(limiter.admit(address)).markAuthenticated()
    assert.equal(limiter.admit(address).reason, 'address')
  }
})

test('limits unauthenticated connections until they authenticate or close', () => {
  const limiter = new ConnectionLimiter(LIMITS)
  const open = Array.from({ length: 5 }, (_, i) => assertAdmitted(limiter.admit(`192.0.2.${i}`)))
  assert.equal(limiter.counts.unauthenticated, 5)
  assert.equal(limiter.admit('192.0.2.9').reason, 'unproven')
  open[0]!.markAuthenticated()
  open.push(assertAdmitted(limiter.admit('192.0.2.9')))
  assert.equal(limiter.admit('192.0.2.10').reason, 'unproven')
  open[1]!.release()
  assertAdmitted(limiter.admit('192.0.2.10'))
  assert.deepEqual(limiter.counts.rejections, { total: 0, address: 0, unproven: 2 })
})

test('limits the total number of connections', () => {
  const limiter = new ConnectionLimiter(LIMITS)
  const open = Array.from({ length: 10 }, (_, i) => {
    const permit = assertAdmitted(limiter.admit(`192.0.2.${i}`))
    permit.markAuthenticated()
    return permit
  })
  const rejected = limiter.admit('192.0.2.99')
  assert.equal(rejected.reason, 'total')
  assert.equal(rejected.message, '10 connections reach the limit of 10')
  open[9]!.release()
  assertAdmitted(limiter.admit('192.0.2.99'))
})

test('counts a repeated authentication or release once', () => {
  const limiter = new ConnectionLimiter(LIMITS)
  const first = assertAdmitted(limiter.admit('192.0.2.1'))
  assertAdmitted(limiter.admit('192.0.2.1'))
  first.markAuthenticated()
  first.markAuthenticated()
  assert.equal(limiter.counts.unauthenticated, 1)
  first.release()
  first.release()
  first.markAuthenticated()
  assert.deepEqual([limiter.counts.open, limiter.counts.unauthenticated, limiter.addressCount], [1, 1, 1])
})

test('changes only the rejection counter when it rejects a connection', () => {
  const limiter = new ConnectionLimiter({ ...LIMITS, maxUnproven: 0 })
  assert.equal(limiter.admit('192.0.2.1').reason, 'unproven')
  assert.deepEqual([limiter.counts.open, limiter.counts.unauthenticated, limiter.addressCount], [0, 0, 0])
})

test('stores nothing when all connections have closed, in any order of steps', () => {
  const step = fc.record({ address: fc.integer({ min: 0, max: 4 }), action: fc.integer({ min: 0, max: 2 }) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const limiter = new ConnectionLimiter(LIMITS)
      let open: ConnectionPermit[] = []
      for (const { address, action } of steps) {
        if (action > 0 && open.length > 0) {
          const permit = open[address % open.length]!
          if (action === 1) permit.markAuthenticated()
          else {
            permit.release()
            open = open.filter((other) => other !== permit)
          }
        } else {
          const result = limiter.admit(`192.0.2.${address}`)
          if (result.reason === null) open.push(result)
        }
        assert.equal(limiter.counts.open, open.length)
        assert.ok(
          limiter.counts.open <= 10 &&
            limiter.counts.unauthenticated <= 5 &&
            limiter.counts.unauthenticated <= limiter.counts.open,
        )
      }
      for (const permit of open) permit.release()
      assert.deepEqual([limiter.counts.open, limiter.counts.unauthenticated, limiter.addressCount], [0, 0, 0])
    }),
  )
})

test('admits as many connections of a local proxy as in total, with the default limits', () => {
  const limiter = new ConnectionLimiter(DEFAULT_LIMITS)
  for (let i = 0; i < DEFAULT_LIMITS.maxConnections; i++) assertAdmitted(limiter.admit('127.0.0.1')).markAuthenticated()
  assert.equal(limiter.admit('127.0.0.1').reason, 'total')
})
