// The vectors of schemas/vectors as starting bytes: frames, streams, and those that a server must reject.

import { readFileSync } from 'node:fs'

import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../../../core/wire/frame.ts'
import { unhex } from './tree.ts'

interface FrameVectors {
  readonly frames: readonly { readonly frameHex: string }[]
  readonly illegal: readonly { readonly headerHex: string }[]
  readonly streams: readonly { readonly chunksHex: readonly string[] }[]
}
interface MessageVectors {
  readonly numbers: Readonly<Record<string, number>>
  readonly messages: readonly { readonly frameHex: string }[]
  readonly refused: readonly { readonly message: string; readonly bodyHex: string }[]
  readonly refusedFrames: readonly { readonly frameHex: string }[]
}

/** Each is one write. Vectors of other frame identities are not changed. */
export function readVectors(): readonly Uint8Array[] {
  const { frames, illegal, streams } = read('frames') as FrameVectors
  const { numbers, messages, refused, refusedFrames } = read('messages') as MessageVectors
  const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
  return [
    ...illegal.map(({ headerHex }) => unhex(headerHex)),
    ...streams.map(({ chunksHex }) => unhex(chunksHex.join(''))),
    ...[...frames, ...messages, ...messages, ...refusedFrames].map(({ frameHex }) => unhex(frameHex)),
    ...refused.map(({ message, bodyHex }) => encodeFrame(identity, numbers[message] ?? 0, unhex(bodyHex))),
  ]
}

function read(name: string): unknown {
  const file = new URL(`../../../../schemas/vectors/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8'))
}
