// Login tickets that the studio did not sign, or not in this form: all are rejected.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'
import { exportJWK, generateKeyPair } from 'jose'

import { ManualClock } from '../../core/testing/memory.ts'
import { TicketError, TicketVerifier, type TicketKey } from '../../edge/gateway/ticket.ts'
import {
  base64url,
  EDDSA,
  VALID_CLAIMS,
  HMAC,
  hmacSha256,
  NOW,
  keyPair,
  publicKey,
  assertRejected,
  SECRET,
  sign,
  signText,
  utf8,
  verify,
} from './ticketfixture.ts'

test('rejects a forged signature, whichever byte of the ticket differs', async () => {
  const other = utf8.encode('a secret that this server does not have...')
  await assertRejected(await sign(VALID_CLAIMS, other), /no key of this server signed/)
  const otherPair = await generateKeyPair('EdDSA')
  await assertRejected(await sign(VALID_CLAIMS, otherPair.privateKey, { alg: 'EdDSA' }), /no key of this server/, {
    keys: [EDDSA],
  })
  for (const [ticket, keys] of [
    [await sign(VALID_CLAIMS), [HMAC]],
    [await sign(VALID_CLAIMS, keyPair.privateKey, { alg: 'EdDSA' }), [EDDSA]],
  ] as const) {
    const tickets = new TicketVerifier({ keys }, new ManualClock())
    const bytes = utf8.encode(ticket)
    for (let at = 0; at < bytes.length; at++) {
      for (const bit of [1, 32]) {
        const forged = bytes.slice()
        forged[at]! ^= bit
        await assert.rejects(tickets.verify(forged), TicketError, `byte ${at}, bit ${bit}`)
      }
    }
  }
})

test('rejects every truncation', async () => {
  const tickets = new TicketVerifier({ keys: [HMAC] }, new ManualClock())
  const bytes = utf8.encode(await sign(VALID_CLAIMS))
  for (let length = 0; length < bytes.length; length++) {
    await assert.rejects(tickets.verify(bytes.subarray(0, length)), TicketError, `${length} bytes`)
  }
})

test('does not let a ticket choose its algorithm', async () => {
  const claims = base64url(utf8.encode(JSON.stringify(VALID_CLAIMS)))
  for (const alg of ['none', 'None', 'NONE', 'HS512', 'RS256', 'EdDSA', 'hs256', '__proto__', '']) {
    const header = base64url(utf8.encode(JSON.stringify({ alg })))
    await assertRejected(`${header}.${claims}.AAAA`, /header/)
    await assertRejected(`${header}.${claims}.`, /three parts/)
  }
  for (const header of ['{}', '{"alg":7}', '{"alg":["HS256"]}', '{"alg":null}']) {
    await assertRejected(await signText(header, JSON.stringify(VALID_CLAIMS)), /header/)
  }
  await assertRejected(await sign(VALID_CLAIMS, utf8.encode('x'.repeat(64)), { alg: 'HS512' }), /header alg/)
})

test('rejects a ticket signed with the public key as secret', async () => {
  const jwk = publicKey
  const raw = new Uint8Array(Buffer.from(jwk.x!, 'base64url'))
  const spki = new Uint8Array(await crypto.subtle.exportKey('spki', keyPair.publicKey))
  const pem = `-----BEGIN PUBLIC KEY-----\n${Buffer.from(spki).toString('base64')}\n-----END PUBLIC KEY-----\n`
  const guesses = [raw, spki, utf8.encode(pem), utf8.encode(jwk.x), utf8.encode(JSON.stringify(jwk))]
  for (const guess of guesses) {
    const forged = await signText('{"alg":"HS256"}', JSON.stringify(VALID_CLAIMS), guess)
    await assertRejected(forged, /header alg is not that of a key/, { keys: [EDDSA] })
    await assertRejected(forged, /no key of this server signed/, { keys: [EDDSA, HMAC] })
  }
})

