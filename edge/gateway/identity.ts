// The identity of a session: its login, its bound keys, and the link to its session shard, which delivers pushes, kicks and
// newer logins. Invariant: the last token grants exactly what the session may access.

import { hexOf } from '../../core/wire/bytes.ts'
import type { FlatMap } from '../../core/wire/flatmap.ts'
import { SESSION_REQUEST, SESSION_SHARD, sessionShardKey, uidShardKey } from '../../core/wire/systemshards.ts'
import { TIMES } from '../../core/wire/limits.ts'
import { KICKED, REPLACED, SUPERSEDED } from '../../core/ports/link.ts'
import type { Awaitable } from '../../core/game/definition.ts'
import { LOGGED_IN_ELSEWHERE, RESUMED_ELSEWHERE, type SessionConnection } from './gatewaysession.ts'
import type { GatewayContext } from './context.ts'
import { SessionLink, type ChannelOpener, type RequestResult, type SessionLinkListener } from './sessionlink.ts'
import { signResumeToken, type ResumeClaims } from './token.ts'

export type IdentityContext = Pick<GatewayContext, 'clock' | 'link' | 'tokenSigner'>

/** The session of an identity. */
export interface SessionIdentityOwner extends SessionLinkListener, Pick<SessionConnection, 'closeConnection'> {
  /** IP address of the client; '' = unknown. */
  readonly remote: string
  /** The session logged in, or its token must be replaced. */
  onIdentityChanged(): void
}

export class SessionIdentity {
  readonly session: Uint8Array
  /** 32 hex digits. */
  readonly sessionHex: string
  readonly #owner: SessionIdentityOwner
  readonly #context: IdentityContext
  uid = ''
  epoch = 0
  /** Higher than on every earlier connection of the session. */
  connectionGeneration = 1
  /** Of the last token sent on this connection. */
  #tokenGeneration = 1
  /** All tokens before this generation are revoked. The first token of a session has no predecessor. */
  #confirmedGeneration = 1
  /** No further confirmation is sent before this monotonic time. */
  #confirmAfterMs = 0
  #tokenIssuedMs = 0
  /** Contract to key; null = none, the usual case. */
  #boundKeys: Map<string, string> | null = null
  #sessionLink: SessionLink | null = null
  /** Of the last token from before the login, unless those are revoked: then 0. */
  #lastAnonymousGeneration = 0
  #areEventsPaused = false

  /** `session`: 16 bytes. */
  constructor(owner: SessionIdentityOwner, context: IdentityContext, session: Uint8Array) {
    this.#owner = owner
    this.#context = context
    this.session = session
    this.sessionHex = hexOf(session)
  }

  /** What identifies this session when a channel is opened. */
  get opener(): ChannelOpener {
    const { session, uid, epoch, connectionGeneration: generation } = this
    return { session, uid, epoch, generation, remote: this.#owner.remote }
  }

  /** The key that the game bound for a contract. */
  boundKey(contract: string): string | undefined {
    return this.#boundKeys?.get(contract)
  }

  /** Returns false when this key was bound before. */
  bindKey(contract: string, key: string): boolean {
    if (this.#boundKeys?.get(contract) === key) return false
    this.#boundKeys ??= new Map()
    this.#boundKeys.set(contract, key)
    this.#owner.onIdentityChanged()
    return true
  }

  /** Resumes an earlier session if its shard confirms that this token is the latest one. */
  resumeSession(claims: ResumeClaims, onResult: (result: RequestResult) => void): void {
    const { uid, epoch, generation, boundKeys, hasAnonymousTokens } = claims
    this.uid = uid
    this.epoch = epoch
    this.#confirmedGeneration = 0
    if (boundKeys.size > 0) this.#boundKeys = new Map(boundKeys)
    const latest = { session: this.sessionHex, epoch, generation }
    this.#requestOnce(this.#sessionShardKey, SESSION_REQUEST.resume, latest, (result) => {
      if (result.ok) this.connectionGeneration = (result.output as { readonly generation: number }).generation
      this.#tokenGeneration = this.connectionGeneration
      onResult(result)
    })
    if (!hasAnonymousTokens) return
    this.#lastAnonymousGeneration = Math.max(1, generation - 1)
    this.#revokeAnonymousTokens(generation)
  }

