// Who a connection's session is: its login, the keys that its game has bound, and the line to the uid's session shard,
// through which a newer login, a kick or a push reaches it. Invariant: what it may reach is in its last token.

import { hexOf } from '../core/wire/bytes.ts'
import { Session, sessionKey, uidKey } from '../schemas/session.ts'
import type { AnyCommand } from '../core/wire/contract.ts'
import { CLOSE_CODES, type CloseReason } from '../core/wire/errors.ts'
import { TIMES } from '../core/wire/limits.ts'
import { KICKED, REPLACED, SUPERSEDED, type Awaitable } from '../core/run/ports.ts'
import { Anchor, type AnchorOwner, type Answer } from './anchor.ts'
import type { Gateway } from './gateway.ts'
import { sealGrant, type Grant } from './token.ts'

/** The session that has it. */
export interface IdentityOwner {
  readonly gateway: Gateway
  /** It has logged in, or its token is to be replaced. */
  changed(): void
  anchored(activation: number): void
  pushed(sequence: number, event: number, body: Uint8Array): void
  missed(events: number): void
  /** `forget`: the session does not go on elsewhere. */
  close(reason: CloseReason, message: string, forget?: boolean): void
}

export class Identity implements AnchorOwner {
  readonly session: Uint8Array
  /** 32 hex digits. */
  readonly name: string
  readonly #owner: IdentityOwner
  uid = ''
  epoch = 0
  /** Of this connection: higher than that of every earlier one. */
  connection = 1
  /** Of the last token that the client has been given on it. */
  #generation = 1
  #issuedMs = 0
  /** Contract to key; few are bound. */
  #keys: Map<string, string> | null = null
  #anchor: Anchor | null = null
  /** Tokens without the uid are about. */
  #wasNobody = false
  /** What is pushed to it waits. */
  #held = false

  constructor(owner: IdentityOwner, session: Uint8Array) {
    this.#owner = owner
    this.session = session
    this.name = hexOf(session)
  }

  /** The key that this session means when it speaks to a contract. */
  keyOf(contract: string): string | undefined {
    return this.#keys?.get(contract)
  }

