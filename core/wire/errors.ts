// The closed lists of error codes, and the three kinds of failure: a bug (any thrown Error), a declared refusal, and a
// protocol violation of a peer. Codes are words, not numbers: they are sent only on the cold path, and are the same in a
// log, a metric and a client.

/** Errors of the framework; the refusals of a game are declared in its contract. */
export const SYSTEM_CODES = [
  'ALREADY_ONLINE', // the game rejects a second login while that uid has a connection
  'BAD_INPUT', // the codec or schema rejects the body
  'BAD_KEY', // the key is empty or too long, contains control characters or ends in a space
  'CLOSED', // the channel or the client was closed before the answer
  'CYCLE', // shards call each other in a cycle
  'DEADLINE', // no answer in time; the outcome is unknown
  'FORBIDDEN', // the shard is not public, or its game does not admit this session
  'INTERNAL', // a bug in the handler; the turn was rolled back
  'OVERLOADED', // a bounded queue is full; the call had no effect
  'REJECTED', // MySQL rejected the rows of a turn that waits for it; the turn was undone
  'RETRY_LATER', // MySQL has not confirmed in time; it may take effect; a retry with the same id is safe
  'SHARD_RESTARTED', // the activation that may have run a volatile call has ended
  'TOO_MANY_CHANNELS', // the session has reached its maximum of channels
  'UNAVAILABLE', // the shard could not be activated
  'UNKNOWN_COMMAND', // the contract has no such command
  'UNKNOWN_CONTRACT', // the game has no such contract
] as const
/** The codes of a `CallError`; docs/authoring.md describes each. */
export type SystemCode = (typeof SYSTEM_CODES)[number]
const TRANSIENT: readonly SystemCode[] = [
  'ALREADY_ONLINE',
  'DEADLINE',
  'OVERLOADED',
  'RETRY_LATER',
  'SHARD_RESTARTED',
  'UNAVAILABLE',
]
/** The same call may succeed later. A handler that does not catch one answers its caller with the same code. */
export const TRANSIENT_CODES: ReadonlySet<string> = /* @__PURE__ */ new Set(TRANSIENT)
/** Codes that a handler passes to its own caller by not catching them; any other is a bug of the handler. */
export const PROPAGATED_CODES: ReadonlySet<string> = /* @__PURE__ */ new Set(
  /* @__PURE__ */ TRANSIENT.concat('FORBIDDEN', 'REJECTED'),
)

/** Reasons for closing a connection, with the WebSocket close code (RFC 6455 section 7.4). */
export const CLOSE_CODES = {
  BAD_IDENTITY: 1002, // the six identity fields differ from the server's
  BAD_LENGTH: 1002, // the length field is below 4
  BAD_MESSAGE: 1002, // a session message that violates its table
  PARTIAL_FRAME: 1002, // a WebSocket message that ends inside a frame
  TEXT_MESSAGE: 1003, // a WebSocket text message
  IDLE: 1001, // nothing was received for the idle timeout (version 2: 2.5 heartbeats)
  SHUTDOWN: 1001, // the server is draining
  STRIKES: 1008, // too many rejected messages
  TOO_SLOW: 1008, // no complete first frame in time, or a frame that does not complete
  FLOOD: 1008, // above its rate limit of cost or bytes for too long
  WINDOW: 1008, // more unacknowledged calls than the protocol allows
  REPLACED: 4001, // the session continued on a newer connection, or its uid logged in elsewhere
  KICKED: 4002, // the game ended the session; the message contains its reason
  BAD_TICKET: 4003, // the login ticket is forged, expired, used, for another audience, or rejected by the game
  BAD_TOKEN: 4004, // the resume token is forged, expired or revoked: the session has ended, start a new one
  ALREADY_ONLINE: 4005, // the game rejects a second login while that uid has a connection
  LOGIN_TIMEOUT: 4006, // the game requires a login, and none was received in time
  FRAME_TOO_LARGE: 1009, // the length field is above the limit
  SLOW_CONSUMER: 1013, // unread outbound bytes are above the limit
  OVERLOADED: 1013, // the server accepts no further connection or call
  UNAVAILABLE: 1013, // the session could not be loaded
} as const
/** Why a connection was closed by the server; docs/protocol.md describes each. */
export type CloseReason = keyof typeof CLOSE_CODES