test('does not use a key from the ticket', async () => {
  const otherPair = await generateKeyPair('EdDSA', { extractable: true })
  const jwk = await exportJWK(otherPair.publicKey)
  for (const header of [{ jwk }, { jku: 'https://evil.example/keys' }, { x5u: 'https://evil.example/c' }]) {
    const forged = await sign(VALID_CLAIMS, otherPair.privateKey, { alg: 'EdDSA', ...header })
    await assertRejected(forged, /no key of this server signed/, { keys: [EDDSA] })
  }
})

test('rejects header fields that change the meaning of others', async () => {
  await assertRejected(
    await signText('{"alg":"HS256","crit":["exp"],"exp":1}', JSON.stringify(VALID_CLAIMS)),
    /not a signed JWT/,
  )
  await assertRejected(await signText('{"alg":"HS256","b64":false,"crit":["b64"]}', JSON.stringify(VALID_CLAIMS)), /./)
})

test('selects the key by kid', async () => {
  const old = utf8.encode('the secret of last month, soon to be gone')
  const keys: TicketKey[] = [
    { kind: 'hmac', secret: SECRET, kid: '2026-11' },
    { kind: 'hmac', secret: old, kid: '2026-10' },
    { kind: 'eddsa', publicKey, kid: 'ed' },
  ]
  await verify(await sign(VALID_CLAIMS, SECRET, { kid: '2026-11' }), { keys })
  await verify(await sign(VALID_CLAIMS, old, { kid: '2026-10' }), { keys })
  await verify(await sign(VALID_CLAIMS, keyPair.privateKey, { alg: 'EdDSA', kid: 'ed' }), { keys })
  await assertRejected(await sign(VALID_CLAIMS, SECRET, { kid: '2026-10' }), /no key of this server signed/, { keys })
  await assertRejected(await sign(VALID_CLAIMS, SECRET, { kid: 'ed' }), /header alg is not that/, { keys })
  await assertRejected(await sign(VALID_CLAIMS, SECRET, { kid: '2026-09' }), /header kid names no key/, { keys })
  for (const kid of ['7', 'null', '["2026-11"]', '{}', '""']) {
    await assertRejected(await signText(`{"alg":"HS256","kid":${kid}}`, JSON.stringify(VALID_CLAIMS)), /header kid/, {
      keys,
    })
  }
})

test('tries every key for a ticket without kid, and a key without kid for any ticket', async () => {
  const old = utf8.encode('the secret of last month, soon to be gone')
  const keys: TicketKey[] = [
    { kind: 'eddsa', publicKey, kid: 'ed' },
    { kind: 'hmac', secret: old },
    { kind: 'hmac', secret: SECRET, kid: 'new' },
  ]
  await verify(await sign(VALID_CLAIMS), { keys })
  await verify(await sign(VALID_CLAIMS, old), { keys })
  await verify(await sign(VALID_CLAIMS, old, { kid: 'unheard-of' }), { keys })
  await verify(await sign(VALID_CLAIMS, keyPair.privateKey, { alg: 'EdDSA' }), { keys })
  await assertRejected(await sign(VALID_CLAIMS, SECRET, { kid: 'unheard-of' }), /no key of this server signed/, {
    keys,
  })
})

test('rejects text without the shape of a signed JWT before parsing it', async () => {
  const good = await sign(VALID_CLAIMS)
  const [header, claims, signature] = good.split('.') as [string, string, string]
  const table = [
    `${good}.`,
    `.${good}`,
    `${good}.AAAA`,
    `${good}.AAAA.AAAA`,
    `${header}..${claims}.${signature}`,
    `${header}..${signature}`,
    `..`,
    `${header}.${claims}`,
    `${good}=`,
    `${good}\n`,
    ` ${good}`,
    `Bearer ${good}`,
    good.replace('.', '. '),
    `\ufeff${good}`,
    `${good}\0`,
    `${good}é`,
  ]
  for (const ticket of table) await assertRejected(ticket, /three parts/)
  await assertRejected('', /ticket is empty/)
})