  /** False = so it was bound before. */
  bind(contract: string, key: string): boolean {
    if (this.#keys?.get(contract) === key) return false
    this.#keys ??= new Map()
    this.#keys.set(contract, key)
    this.#owner.changed()
    return true
  }

  /** Takes up an earlier session, if its shard agrees that this token is the last one. */
  resume(grant: Grant, done: (answer: Answer) => void): void {
    const { uid, epoch, generation, keys, wasNobody } = grant
    this.uid = uid
    this.epoch = epoch
    this.#wasNobody = wasNobody
    if (keys.size > 0) this.#keys = new Map(keys)
    this.#ask(this.#own, Session.entries.resume, { session: this.name, epoch, generation }, (answer) => {
      if (answer.ok) this.connection = (answer.output as { readonly generation: number }).generation
      this.#generation = this.connection
      done(answer)
    })
    if (!wasNobody) return
    // Those of the time before the login are dead from here on; until that is answered, the next token says it again.
    const before = { session: this.name, epoch: 0, generation }
    this.#ask(sessionKey(this.name), Session.entries.resume, before, (answer) => {
      if (answer.ok) this.#wasNobody = false
    })
  }

  /** Logs in by a ticket. */
  enter(uid: string, jti: string, expiresMs: number, done: (answer: Answer) => void): void {
    const login = { session: this.name, jti, expiresMs, wasNobody: false }
    this.#ask(uidKey(uid), Session.entries.login, login, (answer) => {
      if (answer.ok) {
        this.uid = uid
        this.epoch = (answer.output as { readonly epoch: number }).epoch
      }
      done(answer)
    })
  }

  /** A shard has logged this session in; said again until its answer has arrived. */
  login(uid: string, epoch: number): void {
    if (uid === this.uid && epoch <= this.epoch) return
    const isSame = uid === this.uid
    this.#wasNobody ||= this.uid === ''
    this.uid = uid
    this.epoch = epoch
    if (isSame && this.#anchor) {
      this.#anchor.identify(uid, epoch)
      this.#attach(this.#anchor)
    } else {
      this.#anchor?.close(true)
      this.attach()
    }
    this.#owner.changed()
  }

  /** From here on the session's own shard reaches it: of a uid, or of one that has come back. */
  attach(): void {
    const { session, uid, epoch, connection: generation } = this
    const { link, clock } = this.#owner.gateway
    const request = { contract: Session, key: this.#own, session, uid, epoch, generation }
    const anchor = (this.#anchor = new Anchor(link, clock, request, this))
    if (this.#held) anchor.hold(true)
    this.#attach(anchor)
  }

  #attach(anchor: Anchor): void {
    const { epoch } = this
    anchor.ask(Session.entries.attach, { session: this.name, epoch }, (answer) => {
      if (answer.ok || this.#anchor !== anchor || this.epoch !== epoch) return
      this.expelled(answer.code === 'KICKED' ? `${KICKED}${answer.message}` : answer.code)
    })
  }

  get #own(): string {
    return this.uid === '' ? sessionKey(this.name) : uidKey(this.uid)
  }

  #ask(key: string, command: AnyCommand, input: unknown, done: (answer: Answer) => void): void {
    const { link, clock } = this.#owner.gateway
    const line = new Anchor(
      link,
      clock,
      { contract: Session, key, session: this.session, uid: '', epoch: 0, generation: 0 },
      null,
    )
    line.ask(command, input, (answer) => {
      line.close(true)
      done(answer)
    })
  }

  /** The token that opens this session again. */
  token(): Awaitable<Uint8Array> {
    const { seal, clock } = this.#owner.gateway
    const { session, uid, epoch } = this
    this.#issuedMs = clock.mono()
    return sealGrant(seal, {
      session,
      generation: this.#generation,
      expires: Math.ceil((clock.now() + TIMES.tokenMs) / 1_000),
      uid,
      epoch,
      keys: this.#keys ?? NO_KEYS,
      wasNobody: this.#wasNobody,
    })
  }

  /** The one that takes its place, on the same connection. */
  nextToken(): Awaitable<Uint8Array> {
    this.#generation++
    return this.token()
  }

  /** Half of the token's life is over. */
  get isStale(): boolean {
    return this.#owner.gateway.clock.mono() - this.#issuedMs > TIMES.tokenMs / 2
  }

  ack(events: number): void {
    this.#anchor?.ack(events)
  }

  hold(on: boolean): void {
    this.#held = on
    this.#anchor?.hold(on)
  }

  /** The connection is gone; `forget`: the session as well. */
  ended(forget: boolean): void {
    const anchor = this.#anchor
    this.#anchor = null
    anchor?.close(forget)
  }

  anchored(activation: number): void {
    this.#owner.anchored(activation)
  }

  pushed(sequence: number, event: number, body: Uint8Array): void {
    this.#owner.pushed(sequence, event, body)
  }

  missed(events: number): void {
    this.#owner.missed(events)
  }

  /** By a newer login, by the game, or because the shard is not to be reached. */
  expelled(code: string): void {
    if (code === REPLACED) this.#owner.close('REPLACED', 'the session arrived on a newer connection')
    else if (code === SUPERSEDED) this.#owner.close('REPLACED', 'this player has logged in elsewhere', true)
    else if (code.startsWith(KICKED)) this.#owner.close('KICKED', code.slice(KICKED.length))
    else this.#owner.close('UNAVAILABLE', `the session's shard has ended the line: ${code}`)
  }
}

const NO_KEYS: ReadonlyMap<string, string> = new Map()

export function isCloseReason(code: string): code is CloseReason {
  return Object.hasOwn(CLOSE_CODES, code)
}
