// What players may say to the game and what they hear. Server and client import it, so a wrong field is a compile
// error on both sides. The number is the command on the wire: never give it to another command.

import { command, contract, t } from 'firefly-game'

export const Hello = contract('hello', {
  greet: command(1, { name: t.string(32) }, { text: t.string(64) }),
})
