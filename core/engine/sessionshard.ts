// The built-in shards. The session shard stores the login of a uid, and which resume tokens are valid; there is one for
// each uid, and one for each session that resumed before a login. Invariant: of two logins of a uid the later one wins.
// A token below the highest generation that was presented or confirmed, or of an earlier login, is rejected.

import type { AuthHook, Game, LoginMode } from '../game/game.ts'
import type { ShardDefinition } from '../game/definition.ts'
import { service, shard } from '../game/shard.ts'
import { Auth, Session } from '../wire/systemcontract.ts'
import { sessionShardKey } from '../wire/systemshards.ts'
import { Refusal } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { t } from '../wire/type.ts'
import { KICKED, SUPERSEDED } from '../ports/link.ts'
import type { Channel } from '../channel/channel.ts'
import type { Members } from '../channel/members.ts'
import { deliverEvent } from '../turn/emitter.ts'
import { checkUid } from '../turn/login.ts'
import { sessionCast } from '../turn/remote.ts'
import { Turn } from '../turn/turn.ts'

/** Used tickets of one uid, stored until they expire; further tickets are refused. */
const MAX_TICKETS = 64
const TICKET = t.object({ jti: t.string(64), expiresMs: t.f64 })
const SESSION = t.string(32)

/** The shards that every game has besides its own, by contract name. */
export function builtInShards(game: Game): ReadonlyMap<string, ShardDefinition> {
  const shards = [sessionShard(game.login), ...(game.auth ? [authService(game.auth)] : [])]
  return new Map(shards.map((definition) => [definition.contract.name, definition]))
}

function sessionShard(mode: LoginMode): ShardDefinition {
  return shard(Session)
    .kv({
      epoch: t.u32,
      floor: t.u32,
      next: t.u32,
      session: SESSION,
      wasNobody: t.bool,
      reason: t.string(64),
      tickets: t.array(TICKET, MAX_TICKETS),
    })
    .state(initialState)
    .timer('expire', {}, (c) => {
      for (const name of ['floor', 'next', 'epoch', 'session', 'reason'] as const) c.kv.delete(name)
    })
    .on('resume', (c, { session, epoch, generation }) => {
      const endReason = sessionEndReason(c, session, epoch)
      if (endReason) throw endReason
      // Of several unconfirmed WELCOMEs any may be the one that arrived: a HELLO may be handled long after its client has
      // closed the connection and resumed on another one.
      if (generation < (c.kv.get('floor') ?? 0)) throw c.fail('BAD_TOKEN')
      const next = Math.max(c.kv.get('next') ?? 0, generation) + 1
      raise(c.kv, 'floor', generation)
      raise(c.kv, 'next', next)
      if (epoch === 0) postponeExpiry(c)
      return { generation: next }
    })
    .on('confirm', (c, { session, epoch, generation }) => {
      const endReason = sessionEndReason(c, session, epoch)
      if (endReason) throw endReason
      if (generation <= (c.kv.get('floor') ?? 0)) return {}
      raise(c.kv, 'floor', generation)
      raise(c.kv, 'next', generation)
      if (epoch === 0) postponeExpiry(c)
      return {}
    })
    .on('login', (c, { session, jti, expiresMs, wasNobody }) => {
      const turn = systemContext(c)
      const tickets = (c.kv.get('tickets') ?? []).filter((ticket) => ticket.expiresMs > c.now)
      const epoch = c.kv.get('epoch') ?? 0
      const isUsed = tickets.some((ticket) => ticket.jti === jti)
      // A retry after a lost answer, or a second login by the game: the tokens of the session stay valid.
      if (c.kv.get('session') === session && (isUsed || jti === '')) {
        if (c.state.loggedInMs !== 0) expectSession(turn, session)
        return { epoch }
      }
      if (isUsed || (jti !== '' && tickets.length >= MAX_TICKETS))
        throw c.fail('BAD_TICKET', 'the ticket was used before')
      if (mode === 'refuse') {
        // The gateway of a session that logged in a moment ago may not have attached yet.
        const isAttaching = c.kv.get('session') !== session && c.now - c.state.loggedInMs < TIMES.callMs
        if (isAttaching || otherChannels(turn.members, session).some(({ out }) => out !== null))
          throw c.fail('ALREADY_ONLINE')
      }
      if (jti !== '') c.kv.set('tickets', [...tickets, { jti, expiresMs }])
      endPreviousSession(turn, c.kv, '')
      c.kv.set('epoch', epoch + 1)
      c.kv.set('session', session)
      c.kv.set('wasNobody', wasNobody)
      for (const name of ['floor', 'next', 'reason'] as const) c.kv.delete(name)
      endOtherSessions(turn, SUPERSEDED, '', session)
      expectSession(turn, session)
      c.state.loggedInMs = c.now
      return { epoch: epoch + 1 }
    })
    .on('attach', (c, { session, epoch }) => {
      const endReason = sessionEndReason(c, session, epoch)
      if (endReason) throw endReason
      const turn = systemContext(c)
      const { channel } = turn
      // Without a seat, earlier pushes were not stored: they arrived at an earlier activation, or before this command.
      if (channel && epoch !== 0 && !c.joined) turn.addEffect((host) => host.memberLifecycle.eventsMissed(channel))
      c.join()
      c.state.loggedInMs = 0
      return {}
    })
    .onRejoin((c) => {
      // The session may have ended while its link was interrupted.
      const turn = systemContext(c)
      const { channel } = turn
      const endReason = channel && sessionEndReason(c, c.session, channel.epoch)
      if (!endReason) return
      const reason = endReason.code === KICKED ? endReason.message : ''
      turn.addEffect((host) => host.channels.endChannel(channel, endReason.code, reason))
    })
    .on('kick', (c, { reason }) => {
      const turn = systemContext(c)
      endPreviousSession(turn, c.kv, reason)
      // A new epoch invalidates the tokens of the login.
      c.kv.set('epoch', (c.kv.get('epoch') ?? 0) + 1)
      c.kv.set('session', '')
      c.kv.set('reason', reason)
      c.state.loggedInMs = 0
      endOtherSessions(turn, KICKED, reason, '')
    })
    .on('end', (c, { reason }) => {
      c.kv.set('epoch', 1)
      c.kv.set('session', '')
      if (reason !== '') c.kv.set('reason', reason)
      c.schedule(TIMES.tokenMs, 'expire')
      endOtherSessions(systemContext(c), reason === '' ? SUPERSEDED : KICKED, reason, '')
    })
    .on('push', (c, sent) => {
      systemContext(c).addEffect((host) => deliverEvent(host, { to: 'all', except: null }, sent))
    })
    .linger(TIMES.lingerMs).definition
}