/** A protocol violation of a peer: its connection is closed with `reason`, after the answers to earlier frames. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
  readonly reason: CloseReason
  constructor(reason: CloseReason, message: string) {
    super(message)
    this.reason = reason
  }
}

/** A body that its codec or schema rejects. The message contains path, value (shortened) and bound. */
export class InputError extends Error {
  /** Always 'InputError'. */
  override readonly name = 'InputError'
}

/** Of a value that an entry of a contract cannot carry: names entry, path, value and bound. `what`: input, reply or event. */
export function contractViolation(entry: string, what: string, cause: unknown): InputError {
  const why = cause instanceof Error ? cause.message : shorten(cause)
  return new InputError(`${entry}: the ${what} violates its contract: ${why}`)
}

/** A refusal that the contract declares; the turn is rolled back and the caller is answered. */
export class Refusal extends Error {
  /** Always 'Refusal'. */
  override readonly name = 'Refusal'
  /** One of the contract's `refuses`. */
  readonly code: string
  constructor(code: string, message: string = code) {
    super(message)
    this.code = code
  }
}

export interface CallErrorOptions extends ErrorOptions {
  readonly retryAfterMs?: number
}

/** A call that ended without a reply. `code` is a system code. */
export class CallError extends Error {
  /** Always 'CallError'. */
  override readonly name = 'CallError'
  /** Why there is no reply. */
  readonly code: SystemCode
  /** OVERLOADED: milliseconds after which a retry has a chance, already spread over all clients; 0 = unknown. */
  readonly retryAfterMs: number
  constructor(code: SystemCode, message: string = code, options: CallErrorOptions = {}) {
    super(message, options)
    this.code = code
    this.retryAfterMs = options.retryAfterMs ?? 0
  }
}

/** Why a table rejects a row. */
export type RowErrorCode =
  | 'BAD_VALUE' // outside of the column's type or range
  | 'DUPLICATE' // the key or a unique value is taken
  | 'MISSING' // the row was deleted
  | 'PARKED' // MySQL rejected this version of the row, so its copy is older
  | 'TOO_LARGE' // the row exceeds what a Store holds
  | 'UNKNOWN_COLUMN' // the table has no such column, or cannot be queried by it

/** A row that a table rejects. The message contains table, column and path in it, value (shortened) and bound. */
export class RowError extends Error {
  /** Always 'RowError'. */
  override readonly name = 'RowError'
  /** Why the row is rejected. */
  readonly code: RowErrorCode
  /** The name of the table. */
  readonly table: string
  /** The columns of a composite key, comma-separated; the largest column of a row that is too large; null = none. */
  readonly column: string | null
  /** `path`: the invalid part of the column's value, such as `.a[1]`. */
  constructor(code: RowErrorCode, table: string, message: string, column: string | null = null, path = '') {
    const name = column === null || /^[\w,]{1,80}$/.test(column) ? column : shorten(column)
    super(truncate(`${table}${name === null ? '' : `.${name}`}${truncate(path, 80)}: ${message}`, 500))
    this.code = code
    this.table = table
    this.column = column
  }
}

/** A mistake in the definition of a game, detected at start. */
export class DefinitionError extends Error {
  /** Always 'DefinitionError'. */
  override readonly name = 'DefinitionError'
}

/** Text of whatever was thrown: code may throw any value, and also none. */
export function thrownText(thrown: unknown): string {
  if (thrown instanceof Error) return `${thrown.name}: ${thrown.message || 'without message'}`
  return thrown === undefined || thrown === null || thrown === '' ? 'an empty value was thrown' : shorten(thrown)
}

/** Any value as at most 80 printable characters: the only form in which a received value may enter a message or log. */
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

/** The first items of a list. */
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
