// Frames for human eyes.

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

const MAX_BODY = 1 << 20
const NAMES = new Map<number, string>(Object.entries(MESSAGE).map(([name, number]) => [number, name]))
const text = new TextDecoder()

export function describeFrames(bytes: Uint8Array): string {
  const found: string[] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_BODY, (command, source, start, end) => {
    found.push(describe(command, source, start, end))
  })
  try {
    decoder.push(bytes)
  } catch {
    // The rest of a frame that came in pieces.
    found.push(`${bytes.length} bytes`)
  }
  if (decoder.bufferedBytes > 0) found.push(`and ${decoder.bufferedBytes} bytes of a frame`)
  return found.join(' | ')
}

function describe(command: number, source: Uint8Array, start: number, end: number): string {
  const body = (from: number): string => text.decode(source.subarray(from, end))
  switch (command) {
    case MESSAGE.WELCOME:
      return `WELCOME${decodeWelcome(source, start, end).resumed ? ' back' : ''}`
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
      const { channel, opening, sequence, replyAck, command: what } = decodeCall(source, start, end)
      return `CALL ${channel}:${sequence} ${what} ack ${replyAck} opening ${opening} ${body(start + CALL_BYTES)}`
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
  return `${channel} ${contract}/${key} knows ${activation}, event ${eventAck}`
}
