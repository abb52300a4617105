// The arena as a Firefly game: one public shard with 20 ticks per second while it has members. sim.ts simulates the battle; this
// file manages seats and sends events. The ship of a pilot that lost the connection drifts for a while; name and score outlive
// the ship and, by the snapshot, a restart of the shard.

import { firefly, shard } from 'firefly-game'
import { adjustBots, humansIn, steerBots } from './bots.ts'
import { Arena } from './contract.ts'
import { CREW, FIELD, HZ } from './rules.ts'
import {
  addShip,
  createSim,
  IDLE,
  removeShip,
  step,
  worldOf,
  type Pilot,
  type Random,
  type Ship,
  type Sim,
} from './sim.ts'
import { packWorld } from './world.ts'

interface State {
  readonly sim: Sim
  /** By session: current and recent pilots. */
  readonly pilots: Map<string, Pilot>
  /** The roster has changed since the last tick. */
  rosterStale: boolean
  /** Moving mean of the time of a tick. */
  tickMs: number
}

/** A full arena and as many pilots that may return; the least recently seated is evicted first. */
const MAX_PILOTS = 2 * CREW.maxHumans
/** Long enough for a phone that changes networks; short, because a ship without pilot is an easy target. */
const LINGER_MS = 15_000
/** Weight of the newest tick in the mean. */
const TICK_WEIGHT = 0.05
/** After a pause the battle continues from its last state instead of jumping ahead. */
const MAX_STEP_SECONDS = 0.1

export const arena = shard(Arena)
  .public()
  .state(() => stateOf([]), {
    snapshot: {
      everyMs: 2_000,
      save: ({ pilots }) => [...pilots],
      load: (saved: [string, Pilot][]) => stateOf(saved),
    },
  })
  .on('enter', (c, { nick }) => {
    if (!c.joined && humansIn(c.state.sim) >= CREW.maxHumans) throw c.fail('FULL')
    const newcomer = !c.joined
    const seat = c.join()
    const pilot = pilotOf(c.state, c.session)
    pilot.nick = cleanNick(nick)
    const ship = seatPilot(c.state, seat, pilot, () => c.random())
    c.push.world(wholeWorld(c.state))
    if (newcomer) c.others.joined({ seat, nick: pilot.nick })
    return { seat, hue: ship.hue, ...FIELD }
  })
  .on('steer', (c, { turn, thrust, fire }) => {
    const ship = c.joined && c.state.sim.ships.get(c.seat)
    if (ship) Object.assign(ship, { turn, thrust, fire })
  })
  .on('stats', (c) => {
    const { sim, tickMs } = c.state
    const players = humansIn(sim)
    return { players, bots: sim.ships.size - players, turnMicros: Math.round(tickMs * 1_000) }
  })
  .tick(HZ, (c, dt) => {
    const startedMs = performance.now()
    const { sim } = c.state
    const random = (): number => c.random()
    if (adjustBots(sim, random)) c.state.rosterStale = true
    steerBots(sim, random)
    const hits = step(sim, Math.min(dt, MAX_STEP_SECONDS), random)
    c.broadcast.world(packWorld(worldOf(sim)))
    for (const { by, target, shot } of hits) {
      const { x, y } = target
      c.broadcast.hit({ by: by.seat, target: target.seat, shot: shot.id, x, y, score: by.pilot.score })
    }
    if (c.state.rosterStale) c.broadcast.roster(rosterOf(c.state))
    c.state.rosterStale = false
    c.state.tickMs += (performance.now() - startedMs - c.state.tickMs) * TICK_WEIGHT
  })
  .linger(LINGER_MS)
  .onDisconnect((c) => {
    const ship = c.state.sim.ships.get(c.seat)
    if (!ship) return
    Object.assign(ship, IDLE, { away: true })
    c.state.rosterStale = true
  })
  .onReconnect((c) => {
    const ship = c.state.sim.ships.get(c.seat)
    if (!ship) return
    ship.away = false
    c.state.rosterStale = true
    // Only the newest queued world was sent, so the shots of earlier ones are missing.
    c.push.world(wholeWorld(c.state))
  })
  .onResync((c) => {
    c.push.world(wholeWorld(c.state))
    c.push.roster(rosterOf(c.state))
  })
  .onLeave((c) => {
    const { seat } = c
    const ship = c.state.sim.ships.get(seat)
    if (!ship) return
    removeShip(c.state.sim, seat)
    c.state.rosterStale = true
    c.broadcast.left({ seat, nick: ship.pilot.nick })
  })
  .onRejoin((c) => {
    // A session that entered after the last snapshot has no pilot: its page calls `enter` again after the restart.
    const pilot = c.state.pilots.get(c.session)
    if (pilot) seatPilot(c.state, c.seat, pilot, () => c.random())
  })

export default firefly({ arena })

function stateOf(pilots: [string, Pilot][]): State {
  return { sim: createSim(), pilots: new Map(pilots), rosterStale: true, tickMs: 0 }
}

function pilotOf({ pilots }: State, session: string): Pilot {
  const pilot = pilots.get(session) ?? { nick: '', score: 0 }
  pilots.delete(session)
  pilots.set(session, pilot)
  if (pilots.size > MAX_PILOTS) pilots.delete(pilots.keys().next().value!)
  return pilot
}

function seatPilot(state: State, seat: number, pilot: Pilot, random: Random): Ship {
  state.rosterStale = true
  return state.sim.ships.get(seat) ?? addShip(state.sim, seat, pilot, random)
}

/** Removes control and other invisible characters: every page draws the name. */
function cleanNick(nick: string): string {
  return nick.replaceAll(/[\p{C}\p{Z}]+/gu, ' ').trim() || 'pilot'
}

function wholeWorld({ sim }: State): Uint8Array<ArrayBuffer> {
  return packWorld(worldOf(sim, true))
}

function rosterOf({ sim }: State): { pilots: RosterEntry[] } {
  return { pilots: [...sim.ships.values()].map(rosterEntry) }
}

interface RosterEntry {
  seat: number
  nick: string
  hue: number
  score: number
  bot: boolean
  away: boolean
}

function rosterEntry({ seat, pilot, hue, bot, away }: Ship): RosterEntry {
  return { seat, nick: pilot.nick, hue, score: pilot.score, bot, away }
}
