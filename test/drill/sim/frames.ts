// Frames as text, for the trace.

import { utf8Decoder } from '../../../core/wire/bytes.ts'
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
  decodeWelcome,
  FIRST_RESERVED,
  MESSAGE,
  REPLY_BYTES,
  type Open,
} from '../../../core/wire/message.ts'

const MAX_BODY_BYTES = 1 << 20
const NAMES = new Map<number, string>(Object.entries(MESSAGE).map(([name, number]) => [number, name]))

export function describeFrames(bytes: Uint8Array): string {
  const texts: string[] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_BODY_BYTES, (command, source, start, end) => {
    texts.push(describe(command, source, start, end))
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
  const body = (from: number): string => utf8Decoder.decode(source.subarray(from, end))
  switch (command) {
    case MESSAGE.WELCOME:
      return `WELCOME${decodeWelcome(source, start, end).resumed ? ' resumed' : ''}`
    case MESSAGE.OPEN:
      return `OPEN ${describeOpen(decodeOpen(source, start, end))}`
    case MESSAGE.RESUME:
      return `RESUME ${decodeResume(source, start, end).opens.map(describeOpen).join(', ')}`
    case MESSAGE.RESYNC: {
      const { channel, events } = decodeResync(source, start, end)
      return `RESYNC ${channel} events ${events}`
    }
    case MESSAGE.OPENED: {
      const { channel, activation, mark, lost, opening } = decodeOpened(source, start, end)
      return `OPENED ${channel} activation ${activation} mark ${mark}${lost ? ' LOST' : ''} opening ${opening}`
    }
    case MESSAGE.CALL: {
      const { channel, opening, sequence, replyAck, command: number } = decodeCall(source, start, end)
      return `CALL ${channel}:${sequence} ${number} ack ${replyAck} opening ${opening} ${body(start + CALL_BYTES)}`
    }
    case MESSAGE.REPLY: {
      const { channel, sequence } = decodeReply(source, start, end)
      return `REPLY ${channel}:${sequence} ${body(start + REPLY_BYTES)}`
    }
    case MESSAGE.ERROR: {
      const { channel, sequence, kind, code, message } = decodeError(source, start, end)
      return `ERROR ${channel}:${sequence} ${kind} ${code} ${message}`
    }
    case MESSAGE.ACK: {
      const { channel, calls } = decodeAck(source, start, end)
      return `ACK ${channel} calls ${calls}`
    }
    case MESSAGE.CLOSE: {
      const { channel, code } = decodeClose(source, start, end)
      return `CLOSE ${channel} ${code}`
    }
  }
  if (command >= FIRST_RESERVED) return NAMES.get(command) ?? String(command)
  return `${command} ${body(start)}`
}

function describeOpen({ channel, activation, eventAck, contract, key }: Open): string {
  return `${channel} ${contract}/${key} activation ${activation} event ${eventAck}`
}
