// The vectors of schemas/vectors as starting bytes: frames, streams, and those that a server must reject.

import { bytesOfHex } from '../../../../core/wire/bytes.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../../../core/wire/frame.ts'
import { readVectors } from '../../../support/vectors.ts'

/** Each is one write. Vectors of other frame identities are not changed. */
export function startingBytes(): readonly Uint8Array[] {
  const { frames, illegal, streams } = readVectors('frames')
  const { numbers, messages, refused, refusedFrames } = readVectors('messages')
  const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
  return [
    ...illegal.map(({ headerHex }) => bytesOfHex(headerHex)),
    ...streams.map(({ chunksHex }) => bytesOfHex(chunksHex.join(''))),
    ...[...frames, ...messages, ...messages, ...refusedFrames].map(({ frameHex }) => bytesOfHex(frameHex)),
    ...refused.map(({ message, bodyHex }) => encodeFrame(identity, numbers[message], bytesOfHex(bodyHex))),
  ]
}
