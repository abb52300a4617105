// Login tickets: valid claims, and every claim that is rejected.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { ManualClock } from '../../core/testing/memory.ts'
import {
  EDDSA,
  VALID_CLAIMS,
  NOW,
  NOW_MS,
  keyPair,
  assertRejected,
  sign,
  signText,
  utf8,
  verify,
} from './ticketfixture.ts'

test('returns the claims of a ticket signed with either kind of key', async () => {
  const expected = { uid: 'player-7', jti: '', expiresMs: NOW_MS + 65_000 }
  assert.deepEqual(await verify(await sign(VALID_CLAIMS)), expected)
  for (const alg of ['EdDSA', 'Ed25519']) {
    assert.deepEqual(await verify(await sign(VALID_CLAIMS, keyPair.privateKey, { alg }), { keys: [EDDSA] }), expected)
  }
})

test('accepts any uid of 1 to 120 bytes unchanged', async () => {
  for (const sub of ['a', 'x'.repeat(120), 'é'.repeat(60), 'two words', '玩家', '__proto__', '😀']) {
    assert.equal((await verify(await sign({ ...VALID_CLAIMS, sub }))).uid, sub)
  }
})

test('rejects a sub that is not a uid', async () => {
  for (const sub of ['', 'x'.repeat(121), 'é'.repeat(61), ' a', 'a ', 'a\u00a0', 'a\nb', 'a\0', '\u007f', '\u0085x']) {
    await assertRejected(await sign({ ...VALID_CLAIMS, sub }), /claim sub is not a uid/)
  }
  await assertRejected(
    await signText('{"alg":"HS256"}', `{"sub":"\\ud800","exp":${NOW + 60}}`),
    /claim sub is not a uid/,
  )
  for (const sub of ['7', 'null', '["a"]', '{}', 'true']) {
    await assertRejected(
      await signText('{"alg":"HS256"}', `{"sub":${sub},"exp":${NOW + 60}}`),
      /claim sub is not a uid/,
    )
  }
  await assertRejected(await sign({ exp: NOW + 60 }), /claim sub is missing/)
})

test('rejects a ticket from exp plus the clock tolerance on', async () => {
  const clock = new ManualClock()
  const ticket = await sign(VALID_CLAIMS)
  const { expiresMs } = await verify(ticket, {}, clock)
  clock.advance(expiresMs - NOW_MS - 1)
  await verify(ticket, {}, clock)
  clock.advance(1)
  await assert.rejects(verify(ticket, {}, clock), /claim exp has passed/)
})

test('rejects a ticket exactly from the returned expiresMs on, for any exp and tolerance', async () => {
  const parameters = fc.record({
    exp: fc.double({ min: NOW + 1, max: NOW + 100, noNaN: true }),
    clockToleranceMs: fc.integer({ min: 0, max: 20_000 }),
  })
  await fc.assert(
    fc.asyncProperty(parameters, async ({ exp, clockToleranceMs }) => {
      const ticket = await sign({ ...VALID_CLAIMS, exp })
      const { expiresMs } = await verify(ticket, { clockToleranceMs })
      await verify(ticket, { clockToleranceMs }, new ManualClock(1, expiresMs - 1))
      await assert.rejects(verify(ticket, { clockToleranceMs }, new ManualClock(1, expiresMs)), /exp has passed/)
    }),
    { numRuns: 50 },
  )
})

test('rejects a ticket without exp, or with one that is not a date', async () => {
  await assertRejected(await sign({ sub: 'a' }), /claim exp is missing/)
  for (const exp of ['"2099"', 'null', 'true', '[1]']) {
    await assertRejected(await signText('{"alg":"HS256"}', `{"sub":"a","exp":${exp}}`), /claim exp has the wrong type/)
  }
  for (const exp of ['1e400', '1e300', '9007199254740993']) {
    await assertRejected(await signText('{"alg":"HS256"}', `{"sub":"a","exp":${exp}}`), /claim exp is not a date/)
  }
  await assertRejected(await sign({ ...VALID_CLAIMS, exp: NOW - 5 }), /claim exp has passed/)
  await verify(await sign({ ...VALID_CLAIMS, exp: NOW - 4 }))
  await assertRejected(await sign({ ...VALID_CLAIMS, exp: NOW }), /claim exp has passed/, { clockToleranceMs: 0 })
})

