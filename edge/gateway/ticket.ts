// Login tickets: JWTs signed by the studio's login server, verified without a request to it. Invariant: the algorithm is
// fixed by the key, never by the ticket, and no error quotes a byte of the ticket. Single use is not enforced here: the
// session shard stores the `jti` of a ticket until its `expiresMs`.

import { utf8Encoder } from '../../core/wire/bytes.ts'
import { errors, decodeProtectedHeader, importJWK, jwtVerify, type JWK, type JWTPayload } from 'jose'

import type { Clock } from '../../core/ports/clock.ts'
import { DefinitionError, shorten } from '../../core/wire/errors.ts'

/** A ticket's `kid` selects the key; a key without `kid` is tried for tickets that no `kid` matches. */
export type TicketKey =
  | { readonly kind: 'hmac'; readonly secret: Uint8Array; readonly kid?: string }
  | { readonly kind: 'eddsa'; readonly publicKey: JWK; readonly kid?: string }

/** How login tickets are verified (docs/tickets.md). */
export interface TicketOptions {
  /** 1..16 keys: HS256 with a secret of at least 32 bytes (RFC 7518 section 3.2), or Ed25519. */
  readonly keys: readonly TicketKey[]
  /** Required value of `iss`. */
  readonly issuer?: string
  /** Required value of `aud`, or one of its values. */
  readonly audience?: string
  /** A ticket is valid for one login; it needs a `jti`, and expires within an hour. */
  readonly once?: boolean
  /** Requires `iat`; older tickets are rejected. */
  readonly maxAgeMs?: number
  /** Largest accepted difference of the login server's clock. Default 5,000. */
  readonly clockToleranceMs?: number
}

/** The claims of a valid ticket. */
export interface TicketClaims {
  /** `sub`: 1..120 bytes without control characters and without space at either end. */
  readonly uid: string
  /** 1..64 visible ASCII characters, to be stored until `expiresMs`; '' = the ticket may be used again (no `once`). */
  readonly jti: string
  /** Wall clock from which `verify` rejects the ticket: `exp` plus the clock tolerance. */
  readonly expiresMs: number
}

/** The ticket is rejected. The message names the wrong claim or part, and quotes nothing of the ticket. */
export class TicketError extends Error {
  override readonly name = 'TicketError'
  readonly code = 'BAD_TICKET'
}

/** Largest ticket, in bytes: enough for usual claims, and cheap to parse. */
export const MAX_TICKET_BYTES = 4_096
/** Small, because a ticket without `kid` is tried with every key. */
const MAX_KEYS = 16
const MIN_SECRET_BYTES = 32
const MAX_UID_BYTES = 120
/** How long the `jti` of a ticket for one login is stored at most. */
const MAX_ONCE_MS = 3_600_000
export const DEFAULT_TOLERANCE_MS = 5_000
/** More would not be the difference of two clocks. */
export const MAX_TOLERANCE_MS = 3_600_000

export class TicketVerifier {
  readonly #options: TicketOptions
  readonly #clock: Pick<Clock, 'now'>
  readonly #keys: readonly VerificationKey[]
  readonly #toleranceMs: number

  /** @throws DefinitionError for an invalid key or duration */
  constructor(options: TicketOptions, clock: Pick<Clock, 'now'>) {
    const { keys, maxAgeMs, clockToleranceMs = DEFAULT_TOLERANCE_MS } = options
    if (keys.length === 0 || keys.length > MAX_KEYS)
      throw new DefinitionError(`${keys.length} ticket keys, must be 1..${MAX_KEYS}`)
    const kids = keys.flatMap(({ kid }) => (kid === undefined ? [] : [kid]))
    const duplicate = kids.find((kid, at) => kids.indexOf(kid) !== at)
    if (duplicate !== undefined) throw new DefinitionError(`two ticket keys have kid ${shorten(duplicate)}`)
    if (maxAgeMs !== undefined) checkDuration('maxAgeMs', maxAgeMs)
    checkDuration('clockToleranceMs', clockToleranceMs)
    this.#options = options
    this.#clock = clock
    this.#keys = keys.map((key, at) => verificationKeyOf(key, `ticket key ${key.kid ? shorten(key.kid) : at + 1}`))
    this.#toleranceMs = clockToleranceMs
  }

  /** Returns the claims of a ticket that a key signed and that is valid now. @throws TicketError */
  async verify(ticket: Uint8Array): Promise<TicketClaims> {
    const nowMs = this.#clock.now()
    return this.#checkClaims(await this.#verifySignature(jwtText(ticket), nowMs), nowMs)
  }

