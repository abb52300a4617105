// Resume tokens: what was signed comes back, anything else grants nothing, and no damage throws.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import {
  verifyResumeToken,
  signResumeToken,
  type ResumeClaims,
  type TokenSigner,
} from '../../edge/gateway/token.ts'

const sealOf = (secret: string): TokenSigner => ({
  sign: (bytes) => new Uint8Array(createHmac('sha256', secret).update(bytes).digest()),
})
const seal = sealOf('the secret of the tests')
const slow: TokenSigner = { sign: async (bytes) => seal.sign(bytes) }
const NOW = 1_700_000_000_000

const grant: ResumeClaims = {
  session: Uint8Array.from({ length: 16 }, (_, i) => i),
  generation: 7,
  expiresSeconds: NOW / 1_000 + 60,
  uid: 'ada',
  epoch: 3,
  boundKeys: new Map([
    ['player', 'ada'],
    ['guild', 'ü'],
  ]),
  hasAnonymousTokens: true,
}

test('a token grants what was sealed, whether its seal takes its time or not', async () => {
  const token = signResumeToken(seal, grant) as Uint8Array
  assert.deepEqual(verifyResumeToken(seal, token, NOW), grant)
  assert.deepEqual(await signResumeToken(slow, grant), token)
  assert.deepEqual(await verifyResumeToken(slow, token, NOW), grant)
})

test('an expired token, and one under another secret, grant nothing', () => {
  const token = signResumeToken(seal, grant) as Uint8Array
  assert.equal(verifyResumeToken(seal, token, NOW + 60_000), null)
  assert.notEqual(verifyResumeToken(seal, token, NOW + 59_999), null)
  assert.equal(verifyResumeToken(sealOf('another'), token, NOW), null)
})

test('every bent bit and every cut of a token grants nothing', () => {
  const token = signResumeToken(seal, grant) as Uint8Array
  for (let size = 0; size < token.length; size++)
    assert.equal(verifyResumeToken(seal, token.subarray(0, size), NOW), null, `cut at ${size}`)
  for (let bit = 0; bit < token.length * 8; bit++) {
    const bent = token.slice()
    bent[bit >> 3]! ^= 1 << (bit & 7)
    assert.equal(verifyResumeToken(seal, bent, NOW), null, `bit ${bit}`)
  }
})

test('bytes that are signed and no grant are refused without a throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const body = Uint8Array.of(1, ...bytes)
      const token = Uint8Array.of(...body, ...(seal.sign(body) as Uint8Array))
      const found = verifyResumeToken(seal, token, NOW) as ResumeClaims | null
      assert.ok(found === null || found.session.length === 16)
    }),
  )
})
