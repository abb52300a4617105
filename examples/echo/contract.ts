// Echoes with every codec, for legacy clients and load tools.

import { command, contract, event, t } from 'firefly-game'

const MAX_BYTES = 16 * 1_048_576
const text = { text: t.string(65_536) }

export const Echo = contract(
  'echo',
  {
    raw: command(1, t.bytes(MAX_BYTES), t.bytes(MAX_BYTES)),
    json: command(2, text, text, { codec: 'json' }),
    msgpack: command(3, text, text, { codec: 'msgpack' }),
    silent: command(4, t.bytes(MAX_BYTES)),
    shout: command(5, t.bytes(MAX_BYTES)),
    heard: event(50, t.bytes(MAX_BYTES)),
  },
  { codec: 'raw' },
)
