// Resume tokens: what was signed comes back, anything else grants nothing, and no damage throws.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import { openGrant, sealGrant, type Grant, type Seal } from '../../edge/token.ts'

const sealOf = (secret: string): Seal => ({
  sign: (bytes) => new Uint8Array(createHmac('sha256', secret).update(bytes).digest()),
})
const seal = sealOf('the secret of the tests')
const slow: Seal = { sign: async (bytes) => seal.sign(bytes) }
const NOW = 1_700_000_000_000

const grant: Grant = {
  session: Uint8Array.from({ length: 16 }, (_, i) => i),
  generation: 7,
  expires: NOW / 1_000 + 60,
  uid: 'ada',
  epoch: 3,
  keys: new Map([
    ['player', 'ada'],
    ['guild', 'ü'],
  ]),
  wasNobody: true,
}

test('a token grants what was sealed, whether its seal takes its time or not', async () => {
  const token = sealGrant(seal, grant) as Uint8Array
  assert.deepEqual(openGrant(seal, token, NOW), grant)
  assert.deepEqual(await sealGrant(slow, grant), token)
  assert.deepEqual(await openGrant(slow, token, NOW), grant)
})

test('an expired token, and one under another secret, grant nothing', () => {
  const token = sealGrant(seal, grant) as Uint8Array
  assert.equal(openGrant(seal, token, NOW + 60_000), null)
  assert.notEqual(openGrant(seal, token, NOW + 59_999), null)
  assert.equal(openGrant(sealOf('another'), token, NOW), null)
})

test('every bent bit and every cut of a token grants nothing', () => {
  const token = sealGrant(seal, grant) as Uint8Array
  for (let size = 0; size < token.length; size++)
    assert.equal(openGrant(seal, token.subarray(0, size), NOW), null, `cut at ${size}`)
  for (let bit = 0; bit < token.length * 8; bit++) {
    const bent = token.slice()
    bent[bit >> 3]! ^= 1 << (bit & 7)
    assert.equal(openGrant(seal, bent, NOW), null, `bit ${bit}`)
  }
})

test('bytes that are signed and no grant are refused without a throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const body = Uint8Array.of(1, ...bytes)
      const token = Uint8Array.of(...body, ...(seal.sign(body) as Uint8Array))
      const found = openGrant(seal, token, NOW) as Grant | null
      assert.ok(found === null || found.session.length === 16)
    }),
  )
})
