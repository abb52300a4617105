// Who a connection's session is: its login, the keys that its game has bound, and the line to the uid's session shard,
// through which a newer login, a kick or a push reaches it. Invariant: what it may reach is in its last token.

import { hexOf } from '../../core/wire/bytes.ts'
import { Session, sessionShardKey, uidShardKey } from '../../core/wire/systemcontract.ts'
import type { AnyCommand } from '../../core/wire/contract.ts'
import { CLOSE_CODES, type CloseReason } from '../../core/wire/errors.ts'
import { TIMES } from '../../core/wire/limits.ts'
import { KICKED, REPLACED, SUPERSEDED } from '../../core/ports/link.ts'
import type { Awaitable } from '../../core/game/shard.ts'
import { SessionLink, type SessionLinkListener, type RequestResult } from './sessionlink.ts'
import type { Gateway } from './gateway.ts'
import { signResumeToken, type ResumeClaims } from './token.ts'

/** The session that has it. */
export interface SessionIdentityOwner {
  readonly gateway: Gateway
  /** It has logged in, or its token is to be replaced. */
  onIdentityChanged(): void
  onLinkOpened(activation: number): void
  onPush(sequence: number, event: number, body: Uint8Array): void
  onEventsMissed(events: number): void
  /** `forget`: the session does not go on elsewhere. */
  closeConnection(reason: CloseReason, message: string, forget?: boolean): void
}

export class SessionIdentity implements SessionLinkListener {
  readonly session: Uint8Array
  /** 32 hex digits. */
  readonly sessionHex: string
  readonly #owner: SessionIdentityOwner
  uid = ''
  epoch = 0
  /** Of this connection: higher than that of every earlier one. */
  connectionGeneration = 1
  /** Of the last token that the client has been given on it. */
  #tokenGeneration = 1
  #tokenIssuedMs = 0
  /** Contract to key; few are bound. */
  #boundKeys: Map<string, string> | null = null
  #sessionLink: SessionLink | null = null
  /** Tokens without the uid are about. */
  #hasAnonymousTokens = false
  /** What is pushed to it waits. */
  #areEventsPaused = false

  constructor(owner: SessionIdentityOwner, session: Uint8Array) {
    this.#owner = owner
    this.session = session
    this.sessionHex = hexOf(session)
  }

  /** The key that this session means when it speaks to a contract. */
  boundKey(contract: string): string | undefined {
    return this.#boundKeys?.get(contract)
  }

