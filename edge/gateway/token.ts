// Resume tokens: the identity of a session and what it may access, signed, so that any gateway can resume it. Invariant: no
// field of a token is used before its signature is verified. The session shard rejects tokens that are no longer valid.

import type { Awaitable } from '../../core/game/definition.ts'
import { ByteReader, ByteWriter, utf8Encoder } from '../../core/wire/bytes.ts'
import { ProtocolError } from '../../core/wire/errors.ts'
import { SESSION_BYTES } from '../../core/wire/message.ts'

/** HMAC-SHA256 under a secret that all gateways share. */
export interface TokenSigner {
  sign(bytes: Uint8Array): Awaitable<Uint8Array>
}

export interface ResumeClaims {
  /** 16 bytes. */
  readonly session: Uint8Array
  /** Rises by one with each resume. */
  readonly generation: number
  /** Wall clock, seconds. */
  readonly expiresSeconds: number
  /** '' = not logged in. */
  readonly uid: string
  /** Number of the login of that uid. */
  readonly epoch: number
  /** Contract to key, as the game bound it. */
  readonly boundKeys: ReadonlyMap<string, string>
  /** Tokens from before the login may still be valid. */
  readonly hasAnonymousTokens: boolean
}

const FORMAT = 1
const SIGNATURE_BYTES = 32

/** Returns a token below 64 KiB, usually 256 bytes: there are at most 255 short keys. */
export function signResumeToken(signer: TokenSigner, claims: ResumeClaims): Awaitable<Uint8Array> {
  const { session, generation, expiresSeconds, uid, epoch, boundKeys, hasAnonymousTokens } = claims
  const uidBytes = utf8Encoder.encode(uid)
  const pairs = [...boundKeys].map(
    ([contract, key]) => [utf8Encoder.encode(contract), utf8Encoder.encode(key)] as const,
  )
  const size = pairs.reduce((sum, [contract, key]) => sum + 4 + contract.length + key.length, 0)
  const writer = new ByteWriter(17 + SESSION_BYTES + uidBytes.length + size + SIGNATURE_BYTES)
  writer
    .u8(FORMAT)
    .raw(session)
    .u32(generation)
    .u32(expiresSeconds)
    .u32(epoch)
    .u8(hasAnonymousTokens ? 1 : 0)
    .blob(uidBytes)
    .u8(pairs.length)
  for (const [contract, key] of pairs) writer.blob(contract).blob(key)
  const { bytes } = writer
  const signed = (signature: Uint8Array): Uint8Array => {
    bytes.set(signature, bytes.length - SIGNATURE_BYTES)
    return bytes
  }
  const signature = signer.sign(bytes.subarray(0, bytes.length - SIGNATURE_BYTES))
  return signature instanceof Promise ? signature.then(signed) : signed(signature)
}

/** Returns the claims; null = the token is forged, damaged, or expired at `nowMs` (wall clock). */
export function verifyResumeToken(
  signer: TokenSigner,
  token: Uint8Array,
  nowMs: number,
): Awaitable<ResumeClaims | null> {
  if (token.length <= SIGNATURE_BYTES || token[0] !== FORMAT) return null
  const signed = token.subarray(0, token.length - SIGNATURE_BYTES)
  const givenSignature = token.subarray(token.length - SIGNATURE_BYTES)
  const verify = (signature: Uint8Array): ResumeClaims | null => {
    if (!isEqualConstantTime(signature, givenSignature)) return null
    const claims = decodeClaims(signed)
    return claims !== null && claims.expiresSeconds * 1_000 > nowMs ? claims : null
  }
  const signature = signer.sign(signed)
  return signature instanceof Promise ? signature.then(verify) : verify(signature)
}

function decodeClaims(bytes: Uint8Array): ResumeClaims | null {
  const reader = new ByteReader('a token', bytes, 1, bytes.length)
  try {
    const session = reader.raw(SESSION_BYTES)
    const [generation, expiresSeconds, epoch] = [reader.u32(), reader.u32(), reader.u32()]
    const hasAnonymousTokens = reader.u8() === 1
    const uid = reader.text16()
    const boundKeys = new Map<string, string>()
    for (let count = reader.u8(); count > 0; count--) boundKeys.set(reader.text16(), reader.text16())
    return { session, generation, expiresSeconds, uid, epoch, boundKeys, hasAnonymousTokens }
  } catch (error) {
    if (error instanceof ProtocolError) return null
    throw error
  }
}

/** Takes the same time for every wrong signature. */
function isEqualConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  let different = a.length ^ b.length
  for (let i = 0; i < b.length; i++) different |= a[i]! ^ b[i]!
  return different === 0
}
