// The `world` event as packed bytes, for server and page. At 20 Hz it is nearly all traffic, so a ship takes 9 bytes instead of
// about 45 as a MessagePack map, and a shot is sent once, when it is fired: clients compute its straight path. 60 ships that all
// fire take 8 + 60 * 9 + 12 * 14 = 716 bytes on average, and the codec `raw` has no limit of items. Big-endian, like the frame:
// u32 clock, u16 ships, u16 shots, then the records below.

import { FIELD } from './rules.ts'

export interface ShipDot {
  readonly seat: number
  readonly x: number
  readonly y: number
  readonly heading: number
  readonly thrust: boolean
  readonly shield: boolean
  /** Destroyed, waiting for its respawn; x and y are where it was hit. */
  readonly dead: boolean
}

export interface ShotDot {
  readonly id: number
  readonly owner: number
  /** Position at the world's clock, and units per second. */
  readonly x: number
  readonly y: number
  readonly vx: number
  readonly vy: number
  /** Remaining flight, milliseconds. */
  readonly leftMs: number
}

export interface World {
  /** Milliseconds of game time; a new activation restarts it. */
  readonly clock: number
  readonly ships: readonly ShipDot[]
  readonly shots: readonly ShotDot[]
}

const HEAD = 8
const SHIP_BYTES = 9 // u16 seat, u16 x, u16 y, u16 heading, u8 flags
const SHOT_BYTES = 14 // u16 id, u16 owner, u16 x, u16 y, i16 vx, i16 vy, u16 left
/** Steps per unit: 1,600 * 32 fits into 16 bits, and 1/32 of a pixel is not visible. */
const STEPS_PER_UNIT = 32
const TURN = 65_536 / (Math.PI * 2)
const THRUST = 1
const SHIELD = 2
const DEAD = 4

/** Returns a new array each time: the framework sends it without a copy. */
export function packWorld({ clock, ships, shots }: World): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEAD + ships.length * SHIP_BYTES + shots.length * SHOT_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, clock)
  view.setUint16(4, ships.length)
  view.setUint16(6, shots.length)
  let at = HEAD
  for (const ship of ships) {
    view.setUint16(at, ship.seat)
    view.setUint16(at + 2, packCoordinate(ship.x, FIELD.width))
    view.setUint16(at + 4, packCoordinate(ship.y, FIELD.height))
    view.setUint16(at + 6, Math.round(ship.heading * TURN))
    view.setUint8(at + 8, (ship.thrust ? THRUST : 0) | (ship.shield ? SHIELD : 0) | (ship.dead ? DEAD : 0))
    at += SHIP_BYTES
  }
  for (const shot of shots) {
    view.setUint16(at, shot.id)
    view.setUint16(at + 2, shot.owner)
    view.setUint16(at + 4, packCoordinate(shot.x, FIELD.width))
    view.setUint16(at + 6, packCoordinate(shot.y, FIELD.height))
    view.setInt16(at + 8, Math.round(shot.vx * STEPS_PER_UNIT))
    view.setInt16(at + 10, Math.round(shot.vy * STEPS_PER_UNIT))
    view.setUint16(at + 12, Math.max(0, Math.round(shot.leftMs)))
    at += SHOT_BYTES
  }
  return bytes
}

/** @throws RangeError when the bytes are not a world */
export function unpackWorld(bytes: Uint8Array): World {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const shipCount = view.getUint16(4)
  const shotCount = view.getUint16(6)
  const expected = HEAD + shipCount * SHIP_BYTES + shotCount * SHOT_BYTES
  if (bytes.length !== expected) throw new RangeError(`world of ${bytes.length} bytes, its counts need ${expected}`)
  const ships: ShipDot[] = []
  let at = HEAD
  for (let i = 0; i < shipCount; i++, at += SHIP_BYTES) {
    const flags = view.getUint8(at + 8)
    ships.push({
      seat: view.getUint16(at),
      x: view.getUint16(at + 2) / STEPS_PER_UNIT,
      y: view.getUint16(at + 4) / STEPS_PER_UNIT,
      heading: view.getUint16(at + 6) / TURN,
      thrust: (flags & THRUST) !== 0,
      shield: (flags & SHIELD) !== 0,
      dead: (flags & DEAD) !== 0,
    })
  }
  const shots: ShotDot[] = []
  for (let i = 0; i < shotCount; i++, at += SHOT_BYTES) {
    shots.push({
      id: view.getUint16(at),
      owner: view.getUint16(at + 2),
      x: view.getUint16(at + 4) / STEPS_PER_UNIT,
      y: view.getUint16(at + 6) / STEPS_PER_UNIT,
      vx: view.getInt16(at + 8) / STEPS_PER_UNIT,
      vy: view.getInt16(at + 10) / STEPS_PER_UNIT,
      leftMs: view.getUint16(at + 12),
    })
  }
  return { clock: view.getUint32(0), ships, shots }
}

// A coordinate that rounds up to the far edge becomes 0, the near edge.
function packCoordinate(value: number, size: number): number {
  return Math.round(value * STEPS_PER_UNIT) % (size * STEPS_PER_UNIT)
}
