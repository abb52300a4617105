// The handshake between HELLO and WELCOME: authenticates a new session, one with a login ticket, or one that resumes with
// its token. Invariant: each handshake ends in exactly one callback, unless its connection closes first; from then on it asks
// no shard for anything, because that would take the session from the connection that the player uses.

import { SUPERSEDED } from '../../core/ports/link.ts'
import type { Awaitable } from '../../core/game/definition.ts'
import { CLOSE_CODES, type CloseReason } from '../../core/wire/errors.ts'
import type { Hello } from '../../core/wire/message.ts'
import { AUTH_REQUEST, AUTH_SHARD } from '../../core/wire/systemshards.ts'
import type { GatewayContext } from './context.ts'
import type { SessionConnection } from './gatewaysession.ts'
import { SessionIdentity, type SessionIdentityOwner } from './identity.ts'
import { SessionLink, type RequestResult } from './sessionlink.ts'
import { MAX_TICKET_BYTES, TicketError, type TicketClaims } from './ticket.ts'
import { verifyResumeToken } from './token.ts'

export type HandshakeContext = Pick<
  GatewayContext,
  'clock' | 'link' | 'log' | 'routingTable' | 'ticketVerifier' | 'tokenSigner'
>

export interface Handshake {
  /** Gets the identity. */
  readonly owner: SessionIdentityOwner
  readonly context: HandshakeContext
  readonly connection: Pick<SessionConnection, 'isClosed'>
  onAccepted(identity: SessionIdentity, isResumed: boolean): void
  onRejected(reason: CloseReason, message: string): void
  onInternalError(error: unknown): void
}

export function isNewSession({ session, token }: Hello): boolean {
  return token.length === 0 && session.every((byte) => byte === 0)
}

export function startHandshake(hello: Hello, handshake: Handshake): void {
  const { owner, context } = handshake
  if (!isNewSession(hello)) return resumeSession(hello, handshake)
  const { length } = hello.ticket
  if (length > MAX_TICKET_BYTES)
    return handshake.onRejected('BAD_TICKET', `a ticket of ${length} bytes exceeds ${MAX_TICKET_BYTES}`)
  const identity = new SessionIdentity(owner, context, context.clock.id())
  if (length === 0) return handshake.onAccepted(identity, false)
  loginWithTicket(hello.ticket, identity, handshake)
}

function resumeSession({ session, token }: Hello, handshake: Handshake): void {
  const { owner, context } = handshake
  awaitValue(verifyResumeToken(context.tokenSigner, token, context.clock.now()), handshake, null, (claims) => {
    if (claims === null || !claims.session.every((byte, i) => byte === session[i]))
      return handshake.onRejected('BAD_TOKEN', 'the resume token is forged, expired or of another session')
    const identity = new SessionIdentity(owner, context, claims.session)
    identity.resumeSession(claims, (result) => finishHandshake(result, identity, handshake, true))
  })
}

/** Verifies a ticket: first what the gateway can check itself, then the game's `auth`. */
function loginWithTicket(ticket: Uint8Array, identity: SessionIdentity, handshake: Handshake): void {
  const { context, owner } = handshake
  const { ticketVerifier, log } = context
  const { auth } = context.routingTable
  if (!ticketVerifier && !auth) return handshake.onRejected('BAD_TICKET', 'this server does not accept tickets')
  const onVerifyError = (error: unknown): void => {
    if (error instanceof TicketError) return handshake.onRejected('BAD_TICKET', error.message)
    log.error('a ticket could not be verified', { error, remote: owner.remote })
    handshake.onRejected('UNAVAILABLE', 'the ticket could not be verified')
  }
  awaitValue(ticketVerifier ? ticketVerifier.verify(ticket) : ANONYMOUS, handshake, onVerifyError, (claims) => {
    const login = (uid: string): void =>
      identity.loginWithTicket(uid, claims.jti, claims.expiresMs, (result) =>
        finishHandshake(result, identity, handshake, false),
      )
    if (!auth) return login(claims.uid)
    const { session } = identity
    const shard = { contract: AUTH_SHARD, key: String(session[0]! % AUTH_SHARDS) }
    const authLink = new SessionLink(context, shard, { session }, null)
    const input = { ticket, uid: claims.uid, session: identity.sessionHex, remote: owner.remote }
    authLink.request(AUTH_REQUEST.verify, input, (result) => {
      authLink.closeLink(true)
      if (handshake.connection.isClosed) return
      if (result.ok) login((result.output as { readonly uid: string }).uid)
      else finishHandshake(result, identity, handshake, false)
    })
  })
}

function finishHandshake(
  result: RequestResult,
  identity: SessionIdentity,
  handshake: Handshake,
  isResumed: boolean,
): void {
  if (result.ok) return handshake.onAccepted(identity, isResumed)
  const { code, message } = result
  identity.onConnectionClosed(true)
  if (code === SUPERSEDED) handshake.onRejected('REPLACED', message)
  else if (isCloseReason(code)) handshake.onRejected(code, message)
  else handshake.onRejected('UNAVAILABLE', `${code}: ${message}`)
}

function isCloseReason(code: string): code is CloseReason {
  return Object.hasOwn(CLOSE_CODES, code)
}

/** Calls `onValue` at once for a value, later for a promise if the connection is still open; `onError` null = an error is a bug. */
function awaitValue<T>(
  value: Awaitable<T>,
  handshake: Handshake,
  onError: ((error: unknown) => void) | null,
  onValue: (value: T) => void,
): void {
  if (!(value instanceof Promise)) return onValue(value)
  const onResolved = (resolved: T): void => {
    if (!handshake.connection.isClosed) onValue(resolved)
  }
  value
    .then(onResolved, onError ?? ((error: unknown) => handshake.onInternalError(error)))
    .catch((error: unknown) => handshake.onInternalError(error))
}

/** Number of shards of the game's `auth`: on Cloudflare that many objects share its work. */
const AUTH_SHARDS = 32
const ANONYMOUS: TicketClaims = { uid: '', jti: '', expiresMs: 0 }
