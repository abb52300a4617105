// Resume tokens: who a session is and what it may reach, signed, so that any gateway can take it up. Invariant: nothing
// in a token is believed before its signature is; which tokens are dead already is known to the session's own shard.

import type { Awaitable } from '../../core/game/shard.ts'
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
  /** '' = nobody has logged in. */
  readonly uid: string
  /** Which login of that uid. */
  readonly epoch: number
  /** Contract to key, as the game has bound it. */
  readonly boundKeys: ReadonlyMap<string, string>
  /** Tokens of this session from before its login may be about. */
  readonly hasAnonymousTokens: boolean
}

const FORMAT = 1
const SIGNATURE_BYTES = 32

/** The token of a grant. Its keys are at most 255, and so short that a token stays below 64 KiB (256 B as a rule). */
export function signResumeToken(signer: TokenSigner, claims: ResumeClaims): Awaitable<Uint8Array> {
  const {
    session,
    generation,
    expiresSeconds: expires,
    uid,
    epoch,
    boundKeys: keys,
    hasAnonymousTokens: wasNobody,
  } = claims
  const uidBytes = utf8Encoder.encode(uid)
  const pairs = [...keys].map(
    ([contract, key]) => [utf8Encoder.encode(contract), utf8Encoder.encode(key)] as const,
  )
  const size = pairs.reduce((sum, [contract, key]) => sum + 4 + contract.length + key.length, 0)
  const writer = new ByteWriter(17 + SESSION_BYTES + uidBytes.length + size + SIGNATURE_BYTES)
  writer
    .u8(FORMAT)
    .raw(session)
    .u32(generation)
    .u32(expires)
    .u32(epoch)
    .u8(wasNobody ? 1 : 0)
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

/** What a token grants; null = it is forged, damaged, or expired by `nowMs` (wall clock). */
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
    const grant = decodeClaims(signed)
    return grant !== null && grant.expiresSeconds * 1_000 > nowMs ? grant : null
  }
  const signature = signer.sign(signed)
  return signature instanceof Promise ? signature.then(verify) : verify(signature)
}

function decodeClaims(bytes: Uint8Array): ResumeClaims | null {
  const r = new ByteReader('a token', bytes, 1, bytes.length)
  try {
    const session = r.raw(SESSION_BYTES)
    const [generation, expires, epoch] = [r.u32(), r.u32(), r.u32()]
    const wasNobody = r.u8() === 1
    const uid = r.text16()
    const keys = new Map<string, string>()
    for (let remaining = r.u8(); remaining > 0; remaining--) keys.set(r.text16(), r.text16())
    return {
      session,
      generation,
      expiresSeconds: expires,
      uid,
      epoch,
      boundKeys: keys,
      hasAnonymousTokens: wasNobody,
    }
  } catch (error) {
    if (error instanceof ProtocolError) return null
    throw error
  }
}

/** Takes as long for every wrong signature. */
function isEqualConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  let different = a.length ^ b.length
  for (let i = 0; i < b.length; i++) different |= a[i]! ^ b[i]!
  return different === 0
}