  /** False = so it was bound before. */
  bindKey(contract: string, key: string): boolean {
    if (this.#boundKeys?.get(contract) === key) return false
    this.#boundKeys ??= new Map()
    this.#boundKeys.set(contract, key)
    this.#owner.onIdentityChanged()
    return true
  }

  /** Takes up an earlier session, if its shard agrees that this token is the last one. */
  resumeSession(claims: ResumeClaims, onResult: (result: RequestResult) => void): void {
    const { uid, epoch, generation, boundKeys: keys, hasAnonymousTokens: wasNobody } = claims
    this.uid = uid
    this.epoch = epoch
    this.#hasAnonymousTokens = wasNobody
    if (keys.size > 0) this.#boundKeys = new Map(keys)
    this.#requestOnce(
      this.#sessionShardKey,
      Session.entries.resume,
      { session: this.sessionHex, epoch, generation },
      (result) => {
        if (result.ok)
          this.connectionGeneration = (result.output as { readonly generation: number }).generation
        this.#tokenGeneration = this.connectionGeneration
        onResult(result)
      },
    )
    if (!wasNobody) return
    // Those of the time before the login are dead from here on; until that is answered, the next token says it again.
    const before = { session: this.sessionHex, epoch: 0, generation }
    this.#requestOnce(sessionShardKey(this.sessionHex), Session.entries.resume, before, (result) => {
      if (result.ok) this.#hasAnonymousTokens = false
    })
  }

  /** Logs in by a ticket. */
  loginWithTicket(
    uid: string,
    jti: string,
    expiresMs: number,
    onResult: (result: RequestResult) => void,
  ): void {
    const login = { session: this.sessionHex, jti, expiresMs, wasNobody: false }
    this.#requestOnce(uidShardKey(uid), Session.entries.login, login, (result) => {
      if (result.ok) {
        this.uid = uid
        this.epoch = (result.output as { readonly epoch: number }).epoch
      }
      onResult(result)
    })
  }

  /** A shard has logged this session in; said again until its answer has arrived. */
  applyLogin(uid: string, epoch: number): void {
    if (uid === this.uid && epoch <= this.epoch) return
    const isSame = uid === this.uid
    this.#hasAnonymousTokens ||= this.uid === ''
    this.uid = uid
    this.epoch = epoch
    if (isSame && this.#sessionLink) {
      this.#sessionLink.identify(uid, epoch)
      this.#requestAttach(this.#sessionLink)
    } else {
      this.#sessionLink?.closeLink(true)
      this.openSessionLink()
    }
    this.#owner.onIdentityChanged()
  }

  /** From here on the session's own shard reaches it: of a uid, or of one that has come back. */
  openSessionLink(): void {
    const { session, uid, epoch, connectionGeneration: generation } = this
    const { link, clock } = this.#owner.gateway
    const request = { contract: Session, key: this.#sessionShardKey, session, uid, epoch, generation }
    const sessionLink = (this.#sessionLink = new SessionLink(link, clock, request, this))
    if (this.#areEventsPaused) sessionLink.pauseEvents(true)
    this.#requestAttach(sessionLink)
  }

  #requestAttach(sessionLink: SessionLink): void {
    const { epoch } = this
    sessionLink.request(Session.entries.attach, { session: this.sessionHex, epoch }, (result) => {
      if (result.ok || this.#sessionLink !== sessionLink || this.epoch !== epoch) return
      this.onSessionEnded(result.code, result.message)
    })
  }

  get #sessionShardKey(): string {
    return this.uid === '' ? sessionShardKey(this.sessionHex) : uidShardKey(this.uid)
  }

  #requestOnce(
    key: string,
    command: AnyCommand,
    input: unknown,
    onResult: (result: RequestResult) => void,
  ): void {
    const { link, clock } = this.#owner.gateway
    const requestLink = new SessionLink(
      link,
      clock,
      { contract: Session, key, session: this.session, uid: '', epoch: 0, generation: 0 },
      null,
    )
    requestLink.request(command, input, (result) => {
      requestLink.closeLink(true)
      onResult(result)
    })
  }

  /** The token that opens this session again. */
  createToken(): Awaitable<Uint8Array> {
    const { tokenSigner: seal, clock } = this.#owner.gateway
    const { session, uid, epoch } = this
    this.#tokenIssuedMs = clock.mono()
    return signResumeToken(seal, {
      session,
      generation: this.#tokenGeneration,
      expiresSeconds: Math.ceil((clock.now() + TIMES.tokenMs) / 1_000),
      uid,
      epoch,
      boundKeys: this.#boundKeys ?? NO_KEYS,
      hasAnonymousTokens: this.#hasAnonymousTokens,
    })
  }

  /** The one that takes its place, on the same connection. */
  renewToken(): Awaitable<Uint8Array> {
    this.#tokenGeneration++
    return this.createToken()
  }

  /** Half of the token's life is over. */
  get isTokenStale(): boolean {
    return this.#owner.gateway.clock.mono() - this.#tokenIssuedMs > TIMES.tokenMs / 2
  }

  ackEvents(events: number): void {
    this.#sessionLink?.ack(events)
  }

  pauseEvents(isPaused: boolean): void {
    this.#areEventsPaused = isPaused
    this.#sessionLink?.pauseEvents(isPaused)
  }

  /** The connection is gone; `forget`: the session as well. */
  onConnectionClosed(isFinal: boolean): void {
    const sessionLink = this.#sessionLink
    this.#sessionLink = null
    sessionLink?.closeLink(isFinal)
  }

  onLinkOpened(activation: number): void {
    this.#owner.onLinkOpened(activation)
  }

  onPush(sequence: number, event: number, body: Uint8Array): void {
    this.#owner.onPush(sequence, event, body)
  }

  onEventsMissed(events: number): void {
    this.#owner.onEventsMissed(events)
  }

  /** By a newer login, by the game, or because the shard is not to be reached. */
  onSessionEnded(code: string, reason = ''): void {
    if (code === REPLACED)
      this.#owner.closeConnection('REPLACED', 'the session arrived on a newer connection')
    else if (code === SUPERSEDED)
      this.#owner.closeConnection('REPLACED', 'this player has logged in elsewhere', true)
    else if (code === KICKED) this.#owner.closeConnection('KICKED', reason)
    else this.#owner.closeConnection('UNAVAILABLE', `the session's shard has ended the line: ${code}`)
  }
}

const NO_KEYS: ReadonlyMap<string, string> = new Map()

export function isCloseReason(code: string): code is CloseReason {
  return Object.hasOwn(CLOSE_CODES, code)
}
