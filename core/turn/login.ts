// Who a session is, as a turn sees and changes it: its login, and what reaches another uid through that uid's session shard.

import type { Emit, ShardHandle, User } from '../game/context.ts'
import { Session, uidShardKey } from '../wire/systemcontract.ts'
import { CODECS } from '../wire/codec.ts'
import type { AnyCommand, Entries } from '../wire/contract.ts'
import { CallError, InputError, Refusal, shorten } from '../wire/errors.ts'
import type { Activation } from '../engine/activation.ts'
import { emitterOf } from './emitter.ts'
import { isKey } from '../wire/shardid.ts'
import { remoteOf } from './remote.ts'
import type { Turn } from './turn.ts'

const MAX_UID_BYTES = 120
const codec = CODECS.get('msgpack')!

/** Logs the session of a turn in. @throws InputError for a bad uid; CallError ALREADY_ONLINE, FORBIDDEN, UNAVAILABLE, DEADLINE */
export async function loginSession(turn: Turn, uid: string): Promise<void> {
  const { channel } = turn.cause
  checkUid(uid)
  if (!channel) throw new Error('only a session can log in')
  if (channel.uid !== '' && channel.uid !== uid)
    throw new CallError(
      'FORBIDDEN',
      `this session is that of ${shorten(channel.uid)}: another player connects anew`,
    )
  const shard = remoteOf(turn, Session, uidShardKey(uid)) as unknown as ShardHandle<typeof Session.entries>
  let epoch: number
  try {
    const answer = await shard.call.login({
      session: channel.session,
      jti: '',
      expiresMs: 0,
      wasNobody: true,
    })
    epoch = answer.epoch
  } catch (error) {
    if (error instanceof Refusal && error.code === 'ALREADY_ONLINE')
      throw new CallError('ALREADY_ONLINE', `${shorten(uid)} has a connection already`)
    throw error
  }
  turn.addGrant({ kind: 'login', uid, epoch })
}

/** Another player, wherever it is connected. @throws InputError for a bad uid */
export function userOf(turn: Turn, uid: string): User {
  checkUid(uid)
  return {
    get push(): Emit<Entries> {
      return emitterOf(turn, turn.requireActive().plan, { to: 'uid', uid })
    },
    kick(reason: string = 'KICKED'): void {
      if (!/^[\w-]{1,64}$/.test(reason))
        throw new InputError(`reason ${shorten(reason)} is not 1..64 of A-Z a-z 0-9 _ -`)
      turn.addEffect((activation) =>
        castToSession(activation, uidShardKey(uid), Session.entries.kick, { reason }),
      )
    },
  }
}

/** A cast to a session shard. */
export function castToSession(
  activation: Activation,
  key: string,
  command: AnyCommand,
  input: unknown,
): void {
  const body = codec.encode(command.input(input))
  activation
    .peer({ contract: Session.name, key })
    .cast({ command: command.number, body, chain: [], deadlineMs: 0 })
}

/** @throws InputError for what cannot be a uid */
export function checkUid(uid: string): void {
  if (!isKey(uid, MAX_UID_BYTES) || uid !== uid.trim() || !uid.isWellFormed())
    throw new InputError(`uid ${shorten(uid)} is not 1..${MAX_UID_BYTES} bytes without control characters`)
}
