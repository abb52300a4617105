// The built-in contracts of every game: the shard of a session (of a uid, after the login) and the service that runs the
// game's `auth`. Invariant: their names start with `@`, which no game's contract may contain, so no client can open them.

import { command, contract, type Contract, type Entries } from './contract.ts'
import { AUTH_REQUEST, SESSION_REQUEST } from './systemshards.ts'
import { t } from './type.ts'

const SESSION = t.string(32)
const UID = t.string(120)

/** Key: `uidShardKey` or, before a login, `sessionShardKey`. */
export const Session = systemContract(
  contract('session', {
    /** The gateway presents the `generation` of a resume token; lower ones are revoked, later ones are not. Returns the next one. */
    resume: command(
      SESSION_REQUEST.resume,
      { session: SESSION, epoch: t.u32, generation: t.u32 },
      { generation: t.u32 },
    ),
    /**
     * Logs the uid in: sent by a shard, or by a gateway for a ticket, whose `jti` is marked as used until `expiresMs`.
     * `wasNobody`: the session has tokens from before its login.
     */
    login: command(
      SESSION_REQUEST.login,
      { session: SESSION, jti: t.string(64), expiresMs: t.f64, wasNobody: t.bool },
      { epoch: t.u32 },
    ),
    /** Sent by the gateway of the session's connection, which then receives pushes and the end of the session. */
    attach: command(SESSION_REQUEST.attach, { session: SESSION, epoch: t.u32 }, {}),
    /** The client has received the token of this `generation`, so it presents no earlier one: those are revoked. */
    confirm: command(SESSION_REQUEST.confirm, { session: SESSION, epoch: t.u32, generation: t.u32 }, {}),
    kick: command(4, { reason: t.string(64) }),
    /** To the shard of a session before its login: another login replaced the session, or (`reason`) it was kicked. */
    end: command(6, { reason: t.string(64) }),
    /** An event of any contract, to the logged-in session. */
    push: command(5, { event: t.u32, body: t.bytes(1_048_576), latest: t.string(131_072) }),
  }),
  ['ALREADY_ONLINE', 'BAD_TICKET', 'BAD_TOKEN', 'KICKED', 'SUPERSEDED'],
)

/** Any key: keys only distribute the work. */
export const Auth = systemContract(
  contract('auth', {
    verify: command(
      AUTH_REQUEST.verify,
      { ticket: t.bytes(8_192), uid: UID, session: SESSION, remote: t.string(64) },
      { uid: UID },
    ),
  }),
  ['BAD_TICKET'],
)

/** `refuses` may contain system codes, which `contract` leaves to the framework. */
function systemContract<E extends Entries, const Code extends string>(
  made: Contract<E, never>,
  refuses: readonly Code[],
): Contract<E, Code> {
  return { ...made, name: `@${made.name}`, refuses }
}
