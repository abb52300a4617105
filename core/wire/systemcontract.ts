// The contracts that every game has beside its own: the shard of a session (of a uid, once it has logged in) and the
// service that asks the game's `auth`. Their names hold a character that no game's contract has, and no client reaches them.

import { command, contract, type Contract, type Entries } from './contract.ts'
import { t } from './type.ts'

const SESSION = t.string(32)
const UID = t.string(120)

/** Key `u:UID`, or `s:SESSION` before a login. */
export const Session = systemContract(
  contract(
    'session',
    {
      /** The gateway shows the `generation` of a resume token: lower ones are dead from here on. Gives the next one. */
      resume: command(1, { session: SESSION, epoch: t.u32, generation: t.u32 }, { generation: t.u32 }),
      /**
       * The uid logs in: said by a shard, or by the gateway of a ticket, whose `jti` is used up until `expiresMs`.
       * `wasNobody`: the session has tokens from before.
       */
      login: command(
        2,
        { session: SESSION, jti: t.string(64), expiresMs: t.f64, wasNobody: t.bool },
        { epoch: t.u32 },
      ),
      /** The gateway that has the session's connection: what is pushed goes there, and it hears when the session ends. */
      attach: command(3, { session: SESSION, epoch: t.u32 }, {}),
      kick: command(4, { reason: t.string(64) }),
      /** Of a session before its login: another login has replaced it, or (`reason`) it was kicked. */
      end: command(6, { reason: t.string(64) }),
      /** An event of any contract, to whoever has logged in. */
      push: command(5, { event: t.u32, body: t.bytes(1_048_576), latest: t.string(256) }),
    },
    { refuses: ['ALREADY_ONLINE', 'BAD_TICKET', 'BAD_TOKEN', 'KICKED', 'SUPERSEDED'] },
  ),
)

/** Any key: they only spread the work. */
export const Auth = systemContract(
  contract(
    'auth',
    {
      verify: command(
        1,
        { ticket: t.bytes(8_192), uid: UID, session: SESSION, remote: t.string(64) },
        { uid: UID },
      ),
    },
    { refuses: ['BAD_TICKET'] },
  ),
)

function systemContract<E extends Entries, Code extends string>(made: Contract<E, Code>): Contract<E, Code> {
  return { ...made, name: `@${made.name}` }
}

/** The key of the session shard of a uid. */
export function uidShardKey(uid: string): string {
  return `u:${uid}`
}

/** The key of the session shard of a session that has not logged in; 32 hex digits. */
export function sessionShardKey(session: string): string {
  return `s:${session}`
}
