// The commands and events between client and game. Server and client import it, so a wrong field is a compile error on
// both sides. The number is the command id on the wire: never reuse it for another command.

import { command, contract, t } from 'firefly-game'

export const Hello = contract('hello', {
  greet: command(1, { name: t.string(32) }, { text: t.string(64) }),
})
