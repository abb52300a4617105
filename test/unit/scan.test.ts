// Bodies that the MessagePack scan accepts and rejects: tables of hex, every prefix, random bytes. The hostile rows are attacks on
// msgpackr 2.1.3.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { InputError } from '../../core/wire/errors.ts'
import { scanMsgpack } from '../../core/wire/scan.ts'
import { sharedReferences } from '../support/msgpackbomb.ts'

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const times = (count: number, hex: string): string => hex.repeat(count)

const accepted: [what: string, hex: string][] = [
  ['a positive fixint', '7f'],
  ['a negative fixint', 'e0'],
  ['nil', 'c0'],
  ['false and true', '92 c2 c3'],
  [
    'every width of number',
    '9a ca00000000 cb0000000000000000 cc00 cd0000 ce00000000 cf0000000000000000 d000 d10000 d200000000 d30000000000000000',
  ],
  ['every width of string', '94 a161 d90161 da000161 db0000000161'],
  ['every width of binary', '93 c40161 c5000161 c60000000161'],
  ['every width of array', '93 90 dc0000 dd00000000'],
  ['every width of map', '93 80 de0000 df00000000'],
  ['a map of a map', '81 a161 81 a162 c0'],
  ['a key in every string width', '84 a161 00 d90162 00 da000163 00 db0000000164 00'],
  ['a key that only begins like __proto__', '81 a95f5f70726f746f5f21 00'],
  ['the text __proto__ as a value', '81 a161 a95f5f70726f746f5f5f'],
  ['a timestamp of 4 bytes', 'd6 ff 00000001'],
  ['a timestamp of 8 bytes', 'd7 ff ee6b27fc 00000001'],
  ['a timestamp of 12 bytes before 1970', 'c7 0c ff 3b9ac9ff ffffffffffffffff'],
  ['32 nested arrays', times(31, '91') + '90'],
  ['32 arrays around a number', times(32, '91') + '00'],
  ['4096 items', 'dc1000' + times(4096, '00')],
]

const rejected: [what: string, hex: string, why: RegExp][] = [
  ['an empty body', '', /ends too early, at byte 0/],
  ['a number without its bytes', 'cd 00', /ends too early|declares/],
  ['an array of 2^32-1', 'dd ffffffff', /declares 4294967295 items where 0 bytes/],
  ['a map of 2^32-1', 'df ffffffff', /declares 4294967295 items where 0 bytes/],
  ['a string of 2^32-1', 'db ffffffff', /declares 4294967295 bytes/],
  ['a binary of 2^32-1', 'c6 ffffffff', /declares 4294967295 bytes/],
  ['an extension of 2^32-1', 'c9 ffffffff', /declares 4294967296 bytes/],
  ['2000 arrays of 65535 each', times(2000, 'dcffff'), /declares 65535 items/],
  ['33 nested arrays', times(32, '91') + '90', /deeper than 32, at byte 32/],
  ['33 nested maps', times(33, '81a161') + 'c0', /deeper than 32/],
  ['1000 nested arrays', times(1000, '91') + 'c0', /deeper than 32/],
  ['8 million nested arrays', times(8_000_000, '91'), /deeper than 32/],
  ['a key __proto__', '81 a95f5f70726f746f5f5f 00', /key __proto__, at byte 1/],
  ['a key __proto__ as str 8', '81 d9095f5f70726f746f5f5f 00', /key __proto__/],
  ['a number as key', '81 01 c0', /key that is not a string, at byte 1/],
  ['nil as key', '81 c0 c0', /key that is not a string/],
  ['a binary as key', '81 c40161 c0', /key that is not a string/],
  ['an empty array as key', '81 90 c0', /key that is not a string/],
  ['a map as key', '81 81a16100 c0', /key that is not a string/],
  ['a number as second key', '82 a161 c0 01 c0', /key that is not a string/],
  ['pointer 0x70 as key (CVE-2023-52079)', '81 d67000000001 c0', /extension 112/],
  ['a shared-reference bomb', sharedReferences(), /extension 105/],
  ['a shared-reference bomb and a trailing byte', sharedReferences() + '00', /extension 105/],
  ['a byte after the value', '80 00', /1 bytes after its value, at byte 1/],
  ['1 MB of empty maps and a byte', 'dd000fffff' + times(0xfffff, '80') + '00', /more than 4096 items/],
  ['4097 items', 'dc1001' + times(4097, '00'), /more than 4096 items/],
  ['4097 items in small arrays', 'dc03e8' + times(1000, '9400000000'), /more than 4096 items/],
  ['64 KiB of empty maps', 'dcfff0' + times(0xfff0, '80'), /more than 4096 items/],
  ['record 0x72', 'd4 72 40 91 a161 01', /extension 114/],
  ['record 0x72 with two bytes', 'd5 72 4000 91 a161 01', /extension 114/],
  ['RegExp 0x78', 'd4 78 00 92 a161 a0', /extension 120/],
  ['Error 0x65', 'd4 65 00 93 a545 72726f72 a0 c0', /extension 101/],
  ['Set 0x73', 'd4 73 00 90', /extension 115/],
  ['a typed array 0x74', 'd5 74 00 00', /extension 116/],
  ['BigInt 0x42', 'd7 42 0102030405060708', /extension 66/],
  ['bundled strings 0x62', 'd6 62 00000000', /extension 98/],
  ['undefined as extension 0', 'd4 00 00', /extension 0/],
  ['extension of 16', 'd8 01' + times(16, '00'), /extension 1 of 16/],
  ['extension 16', 'c8 0001 01 00', /extension 1 of 1/],
  ['the unused byte', 'c1', /0xc1/],
  ['the unused byte in an array', '91 c1', /0xc1, at byte 1/],
  ['a timestamp of 1 byte', 'd4 ff 00', /extension 255 of 1/],
  ['a timestamp of 5 bytes', 'c7 05 ff 0000000000', /extension 255 of 5/],
  ['a timestamp of 10^9 ns', 'd7 ff ee6b2800 00000001', /nanoseconds/],
  ['a timestamp of the year 275761', 'c7 0c ff 00000000 000007dba8218000', /out of range/],
  ['a timestamp long before all years', 'c7 0c ff 00000000 8000000000000000', /out of range/],
]

