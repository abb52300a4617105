// Login tickets: what is taken, and every claim that is refused.

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
  assertRefused,
  sign,
  signText,
  verify,
} from './ticketfixture.ts'

test('a ticket of either kind of key tells who it is', async () => {
  const expected = { uid: 'player-7', jti: '', expiresMs: NOW_MS + 65_000 }
  assert.deepEqual(await verify(await sign(VALID_CLAIMS)), expected)
  for (const alg of ['EdDSA', 'Ed25519']) {
    assert.deepEqual(
      await verify(await sign(VALID_CLAIMS, keyPair.privateKey, { alg }), { keys: [EDDSA] }),
      expected,
    )
  }
})

test('any uid of 1 to 120 bytes is taken as it is', async () => {
  for (const sub of ['a', 'x'.repeat(120), 'é'.repeat(60), 'two words', '玩家', '__proto__', '😀']) {
    assert.equal((await verify(await sign({ ...VALID_CLAIMS, sub }))).uid, sub)
  }
})

test('what is no uid is refused', async () => {
  for (const sub of [
    '',
    'x'.repeat(121),
    'é'.repeat(61),
    ' a',
    'a ',
    'a\u00a0',
    'a\nb',
    'a\0',
    '\u007f',
    '\u0085x',
  ]) {
    await assertRefused(await sign({ ...VALID_CLAIMS, sub }), /claim sub is no uid/)
  }
  await assertRefused(
    await signText('{"alg":"HS256"}', `{"sub":"\\ud800","exp":${NOW + 60}}`),
    /claim sub is no uid/,
  )
  for (const sub of ['7', 'null', '["a"]', '{}', 'true']) {
    await assertRefused(
      await signText('{"alg":"HS256"}', `{"sub":${sub},"exp":${NOW + 60}}`),
      /claim sub is no uid/,
    )
  }
  await assertRefused(await sign({ exp: NOW + 60 }), /claim sub is missing/)
})

test('a ticket ends at exp and the clock tolerance, and says so', async () => {
  const clock = new ManualClock()
  const ticket = await sign(VALID_CLAIMS)
  const { expiresMs } = await verify(ticket, {}, clock)
  clock.advance(expiresMs - NOW_MS - 1)
  await verify(ticket, {}, clock)
  clock.advance(1)
  await assert.rejects(verify(ticket, {}, clock), /claim exp is over/)
})

test('the end that a ticket is told to have is its end, whatever its exp and the tolerance', async () => {
  const one = fc.record({
    exp: fc.double({ min: NOW + 1, max: NOW + 100, noNaN: true }),
    clockToleranceMs: fc.integer({ min: 0, max: 20_000 }),
  })
  await fc.assert(
    fc.asyncProperty(one, async ({ exp, clockToleranceMs }) => {
      const ticket = await sign({ ...VALID_CLAIMS, exp })
      const { expiresMs } = await verify(ticket, { clockToleranceMs })
      await verify(ticket, { clockToleranceMs }, new ManualClock(1, expiresMs - 1))
      await assert.rejects(verify(ticket, { clockToleranceMs }, new ManualClock(1, expiresMs)), /exp is over/)
    }),
    { numRuns: 50 },
  )
})

test('a ticket without an end, or with one that is no date, is refused', async () => {
  await assertRefused(await sign({ sub: 'a' }), /claim exp is missing/)
  for (const exp of ['"2099"', 'null', 'true', '[1]']) {
    await assertRefused(
      await signText('{"alg":"HS256"}', `{"sub":"a","exp":${exp}}`),
      /claim exp has the wrong type/,
    )
  }
  for (const exp of ['1e400', '1e300', '9007199254740993']) {
    await assertRefused(await signText('{"alg":"HS256"}', `{"sub":"a","exp":${exp}}`), /claim exp is no date/)
  }
  await assertRefused(await sign({ ...VALID_CLAIMS, exp: NOW - 5 }), /claim exp is over/)
  await verify(await sign({ ...VALID_CLAIMS, exp: NOW - 4 }))
  await assertRefused(await sign({ ...VALID_CLAIMS, exp: NOW }), /claim exp is over/, { clockToleranceMs: 0 })
})

test('a ticket is not good before its nbf', async () => {
  await verify(await sign({ ...VALID_CLAIMS, nbf: NOW + 5 }))
  await assertRefused(await sign({ ...VALID_CLAIMS, nbf: NOW + 6 }), /claim nbf is not reached yet/)
  await assertRefused(
    await signText('{"alg":"HS256"}', `{"sub":"a","exp":${NOW + 9},"nbf":"0"}`),
    /nbf has the wrong type/,
  )
})

test('issuer and audience are demanded where they are set', async () => {
  const options = { issuer: 'https://login.example', audience: 'arena' }
  const claims = { ...VALID_CLAIMS, iss: 'https://login.example', aud: 'arena' }
  await verify(await sign(claims), options)
  await verify(await sign({ ...claims, aud: ['forum', 'arena'] }), options)
  await assertRefused(
    await sign({ ...claims, iss: 'https://login.example/' }),
    /claim iss is not as demanded/,
    options,
  )
  await assertRefused(await sign({ ...claims, aud: 'forum' }), /claim aud is not as demanded/, options)
  await assertRefused(await sign({ ...claims, aud: ['forum'] }), /claim aud is not as demanded/, options)
  await assertRefused(await sign({ ...VALID_CLAIMS, aud: 'arena' }), /claim iss is missing/, options)
  await assertRefused(await sign({ ...VALID_CLAIMS, iss: claims.iss }), /claim aud is missing/, options)
})

test('the greatest age is demanded where it is set', async () => {
  const options = { maxAgeMs: 30_000 }
  await verify(await sign({ ...VALID_CLAIMS, iat: NOW - 30 }), options)
  await assertRefused(await sign({ ...VALID_CLAIMS, iat: NOW - 36 }), /claim iat is too old/, options)
  await assertRefused(await sign({ ...VALID_CLAIMS, iat: NOW + 6 }), /claim iat is not as demanded/, options)
  await assertRefused(await sign(VALID_CLAIMS), /claim iat is missing/, options)
})

test('a ticket for one login has a jti and an end within the hour', async () => {
  const once = { once: true }
  const { jti } = await verify(await sign({ ...VALID_CLAIMS, jti: 'a1-B2' }), once)
  assert.equal(jti, 'a1-B2')
  assert.equal((await verify(await sign({ ...VALID_CLAIMS, jti: 'a1-B2' }))).jti, '')
  await verify(await sign({ ...VALID_CLAIMS, jti: 'x'.repeat(64), exp: NOW + 3_605 }), once)
  await assertRefused(
    await sign({ ...VALID_CLAIMS, jti: 'a', exp: NOW + 3_606 }),
    /claim exp is more than 60 minutes ahead/,
    once,
  )
  await assertRefused(await sign(VALID_CLAIMS), /claim jti is missing/, once)
  for (const bad of ['', 'x'.repeat(65), 'a b', 'é', 'a\n']) {
    await assertRefused(
      await sign({ ...VALID_CLAIMS, jti: bad }),
      /claim jti must be 1\.\.64 visible ASCII/,
      once,
    )
  }
  await assertRefused(
    await signText('{"alg":"HS256"}', `{"sub":"a","exp":${NOW + 60},"jti":7}`),
    /claim jti must be/,
    once,
  )
})
