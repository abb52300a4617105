// Login tickets: a JWT that the studio's login server signed, checked without asking it. What a key can sign is fixed
// by the key and never by the ticket, and no refusal quotes a byte of the ticket. Single use is only prepared here: the
// `jti` of a good ticket must be remembered until its `expiresMs` by whoever lets the player in.

import { utf8Encoder } from '../../core/wire/bytes.ts'
import { errors, decodeProtectedHeader, importJWK, jwtVerify, type JWK, type JWTPayload } from 'jose'

import type { Clock } from '../../core/ports/clock.ts'
import { DefinitionError, shorten } from '../../core/wire/errors.ts'

/** `kid` chooses the key when a ticket names one; a key without `kid` is tried for any ticket that no `kid` matches. */
export type TicketKey =
  | { readonly kind: 'hmac'; readonly secret: Uint8Array; readonly kid?: string }
  | { readonly kind: 'eddsa'; readonly publicKey: JWK; readonly kid?: string }

export interface TicketOptions {
  /** 1..16 keys: HS256 with a secret of at least 32 bytes (RFC 7518 section 3.2), or Ed25519. */
  readonly keys: readonly TicketKey[]
  /** Demanded as `iss`. */
  readonly issuer?: string
  /** Demanded as `aud`, or as one of it. */
  readonly audience?: string
  /** A ticket needs a `jti`, is good for one login, and may end at most an hour from now. */
  readonly once?: boolean
  /** Demands `iat`; older tickets are refused. */
  readonly maxAgeMs?: number
  /** How far the login server's clock may be off. Default 5,000. */
  readonly clockToleranceMs?: number
}

/** What a good ticket says. */
export interface TicketClaims {
  /** `sub`: 1..120 bytes without control characters, and no space at either end. */
  readonly uid: string
  /** 1..64 visible ASCII characters, to be remembered until `expiresMs`; '' = the ticket may be used again (no `once`). */
  readonly jti: string
  /** Wall clock from which on `verify` refuses the ticket: `exp` and the clock tolerance. */
  readonly expiresMs: number
}

/** The ticket is not taken. The message names the claim or the part at fault and quotes nothing of the ticket. */
export class TicketError extends Error {
  override readonly name = 'TicketError'
  readonly code = 'BAD_TICKET'
}

/** Largest ticket, in bytes: room for any sane claim, and parsing it costs nothing. */
const MAX_TICKET_BYTES = 4_096
/** A ticket without `kid` is tried with every key. */
const MAX_KEYS = 16
const MIN_SECRET_BYTES = 32
const MAX_UID_BYTES = 120
/** The `jti` of a ticket for one login is remembered for as long. */
const MAX_ONCE_MS = 3_600_000
const DEFAULT_TOLERANCE_MS = 5_000

export class TicketVerifier {
  readonly #options: TicketOptions
  readonly #clock: Pick<Clock, 'now'>
  readonly #keys: readonly VerificationKey[]
  readonly #toleranceMs: number

  /** @throws DefinitionError of a key or a duration that cannot be used */
  constructor(options: TicketOptions, clock: Pick<Clock, 'now'>) {
    const { keys, maxAgeMs, clockToleranceMs = DEFAULT_TOLERANCE_MS } = options
    if (keys.length === 0 || keys.length > MAX_KEYS) {
      throw new DefinitionError(`${keys.length} ticket keys, must be 1..${MAX_KEYS}`)
    }
    const kids = keys.flatMap(({ kid }) => (kid === undefined ? [] : [kid]))
    const twice = kids.find((kid, at) => kids.indexOf(kid) !== at)
    if (twice !== undefined) throw new DefinitionError(`two ticket keys have kid ${shorten(twice)}`)
    if (maxAgeMs !== undefined) checkDuration('maxAgeMs', maxAgeMs)
    checkDuration('clockToleranceMs', clockToleranceMs)
    this.#options = options
    this.#clock = clock
    this.#keys = keys.map((key, at) =>
      verificationKeyOf(key, `ticket key ${key.kid ? shorten(key.kid) : at + 1}`),
    )
    this.#toleranceMs = clockToleranceMs
  }

  /** The claims of a ticket that a key signed and that is good now. @throws TicketError */
  async verify(ticket: Uint8Array): Promise<TicketClaims> {
    const jwt = jwtText(ticket)
    const nowMs = this.#clock.now()
    return this.#ticketOf(await this.#claimsOf(jwt, nowMs), nowMs)
  }

  async #claimsOf(jwt: string, nowMs: number): Promise<JWTPayload> {
    let fault: unknown
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
        return payload
      } catch (error) {
        if (!isWrongKey(error)) throw ticketErrorOf(error)
        // Of several keys the one whose algorithm fits says more.
        if (!(fault instanceof errors.JWSSignatureVerificationFailed)) fault = error
      }
    }
    throw ticketErrorOf(fault)
  }

  /** The keys that may have signed it; never empty. */
  #candidates(jwt: string): readonly VerificationKey[] {
    let kid: unknown
    try {
      ;({ kid } = decodeProtectedHeader(jwt))
    } catch (error) {
      throw ticketErrorOf(error)
    }
    if (kid === undefined) return this.#keys
    const named = this.#keys.filter((key) => key.kid === kid)
    if (named.length > 0) return named
    const nameless = this.#keys.filter((key) => key.kid === undefined)
    if (nameless.length === 0) throw new TicketError('the ticket header kid names no key of this server')
    return nameless
  }

  #ticketOf({ sub, jti, exp }: JWTPayload, nowMs: number): TicketClaims {
    if (!isUid(sub)) {
      throw new TicketError(
        `the ticket claim sub is no uid: 1..${MAX_UID_BYTES} bytes of text without control characters, no space at either end`,
      )
    }
    // `verify` looks at whole seconds: it refuses from the first one that is not below `exp` and the tolerance.
    const expiresMs = Math.ceil((exp ?? Infinity) + this.#toleranceMs / 1_000) * 1_000
    if (!Number.isSafeInteger(expiresMs)) throw new TicketError('the ticket claim exp is no date')
    if (this.#options.once !== true) return { uid: sub, jti: '', expiresMs }
    if (typeof jti !== 'string' || !/^[\x21-\x7e]{1,64}$/.test(jti)) {
      throw new TicketError('the ticket claim jti must be 1..64 visible ASCII characters')
    }
    if (exp! * 1_000 > nowMs + MAX_ONCE_MS + this.#toleranceMs) {
      throw new TicketError(
        `the ticket claim exp is more than ${MAX_ONCE_MS / 60_000} minutes ahead, too far for a ticket that is good once`,
      )
    }
    return { uid: sub, jti, expiresMs }
  }
}

