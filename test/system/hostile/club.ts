// The same game for members only: who has not logged in reaches the gate and nothing else.

import { command, contract, firefly, service, t } from '../../../core/game/index.ts'
import { yard } from './game.ts'

/** Open to everybody. It believes what it is told, as a game must not. */
export const Gate = contract('gate', {
  enter: command(30, { uid: t.string(100) }, {}, { codec: 'json' }),
})

const gate = service(Gate)
  .public()
  .on('enter', async (c, { uid }) => {
    await c.login(uid)
    return {}
  })

export default firefly({ yard: yard().players(), gate }, { requireLogin: true })
