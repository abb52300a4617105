// What the soak of logins plays: one service that logs in whoever asks, and answers.

import { command, contract, firefly, service, t, type Game } from '../../../core/game/index.ts'

/** Who wins when one uid logs in twice: the newer one, or the older one. */
export type LoginMode = 'takeover' | 'refuse'

export const Login = contract('login', {
  login: command(720, { uid: t.string(64) }, { uid: t.string(64) }),
  echo: command(721, { n: t.u32 }, { n: t.u32 }),
})

const login = service(Login)
  .public()
  .on('login', async (c, { uid }) => {
    await c.login(uid)
    return { uid }
  })
  .on('echo', (_c, { n }) => ({ n }))

export function loginGame(mode: LoginMode): Game {
  // What tickets are worth is tried elsewhere: here one is the uid itself.
  return firefly({ login }, { login: mode, auth: ({ ticket }) => new TextDecoder().decode(ticket) })
}