for (const [what, hex] of accepted) {
  test(`accepts ${what}`, () => scanMsgpack(bytes(hex)))
}

for (const [what, hex, why] of rejected) {
  test(`rejects ${what}`, () => {
    assert.throws(
      () => scanMsgpack(bytes(hex)),
      (error) => error instanceof InputError && why.test(error.message) && error.message.length < 120,
    )
  })
}

test('rejects every prefix of every accepted body', () => {
  for (const [what, hex] of accepted) {
    const body = bytes(hex)
    const step = body.length > 500 ? 97 : 1
    for (let end = 0; end < body.length; end += step)
      assert.throws(() => scanMsgpack(body.subarray(0, end)), InputError, `${what}, ${end} bytes`)
  }
})

test('rejects every accepted body with an additional byte', () => {
  for (const [what, hex] of accepted) assert.throws(() => scanMsgpack(bytes(`${hex}00`)), InputError, what)
})

test('applies the given limits, up to a depth of 256', () => {
  const nested = (depth: number): Uint8Array => bytes(times(depth - 1, '91') + '90')
  scanMsgpack(bytes('920000'), { depth: 1, items: 2 })
  assert.throws(() => scanMsgpack(bytes('93000000'), { depth: 1, items: 2 }), /more than 2 items/)
  assert.throws(() => scanMsgpack(nested(2), { depth: 1, items: 9 }), /deeper than 1,/)
  scanMsgpack(nested(256), { depth: 999, items: 999 })
  assert.throws(() => scanMsgpack(nested(257), { depth: 999, items: 999 }), /deeper than 256,/)
})

test('a rejected body does not affect the next scan', () => {
  for (let i = 0; i < 3; i++) {
    assert.throws(() => scanMsgpack(bytes('81a161')), InputError)
    scanMsgpack(bytes('9101'))
  }
})

test('reads nothing beyond its view of a larger buffer', () => {
  const whole = bytes('a26869 a3')
  scanMsgpack(whole.subarray(0, 3))
  assert.throws(() => scanMsgpack(whole.subarray(3)), /declares 3 bytes where 0 are left/)
})

test('random bytes and flipped bytes throw InputError or nothing', () => {
  const scanOrReject = (body: Uint8Array): void => {
    try {
      scanMsgpack(body)
    } catch (error) {
      if (!(error instanceof InputError)) throw error
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), scanOrReject), { seed: 1, numRuns: 5_000 })
  for (const [, hex] of accepted) {
    const body = bytes(hex)
    if (body.length > 500) continue
    for (let at = 0; at < body.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = body.slice()
        flipped[at] = (body[at] as number) ^ (1 << bit)
        scanOrReject(flipped)
      }
    }
  }
})
