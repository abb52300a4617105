// The keys of login tickets: options and variables of a server, and the code blocks of docs/tickets.md.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { promisify } from 'node:util'

import { ManualClock } from '../../core/testing/memory.ts'
import { TicketVerifier, ticketOptionsOf, type TicketKey } from '../../edge/gateway/ticket.ts'
import { base64url, EDDSA, VALID_CLAIMS, HMAC, keyPair, NOW, publicKey, sign, utf8, verify } from './ticketfixture.ts'

test('rejects invalid keys when the verifier is created', () => {
  const make =
    (keys: readonly TicketKey[], rest: object = {}) =>
    () =>
      new TicketVerifier({ keys, ...rest }, new ManualClock())
  const short: TicketKey = { kind: 'hmac', secret: new Uint8Array(31), kid: 'k' }
  assert.throws(make([]), { name: 'DefinitionError', message: '0 ticket keys, must be 1..16' })
  assert.throws(make(Array.from({ length: 17 }, () => HMAC)), /17 ticket keys/)
  assert.throws(make([short]), { message: 'ticket key "k": a secret of 31 bytes, at least 32' })
  assert.throws(
    make([
      { ...HMAC, kid: 'k' },
      { ...EDDSA, kid: 'k' },
    ]),
    /two ticket keys have kid "k"/,
  )
  const jwks: readonly (readonly [object, RegExp])[] = [
    [{ ...publicKey, d: 'AAAA' }, /a private key/],
    [{ ...publicKey, crv: 'X25519' }, /crv "X25519" is not an Ed25519 key/],
    [{ kty: 'RSA', n: 'AQAB', e: 'AQAB' }, /kty "RSA", crv undefined is not an Ed25519/],
    [{ ...publicKey, x: 'AAAA' }, /x must be 32 bytes/],
    [{ ...publicKey, x: undefined }, /x must be 32 bytes/],
  ]
  for (const [jwk, message] of jwks) {
    assert.throws(make([{ kind: 'eddsa', publicKey: jwk }]), message)
  }
  assert.throws(make([HMAC], { maxAgeMs: -1 }), /maxAgeMs -1 must be 0 or more/)
  assert.throws(make([HMAC], { clockToleranceMs: NaN }), /clockToleranceMs NaN must be 0 or more/)
})

test('reads the options from the variables', async () => {
  assert.equal(ticketOptionsOf({}), null)
  assert.equal(ticketOptionsOf({ FIREFLY_TICKET_SECRET: '', FIREFLY_TICKET_ONCE: 'false' }), null)
  const secret = 'a secret of the login server, long enough'
  assert.deepEqual(ticketOptionsOf({ FIREFLY_TICKET_SECRET: secret }), { keys: [HMAC], once: false })
  const both = ticketOptionsOf({
    FIREFLY_TICKET_SECRET: secret,
    FIREFLY_TICKET_KEYS: JSON.stringify({
      keys: [
        { ...publicKey, kid: 'ed', alg: 'EdDSA', use: 'sig' },
        { kty: 'oct', k: base64url(utf8.encode('another secret, of thirty-two or more bytes')), kid: 'oct' },
      ],
    }),
    FIREFLY_TICKET_ISSUER: 'login',
    FIREFLY_TICKET_AUDIENCE: 'arena',
    FIREFLY_TICKET_ONCE: 'true',
  })
  assert.ok(both)
  assert.deepEqual([both.issuer, both.audience, both.once], ['login', 'arena', true])
  const claims = { ...VALID_CLAIMS, iss: 'login', aud: 'arena', jti: '1' }
  await verify(await sign(claims), both)
  await verify(await sign(claims, keyPair.privateKey, { alg: 'EdDSA', kid: 'ed' }), both)
  await verify(await sign(claims, utf8.encode('another secret, of thirty-two or more bytes'), { kid: 'oct' }), both)
})

test('reads the clock tolerance from its variable', async () => {
  const options = { FIREFLY_TICKET_SECRET: 'a secret of the login server, long enough' }
  const strict = ticketOptionsOf({ ...options, FIREFLY_TICKET_CLOCK_TOLERANCE: '0' })!
  const tolerant = ticketOptionsOf({ ...options, FIREFLY_TICKET_CLOCK_TOLERANCE: '60000' })!
  const late = await sign({ ...VALID_CLAIMS, exp: NOW - 30 })
  assert.equal((await verify(late, tolerant)).uid, 'player-7')
  for (const other of [strict, ticketOptionsOf(options)!])
    await assert.rejects(verify(late, other), /claim exp has passed/)
  assert.equal(strict.clockToleranceMs, 0)
})

