// The vectors of schemas/vectors: bytes made by the original code, the messages of the session protocol, and bodies.

import { readFileSync } from 'node:fs'

import type { FrameIdentity } from '../../core/wire/frame.ts'
import type { MESSAGE } from '../../core/wire/message.ts'
import type { TypeSpec } from '../../core/wire/schema.ts'

export type MessageName = keyof typeof MESSAGE
export type MessageFields = Record<string, unknown>

interface FrameVectors {
  readonly frames: readonly (FrameIdentity & {
    readonly name: string
    readonly command: number
    readonly bodyHex: string
    readonly frameHex: string
  })[]
  readonly illegal: readonly {
    readonly name: string
    readonly expectHead: FrameIdentity['head']
    readonly expectProtoVersion: number
    readonly expectServerVersion: number
    readonly headerHex: string
  }[]
  readonly streams: readonly (FrameIdentity & {
    readonly name: string
    readonly chunksHex: readonly string[]
    readonly expected: { dispatched: [number, string][]; closed: boolean; bufferedBytes: number }
  })[]
}

interface MessageVectors {
  readonly numbers: Readonly<Record<MessageName, number>>
  readonly messages: readonly {
    readonly name: string
    readonly message: MessageName
    readonly fields: MessageFields
    readonly bodyHex: string
    readonly frameHex: string
    readonly decodeOnly?: true
  }[]
  readonly refused: readonly {
    readonly name: string
    readonly message: MessageName
    readonly bodyHex: string
    readonly reason: string
  }[]
  readonly refusedFrames: readonly { readonly name: string; readonly frameHex: string; readonly reason: string }[]
}

interface BodyVectors {
  readonly types: readonly {
    readonly type: string
    readonly spec: TypeSpec
    readonly vectors: readonly { readonly value: unknown; readonly msgpackHex: string; readonly json?: string }[]
    readonly alsoAccepted: readonly { readonly value: unknown; readonly msgpackHex: string; readonly form: string }[]
    readonly refused: readonly { readonly msgpackHex: string; readonly why: string }[]
  }[]
  readonly refusedBodies: readonly { readonly msgpackHex: string; readonly why: string }[]
}

export function readVectors(name: 'bodies'): BodyVectors
export function readVectors(name: 'frames'): FrameVectors
export function readVectors(name: 'messages'): MessageVectors
export function readVectors(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../schemas/vectors/${name}.json`, import.meta.url), 'utf8'))
}
