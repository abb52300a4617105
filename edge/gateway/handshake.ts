// What comes between HELLO and WELCOME: who is this, and does its shard agree? A new session, one with a login ticket,
// or one that comes back with its token. Each ends in exactly one of `welcome` and `refuse`.

import { Auth } from '../../core/wire/systemcontract.ts'
import { SUPERSEDED } from '../../core/ports/link.ts'
import type { Awaitable } from '../../core/game/shard.ts'
import type { CloseReason } from '../../core/wire/errors.ts'
import type { Hello } from '../../core/wire/message.ts'
import { SessionLink, type RequestResult } from './sessionlink.ts'
import type { Gateway } from './gateway.ts'
import { SessionIdentity, isCloseReason, type SessionIdentityOwner } from './identity.ts'
import { TicketError, type TicketClaims } from './ticket.ts'
import { verifyResumeToken } from './token.ts'

export interface HandshakeCallbacks {
  onAccepted(identity: SessionIdentity, isResumed: boolean): void
  onRejected(reason: CloseReason, message: string): void
  /** A bug of ours. */
  onInternalError(error: unknown): void
}

/** `remote`: where the client comes from, for the game's `auth`. */
export function startHandshake(
  hello: Hello,
  owner: SessionIdentityOwner,
  remote: string,
  callbacks: HandshakeCallbacks,
): void {
  const isNew = hello.token.length === 0 && hello.session.every((byte) => byte === 0)
  if (!isNew) return resumeSession(hello, owner, callbacks)
  if (hello.ticket.length > MAX_TICKET_BYTES)
    return callbacks.onRejected(
      'BAD_TICKET',
      `a ticket of ${hello.ticket.length} bytes exceeds ${MAX_TICKET_BYTES}`,
    )
  const identity = new SessionIdentity(owner, owner.gateway.clock.id())
  if (hello.ticket.length === 0) return callbacks.onAccepted(identity, false)
  loginWithTicket(hello.ticket, identity, owner.gateway, remote, callbacks)
}

function resumeSession(
  { session, token }: Hello,
  owner: SessionIdentityOwner,
  callbacks: HandshakeCallbacks,
): void {
  const { gateway } = owner
  const reject = (): void =>
    callbacks.onRejected('BAD_TOKEN', 'the resume token is forged, expired or of another session')
  awaitValue(
    verifyResumeToken(gateway.tokenSigner, token, gateway.clock.now()),
    callbacks,
    null,
    (claims) => {
      if (claims === null || !claims.session.every((byte, i) => byte === session[i])) return reject()
      const identity = new SessionIdentity(owner, claims.session)
      identity.resumeSession(claims, (result) => finishHandshake(result, identity, callbacks, true))
    },
  )
}

/** A ticket: what the gateway can check itself comes first, then the game's word. */
function loginWithTicket(
  ticket: Uint8Array,
  identity: SessionIdentity,
  gateway: Gateway,
  remote: string,
  callbacks: HandshakeCallbacks,
): void {
  const { ticketVerifier: tickets, routingTable: door } = gateway
  if (!tickets && !door.auth) return callbacks.onRejected('BAD_TICKET', 'this server takes no tickets')
  const onVerifyError = (error: unknown): void => {
    if (error instanceof TicketError) return callbacks.onRejected('BAD_TICKET', error.message)
    gateway.log.error('a ticket could not be checked', { error: String(error) })
    callbacks.onRejected('UNAVAILABLE', 'the ticket could not be checked')
  }
  awaitValue(tickets ? tickets.verify(ticket) : ANONYMOUS, callbacks, onVerifyError, (claims) => {
    const login = (uid: string): void =>
      identity.loginWithTicket(uid, claims.jti, claims.expiresMs, (result) =>
        finishHandshake(result, identity, callbacks, false),
      )
    if (!door.auth) return login(claims.uid)
    const { link, clock } = gateway
    const key = String(identity.session[0]! % AUTH_SHARDS)
    const request = { contract: Auth, key, session: identity.session, uid: '', epoch: 0, generation: 0 }
    const authLink = new SessionLink(link, clock, request, null)
    const input = { ticket, uid: claims.uid, session: identity.sessionHex, remote: remote.slice(0, 64) }
    authLink.request(Auth.entries.verify, input, (result) => {
      authLink.closeLink(true)
      if (result.ok) login((result.output as { readonly uid: string }).uid)
      else finishHandshake(result, identity, callbacks, false)
    })
  })
}

function finishHandshake(
  result: RequestResult,
  identity: SessionIdentity,
  callbacks: HandshakeCallbacks,
  isResumed: boolean,
): void {
  if (result.ok) return callbacks.onAccepted(identity, isResumed)
  identity.onConnectionClosed(true)
  if (result.code === SUPERSEDED) callbacks.onRejected('REPLACED', result.message)
  else if (isCloseReason(result.code)) callbacks.onRejected(result.code, result.message)
  else callbacks.onRejected('UNAVAILABLE', `${result.code}: ${result.message}`)
}

function awaitValue<T>(
  value: Awaitable<T>,
  callbacks: HandshakeCallbacks,
  onError: ((error: unknown) => void) | null,
  onValue: (value: T) => void,
): void {
  if (!(value instanceof Promise)) return onValue(value)
  value
    .then(onValue, onError ?? ((error: unknown) => callbacks.onInternalError(error)))
    .catch((error: unknown) => callbacks.onInternalError(error))
}

/** Objects that share the work of `auth` on Cloudflare. */
const AUTH_SHARDS = 32
const MAX_TICKET_BYTES = 4_096
const ANONYMOUS: TicketClaims = { uid: '', jti: '', expiresMs: 0 }