test('names an invalid variable with a correction and without the secret', () => {
  const keys = (...jwks: readonly unknown[]) => ({ FIREFLY_TICKET_KEYS: JSON.stringify({ keys: jwks }) })
  const table: readonly (readonly [object, RegExp])[] = [
    [{ FIREFLY_TICKET_SECRET: 'hunter2' }, /FIREFLY_TICKET_SECRET has 7 bytes, at least 32: set it to/],
    [{ FIREFLY_TICKET_SECRET: `${'hunter2'.repeat(9)}\n` }, /FIREFLY_TICKET_SECRET has space at an end/],
    [{ FIREFLY_TICKET_KEYS: 'hunter2' }, /FIREFLY_TICKET_KEYS is not JSON: set it to a JWK set/],
    [{ FIREFLY_TICKET_KEYS: 'null' }, /FIREFLY_TICKET_KEYS must be a JWK set/],
    [{ FIREFLY_TICKET_KEYS: '[]' }, /FIREFLY_TICKET_KEYS must be a JWK set/],
    [keys(), /FIREFLY_TICKET_KEYS must be a JWK set of 1..16 keys/],
    [keys(null), /FIREFLY_TICKET_KEYS: key 1 is not an object/],
    [keys(publicKey, { ...publicKey, kid: 7 }), /key 2: kid 7 must be text/],
    [keys({ ...publicKey, alg: 'ES256' }), /key 1: alg "ES256" must be EdDSA or Ed25519/],
    [keys({ ...publicKey, use: 'enc' }), /key 1: use "enc" must be "sig"/],
    [keys({ ...publicKey, d: 'hunter2' }), /key 1: a private key/],
    [keys({ kty: 'EC', crv: 'P-256' }), /key 1: kty "EC", crv "P-256" is not an Ed25519 key/],
    [keys({ kty: 'oct', k: 'hunter2' }), /key 1: k must be at least 32 bytes/],
    [keys({ kty: 'oct', k: 'hunter2!'.repeat(9) }), /key 1: k must be at least 32 bytes/],
    [keys({ kty: 'oct' }), /key 1: k must be at least 32 bytes/],
    [keys({ kty: 'oct', k: 'A'.repeat(64), alg: 'HS512' }), /key 1: alg "HS512" must be HS256/],
    [{ FIREFLY_TICKET_ISSUER: 'login' }, /FIREFLY_TICKET_ISSUER is set and no key is: set FIREFLY_TICKET_SECRET/],
    [{ FIREFLY_TICKET_AUDIENCE: 'a' }, /FIREFLY_TICKET_AUDIENCE is set and no key is/],
    [{ FIREFLY_TICKET_ONCE: 'true' }, /FIREFLY_TICKET_ONCE is set and no key is/],
    [{ FIREFLY_TICKET_CLOCK_TOLERANCE: '5s' }, /FIREFLY_TICKET_CLOCK_TOLERANCE "5s" must be a whole number from 0/],
    [{ FIREFLY_TICKET_CLOCK_TOLERANCE: '3600001' }, /must be a whole number from 0 to 3600000/],
    [{ FIREFLY_TICKET_ONCE: 'yes' }, /FIREFLY_TICKET_ONCE "yes" must be true or false/],
  ]
  for (const [env, message] of table) {
    assert.throws(
      () => ticketOptionsOf(env),
      (error: Error) => {
        assert.equal(error.name, 'DefinitionError')
        assert.match(error.message, message)
        assert.doesNotMatch(error.message, /hunter2/)
        return true
      },
    )
  }
})

const run = promisify(execFile)
/** Runs a code block of docs/tickets.md and a line that uses it as a login server would; returns what it prints. */
async function runDocumentBlock(block: number, use: string, env: Record<string, string>): Promise<string> {
  const document = readFileSync(new URL('../../docs/tickets.md', import.meta.url), 'utf8')
  const code = [...document.matchAll(/```js\n([\s\S]*?)```/g)][block]?.[1]
  assert.ok(code, `docs/tickets.md has code block ${block}`)
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', `${code}\n${use}`], {
    env: { ...process.env, ...env },
    cwd: new URL('../..', import.meta.url),
    timeout: 30_000,
  })
  return stdout.trim()
}
const wallClock = { now: () => Date.now() }

test('accepts tickets of the login server in docs/tickets.md', async () => {
  const env = { FIREFLY_TICKET_SECRET: base64url(crypto.getRandomValues(new Uint8Array(32))) }
  const ticket = await runDocumentBlock(0, `console.log(await ticketFor('player-7'))`, env)
  const options = ticketOptionsOf({
    ...env,
    FIREFLY_TICKET_ISSUER: 'https://login.example',
    FIREFLY_TICKET_AUDIENCE: 'arena',
    FIREFLY_TICKET_ONCE: 'true',
  })
  const { uid, jti, expiresMs } = await new TicketVerifier(options!, wallClock).verify(utf8.encode(ticket))
  assert.equal(uid, 'player-7')
  assert.match(jti, /^[\da-f-]{36}$/)
  assert.ok(expiresMs > Date.now() && expiresMs < Date.now() + 70_000)
})

test('verifies a ticket signed with the key pair of docs/tickets.md', async () => {
  const printed = await runDocumentBlock(1, '', {})
  const [set, privateJwk] = printed.split('\n') as [string, string]
  const options = ticketOptionsOf({ FIREFLY_TICKET_KEYS: set })
  const ticket = await runDocumentBlock(2, `console.log(await ticketFor('player-7'))`, { LOGIN_KEY: privateJwk })
  const { uid } = await new TicketVerifier(options!, wallClock).verify(utf8.encode(ticket))
  assert.equal(uid, 'player-7')
  assert.throws(() => ticketOptionsOf({ FIREFLY_TICKET_KEYS: `{"keys":[${privateJwk}]}` }), /a private key/)
})
