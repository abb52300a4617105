// The session's own shard: who is a uid, since which login, and which resume tokens are dead. One for each uid, and for
// each session that came back before any login. Invariant: of two logins of a uid the later one lives; a token below
// the generation that was used last, or of an earlier login, opens nothing.

import type { AuthHook, Game, LoginMode } from '../game/game.ts'
import { service, shard, type ShardDefinition } from '../game/shard.ts'
import { Auth, Session, sessionShardKey } from '../wire/systemcontract.ts'
import { Refusal } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { t } from '../wire/type.ts'
import type { Channel } from '../channel/channel.ts'
import { deliverEvent } from '../turn/emitter.ts'
import { checkUid, castToSession } from '../turn/login.ts'
import { KICKED, SUPERSEDED } from '../ports/link.ts'
import type { Turn } from '../turn/turn.ts'

/** Tickets of one uid that are remembered until they expire; more are refused. */
const MAX_TICKETS = 64
const TICKET = t.object({ jti: t.string(64), expiresMs: t.f64 })

/** The shards that every game has beside its own, by contract name. */
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
      const [floor, last] = [c.kv.get('floor') ?? 0, c.kv.get('next') ?? 0]
      // Good are the last one given out, newer ones of its connection, and the one used last: its WELCOME may be lost.
      if (generation < floor || (generation < last && generation !== floor)) throw c.fail('BAD_TOKEN')
      c.kv.set('floor', generation)
      const next = Math.max(last, generation) + 1
      c.kv.set('next', next)
      // A uid's epoch must rise for ever; before a login there is nothing to remember once its tokens have expired.
      if (epoch === 0) c.after(TIMES.tokenMs, 'expire')
      return { generation: next }
    })
    .on('login', (c, { session, jti, expiresMs, wasNobody }) => {
      const turn = c as unknown as Turn
      const tickets = (c.kv.get('tickets') ?? []).filter((ticket) => ticket.expiresMs > c.now)
      const epoch = c.kv.get('epoch') ?? 0
      const isUsed = tickets.some((ticket) => ticket.jti === jti)
      // Asked again, because the answer was lost or the game logs in twice: the session's tokens stay as good as they are.
      if (c.kv.get('session') === session && (isUsed || jti === '')) {
        if (c.state.grantedMs !== 0) expectSession(turn, session)
        return { epoch }
      }
      if (isUsed || (jti !== '' && tickets.length >= MAX_TICKETS))
        throw c.fail('BAD_TICKET', 'the ticket was used before')
      if (mode === 'refuse') {
        // One that was let in a moment ago is on its way to attach.
        const isAttaching = c.kv.get('session') !== session && c.now - c.state.grantedMs < TIMES.callMs
        if (isAttaching || otherChannels(turn, session).some(({ out }) => out !== null))
          throw c.fail('ALREADY_ONLINE')
      }
      if (jti !== '') c.kv.set('tickets', [...tickets, { jti, expiresMs }])
      endPreviousSession(turn, c.kv, '')
      c.kv.set('epoch', epoch + 1)
      c.kv.set('session', session)
      c.kv.set('wasNobody', wasNobody)
      c.kv.delete('floor')
      c.kv.delete('next')
      c.kv.delete('reason')
      endOtherSessions(turn, SUPERSEDED, '', session)
      expectSession(turn, session)
      c.state.grantedMs = c.now
      return { epoch: epoch + 1 }
    })
    .on('attach', (c, { session, epoch }) => {
      const endReason = sessionEndReason(c, session, epoch)
      if (endReason) throw endReason
      // Without a seat until now, what was pushed was kept nowhere: by an earlier life, or before this word came.
      const { channel } = (c as unknown as Turn).cause
      if (channel && epoch !== 0 && !c.joined)
        (c as unknown as Turn).addEffect((activation) => activation.memberLifecycle.eventsMissed(channel))
      c.join()
      c.state.grantedMs = 0
      return {}
    })
    .rejoin((c) => {
      // Its link was away, and what happened meanwhile did not reach it.
      const { channel } = (c as unknown as Turn).cause
      const endReason = channel && sessionEndReason(c, c.session, channel.epoch)
      if (!endReason) return
      const reason = endReason.code === KICKED ? endReason.message : ''
      ;(c as unknown as Turn).addEffect((activation) =>
        activation.shard.channels.endChannel(channel, endReason.code, reason),
      )
    })
    .on('kick', (c, { reason }) => {
      endPreviousSession(c as unknown as Turn, c.kv, reason)
      // Its tokens die with the login.
      c.kv.set('epoch', (c.kv.get('epoch') ?? 0) + 1)
      c.kv.set('session', '')
      c.kv.set('reason', reason)
      c.state.grantedMs = 0
      endOtherSessions(c as unknown as Turn, KICKED, reason, '')
    })
    .on('end', (c, { reason }) => {
      c.kv.set('epoch', 1)
      c.kv.set('session', '')
      if (reason !== '') c.kv.set('reason', reason)
      c.after(TIMES.tokenMs, 'expire')
      endOtherSessions(c as unknown as Turn, reason === '' ? SUPERSEDED : KICKED, reason, '')
    })
    .on('push', (c, sent) => {
      const turn = c as unknown as Turn
      turn.addEffect((activation) => deliverEvent(activation, { to: 'all', except: null }, sent))
    })
    .linger(TIMES.lingerMs).definition
}
const SESSION = t.string(32)