  /** Revokes the tokens from before the login; until that is done, the next token repeats the flag. */
  #revokeAnonymousTokens(generation: number): void {
    const anonymous = { session: this.sessionHex, epoch: 0, generation }
    this.#requestOnce(sessionShardKey(this.sessionHex), SESSION_REQUEST.confirm, anonymous, (result) => {
      if (result.ok) this.#lastAnonymousGeneration = 0
    })
  }

  /** The token of WELCOME is not confirmed yet. */
  get isWelcomeUnconfirmed(): boolean {
    return this.#confirmedGeneration < this.connectionGeneration
  }

  /** Of the last token sent on this connection. */
  get tokenGeneration(): number {
    return this.#tokenGeneration
  }

  /**
   * The client has received the token of this generation: the earlier ones are revoked, so that neither a late HELLO nor a
   * thief takes the session over with one. A failure is repeated at a later call.
   */
  confirmToken(generation: number): void {
    const { clock } = this.#context
    const isNew = generation > this.#confirmedGeneration && generation <= this.#tokenGeneration
    if (!isNew || clock.mono() < this.#confirmAfterMs) return
    this.#confirmAfterMs = clock.mono() + TIMES.callMs
    const { sessionHex: session, epoch } = this
    const token = { session, epoch, generation }
    const onResult = (result: RequestResult): void => {
      if (!result.ok) return
      this.#confirmedGeneration = Math.max(this.#confirmedGeneration, generation)
      this.#confirmAfterMs = 0
    }
    if (this.#sessionLink) this.#sessionLink.request(SESSION_REQUEST.confirm, token, onResult)
    else this.#requestOnce(this.#sessionShardKey, SESSION_REQUEST.confirm, token, onResult)
    const last = this.#lastAnonymousGeneration
    if (last !== 0 && generation > last) this.#revokeAnonymousTokens(generation)
  }

  /** Logs in with the claims of a ticket. */
  loginWithTicket(uid: string, jti: string, expiresMs: number, onResult: (result: RequestResult) => void): void {
    const login = { session: this.sessionHex, jti, expiresMs, wasNobody: false }
    this.#requestOnce(uidShardKey(uid), SESSION_REQUEST.login, login, (result) => {
      if (result.ok) {
        this.uid = uid
        this.epoch = (result.output as { readonly epoch: number }).epoch
      }
      onResult(result)
    })
  }

  /** Applies a login made by a shard, which repeats it until its reply arrives. */
  applyLogin(uid: string, epoch: number): void {
    if (uid === this.uid && epoch <= this.epoch) return
    const isSameUid = uid === this.uid
    if (this.uid === '') this.#lastAnonymousGeneration = this.#tokenGeneration
    this.uid = uid
    this.epoch = epoch
    if (isSameUid && this.#sessionLink) {
      this.#sessionLink.identify(uid, epoch)
      this.#requestAttach(this.#sessionLink)
    } else {
      this.#sessionLink?.closeLink(true)
      this.openSessionLink()
    }
    this.#owner.onIdentityChanged()
  }

  /** Opens the link over which the session shard reaches this session; needed after a login or a resume. */
  openSessionLink(): void {
    const shard = { contract: SESSION_SHARD, key: this.#sessionShardKey }
    const onEnded = (code: string, reason?: string): void => this.#sessionEnded(code, reason)
    const sessionLink = new SessionLink(this.#context, shard, this.opener, this.#owner, onEnded)
    this.#sessionLink = sessionLink
    if (this.#areEventsPaused) sessionLink.pauseEvents(true)
    this.#requestAttach(sessionLink)
  }

  #requestAttach(sessionLink: SessionLink): void {
    const { epoch } = this
    sessionLink.request(SESSION_REQUEST.attach, { session: this.sessionHex, epoch }, (result) => {
      if (result.ok || this.#sessionLink !== sessionLink || this.epoch !== epoch) return
      this.#sessionEnded(result.code, result.message)
    })
  }

  get #sessionShardKey(): string {
    return this.uid === '' ? sessionShardKey(this.sessionHex) : uidShardKey(this.uid)
  }

  #requestOnce(key: string, command: number, input: FlatMap, onResult: (result: RequestResult) => void): void {
    const shard = { contract: SESSION_SHARD, key }
    const requestLink = new SessionLink(this.#context, shard, { session: this.session }, null)
    requestLink.request(command, input, (result) => {
      requestLink.closeLink(true)
      onResult(result)
    })
  }

  /** Returns a token that resumes this session. */
  createToken(): Awaitable<Uint8Array> {
    const { tokenSigner, clock } = this.#context
    const { session, uid, epoch } = this
    this.#tokenIssuedMs = clock.mono()
    return signResumeToken(tokenSigner, {
      session,
      generation: this.#tokenGeneration,
      expiresSeconds: Math.ceil((clock.now() + TIMES.tokenMs) / 1_000),
      uid,
      epoch,
      boundKeys: this.#boundKeys ?? NO_KEYS,
      hasAnonymousTokens: this.#lastAnonymousGeneration !== 0,
    })
  }

  /** Returns the next token on the same connection. */
  renewToken(): Awaitable<Uint8Array> {
    this.#tokenGeneration++
    return this.createToken()
  }

  /** True when half of the token's lifetime has passed. */
  get isTokenStale(): boolean {
    return this.#context.clock.mono() - this.#tokenIssuedMs > TIMES.tokenMs / 2
  }

  ackEvents(events: number): void {
    this.#sessionLink?.ack(events)
  }

  pauseEvents(isPaused: boolean): void {
    this.#areEventsPaused = isPaused
    this.#sessionLink?.pauseEvents(isPaused)
  }

  /** `isFinal`: the session ends with the connection. */
  onConnectionClosed(isFinal: boolean): void {
    const sessionLink = this.#sessionLink
    this.#sessionLink = null
    sessionLink?.closeLink(isFinal)
  }

  /** A newer connection or login, a kick, or an unreachable shard ended the session. */
  #sessionEnded(code: string, reason = ''): void {
    if (code === REPLACED) this.#owner.closeConnection('REPLACED', RESUMED_ELSEWHERE)
    else if (code === SUPERSEDED) this.#owner.closeConnection('REPLACED', LOGGED_IN_ELSEWHERE, true)
    else if (code === KICKED) this.#owner.closeConnection('KICKED', reason)
    else this.#owner.closeConnection('UNAVAILABLE', `the session shard closed the link: ${code}`)
  }
}

const NO_KEYS: ReadonlyMap<string, string> = new Map()
