// The closed lists of what can go wrong, as the two ends name it, and the three kinds of failure:
// a bug (any thrown Error), a declared refusal, and a peer's fault. Codes are words, never numbers:
// they travel on the cold path only and read the same in a log, a metric and a client.

/** What a caller can be told by the framework itself; a game's own refusals are its contract's. */
export const SYSTEM_CODES = [
  'ALREADY_ONLINE', // the game refuses a second login, and a connection of that uid stands
  'BAD_INPUT', // the body is refused by its codec or schema
  'BAD_KEY', // the key is empty, too long, holds control characters or ends in a space
  'CLOSED', // the channel or the client was closed before the answer
  'CYCLE', // shards call each other in a circle
  'DEADLINE', // no answer in time; the outcome is unknown
  'FORBIDDEN', // the shard is not public, or its game does not admit this session
  'INTERNAL', // a bug in the handler; the turn was rolled back
  'OVERLOADED', // a bounded queue is full; nothing was done
  'REJECTED', // MySQL refused the rows of a critical turn; the turn was taken back
  'RETRY_LATER', // MySQL has not confirmed in time; it may take effect, and asking again with the same id is safe
  'SHARD_RESTARTED', // the activation that may have run a volatile call is gone
  'TOO_MANY_CHANNELS', // a session may hold only so many channels
  'UNAVAILABLE', // the shard could not be activated
  'UNKNOWN_COMMAND', // the contract has no such command
  'UNKNOWN_CONTRACT', // the game has no such contract
] as const
export type SystemCode = (typeof SYSTEM_CODES)[number]
/** Nobody's fault: the same call may succeed later. A handler that lets one through tells its own caller the same. */
export const TRANSIENT_CODES: ReadonlySet<string> = new Set<SystemCode>([
  'ALREADY_ONLINE',
  'DEADLINE',
  'OVERLOADED',
  'RETRY_LATER',
  'SHARD_RESTARTED',
  'UNAVAILABLE',
])
/** What a handler that lets it through tells its own caller; anything else is a bug of the handler. */
export const PROPAGATED_CODES: ReadonlySet<string> = new Set([
  ...TRANSIENT_CODES,
  'FORBIDDEN' satisfies SystemCode,
])

/** Why a connection was closed by us, with its WebSocket close code (RFC 6455 section 7.4). */
export const CLOSE_CODES = {
  BAD_IDENTITY: 1002, // the six identity fields differ from the server's
  BAD_LENGTH: 1002, // the length field is below 4
  BAD_MESSAGE: 1002, // a session message that its byte table refuses
  PARTIAL_FRAME: 1002, // a WebSocket message that does not end at a frame's end
  TEXT_MESSAGE: 1003, // a WebSocket text message
  IDLE: 1001, // nothing was received for the idle timeout (version 2: 2.5 heartbeats)
  SHUTDOWN: 1001, // the server drains
  STRIKES: 1008, // too many refused messages
  TOO_SLOW: 1008, // no whole first frame in time, or a frame that does not end
  FLOOD: 1008, // above its budget of frames or bytes for too long
  WINDOW: 1008, // more unacknowledged calls than the protocol allows
  REPLACED: 4001, // the same session arrived on a newer connection, or the same uid logged in anew
  KICKED: 4002, // the game ended the session; the message is its reason
  BAD_TICKET: 4003, // the login ticket is forged, expired, used, for somebody else, or refused by the game
  BAD_TOKEN: 4004, // the resume token is forged, expired or used: the session is over, begin a new one
  ALREADY_ONLINE: 4005, // the game refuses a second login, and a connection of that uid stands
  LOGIN_TIMEOUT: 4006, // the game demands a login, and none came in time
  FRAME_TOO_LARGE: 1009, // the length field is above the limit
  SLOW_CONSUMER: 1013, // unread outbound bytes are above the limit
  OVERLOADED: 1013, // the server accepts no further connection or call
  UNAVAILABLE: 1013, // the session could not be looked up
} as const
export type CloseReason = keyof typeof CLOSE_CODES

/** A peer broke the wire's rules: its connection is closed with `reason`, after the answers to earlier frames. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
  readonly reason: CloseReason
  constructor(reason: CloseReason, message: string) {
    super(message)
    this.reason = reason
  }
}

/** A body that its codec or schema refuses. The message names path, value (shortened) and bound. */
export class InputError extends Error {
  override readonly name = 'InputError'
}

/** A refusal that the contract declares; the turn is rolled back and the caller is answered. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code: string
  constructor(code: string, message: string = code) {
    super(message)
    this.code = code
  }
}

/** A call that ended without a reply. `code` is a system code. */
export class CallError extends Error {
  override readonly name = 'CallError'
  readonly code: SystemCode
  constructor(code: SystemCode, message: string = code, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export type RowErrorCode =
  | 'BAD_VALUE' // outside of the column's type or range
  | 'DUPLICATE' // the key or a unique value is taken
  | 'MISSING' // the row was deleted
  | 'PARKED' // MySQL refused the row as it stands here, so there is no other to be read
  | 'TOO_LARGE' // the row exceeds what a Store holds
  | 'UNKNOWN_COLUMN' // the table has no such column, or cannot be asked by it

/** A row that a table refuses. The message names table, column and path in it, value (shortened) and bound. */
export class RowError extends Error {
  override readonly name = 'RowError'
  readonly code: RowErrorCode
  readonly table: string
  /** Those of a key of several with a comma between; of a row too large the largest; null = no column in particular. */
  readonly column: string | null
  /** `path` leads to the part of the column's value that is at fault, as `.a[1]`. */
  constructor(code: RowErrorCode, table: string, message: string, column: string | null = null, path = '') {
    const name = column === null || /^[\w,]{1,80}$/.test(column) ? column : shorten(column)
    super(truncate(`${table}${name === null ? '' : `.${name}`}${truncate(path, 80)}: ${message}`, 500))
    this.code = code
    this.table = table
    this.column = column
  }
}

/** A mistake of the game's author, found while the game is put together. */
export class DefinitionError extends Error {
  override readonly name = 'DefinitionError'
}

/** Any value as at most 80 printable characters: the only way a received value may enter a message or a log. */
export function shorten(value: unknown, maxChars = 80): string {
  if (typeof value === 'string') return truncate(JSON.stringify(value.slice(0, maxChars)), maxChars)
  if (typeof value === 'function') return 'function'
  if (typeof value !== 'object' || value === null) return truncate(String(value), maxChars)
  if (Array.isArray(value)) return `array of ${value.length}`
  if (value instanceof Uint8Array) return bytesText(value)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString()
  return 'object'
}

const MAX_ITEMS = 4

/** The first items of a list that is too long to be told. */
export function shortenList(values: readonly unknown[]): string {
  const items = values.slice(0, MAX_ITEMS).map((value) => shorten(value, 16))
  if (values.length > MAX_ITEMS) items.push('…')
  return `[${items.join(', ')}]`
}

const MAX_BYTES = 8

function bytesText(bytes: Uint8Array): string {
  const hex = Array.from(bytes.subarray(0, MAX_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('')
  const more = bytes.length > MAX_BYTES ? '…' : ''
  return `${bytes.length} bytes${hex === '' ? '' : ` ${hex}${more}`}`
}

function truncate(text: string, maxChars: number): string {
  return text.length > maxChars ? `${text.slice(0, maxChars - 1).toWellFormed()}…` : text
}