  async #verifySignature(jwt: string, nowMs: number): Promise<JWTPayload> {
    let lastError: unknown
    for (const { algorithms, key } of this.#candidates(jwt)) {
      const imported = await key()
      try {
        const { issuer, audience, once, maxAgeMs } = this.#options
        const { payload } = await jwtVerify(jwt, imported, {
          algorithms,
          currentDate: new Date(nowMs),
          clockTolerance: this.#toleranceMs / 1_000,
          requiredClaims: once === true ? ['sub', 'exp', 'jti'] : ['sub', 'exp'],
          ...(issuer !== undefined && { issuer }),
          ...(audience !== undefined && { audience }),
          ...(maxAgeMs !== undefined && { maxTokenAge: maxAgeMs / 1_000 }),
        })
        checkTimes(payload)
        return payload
      } catch (error) {
        if (error instanceof TicketError) throw error
        if (!isWrongKey(error)) throw ticketErrorOf(error)
        // The error of a key whose algorithm fits is the more precise one.
        if (!(lastError instanceof errors.JWSSignatureVerificationFailed)) lastError = error
      }
    }
    throw ticketErrorOf(lastError)
  }

  /** Returns the keys that may have signed the ticket; never empty. */
  #candidates(jwt: string): readonly VerificationKey[] {
    let kid: unknown
    try {
      ;({ kid } = decodeProtectedHeader(jwt))
    } catch (error) {
      throw ticketErrorOf(error)
    }
    if (kid === undefined) return this.#keys
    const matching = this.#keys.filter((key) => key.kid === kid)
    if (matching.length > 0) return matching
    const withoutKid = this.#keys.filter((key) => key.kid === undefined)
    if (withoutKid.length === 0) throw new TicketError('the ticket header kid names no key of this server')
    return withoutKid
  }

  #checkClaims({ sub, jti, exp }: JWTPayload, nowMs: number): TicketClaims {
    if (!isUid(sub))
      throw new TicketError(
        `the ticket claim sub is not a uid: 1..${MAX_UID_BYTES} bytes of text without control characters, no space at either end`,
      )
    // jose compares whole seconds: it rejects from the first one that is not below `exp` plus the tolerance.
    const expiresMs = Math.ceil((exp ?? Infinity) + this.#toleranceMs / 1_000) * 1_000
    if (!Number.isSafeInteger(expiresMs)) throw new TicketError('the ticket claim exp is not a date')
    if (this.#options.once !== true) return { uid: sub, jti: '', expiresMs }
    if (typeof jti !== 'string' || !/^[\x21-\x7e]{1,64}$/.test(jti))
      throw new TicketError('the ticket claim jti must be 1..64 visible ASCII characters')
    if (exp! * 1_000 > nowMs + MAX_ONCE_MS + this.#toleranceMs)
      throw new TicketError(
        `the ticket claim exp is more than ${MAX_ONCE_MS / 60_000} minutes ahead, too far for a ticket that is valid once`,
      )
    return { uid: sub, jti, expiresMs }
  }
}

/** Variables of the environment (Node) or of the Worker; an empty one counts as not set. */
export interface TicketEnvironment {
  /** Secret of HS256: the UTF-8 bytes of this text, at least 32. */
  readonly FIREFLY_TICKET_SECRET?: string | undefined
  /** JSON text of a JWK set (RFC 7517) of Ed25519 public keys and `oct` secrets. */
  readonly FIREFLY_TICKET_KEYS?: string | undefined
  readonly FIREFLY_TICKET_ISSUER?: string | undefined
  readonly FIREFLY_TICKET_AUDIENCE?: string | undefined
  /** `true`: a ticket is valid for one login. */
  readonly FIREFLY_TICKET_ONCE?: string | undefined
  /** Largest accepted difference of the login server's clock, milliseconds. Default 5,000. */
  readonly FIREFLY_TICKET_CLOCK_TOLERANCE?: string | undefined
}

/** Reads the variables; null = none is set. @throws DefinitionError with the variable and a correction */
export function ticketOptionsOf(env: TicketEnvironment): TicketOptions | null {
  const { FIREFLY_TICKET_SECRET: secret, FIREFLY_TICKET_KEYS: set } = env
  const { FIREFLY_TICKET_CLOCK_TOLERANCE: tolerance } = env
  const { FIREFLY_TICKET_ISSUER: issuer, FIREFLY_TICKET_AUDIENCE: audience, FIREFLY_TICKET_ONCE: once } = env
  if (once && once !== 'true' && once !== 'false')
    throw new DefinitionError(`FIREFLY_TICKET_ONCE ${shorten(once)} must be true or false`)
  if (tolerance && !(/^\d+$/.test(tolerance) && Number(tolerance) <= MAX_TOLERANCE_MS))
    throw new DefinitionError(
      `FIREFLY_TICKET_CLOCK_TOLERANCE ${shorten(tolerance)} must be a whole number from 0 to ${MAX_TOLERANCE_MS}`,
    )
  const keys: TicketKey[] = []
  if (secret) keys.push(secretOf(secret))
  if (set) keys.push(...keysOf(set))
  if (keys.length === 0) {
    const withoutKey = issuer ? 'ISSUER' : audience ? 'AUDIENCE' : once === 'true' ? 'ONCE' : null
    if (withoutKey === null) return null
    throw new DefinitionError(
      `FIREFLY_TICKET_${withoutKey} is set and no key is: set FIREFLY_TICKET_SECRET or FIREFLY_TICKET_KEYS`,
    )
  }
  return {
    keys,
    once: once === 'true',
    ...(issuer && { issuer }),
    ...(audience && { audience }),
    ...(tolerance && { clockToleranceMs: Number(tolerance) }),
  }
}

interface VerificationKey {
  readonly kid: string | undefined
  readonly algorithms: string[]
  readonly key: () => Promise<CryptoKey | Uint8Array>
}

function verificationKeyOf(key: TicketKey, name: string): VerificationKey {
  const { kid } = key
  if (key.kind === 'hmac') {
    const { secret } = key
    if (secret.length < MIN_SECRET_BYTES)
      throw new DefinitionError(`${name}: a secret of ${secret.length} bytes, at least ${MIN_SECRET_BYTES}`)
    return { kid, algorithms: ['HS256'], key: () => Promise.resolve(secret) }
  }
  checkPublicKey(key.publicKey, name)
  const { kty, crv, x } = key.publicKey
  let imported: Promise<CryptoKey | Uint8Array> | null = null
  // RFC 9864 names it Ed25519, RFC 8037 named it EdDSA. Imported at the first use, because importing is asynchronous.
  return {
    kid,
    algorithms: ['EdDSA', 'Ed25519'],
    key: () => (imported ??= importJWK({ kty, crv, x } as JWK, 'Ed25519')),
  }
}

/** Checks an Ed25519 public key in a JWK (RFC 8037 section 2): 32 bytes are 43 characters of base64url. */
function checkPublicKey(jwk: JWK, name: string): void {
  if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519') {
    const actual = `kty ${shorten(jwk.kty, 20)}, crv ${shorten(jwk.crv, 20)}`
    throw new DefinitionError(`${name}: ${actual} is not an Ed25519 key (kty "OKP", crv "Ed25519")`)
  }
  if ('d' in jwk)
    throw new DefinitionError(`${name}: a private key (it has d); this server needs only kty, crv, x and kid`)
  if (typeof jwk.x !== 'string' || !/^[\w-]{42}[048AEIMQUYcgkosw]$/.test(jwk.x))
    throw new DefinitionError(`${name}: x must be 32 bytes in base64url`)
}

