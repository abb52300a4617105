// The numbers of the game, known to both sides: the server moves ships and shots by them, the page draws by them.
// Lengths are field units (a pixel at zoom 1), times are seconds, angles are radians clockwise from the right.

export const FIELD = { width: 1_600, height: 900 } as const
export const HZ = 20

export const SHIP = {
  radius: 14,
  turnRate: 3.9,
  thrust: 430,
  /** Share of the speed that is left after one second without thrust. */
  glide: 0.62,
  maxSpeed: 370,
  respawnSeconds: 1.5,
  /** Brief invulnerability after a respawn; the first shot ends it. */
  shieldSeconds: 2,
} as const

export const SHOT = { speed: 560, lifeSeconds: 1, cooldownSeconds: 0.24 } as const

export const CREW = {
  /** Human pilots of one arena: it bounds the roster, the world and the work of a tick. */
  maxHumans: 200,
  /** With fewer humans than this, bots keep a newcomer company. */
  enoughHumans: 4,
  bots: ['Vega', 'Rigel', 'Altair'],
  /** Seats from here on belong to bots; the framework gives members the smallest free number. */
  firstBotSeat: 60_000,
} as const

/** The place of a coordinate on a field without edges. */
export function wrap(value: number, size: number): number {
  const rest = value % size
  return rest < 0 ? rest + size : rest
}

/** The short way from one coordinate to another on a field without edges. */
export function gap(from: number, to: number, size: number): number {
  const way = wrap(to - from, size)
  return way > size / 2 ? way - size : way
}

/** The same for angles, in -π..π. */
export function turnTo(from: number, to: number): number {
  return gap(from, to, Math.PI * 2)
}

/**
 * Colours far apart for neighbouring seats: steps of the golden angle. Bots go when all the first seats are taken by
 * humans, so they start with the colours after those.
 */
export function hueOf(seat: number): number {
  const nth = seat < CREW.firstBotSeat ? seat : seat - CREW.firstBotSeat + CREW.enoughHumans
  return Math.round(nth * 137.508 + 190) % 360
}