/** Variables of the environment (Node) or of the Worker; an empty one counts as left out. */
export interface TicketEnvironment {
  /** The secret of HS256: the UTF-8 bytes of this text, at least 32. */
  readonly FIREFLY_TICKET_SECRET?: string | undefined
  /** JSON text of a JWK set (RFC 7517) of Ed25519 public keys and `oct` secrets. */
  readonly FIREFLY_TICKET_KEYS?: string | undefined
  readonly FIREFLY_TICKET_ISSUER?: string | undefined
  readonly FIREFLY_TICKET_AUDIENCE?: string | undefined
  /** `true`: a ticket is good for one login. */
  readonly FIREFLY_TICKET_ONCE?: string | undefined
}

/** What the variables say; null when none is set. @throws DefinitionError that names the variable and the cure */
export function ticketOptionsOf(env: TicketEnvironment): TicketOptions | null {
  const { FIREFLY_TICKET_SECRET: secret, FIREFLY_TICKET_KEYS: set } = env
  const { FIREFLY_TICKET_ISSUER: issuer, FIREFLY_TICKET_AUDIENCE: audience, FIREFLY_TICKET_ONCE: once } = env
  if (once && once !== 'true' && once !== 'false') {
    throw new DefinitionError(`FIREFLY_TICKET_ONCE ${shorten(once)} must be true or false`)
  }
  const keys: TicketKey[] = []
  if (secret) keys.push(secretOf(secret))
  if (set) keys.push(...keysOf(set))
  if (keys.length === 0) {
    const alone = issuer ? 'ISSUER' : audience ? 'AUDIENCE' : once === 'true' ? 'ONCE' : null
    if (alone === null) return null
    throw new DefinitionError(
      `FIREFLY_TICKET_${alone} is set and no key is: set FIREFLY_TICKET_SECRET or FIREFLY_TICKET_KEYS`,
    )
  }
  return {
    keys,
    once: once === 'true',
    ...(issuer && { issuer }),
    ...(audience && { audience }),
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
    if (secret.length < MIN_SECRET_BYTES) {
      throw new DefinitionError(`${name}: a secret of ${secret.length} bytes, at least ${MIN_SECRET_BYTES}`)
    }
    return { kid, algorithms: ['HS256'], key: () => Promise.resolve(secret) }
  }
  checkPublicKey(key.publicKey, name)
  const { kty, crv, x } = key.publicKey
  let imported: Promise<CryptoKey | Uint8Array> | null = null
  // RFC 9864 calls Ed25519 by its own name, RFC 8037 called it EdDSA. Imported when first used, as that takes a promise.
  return {
    kid,
    algorithms: ['EdDSA', 'Ed25519'],
    key: () => (imported ??= importJWK({ kty, crv, x } as JWK, 'Ed25519')),
  }
}

/** An Ed25519 public key in a JWK (RFC 8037 section 2): 32 bytes are 43 characters of base64url. */
function checkPublicKey(jwk: JWK, name: string): void {
  if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519') {
    const found = `kty ${shorten(jwk.kty, 20)}, crv ${shorten(jwk.crv, 20)}`
    throw new DefinitionError(`${name}: ${found} is no Ed25519 key (kty "OKP", crv "Ed25519")`)
  }
  if ('d' in jwk) {
    throw new DefinitionError(
      `${name}: a private key (it has d); give only kty, crv, x and kid to this server`,
    )
  }
  if (typeof jwk.x !== 'string' || !/^[\w-]{42}[048AEIMQUYcgkosw]$/.test(jwk.x)) {
    throw new DefinitionError(`${name}: x must be 32 bytes in base64url`)
  }
}