/** `grantedMs`: when this life let the session in; 0 = it did not, or its gateway has come. */
const initialState = () => ({ grantedMs: 0 })

function authService(auth: AuthHook): ShardDefinition {
  return service(Auth).on('verify', async (c, { ticket, uid, session, remote }) => {
    const answer = await auth({ ticket, uid, session, remote, now: c.now, log: c.log })
    if (answer === null) throw new Refusal('BAD_TICKET', 'the game refuses the ticket')
    checkUid(answer)
    return { uid: answer }
  }).definition
}

interface SessionKv {
  get(name: 'epoch' | 'session' | 'reason' | 'wasNobody'): number | string | boolean | undefined
}

function otherChannels(turn: Turn, session: string): Channel[] {
  return [...turn.activation.members.all()]
    .map(({ channel }) => channel)
    .filter((channel) => channel.session !== session)
}

/** The session that has had the uid so far may have tokens from before its login: they are dead from here on. */
function endPreviousSession(turn: Turn, kv: SessionKv, reason: string): void {
  const [session, wasNobody] = [kv.get('session') ?? '', kv.get('wasNobody')]
  if (session === '' || !wasNobody) return
  turn.addEffect((activation) =>
    castToSession(activation, sessionShardKey(String(session)), Session.entries.end, { reason }),
  )
}

/** Why a session with that login is over; null = it is not. */
function sessionEndReason(c: { readonly kv: SessionKv }, session: string, epoch: number): Refusal | null {
  if (epoch === (c.kv.get('epoch') ?? 0) && (epoch === 0 || c.kv.get('session') === session)) return null
  const reason = c.kv.get('session') === '' ? c.kv.get('reason') : undefined
  if (reason !== undefined) return new Refusal('KICKED', String(reason))
  return new Refusal('SUPERSEDED', 'this player has logged in elsewhere')
}

/** Once the turn is committed, what is pushed to this session waits until its gateway has brought it. */
function expectSession(turn: Turn, session: string): void {
  turn.addEffect((activation) => activation.shard.channels.expectSession(activation, session))
}

/** Once the turn is committed, all but `session` are let go. */
function endOtherSessions(turn: Turn, code: string, reason: string, session: string): void {
  turn.addEffect((activation) => {
    for (const channel of otherChannels(turn, session))
      activation.shard.channels.endChannel(channel, code, reason)
  })
}
