// Login tickets as the login server signs them, and invalid ones.

import { createHmac, randomUUID } from 'node:crypto'
import type { TicketEnvironment } from '../../../edge/gateway/ticket.ts'

const SECRET = 'a secret of the login server only'
export const TICKET_ENVIRONMENT: TicketEnvironment = {
  FIREFLY_TICKET_SECRET: SECRET,
  FIREFLY_TICKET_ISSUER: 'login server',
  FIREFLY_TICKET_AUDIENCE: 'game',
  FIREFLY_TICKET_ONCE: 'true',
}
export const HEADER = { alg: 'HS256', typ: 'JWT' }

/** Valid claims with changes; undefined omits a claim. */
export function validClaims(sub: string, change: object = {}): object {
  const now = Math.floor(Date.now() / 1_000)
  return { sub, iss: 'login server', aud: 'game', exp: now + 60, jti: randomUUID(), ...change }
}

export function encodePart(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
}

/** The third part of a JWT. */
export function signInput(input: string, secret = SECRET, hash = 'sha256'): string {
  return createHmac(hash, secret).update(input).digest('base64url')
}

/** A ticket with a valid signature for any payload and header. */
export function signTicket(payload: unknown, header: unknown = HEADER, secret = SECRET, hash = 'sha256'): string {
  const input = `${encodePart(header)}.${encodePart(payload)}`
  return `${input}.${signInput(input, secret, hash)}`
}
