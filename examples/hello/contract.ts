import { command, contract, t } from 'firefly-game'

export const Hello = contract('hello', { greet: command(1, { name: t.string(32) }, { text: t.string(64) }) })
