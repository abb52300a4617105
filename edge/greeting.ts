// What comes between HELLO and WELCOME: who is this, and does its shard agree? A new session, one with a login ticket,
// or one that comes back with its token. Each ends in exactly one of `welcome` and `refuse`.

import { Auth } from '../schemas/session.ts'
import { SUPERSEDED, type Awaitable } from '../core/run/ports.ts'
import type { CloseReason } from '../core/wire/errors.ts'
import type { Hello } from '../core/wire/message.ts'
import { Anchor, type Answer } from './anchor.ts'
import type { Gateway } from './gateway.ts'
import { Identity, isCloseReason, type IdentityOwner } from './identity.ts'
import { TicketError, type Ticket } from './ticket.ts'
import { openGrant } from './token.ts'

export interface Greeted {
  welcome(identity: Identity, isResumed: boolean): void
  refuse(reason: CloseReason, message: string): void
  /** A bug of ours. */
  failed(error: unknown): void
}

/** `remote`: where the client comes from, for the game's `auth`. */
export function greet(hello: Hello, owner: IdentityOwner, remote: string, greeted: Greeted): void {
  const isNew = hello.token.length === 0 && hello.session.every((byte) => byte === 0)
  if (!isNew) return resume(hello, owner, greeted)
  if (hello.ticket.length > MAX_TICKET_BYTES)
    return greeted.refuse(
      'BAD_TICKET',
      `a ticket of ${hello.ticket.length} bytes exceeds ${MAX_TICKET_BYTES}`,
    )
  const identity = new Identity(owner, owner.gateway.clock.id())
  if (hello.ticket.length === 0) return greeted.welcome(identity, false)
  show(hello.ticket, identity, owner.gateway, remote, greeted)
}

function resume({ session, token }: Hello, owner: IdentityOwner, greeted: Greeted): void {
  const { gateway } = owner
  const refuse = (): void =>
    greeted.refuse('BAD_TOKEN', 'the resume token is forged, expired or of another session')
  later(openGrant(gateway.seal, token, gateway.clock.now()), greeted, null, (grant) => {
    if (grant === null || !grant.session.every((byte, i) => byte === session[i])) return refuse()
    const identity = new Identity(owner, grant.session)
    identity.resume(grant, (answer) => decide(answer, identity, greeted, true))
  })
}

/** A ticket: what the gateway can check itself comes first, then the game's word. */
function show(
  ticket: Uint8Array,
  identity: Identity,
  gateway: Gateway,
  remote: string,
  greeted: Greeted,
): void {
  const { tickets, door } = gateway
  if (!tickets && !door.auth) return greeted.refuse('BAD_TICKET', 'this server takes no tickets')
  const refuse = (error: unknown): void => {
    if (error instanceof TicketError) return greeted.refuse('BAD_TICKET', error.message)
    gateway.log.error('a ticket could not be checked', { error: String(error) })
    greeted.refuse('UNAVAILABLE', 'the ticket could not be checked')
  }
  later(tickets ? tickets.verify(ticket) : NOBODY, greeted, refuse, (checked) => {
    const enter = (uid: string): void =>
      identity.enter(uid, checked.jti, checked.expiresMs, (answer) =>
        decide(answer, identity, greeted, false),
      )
    if (!door.auth) return enter(checked.uid)
    const { link, clock } = gateway
    const key = String(identity.session[0]! % AUTH_KEYS)
    const request = { contract: Auth, key, session: identity.session, uid: '', epoch: 0, generation: 0 }
    const line = new Anchor(link, clock, request, null)
    const input = { ticket, uid: checked.uid, session: identity.name, remote: remote.slice(0, 64) }
    line.ask(Auth.entries.verify, input, (answer) => {
      line.close(true)
      if (answer.ok) enter((answer.output as { readonly uid: string }).uid)
      else decide(answer, identity, greeted, false)
    })
  })
}

function decide(answer: Answer, identity: Identity, greeted: Greeted, isResumed: boolean): void {
  if (answer.ok) return greeted.welcome(identity, isResumed)
  identity.ended(true)
  if (answer.code === SUPERSEDED) greeted.refuse('REPLACED', answer.message)
  else if (isCloseReason(answer.code)) greeted.refuse(answer.code, answer.message)
  else greeted.refuse('UNAVAILABLE', `${answer.code}: ${answer.message}`)
}

function later<T>(
  value: Awaitable<T>,
  greeted: Greeted,
  refused: ((error: unknown) => void) | null,
  done: (value: T) => void,
): void {
  if (!(value instanceof Promise)) return done(value)
  value
    .then(done, refused ?? ((error: unknown) => greeted.failed(error)))
    .catch((error: unknown) => greeted.failed(error))
}

/** Objects that share the work of `auth` on Cloudflare. */
const AUTH_KEYS = 32
const MAX_TICKET_BYTES = 4_096
const NOBODY: Ticket = { uid: '', jti: '', expiresMs: 0 }
