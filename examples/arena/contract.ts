// The contract of the arena: what a pilot may say and what the arena tells. Server and page import it, so a wrong
// field is a compile error on both sides and a BAD_INPUT on the wire.

import { command, contract, event, t } from '../../core/game/index.ts'

const nick = t.string(16, 1)
const seat = t.u16
const hue = t.int(0, 359)
const score = t.u32

export const Arena = contract(
  'arena',
  {
    /** Take a seat, or rename when already seated. Harmless twice, so the client may send it again by itself. */
    enter: command(200, { nick }, { seat, hue, width: t.u16, height: t.u16 }, { resend: true }),
    /** What the pilot holds down; sent when it changes, and without reply. */
    steer: command(201, { turn: t.int(-1, 1), thrust: t.bool, fire: t.bool }),

    /**
     * 20 times a second; `unpackWorld` in world.ts reads it. Raw bytes: no envelope around the packed ones. For whoever
     * is away or reads too slowly only the newest waits. It holds all ships, but of the shots only the new ones: those of
     * the worlds that gave way are told again to one who is back, and fly for a second only.
     */
    world: event(250, t.bytes(32_768), { codec: 'raw', latest: true }),
    /** Everybody's name and score, when somebody came, went, was renamed or lost the connection; between those, `hit` carries scores. */
    roster: event(
      251,
      { pilots: t.array(t.object({ seat, nick, hue, score, bot: t.bool, away: t.bool }), 256) },
      { latest: true },
    ),
    joined: event(252, { seat, nick }),
    left: event(253, { seat, nick }),
    /** It belongs to the world sent just before it; `score` is the shooter's new one. */
    hit: event(254, { by: seat, target: seat, shot: t.u16, x: t.f32, y: t.f32, score }),
  },
  { refuses: ['FULL'] },
)