function checkDuration(name: string, ms: number): void {
  if (!Number.isFinite(ms) || ms < 0) throw new DefinitionError(`tickets: ${name} ${ms} must be 0 or more`)
}

function secretOf(text: string): TicketKey {
  const secret = utf8Encoder.encode(text)
  const correction = 'set it to the text that the login server signs with, for instance 32 random bytes in base64url'
  if (text.trim() !== text) throw new DefinitionError(`FIREFLY_TICKET_SECRET has space at an end: ${correction}`)
  if (secret.length < MIN_SECRET_BYTES)
    throw new DefinitionError(
      `FIREFLY_TICKET_SECRET has ${secret.length} bytes, at least ${MIN_SECRET_BYTES}: ${correction}`,
    )
  return { kind: 'hmac', secret }
}

function keysOf(text: string): readonly TicketKey[] {
  const variable = 'FIREFLY_TICKET_KEYS'
  let set: { keys?: unknown } | null
  try {
    set = JSON.parse(text) as { keys?: unknown } | null
  } catch {
    throw new DefinitionError(`${variable} is not JSON: set it to a JWK set, {"keys":[…]}`)
  }
  if (!Array.isArray(set?.keys) || set.keys.length === 0 || set.keys.length > MAX_KEYS)
    throw new DefinitionError(`${variable} must be a JWK set of 1..${MAX_KEYS} keys, {"keys":[…]}`)
  return set.keys.map((jwk: unknown, at) => keyOf(jwk, `${variable}: key ${at + 1}`))
}

