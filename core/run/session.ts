// The session's own shard: who is a uid, since which login, and which resume tokens are dead. One for each uid, and for
// each session that came back before any login. Invariant: of two logins of a uid the later one lives; a token below
// the generation that was used last, or of an earlier login, opens nothing.

import type { AuthHook, Game, LoginMode } from '../game/game.ts'
import { service, shard, type ShardDefinition } from '../game/shard.ts'
import { Auth, Session } from '../../schemas/session.ts'
import { Refusal } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { t } from '../wire/type.ts'
import type { Channel } from './channel.ts'
import { deliver } from './emitter.ts'
import { checkUid } from './identity.ts'
import { KICKED, SUPERSEDED } from './ports.ts'
import type { Turn } from './turn.ts'

/** Tickets of one uid that are remembered until they expire; more are refused. */
const MAX_TICKETS = 64
const TICKET = t.object({ jti: t.string(64), expiresMs: t.f64 })

/** The shards that every game has beside its own, by contract name. */
export function builtIns(game: Game): ReadonlyMap<string, ShardDefinition> {
  const shards = [sessionShard(game.login), ...(game.auth ? [authService(game.auth)] : [])]
  return new Map(shards.map((definition) => [definition.contract.name, definition]))
}

function sessionShard(mode: LoginMode): ShardDefinition {
  return shard(Session)
    .kv({ epoch: t.u32, floor: t.u32, session: SESSION, tickets: t.array(TICKET, MAX_TICKETS) })
    .state(() => ({ grantedMs: 0 }))
    .timer('expire', {}, (c) => c.kv.delete('floor'))
    .on('resume', (c, { session, epoch, generation }) => {
      if (epoch !== (c.kv.get('epoch') ?? 0)) throw c.fail('REPLACED')
      if (epoch !== 0 && c.kv.get('session') !== session) throw c.fail('REPLACED')
      const floor = c.kv.get('floor') ?? 0
      if (generation < floor) throw c.fail('BAD_TOKEN')
      if (generation !== floor) c.kv.set('floor', generation)
      // A uid's epoch must rise for ever; before a login there is nothing to remember once its tokens have expired.
      if (epoch === 0) c.after(TIMES.tokenMs, 'expire')
      return {}
    })
    .on('login', (c, { session, jti, expiresMs }) => {
      const turn = c as unknown as Turn
      if (mode === 'refuse') {
        // One that was let in a moment ago is on its way to attach.
        const isExpected = c.kv.get('session') !== session && c.now - c.state.grantedMs < TIMES.callMs
        if (isExpected || othersOf(turn, session).some(({ out }) => out !== null))
          throw c.fail('ALREADY_ONLINE')
      }
      if (jti !== '') {
        const tickets = (c.kv.get('tickets') ?? []).filter((ticket) => ticket.expiresMs > c.now)
        if (tickets.length >= MAX_TICKETS || tickets.some((ticket) => ticket.jti === jti))
          throw c.fail('BAD_TICKET')
        c.kv.set('tickets', [...tickets, { jti, expiresMs }])
      }
      const epoch = (c.kv.get('epoch') ?? 0) + 1
      c.kv.set('epoch', epoch)
      c.kv.set('session', session)
      c.kv.set('floor', 0)
      expel(turn, SUPERSEDED, session)
      c.state.grantedMs = c.now
      return { epoch }
    })
    .on('attach', (c, { session, epoch }) => {
      if (epoch !== (c.kv.get('epoch') ?? 0)) throw c.fail('REPLACED')
      if (epoch !== 0 && c.kv.get('session') !== session) throw c.fail('REPLACED')
      c.join()
      c.state.grantedMs = 0
      return {}
    })
    .on('kick', (c, { reason }) => {
      // Its tokens die with the login.
      c.kv.set('epoch', (c.kv.get('epoch') ?? 0) + 1)
      c.kv.set('session', '')
      expel(c as unknown as Turn, `${KICKED}${reason}`, '')
    })
    .on('push', (c, sent) => {
      const turn = c as unknown as Turn
      turn.effect((life) => deliver(life, { to: 'all', except: null }, sent))
    })
    .linger(TIMES.lingerMs).definition
}
const SESSION = t.string(32)

function authService(auth: AuthHook): ShardDefinition {
  return service(Auth).on('verify', async (c, { ticket, uid, session, remote }) => {
    const answer = await auth({ ticket, uid, session, remote, now: c.now, log: c.log })
    if (answer === null) throw new Refusal('BAD_TICKET', 'the game refuses the ticket')
    checkUid(answer)
    return { uid: answer }
  }).definition
}

function othersOf(turn: Turn, session: string): Channel[] {
  return [...turn.life.members.all()]
    .map(({ channel }) => channel)
    .filter((channel) => channel.session !== session)
}

/** Once the turn is committed, all but `session` are let go. */
function expel(turn: Turn, code: string, session: string): void {
  turn.effect((life) => {
    for (const channel of othersOf(turn, session)) life.shard.attendance.expel(channel, code)
  })
}
