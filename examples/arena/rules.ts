// The constants of the game, for server and page: the server moves ships and shots by them, the page draws by them. Lengths are
// field units (a pixel at zoom 1), times are seconds, angles are radians clockwise from the right.

export const FIELD = { width: 1_600, height: 900 } as const
export const HZ = 20

export const SHIP = {
  radius: 14,
  turnRate: 3.9,
  thrust: 430,
  /** Fraction of the speed that remains after one second without thrust. */
  glide: 0.62,
  maxSpeed: 370,
  respawnSeconds: 1.5,
  /** Brief invulnerability after a respawn; the first shot ends it. */
  shieldSeconds: 2,
} as const

export const SHOT = { speed: 560, lifeSeconds: 1, cooldownSeconds: 0.24 } as const

export const CREW = {
  /** Human pilots of one arena: bounds the roster, the world and the work of a tick. */
  maxHumans: 200,
  /** With fewer humans than this, bots join. */
  enoughHumans: 4,
  bots: ['Vega', 'Rigel', 'Altair'],
  /** The first seat of bots; the framework gives members the smallest free number. */
  firstBotSeat: 60_000,
} as const

/** Maps a coordinate into 0..size: what leaves the field on one side enters on the other. */
export function wrap(value: number, size: number): number {
  const rest = value % size
  return rest < 0 ? rest + size : rest
}

/** The shortest signed distance from one coordinate to another on such a field. */
export function gap(from: number, to: number, size: number): number {
  const distance = wrap(to - from, size)
  return distance > size / 2 ? distance - size : distance
}

/** The shortest turn from one angle to another, in -π..π. */
export function turnTo(from: number, to: number): number {
  return gap(from, to, Math.PI * 2)
}

/**
 * Distinct colours for neighbouring seats, in steps of the golden angle. Bots leave when humans have taken the first seats, so
 * they use the colours after those.
 */
export function hueOf(seat: number): number {
  const nth = seat < CREW.firstBotSeat ? seat : seat - CREW.firstBotSeat + CREW.enoughHumans
  return Math.round(nth * 137.508 + 190) % 360
}
