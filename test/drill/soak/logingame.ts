// What the soak of logins plays: one service that logs in whoever asks, and one that answers who has.

import { command, contract, firefly, service, t, type Game } from '../../../core/game/index.ts'

/** Who wins when one uid logs in twice: the newer one, or the older one. */
export type LoginMode = 'takeover' | 'refuse'

export const Login = contract('login', {
  login: command(720, { uid: t.string(64) }, { uid: t.string(64) }),
})
/** Only for who has logged in. */
export const Club = contract('club', {
  who: command(721, { n: t.u32 }, { n: t.u32, uid: t.string(64) }),
})

const login = service(Login)
  .public()
  .on('login', async (c, { uid }) => {
    await c.login(uid)
    return { uid }
  })

const club = service(Club)
  .players()
  .on('who', (c, { n }) => ({ n, uid: c.uid }))

export function loginGame(mode: LoginMode): Game {
  // What tickets are worth is tried elsewhere: here one is the uid itself.
  return firefly({ login, club }, { login: mode, auth: ({ ticket }) => new TextDecoder().decode(ticket) })
}
