// Login tickets that nobody of the studio signed, or not in this form: no byte of them gets further.

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
  assertRefused,
  SECRET,
  sign,
  signText,
  utf8,
  verify,
} from './ticketfixture.ts'

test('a forged signature is refused, whichever byte of the ticket it is that differs', async () => {
  const other = utf8.encode('a secret that only somebody else knows...')
  await assertRefused(await sign(VALID_CLAIMS, other), /no key of this server has signed/)
  const stranger = await generateKeyPair('EdDSA')
  await assertRefused(
    await sign(VALID_CLAIMS, stranger.privateKey, { alg: 'EdDSA' }),
    /no key of this server/,
    {
      keys: [EDDSA],
    },
  )
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

test('every truncation is refused', async () => {
  const tickets = new TicketVerifier({ keys: [HMAC] }, new ManualClock())
  const bytes = utf8.encode(await sign(VALID_CLAIMS))
  for (let length = 0; length < bytes.length; length++) {
    await assert.rejects(tickets.verify(bytes.subarray(0, length)), TicketError, `${length} bytes`)
  }
})

test('a ticket cannot choose its algorithm', async () => {
  const claims = base64url(utf8.encode(JSON.stringify(VALID_CLAIMS)))
  for (const alg of ['none', 'None', 'NONE', 'HS512', 'RS256', 'EdDSA', 'hs256', '__proto__', '']) {
    const header = base64url(utf8.encode(JSON.stringify({ alg })))
    await assertRefused(`${header}.${claims}.AAAA`, /header/)
    await assertRefused(`${header}.${claims}.`, /three parts/)
  }
  for (const header of ['{}', '{"alg":7}', '{"alg":["HS256"]}', '{"alg":null}']) {
    await assertRefused(await signText(header, JSON.stringify(VALID_CLAIMS)), /header/)
  }
  await assertRefused(await sign(VALID_CLAIMS, utf8.encode('x'.repeat(64)), { alg: 'HS512' }), /header alg/)
})

test('a public key is no secret to sign with', async () => {
  const jwk = publicKey
  const raw = new Uint8Array(Buffer.from(jwk.x!, 'base64url'))
  const spki = new Uint8Array(await crypto.subtle.exportKey('spki', keyPair.publicKey))
  const pem = `-----BEGIN PUBLIC KEY-----\n${Buffer.from(spki).toString('base64')}\n-----END PUBLIC KEY-----\n`
  const guesses = [raw, spki, utf8.encode(pem), utf8.encode(jwk.x), utf8.encode(JSON.stringify(jwk))]
  for (const guess of guesses) {
    const forged = await signText('{"alg":"HS256"}', JSON.stringify(VALID_CLAIMS), guess)
    await assertRefused(forged, /header alg is not the one of a key/, { keys: [EDDSA] })
    await assertRefused(forged, /no key of this server has signed/, { keys: [EDDSA, HMAC] })
  }
})

test('a key that the ticket brings along is not used', async () => {
  const stranger = await generateKeyPair('EdDSA', { extractable: true })
  const jwk = await exportJWK(stranger.publicKey)
  for (const header of [{ jwk }, { jku: 'https://evil.example/keys' }, { x5u: 'https://evil.example/c' }]) {
    const forged = await sign(VALID_CLAIMS, stranger.privateKey, { alg: 'EdDSA', ...header })
    await assertRefused(forged, /no key of this server has signed/, { keys: [EDDSA] })
  }
})

test('header fields that change the meaning of the rest are refused', async () => {
  await assertRefused(
    await signText('{"alg":"HS256","crit":["exp"],"exp":1}', JSON.stringify(VALID_CLAIMS)),
    /no signed JWT/,
  )
  await assertRefused(
    await signText('{"alg":"HS256","b64":false,"crit":["b64"]}', JSON.stringify(VALID_CLAIMS)),
    /./,
  )
})

test('kid chooses the key', async () => {
  const old = utf8.encode('the secret of last month, soon to be gone')
  const keys: TicketKey[] = [
    { kind: 'hmac', secret: SECRET, kid: '2026-11' },
    { kind: 'hmac', secret: old, kid: '2026-10' },
    { kind: 'eddsa', publicKey, kid: 'ed' },
  ]
  await verify(await sign(VALID_CLAIMS, SECRET, { kid: '2026-11' }), { keys })
  await verify(await sign(VALID_CLAIMS, old, { kid: '2026-10' }), { keys })
  await verify(await sign(VALID_CLAIMS, keyPair.privateKey, { alg: 'EdDSA', kid: 'ed' }), { keys })
  await assertRefused(
    await sign(VALID_CLAIMS, SECRET, { kid: '2026-10' }),
    /no key of this server has signed/,
    { keys },
  )
  await assertRefused(await sign(VALID_CLAIMS, SECRET, { kid: 'ed' }), /header alg is not the one/, { keys })
  await assertRefused(await sign(VALID_CLAIMS, SECRET, { kid: '2026-09' }), /header kid names no key/, {
    keys,
  })
  for (const kid of ['7', 'null', '["2026-11"]', '{}', '""']) {
    await assertRefused(
      await signText(`{"alg":"HS256","kid":${kid}}`, JSON.stringify(VALID_CLAIMS)),
      /header kid/,
      {
        keys,
      },
    )
  }
})

test('without kid in the ticket every key is tried, and a key without kid serves any', async () => {
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
  await assertRefused(
    await sign(VALID_CLAIMS, SECRET, { kid: 'unheard-of' }),
    /no key of this server has signed/,
    { keys },
  )
})

test('what does not look like a signed JWT is refused before it is parsed', async () => {
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
  for (const ticket of table) await assertRefused(ticket, /three parts/)
  await assertRefused('', /ticket is empty/)
})

test('what is not UTF-8 or not JSON is refused', async () => {
  const good = utf8.encode(await sign(VALID_CLAIMS))
  for (const byte of [0x80, 0xc3, 0xff, 0xed]) {
    const bytes = good.slice()
    bytes[10] = byte
    await assertRefused(bytes, /three parts/)
  }
  for (const claims of ['', '[]', 'null', '7', '"a"', '{', `{"sub":"a","exp":${NOW + 60}}}`]) {
    await assertRefused(await signText('{"alg":"HS256"}', claims), /no signed JWT/)
  }
  for (const header of ['', '[]', 'null', '{', '[['.repeat(600)]) {
    await assertRefused(await signText(header, JSON.stringify(VALID_CLAIMS)), /no signed JWT/)
  }
  const latin1 = base64url(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d))
  const input = `${base64url(utf8.encode('{"alg":"HS256"}'))}.${latin1}`
  await assertRefused(`${input}.${base64url(await hmacSha256(input, SECRET))}`, /no signed JWT/)
})

test('a ticket of 4,096 bytes is taken, a longer one is not', async () => {
  const fitting = async (bytes: number): Promise<string> => {
    for (let pad = Math.floor((bytes * 3) / 4) - 200; ; pad++) {
      const ticket = await sign({ ...VALID_CLAIMS, pad: 'x'.repeat(pad) })
      if (ticket.length >= bytes) return ticket
    }
  }
  const largest = await fitting(4_095)
  assert.ok(largest.length <= 4_096)
  await verify(largest)
  await assertRefused(await fitting(4_097), /a ticket of 409\d bytes exceeds 4096/)
  await assertRefused(new Uint8Array(65_536).fill(0x61), /exceeds 4096/)
})

test('any bytes at all are refused as a ticket, never as a bug', async () => {
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

test('whatever signed claims say, the outcome is a sane ticket or a refusal', async () => {
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

test('a refusal quotes nothing of the ticket', async () => {
  const claims = { sub: 'MARKED ', iss: 'MARKED', aud: 'MARKED', jti: 'MARKED ', exp: NOW + 60 }
  for (const options of [{}, { issuer: 'x' }, { audience: 'x' }, { once: true }, { maxAgeMs: 1 }]) {
    await assert.rejects(verify(await sign(claims, SECRET, { kid: 'MARKED' }), options), (error: Error) => {
      assert.doesNotMatch(`${error.message}${error.stack}${JSON.stringify(error)}`, /MARKED/)
      return true
    })
  }
})
