// Resume tokens: signed claims are returned, any other token grants nothing, and no damage throws.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import { verifyResumeToken, signResumeToken, type ResumeClaims, type TokenSigner } from '../../edge/gateway/token.ts'

const signerOf = (secret: string): TokenSigner => ({
  sign: (bytes) => new Uint8Array(createHmac('sha256', secret).update(bytes).digest()),
})
const signer = signerOf('the secret of the tests')
const asyncSigner: TokenSigner = { sign: async (bytes) => signer.sign(bytes) }
const NOW = 1_700_000_000_000

const claims: ResumeClaims = {
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

test('returns the signed claims, with a synchronous and an asynchronous signer', async () => {
  const token = signResumeToken(signer, claims) as Uint8Array
  assert.deepEqual(verifyResumeToken(signer, token, NOW), claims)
  assert.deepEqual(await signResumeToken(asyncSigner, claims), token)
  assert.deepEqual(await verifyResumeToken(asyncSigner, token, NOW), claims)
})

test('rejects an expired token, and one that was signed with another secret', () => {
  const token = signResumeToken(signer, claims) as Uint8Array
  assert.equal(verifyResumeToken(signer, token, NOW + 60_000), null)
  assert.notEqual(verifyResumeToken(signer, token, NOW + 59_999), null)
  assert.equal(verifyResumeToken(signerOf('another'), token, NOW), null)
})

test('rejects a token with any flipped bit or any truncation', () => {
  const token = signResumeToken(signer, claims) as Uint8Array
  for (let size = 0; size < token.length; size++)
    assert.equal(verifyResumeToken(signer, token.subarray(0, size), NOW), null, `${size} bytes`)
  for (let bit = 0; bit < token.length * 8; bit++) {
    const flipped = token.slice()
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    assert.equal(verifyResumeToken(signer, flipped, NOW), null, `bit ${bit}`)
  }
})

test('rejects signed bytes that are not claims, without throwing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const body = Uint8Array.of(1, ...bytes)
      const token = Uint8Array.of(...body, ...(signer.sign(body) as Uint8Array))
      const decoded = verifyResumeToken(signer, token, NOW) as ResumeClaims | null
      assert.ok(decoded === null || decoded.session.length === 16)
    }),
  )
})
