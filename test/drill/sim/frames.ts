// Frames as text, for the trace.

import { hexOf, utf8Decoder } from '../../../core/wire/bytes.ts'
import { DEFAULT_FRAME_IDENTITY, FrameDecoder } from '../../../core/wire/frame.ts'
import {
  CALL_BYTES,
  decodeAck,
  decodeCall,
  decodeClose,
  decodeError,
  decodeOpen,
  decodeOpened,
  decodeReply,
  decodeResume,
  decodeResync,
  MESSAGE,
  REPLY_BYTES,
} from '../../../core/wire/message.ts'

type DecodeMessage = (source: Uint8Array, start: number, end: number) => object

const MAX_BODY_BYTES = 1 << 20
const NAMES = new Map<number, string>(Object.entries(MESSAGE).map(([name, number]) => [number, name]))
/** Decoders of messages; a body begins after so many bytes. */
const DECODERS = new Map<number, readonly [decode: DecodeMessage, headerBytes: number]>([
  [MESSAGE.OPEN, [decodeOpen, Infinity]],
  [MESSAGE.OPENED, [decodeOpened, Infinity]],
  [MESSAGE.CLOSE, [decodeClose, Infinity]],
  [MESSAGE.CALL, [decodeCall, CALL_BYTES]],
  [MESSAGE.REPLY, [decodeReply, REPLY_BYTES]],
  [MESSAGE.ERROR, [decodeError, Infinity]],
  [MESSAGE.ACK, [decodeAck, Infinity]],
  [MESSAGE.RESUME, [decodeResume, Infinity]],
  [MESSAGE.RESYNC, [decodeResync, Infinity]],
])

export function describeFrames(bytes: Uint8Array): string {
  const texts: string[] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_BODY_BYTES, (...frame) => {
    texts.push(describe(...frame))
  })
  try {
    decoder.push(bytes)
  } catch {
    // These bytes begin inside a frame.
    texts.push(`${bytes.length} bytes`)
  }
  if (decoder.bufferedBytes > 0) texts.push(`${decoder.bufferedBytes} bytes of an incomplete frame`)
  return texts.join(' | ')
}

function describe(command: number, source: Uint8Array, start: number, end: number): string {
  const name = NAMES.get(command)
  if (name === undefined) return `${command} ${utf8Decoder.decode(source.subarray(start, end))}`
  const decoder = DECODERS.get(command)
  if (!decoder) return name
  const [decode, headerBytes] = decoder
  const fields = JSON.stringify(decode(source, start, end), (_, value: unknown) =>
    value instanceof Uint8Array ? hexOf(value) : value,
  )
  return `${name} ${fields} ${utf8Decoder.decode(source.subarray(start + headerBytes, end))}`
}