/**
 * `loggedInMs`: when this activation accepted a login; 0 = it did not, or the gateway has attached since. `expiresMs`: when
 * 'expire' is due; 0 = unknown to this activation.
 */
const initialState = () => ({ loggedInMs: 0, expiresMs: 0 })

/** Longer than a token is valid, so that not each of many resumes has to move the timer. */
const EXPIRY_MS = TIMES.tokenMs + 3_600_000

/** The epoch of a uid must never restart. Before a login nothing is needed after the tokens expired. */
function postponeExpiry(c: ExpiryContext): void {
  if (c.state.expiresMs - c.now >= TIMES.tokenMs) return
  c.schedule(EXPIRY_MS, 'expire')
  c.state.expiresMs = c.now + EXPIRY_MS
}

/** Without a write when the value is as high already. */
function raise(kv: GenerationKv, name: 'floor' | 'next', value: number): void {
  if (value > (kv.get(name) ?? 0)) kv.set(name, value)
}

function authService(auth: AuthHook): ShardDefinition {
  return service(Auth).on('verify', async (c, { ticket, uid, session, remote }) => {
    const verified = await auth({ ticket, uid, session, remote, now: c.now, log: c.log })
    if (verified === null) throw new Refusal('BAD_TICKET', 'the game refuses the ticket')
    checkUid(verified)
    return { uid: verified }
  }).definition
}

/** What built-in shards use beyond the context of a game's handlers. */
function systemContext(context: object): Turn {
  if (context instanceof Turn) return context
  throw new TypeError('a built-in shard runs outside of a turn')
}

interface SessionKv {
  get(name: 'epoch' | 'session' | 'reason' | 'wasNobody'): number | string | boolean | undefined
}

interface ExpiryContext {
  readonly now: number
  readonly state: { expiresMs: number }
  schedule(ms: number, name: 'expire'): void
}

interface GenerationKv {
  get(name: 'floor' | 'next'): number | undefined
  set(name: 'floor' | 'next', value: number): void
}

function otherChannels(members: Members<Channel>, session: string): Channel[] {
  return [...members.all()].map(({ channel }) => channel).filter((channel) => channel.session !== session)
}

/** Ends the session that had the uid: its tokens from before the login become invalid. */
function endPreviousSession(turn: Turn, kv: SessionKv, reason: string): void {
  const [session, wasNobody] = [kv.get('session') ?? '', kv.get('wasNobody')]
  if (session === '' || !wasNobody) return
  turn.addEffect(sessionCast(sessionShardKey(String(session)), Session.entries.end, { reason }))
}

/** Why a session with that login has ended; null = it is valid. */
function sessionEndReason(c: { readonly kv: SessionKv }, session: string, epoch: number): Refusal | null {
  if (epoch === (c.kv.get('epoch') ?? 0) && (epoch === 0 || c.kv.get('session') === session)) return null
  const reason = c.kv.get('session') === '' ? c.kv.get('reason') : undefined
  if (reason !== undefined) return new Refusal(KICKED, String(reason))
  return new Refusal('SUPERSEDED', 'this player has logged in elsewhere')
}

/** Queues pushes to this session, once the turn is committed, until its gateway attaches. */
function expectSession(turn: Turn, session: string): void {
  turn.addEffect((host) => host.channels.expectSession(host, session))
}

/** Ends all channels but those of `session`, once the turn is committed. */
function endOtherSessions(turn: Turn, code: string, reason: string, session: string): void {
  turn.addEffect((host) => {
    for (const channel of otherChannels(host.members, session)) host.channels.endChannel(channel, code, reason)
  })
}