test('rejects a ticket before its nbf', async () => {
  await verify(await sign({ ...VALID_CLAIMS, nbf: NOW + 5 }))
  await assertRejected(await sign({ ...VALID_CLAIMS, nbf: NOW + 6 }), /claim nbf is in the future/)
  await assertRejected(
    await signText('{"alg":"HS256"}', `{"sub":"a","exp":${NOW + 9},"nbf":"0"}`),
    /nbf has the wrong type/,
  )
})

test('rejects times in milliseconds, with that hint', async () => {
  const ms = (claim: string): RegExp =>
    new RegExp(`claim ${claim} must be seconds since 1970, it looks like milliseconds`)
  const optionsRows = [{}, { once: true }, { maxAgeMs: 30_000 }, { clockToleranceMs: 3_600_000 }]
  for (const options of optionsRows) {
    const claims = { ...VALID_CLAIMS, jti: 'a', iat: NOW }
    await verify(await sign(claims), options)
    await assertRejected(await sign({ ...claims, exp: NOW_MS + 60_000 }), ms('exp'), options)
    await assertRejected(await sign({ ...claims, exp: NOW_MS * 1_000 }), ms('exp'), options)
    await assertRejected(await sign({ ...claims, nbf: NOW_MS - 1_000 }), ms('nbf'), options)
    await assertRejected(await sign({ ...claims, iat: NOW_MS }), ms('iat'), options)
  }
  // Only of a ticket that a key has signed.
  await assertRejected(
    await sign({ ...VALID_CLAIMS, exp: NOW_MS }, utf8.encode('x'.repeat(32))),
    /no key of this server/,
  )
})

test('requires the issuer and the audience that are set', async () => {
  const options = { issuer: 'https://login.example', audience: 'arena' }
  const claims = { ...VALID_CLAIMS, iss: 'https://login.example', aud: 'arena' }
  await verify(await sign(claims), options)
  await verify(await sign({ ...claims, aud: ['forum', 'arena'] }), options)
  await assertRejected(
    await sign({ ...claims, iss: 'https://login.example/' }),
    /claim iss has another value than required/,
    options,
  )
  await assertRejected(await sign({ ...claims, aud: 'forum' }), /claim aud has another value than required/, options)
  await assertRejected(await sign({ ...claims, aud: ['forum'] }), /claim aud has another value than required/, options)
  await assertRejected(await sign({ ...VALID_CLAIMS, aud: 'arena' }), /claim iss is missing/, options)
  await assertRejected(await sign({ ...VALID_CLAIMS, iss: claims.iss }), /claim aud is missing/, options)
})

test('requires the maximum age that is set', async () => {
  const options = { maxAgeMs: 30_000 }
  await verify(await sign({ ...VALID_CLAIMS, iat: NOW - 30 }), options)
  await assertRejected(await sign({ ...VALID_CLAIMS, iat: NOW - 36 }), /claim iat is too old/, options)
  await assertRejected(
    await sign({ ...VALID_CLAIMS, iat: NOW + 6 }),
    /claim iat has another value than required/,
    options,
  )
  await assertRejected(await sign(VALID_CLAIMS), /claim iat is missing/, options)
})

test('requires a jti and an exp within the hour for a ticket that is valid once', async () => {
  const once = { once: true }
  const { jti } = await verify(await sign({ ...VALID_CLAIMS, jti: 'a1-B2' }), once)
  assert.equal(jti, 'a1-B2')
  assert.equal((await verify(await sign({ ...VALID_CLAIMS, jti: 'a1-B2' }))).jti, '')
  await verify(await sign({ ...VALID_CLAIMS, jti: 'x'.repeat(64), exp: NOW + 3_605 }), once)
  await assertRejected(
    await sign({ ...VALID_CLAIMS, jti: 'a', exp: NOW + 3_606 }),
    /claim exp is more than 60 minutes ahead/,
    once,
  )
  await assertRejected(await sign(VALID_CLAIMS), /claim jti is missing/, once)
  for (const bad of ['', 'x'.repeat(65), 'a b', 'é', 'a\n']) {
    await assertRejected(await sign({ ...VALID_CLAIMS, jti: bad }), /claim jti must be 1\.\.64 visible ASCII/, once)
  }
  await assertRejected(
    await signText('{"alg":"HS256"}', `{"sub":"a","exp":${NOW + 60},"jti":7}`),
    /claim jti must be/,
    once,
  )
})
