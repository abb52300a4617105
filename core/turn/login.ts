// The login of a turn's session, and the handle of another player (`c.user(uid)`), which goes through the session shard
// of that uid.

import type { Emit, User } from '../game/context.ts'
import { Session } from '../wire/systemcontract.ts'
import { uidShardKey } from '../wire/systemshards.ts'
import type { Entries } from '../wire/contract.ts'
import { CallError, InputError, Refusal, shorten } from '../wire/errors.ts'
import { isKey } from '../wire/shardid.ts'
import { emitterOf } from './emitter.ts'
import { remoteOf, sessionCast } from './remote.ts'
import type { TurnScope } from './turnhost.ts'

const MAX_UID_BYTES = 120

/** @throws InputError for a bad uid; CallError ALREADY_ONLINE, FORBIDDEN, UNAVAILABLE, DEADLINE */
export async function loginSession(turn: TurnScope, uid: string): Promise<void> {
  const { channel } = turn.cause
  checkUid(uid)
  if (!channel) throw new Error('only a session can log in')
  if (channel.uid !== '' && channel.uid !== uid)
    throw new CallError(
      'FORBIDDEN',
      `this session is logged in as ${shorten(channel.uid)}: another player needs another session`,
    )
  const shard = remoteOf(turn, Session, uidShardKey(uid))
  const { session } = channel
  try {
    const { epoch } = await shard.call.login({ session, jti: '', expiresMs: 0, wasNobody: true })
    turn.addGrant({ kind: 'login', uid, epoch })
  } catch (error) {
    if (error instanceof Refusal && error.code === 'ALREADY_ONLINE')
      throw new CallError('ALREADY_ONLINE', `${shorten(uid)} has a connection already`)
    throw error
  }
}

/** Another player, on whichever gateway it is connected. @throws InputError for a bad uid */
export function userOf(turn: TurnScope, uid: string): User {
  checkUid(uid)
  return {
    get push(): Emit<Entries> {
      return emitterOf(turn, turn.requireActive().plan, { to: 'uid', uid })
    },
    kick(reason: string = 'KICKED'): void {
      if (!/^[\w-]{1,64}$/.test(reason))
        throw new InputError(`reason ${shorten(reason)} is not 1..64 of A-Z a-z 0-9 _ -`)
      turn.addEffect(sessionCast(uidShardKey(uid), Session.entries.kick, { reason }))
    },
  }
}

/** @throws InputError for a text that cannot be a uid */
export function checkUid(uid: string): void {
  if (!isKey(uid, MAX_UID_BYTES) || uid !== uid.trim() || !uid.isWellFormed())
    throw new InputError(`uid ${shorten(uid)} is not 1..${MAX_UID_BYTES} bytes without control characters`)
}
