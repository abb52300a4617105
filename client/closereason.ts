// The reason why a session ended, and which reasons of a server are final. After a final reason the session cannot be resumed;
// after any other the SDK reconnects.

import type { CloseReason } from '../core/wire/errors.ts'

/** Argument of `closed` listeners. */
export interface Closed {
  /** 'CLOSED': by the game's call of `close`. */
  readonly code: CloseReason | 'CLOSED'
  /** The reason as text: of KICKED the reason that the game gave. */
  readonly message: string
}

/** The server ended the session or rejected a new one; `code` is its reason. */
export class SessionError extends Error {
  /** Always 'SessionError'. */
  override readonly name = 'SessionError'
  /** 'CLOSED': by the game's call of `close`. */
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
 * Final only in a WebSocket's close reason. A WebSocket delivers bytes as they were sent, so the client is wrong or connected
 * to the wrong server. TCP reports these reasons only by ERROR, after a valid HELLO: later bytes were damaged in transit.
 */
const FINAL_CLOSE_CODES: ReadonlySet<string> = new Set<CloseReason>(['BAD_IDENTITY', 'BAD_LENGTH'])

/** What a close below the gateway means, by its code: the same bytes would be rejected again. */
const REASON_BY_CODE: Readonly<Record<number, CloseReason>> = {
  1002: 'BAD_MESSAGE',
  1003: 'TEXT_MESSAGE',
  1007: 'TEXT_MESSAGE',
  1009: 'FRAME_TOO_LARGE',
}

/** The text of a WebSocket's close. A platform or proxy that closes by itself names no reason; then its code does. */
export function closeText(code: number, reason: string): string {
  const text = reason || `closed with code ${code}`
  const named = REASON_BY_CODE[code]
  return named === undefined || /^[A-Z_]+(: |$)/.test(reason) ? text : `${named}: ${text}`
}

/** The final reason in an ERROR of channel 0; null = reconnect, unless the WebSocket's close reason is final. */
export function finalErrorReason(code: string, message: string): { code: CloseReason; message: string } | null {
  return FINAL_CODES.has(code) ? { code: code as CloseReason, message } : null
}

/** The final reason in a WebSocket's close reason, `CODE: message`; before a HELLO the server reports it nowhere else. */
export function finalCloseReason(reason: string): { code: CloseReason; message: string } | null {
  const [, code = '', message = ''] = /^([A-Z_]+)(?:: (.*))?$/s.exec(reason) ?? []
  return FINAL_CLOSE_CODES.has(code) ? { code: code as CloseReason, message } : finalErrorReason(code, message)
}