test('rejects what is not UTF-8 or not JSON', async () => {
  const good = utf8.encode(await sign(VALID_CLAIMS))
  for (const byte of [0x80, 0xc3, 0xff, 0xed]) {
    const bytes = good.slice()
    bytes[10] = byte
    await assertRejected(bytes, /three parts/)
  }
  for (const claims of ['', '[]', 'null', '7', '"a"', '{', `{"sub":"a","exp":${NOW + 60}}}`]) {
    await assertRejected(await signText('{"alg":"HS256"}', claims), /not a signed JWT/)
  }
  for (const header of ['', '[]', 'null', '{', '[['.repeat(600)]) {
    await assertRejected(await signText(header, JSON.stringify(VALID_CLAIMS)), /not a signed JWT/)
  }
  const latin1 = base64url(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d))
  const input = `${base64url(utf8.encode('{"alg":"HS256"}'))}.${latin1}`
  await assertRejected(`${input}.${base64url(await hmacSha256(input, SECRET))}`, /not a signed JWT/)
})

test('accepts a ticket of 4,096 bytes and rejects a longer one', async () => {
  const fitting = async (bytes: number): Promise<string> => {
    for (let pad = Math.floor((bytes * 3) / 4) - 200; ; pad++) {
      const ticket = await sign({ ...VALID_CLAIMS, pad: 'x'.repeat(pad) })
      if (ticket.length >= bytes) return ticket
    }
  }
  const largest = await fitting(4_095)
  assert.ok(largest.length <= 4_096)
  await verify(largest)
  await assertRejected(await fitting(4_097), /a ticket of 409\d bytes exceeds 4096/)
  await assertRejected(new Uint8Array(65_536).fill(0x61), /exceeds 4096/)
})

test('rejects any bytes with TicketError', async () => {
  const tickets = new TicketVerifier({ keys: [HMAC, EDDSA] }, new ManualClock())
  const header = fc.oneof(fc.json(), fc.constantFrom('{"alg":"HS256"}', '{"alg":"EdDSA","kid":"a"}'))
  const shaped = fc
    .tuple(header, fc.json(), fc.uint8Array())
    .map(([a, b, c]) => `${base64url(utf8.encode(a))}.${base64url(utf8.encode(b))}.${base64url(c)}`)
  const any = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    shaped.map((text) => utf8.encode(text)),
  )
  await fc.assert(fc.asyncProperty(any, (bytes) => assert.rejects(tickets.verify(bytes), TicketError)))
})

test('returns valid claims or TicketError for any signed claims', async () => {
  const tickets = new TicketVerifier({ keys: [HMAC] }, new ManualClock())
  const claims = fc.record(
    {
      sub: fc.jsonValue(),
      exp: fc.oneof(fc.constant(NOW + 60), fc.jsonValue()),
      jti: fc.jsonValue(),
      nbf: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  await fc.assert(
    fc.asyncProperty(claims, async (value) => {
      const bytes = utf8.encode(await signText('{"alg":"HS256"}', JSON.stringify(value)))
      const ticket = await tickets.verify(bytes).catch((error: unknown) => {
        assert.ok(error instanceof TicketError, String(error))
      })
      if (!ticket) return
      assert.ok(ticket.uid.length > 0 && Number.isSafeInteger(ticket.expiresMs) && ticket.jti.length <= 64)
    }),
  )
})

test('quotes nothing of the ticket in an error', async () => {
  const claims = { sub: 'MARKED ', iss: 'MARKED', aud: 'MARKED', jti: 'MARKED ', exp: NOW + 60 }
  for (const options of [{}, { issuer: 'x' }, { audience: 'x' }, { once: true }, { maxAgeMs: 1 }]) {
    await assert.rejects(verify(await sign(claims, SECRET, { kid: 'MARKED' }), options), (error: Error) => {
      assert.doesNotMatch(`${error.message}${error.stack}${JSON.stringify(error)}`, /MARKED/)
      return true
    })
  }
})