function checkDuration(name: string, ms: number): void {
  if (!Number.isFinite(ms) || ms < 0) throw new DefinitionError(`tickets: ${name} ${ms} must be 0 or more`)
}

function secretOf(text: string): TicketKey {
  const secret = utf8Encoder.encode(text)
  const cure =
    'set it to the text that the login server signs with, for instance 32 random bytes in base64url'
  if (text.trim() !== text) throw new DefinitionError(`FIREFLY_TICKET_SECRET has space at an end: ${cure}`)
  if (secret.length < MIN_SECRET_BYTES) {
    throw new DefinitionError(
      `FIREFLY_TICKET_SECRET has ${secret.length} bytes, at least ${MIN_SECRET_BYTES}: ${cure}`,
    )
  }
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
  if (!Array.isArray(set?.keys) || set.keys.length === 0 || set.keys.length > MAX_KEYS) {
    throw new DefinitionError(`${variable} must be a JWK set of 1..${MAX_KEYS} keys, {"keys":[…]}`)
  }
  return set.keys.map((jwk: unknown, at) => keyOf(jwk, `${variable}: key ${at + 1}`))
}

function keyOf(value: unknown, name: string): TicketKey {
  if (typeof value !== 'object' || value === null) throw new DefinitionError(`${name} is no object`)
  const jwk = value as JWK
  const { kid, kty, alg } = jwk
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) {
    throw new DefinitionError(`${name}: kid ${shorten(kid)} must be text`)
  }
  const algorithms = kty === 'oct' ? ['HS256'] : ['EdDSA', 'Ed25519']
  if (alg !== undefined && !algorithms.includes(alg)) {
    throw new DefinitionError(
      `${name}: alg ${shorten(alg, 20)} must be ${algorithms.join(' or ')}, or left out`,
    )
  }
  if (jwk.use !== undefined && jwk.use !== 'sig') {
    throw new DefinitionError(`${name}: use ${shorten(jwk.use, 20)} must be "sig", or left out`)
  }
  const named = kid === undefined ? {} : { kid }
  if (kty === 'oct') return { kind: 'hmac', secret: bytesOf(jwk.k, name), ...named }
  checkPublicKey(jwk, name)
  return { kind: 'eddsa', publicKey: jwk, ...named }
}

function bytesOf(base64url: unknown, name: string): Uint8Array {
  const isText = typeof base64url === 'string' && /^[\w-]+$/.test(base64url) && base64url.length % 4 !== 1
  const text = isText ? atob(base64url.replaceAll('-', '+').replaceAll('_', '/')) : ''
  if (text.length >= MIN_SECRET_BYTES) return Uint8Array.from(text, (char) => char.charCodeAt(0))
  throw new DefinitionError(`${name}: k must be at least ${MIN_SECRET_BYTES} bytes in base64url`)
}

/** The ticket as text, where it has the shape of a signed JWT (RFC 7515 section 7.1). */
function jwtText(ticket: Uint8Array): string {
  if (ticket.length === 0) throw new TicketError('the ticket is empty')
  if (ticket.length > MAX_TICKET_BYTES) {
    throw new TicketError(`a ticket of ${ticket.length} bytes exceeds ${MAX_TICKET_BYTES}`)
  }
  // Latin 1 cannot fail, and the pattern then refuses all that is not ASCII.
  const text = String.fromCharCode(...ticket)
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) {
    throw new TicketError('the ticket is no signed JWT: three parts in base64url with dots between')
  }
  return text
}

function isUid(sub: unknown): sub is string {
  if (typeof sub !== 'string' || sub === '' || sub.length > MAX_UID_BYTES || !sub.isWellFormed()) return false
  return sub.trim() === sub && !/\p{Cc}/u.test(sub) && utf8Encoder.encode(sub).length <= MAX_UID_BYTES
}

/** Another key may still have signed it. */
function isWrongKey(error: unknown): boolean {
  return error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JOSEAlgNotAllowed
}

/** jose's own error is not passed on as a cause: it carries the claims. */
function ticketErrorOf(error: unknown): TicketError {
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return new TicketError('no key of this server has signed the ticket')
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return new TicketError('the ticket header alg is not the one of a key of this server')
  }
  if (error instanceof errors.JWTExpired) {
    return new TicketError(
      error.claim === 'iat' ? 'the ticket claim iat is too old' : 'the ticket claim exp is over',
    )
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    const fault =
      error.claim === 'nbf' && error.reason === 'check_failed'
        ? 'is not reached yet'
        : CLAIM_FAULTS[error.reason]
    return new TicketError(`the ticket claim ${error.claim} ${fault ?? 'is not as demanded'}`)
  }
  return new TicketError('the ticket is no signed JWT: its header or claims are no JSON object')
}
const CLAIM_FAULTS: Readonly<Record<string, string>> = {
  missing: 'is missing',
  invalid: 'has the wrong type',
}
