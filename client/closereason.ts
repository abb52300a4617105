// Why a session is over, and which reasons of a server are final: after them it does not want this session back,
// after any other the SDK comes again.

import type { CloseReason } from '../core/wire/errors.ts'

/** What `closed` listeners are told. */
export interface Closed {
  /** 'CLOSED': by the game's own `close`. */
  readonly code: CloseReason | 'CLOSED'
  readonly message: string
}

/** The server ended the session, or refused to begin one; `code` is its reason. */
export class SessionError extends Error {
  override readonly name = 'SessionError'
  readonly code: CloseReason | 'CLOSED'
  constructor({ code, message }: Closed) {
    super(message === '' ? code : `${code}: ${message}`)
    this.code = code
  }
}

const FINAL_CODES: ReadonlySet<string> = new Set<CloseReason>([
  'ALREADY_ONLINE',
  'BAD_MESSAGE',
  'BAD_TICKET',
  'BAD_TOKEN',
  'FLOOD',
  'FRAME_TOO_LARGE',
  'KICKED',
  'LOGIN_TIMEOUT',
  'PARTIAL_FRAME',
  'REPLACED',
  'STRIKES',
  'TEXT_MESSAGE',
  'WINDOW',
])
/**
 * Heads that are none. A WebSocket delivers what was sent, so there they are the client's fault, or it is at the wrong
 * door. Over TCP, which has only the ERROR, the HELLO before it was right: bytes were damaged on the way.
 */
const FINAL_CLOSE_CODES: ReadonlySet<string> = new Set<CloseReason>(['BAD_IDENTITY', 'BAD_LENGTH'])

/** What an ERROR of channel 0 says; null = come again, unless the WebSocket's close says otherwise. */
export function finalErrorReason(
  code: string,
  message: string,
): { code: CloseReason; message: string } | null {
  return FINAL_CODES.has(code) ? { code: code as CloseReason, message } : null
}

/** A server puts its reason at the beginning of a WebSocket's close reason; before a HELLO it says it nowhere else. */
export function finalCloseReason(reason: string): { code: CloseReason; message: string } | null {
  const found = /^([A-Z_]+)(?:: (.*))?$/s.exec(reason)
  const [, code = '', message = ''] = found ?? []
  return FINAL_CLOSE_CODES.has(code)
    ? { code: code as CloseReason, message }
    : finalErrorReason(code, message)
}
