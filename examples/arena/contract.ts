// The contract of the arena: commands of a pilot and events of the arena. Server and page import it, so a wrong field is a
// compile error on both sides and a BAD_INPUT on the wire.

import { command, contract, event, t } from 'firefly-game'

const nick = t.string(16, 1)
const seat = t.u16
const hue = t.int(0, 359)
const score = t.u32

export const Arena = contract(
  'arena',
  {
    /** Takes a seat, or renames a seated pilot. Safe to run twice, so the SDK may resend it. */
    enter: command(200, { nick }, { seat, hue, width: t.u16, height: t.u16 }, { resend: true }),
    /** The pressed controls; sent when they change, without reply. */
    steer: command(201, { turn: t.int(-1, 1), thrust: t.bool, fire: t.bool }),

    /** What the page's panel shows. `turnMicros`: mean time of a tick; 0 where clocks stand still during a turn. */
    stats: command(202, {}, { players: t.u16, bots: t.u16, turnMicros: t.u32 }),

    /**
     * Sent 20 times per second; `unpackWorld` in world.ts decodes it. The codec `raw` adds no bytes to the packed ones. For a
     * pilot that is away or reads too slowly only the newest world is queued. A world contains all ships, but only the new
     * shots: the shots of discarded worlds are sent again when the pilot returns, and last only one second.
     */
    world: event(250, t.bytes(32_768), { codec: 'raw', latest: true }),
    /** All names and scores; sent when a pilot joins, leaves, is renamed or loses the connection. In between, `hit` has the scores. */
    roster: event(
      251,
      { pilots: t.array(t.object({ seat, nick, hue, score, bot: t.bool, away: t.bool }), 256) },
      { latest: true },
    ),
    joined: event(252, { seat, nick }),
    left: event(253, { seat, nick }),
    /** Belongs to the world sent just before it; `score` is the shooter's new score. */
    hit: event(254, { by: seat, target: seat, shot: t.u16, x: t.f32, y: t.f32, score }),
  },
  { refuses: ['FULL'] },
)
