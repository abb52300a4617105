// The vectors of schemas/vectors as starting bytes: whole frames, streams, and those that a server must refuse.

import { readFileSync } from 'node:fs'

import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../../core/wire/frame.ts'
import { unhex } from './tree.ts'

interface Frames {
  readonly frames: readonly { readonly frameHex: string }[]
  readonly illegal: readonly { readonly headerHex: string }[]
  readonly streams: readonly { readonly chunksHex: readonly string[] }[]
}
interface Messages {
  readonly numbers: Readonly<Record<string, number>>
  readonly messages: readonly { readonly frameHex: string }[]
  readonly refused: readonly { readonly message: string; readonly bodyHex: string }[]
  readonly refusedFrames: readonly { readonly frameHex: string }[]
}

/** Each is one write. Those of other identities stay as they are. */
export function readVectors(): readonly Uint8Array[] {
  const { frames, illegal, streams } = read('frames') as Frames
  const { numbers, messages, refused, refusedFrames } = read('messages') as Messages
  const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
  return [
    ...frames.map(({ frameHex }) => unhex(frameHex)),
    ...illegal.map(({ headerHex }) => unhex(headerHex)),
    ...streams.map(({ chunksHex }) => unhex(chunksHex.join(''))),
    ...[...messages, ...messages, ...refusedFrames].map(({ frameHex }) => unhex(frameHex)),
    ...refused.map(({ message, bodyHex }) => encodeFrame(identity, numbers[message] ?? 0, unhex(bodyHex))),
  ]
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../../schemas/vectors/${name}.json`, import.meta.url), 'utf8'))
}
