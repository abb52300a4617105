// The cipher of the server under attack: a prefix byte, the inverted body, and the sum of its bytes. It is no real
// encryption, but fails where a real cipher fails: on a wrong checksum and without a key. Bodies without the prefix stay
// plain, so the control players need no cipher.

import { EMPTY_BYTES } from '../../../core/wire/bytes.ts'
import type { Cipher } from '../../../core/wire/cipher.ts'

/** Starts neither JSON nor MessagePack. */
const PREFIX = 0xc1
/** After this body the connection has no key: nothing can be sealed for it. */
export const DROP_KEY = Uint8Array.of(PREFIX, PREFIX)

const checksum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0)
const inverted = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 0xff)

export function sealBody(body: Uint8Array): Uint8Array {
  return Uint8Array.of(PREFIX, ...inverted(body), checksum(body))
}

export function openBody(body: Uint8Array): Uint8Array {
  if (body[0] !== PREFIX) return body
  const plain = inverted(body.subarray(1, -1))
  if (body.length < 2 || checksum(plain) !== body.at(-1)) throw new Error('wrong checksum')
  return plain
}

/** Seals replies and events after the first sealed body of the connection. */
export function cipher(): Cipher {
  let isSealed = false
  let hasKey = true
  return {
    open: (body) => {
      isSealed ||= body[0] === PREFIX
      hasKey &&= Buffer.compare(body, DROP_KEY) !== 0
      return hasKey ? openBody(body) : EMPTY_BYTES
    },
    seal: (body) => {
      if (!hasKey) throw new Error('no key')
      return isSealed ? sealBody(body) : body
    },
  }
}
