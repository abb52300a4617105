// Tickets for tests, signed by jose, or by hand where jose would refuse to sign; and their verification.

import assert from 'node:assert/strict'

import { exportJWK, generateKeyPair, SignJWT, type JWTPayload } from 'jose'

import { ManualClock } from '../../core/testing/memory.ts'
import {
  TicketError,
  TicketVerifier,
  type TicketClaims,
  type TicketKey,
  type TicketOptions,
} from '../../edge/gateway/ticket.ts'

/** Start of a manual clock. */
export const NOW_MS = 1_700_000_000_000
export const NOW = NOW_MS / 1_000
export const utf8 = new TextEncoder()
export const SECRET = utf8.encode('a secret of the login server, long enough')
export const HMAC: TicketKey = { kind: 'hmac', secret: SECRET }
export const VALID_CLAIMS: JWTPayload = { sub: 'player-7', exp: NOW + 60 }

export const keyPair = await generateKeyPair('EdDSA', { extractable: true })
export const publicKey = await exportJWK(keyPair.publicKey)
export const EDDSA: TicketKey = { kind: 'eddsa', publicKey }

type Signer = Uint8Array | CryptoKey
export function sign(claims: JWTPayload, key: Signer = SECRET, header: object = {}): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256', ...header }).sign(key)
}
export const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
/** Returns a ticket of any text with a valid signature. */
export async function signText(header: string, claims: string, secret: Uint8Array = SECRET): Promise<string> {
  const input = `${base64url(utf8.encode(header))}.${base64url(utf8.encode(claims))}`
  return `${input}.${base64url(await hmacSha256(input, secret))}`
}
export async function hmacSha256(input: string, secret: Uint8Array): Promise<Uint8Array> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', new Uint8Array(secret), algorithm, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, utf8.encode(input)))
}

export function verify(
  ticket: string | Uint8Array,
  options: Partial<TicketOptions> = {},
  clock = new ManualClock(),
): Promise<TicketClaims> {
  const bytes = typeof ticket === 'string' ? utf8.encode(ticket) : ticket
  return new TicketVerifier({ keys: [HMAC], ...options }, clock).verify(bytes)
}
/** Asserts BAD_TICKET with the expected message and without a cause, which could quote the ticket. */
export async function assertRejected(
  ticket: string | Uint8Array,
  message: RegExp,
  options: Partial<TicketOptions> = {},
): Promise<void> {
  await assert.rejects(verify(ticket, options), (error: unknown) => {
    assert.ok(error instanceof TicketError, String(error))
    assert.equal(error.code, 'BAD_TICKET')
    assert.match(error.message, message)
    assert.equal(error.cause, undefined)
    return true
  })
}