function keyOf(value: unknown, name: string): TicketKey {
  if (typeof value !== 'object' || value === null) throw new DefinitionError(`${name} is not an object`)
  const jwk = value as JWK
  const { kid, kty, alg } = jwk
  if (kid !== undefined && (typeof kid !== 'string' || kid === ''))
    throw new DefinitionError(`${name}: kid ${shorten(kid)} must be text`)
  const algorithms = kty === 'oct' ? ['HS256'] : ['EdDSA', 'Ed25519']
  if (alg !== undefined && !algorithms.includes(alg))
    throw new DefinitionError(`${name}: alg ${shorten(alg, 20)} must be ${algorithms.join(' or ')}, or omitted`)
  if (jwk.use !== undefined && jwk.use !== 'sig')
    throw new DefinitionError(`${name}: use ${shorten(jwk.use, 20)} must be "sig", or omitted`)
  const optionalKid = kid === undefined ? {} : { kid }
  if (kty === 'oct') return { kind: 'hmac', secret: bytesOf(jwk.k, name), ...optionalKid }
  checkPublicKey(jwk, name)
  return { kind: 'eddsa', publicKey: jwk, ...optionalKid }
}

function bytesOf(base64url: unknown, name: string): Uint8Array {
  const isText = typeof base64url === 'string' && /^[\w-]+$/.test(base64url) && base64url.length % 4 !== 1
  const text = isText ? atob(base64url.replaceAll('-', '+').replaceAll('_', '/')) : ''
  if (text.length >= MIN_SECRET_BYTES) return Uint8Array.from(text, (char) => char.charCodeAt(0))
  throw new DefinitionError(`${name}: k must be at least ${MIN_SECRET_BYTES} bytes in base64url`)
}

/** Returns the ticket as text if it has the shape of a signed JWT (RFC 7515 section 7.1). */
function jwtText(ticket: Uint8Array): string {
  if (ticket.length === 0) throw new TicketError('the ticket is empty')
  if (ticket.length > MAX_TICKET_BYTES)
    throw new TicketError(`a ticket of ${ticket.length} bytes exceeds ${MAX_TICKET_BYTES}`)
  // Latin-1 decoding cannot fail, and the pattern rejects everything but ASCII.
  const text = String.fromCharCode(...ticket)
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text))
    throw new TicketError('the ticket is not a signed JWT: three parts in base64url separated by dots')
  return text
}

function isUid(sub: unknown): sub is string {
  if (typeof sub !== 'string' || sub === '' || sub.length > MAX_UID_BYTES || !sub.isWellFormed()) return false
  return sub.trim() === sub && !/\p{Cc}/u.test(sub) && utf8Encoder.encode(sub).length <= MAX_UID_BYTES
}

/** JWT times are seconds; as milliseconds every time since 1973 is above this, and a ticket would be valid for ever. */
const MAX_SECONDS = 100_000_000_000

/** @throws TicketError for a time that is not in seconds */
function checkTimes(payload: JWTPayload): void {
  for (const claim of ['exp', 'nbf', 'iat'] as const) {
    const value = payload[claim]
    if (typeof value === 'number' && value > MAX_SECONDS && value <= Number.MAX_SAFE_INTEGER)
      throw new TicketError(`the ticket claim ${claim} must be seconds since 1970, it looks like milliseconds`)
  }
}

/** Returns true when another key may have signed the ticket. */
function isWrongKey(error: unknown): boolean {
  return error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JOSEAlgNotAllowed
}

/** Drops jose's own error, because it contains the claims. */
function ticketErrorOf(error: unknown): TicketError {
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return new TicketError('no key of this server signed the ticket')
  if (error instanceof errors.JOSEAlgNotAllowed)
    return new TicketError('the ticket header alg is not that of a key of this server')
  if (error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed) checkTimes(error.payload)
  if (error instanceof errors.JWTExpired) {
    return new TicketError(
      error.claim === 'iat' ? 'the ticket claim iat is too old' : 'the ticket claim exp has passed',
    )
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    const problem =
      error.claim === 'nbf' && error.reason === 'check_failed' ? 'is in the future' : CLAIM_PROBLEMS[error.reason]
    return new TicketError(`the ticket claim ${error.claim} ${problem ?? 'has another value than required'}`)
  }
  return new TicketError('the ticket is not a signed JWT: its header or claims are not a JSON object')
}
const CLAIM_PROBLEMS: Readonly<Record<string, string>> = { missing: 'is missing', invalid: 'has the wrong type' }
