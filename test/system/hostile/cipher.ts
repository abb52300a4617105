// A cipher for the attacked game: a mark, the body with every bit turned, and the sum of its bytes. A toy in all but its
// duties: it says what is not sealed right, and throws where it has no key. Bodies without the mark are plain, so that
// the players beside it need none.

import type { Cipher } from '../../../core/wire/cipher.ts'

/** Begins neither JSON nor MessagePack. */
export const MARK = 0xc1
/** Whoever says this has no key from then on: nothing can be sealed for it. */
export const KEYLESS = Uint8Array.of(MARK, MARK)

const checksum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0)
const inverted = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 0xff)

export function sealBody(body: Uint8Array): Uint8Array {
  return Uint8Array.of(MARK, ...inverted(body), checksum(body))
}

export function openBody(body: Uint8Array): Uint8Array {
  if (body[0] !== MARK) return body
  const plain = inverted(body.subarray(1, -1))
  if (body.length < 2 || checksum(plain) !== body.at(-1)) throw new Error('the sum is wrong')
  return plain
}

/** Answers as it was asked: sealed once it has heard something sealed. */
export function cipher(): Cipher {
  let isSealed = false
  let hasKey = true
  return {
    open: (body) => {
      isSealed ||= body[0] === MARK
      hasKey &&= Buffer.compare(body, KEYLESS) !== 0
      return hasKey ? openBody(body) : new Uint8Array(0)
    },
    seal: (body) => {
      if (!hasKey) throw new Error('there is no key')
      return isSealed ? sealBody(body) : body
    },
  }
}
