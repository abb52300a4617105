// The suites of attacks, each with the options of its server: test/system/hostile-NAME.test.ts runs the suite NAME, and
// docs/hostile.md has one row per attack.

import { abandonedSeats } from './abandonedseats.ts'
import { registerAttacks, type Suite } from './attack.ts'
import { addressConnections, MAX_CONNECTIONS, totalConnections, unauthenticatedConnections } from './connections.ts'
import { deadlines, TIMES } from './deadlines.ts'
import { FLOOD_MS, floods, RATE_LIMITS } from './floods.ts'
import { framing } from './framing.ts'
import { jsonBodies } from './json.ts'
import { messages } from './messages.ts'
import { msgpackBodies } from './msgpack.ts'
import { sealed } from './sealed.ts'
import type { Overrides } from './server.ts'
import { slowReaders } from './slowreaders.ts'
import { TICKET_ENVIRONMENT } from './ticketfactory.ts'
import { LOGIN_MS, tickets } from './tickets.ts'
import { SECRET, tokens } from './tokens.ts'
import { upgrades } from './upgrades.ts'
import { websockets } from './websockets.ts'

/** For attacks that are not floods but send as fast as they can. */
const noRateLimits: Overrides = { limits: { maxCostPerSecond: 1_000_000, maxBytesPerSecond: 1_000_000_000 } }
const loginRequired: Overrides = { requireLogin: true, tickets: TICKET_ENVIRONMENT }

export const SUITES = {
  framing: { attacks: framing, overrides: noRateLimits },
  bodies: { attacks: [...msgpackBodies, ...jsonBodies], overrides: {} },
  messages: { attacks: [...messages, ...slowReaders], overrides: noRateLimits },
  websocket: { attacks: [...websockets, ...upgrades], overrides: {} },
  connections: { attacks: totalConnections, overrides: { limits: { maxConnections: MAX_CONNECTIONS } } },
  addresses: { attacks: addressConnections, overrides: { limits: { maxPerLoopback: MAX_CONNECTIONS } } },
  abandonedseats: { attacks: abandonedSeats, overrides: { limits: { maxPerLoopback: MAX_CONNECTIONS } } },
  unauthenticated: {
    attacks: unauthenticatedConnections,
    overrides: { ...loginRequired, limits: { maxUnproven: MAX_CONNECTIONS } },
  },
  tickets: { attacks: tickets, overrides: { ...loginRequired, times: { loginMs: LOGIN_MS } } },
  tokens: { attacks: tokens, overrides: { ...noRateLimits, secret: SECRET } },
  sealed: { attacks: sealed, overrides: { sealed: true } },
  deadlines: { attacks: deadlines, overrides: { times: TIMES, ...noRateLimits } },
  floods: { attacks: floods, overrides: { limits: RATE_LIMITS, times: { floodMs: FLOOD_MS } } },
} as const satisfies Readonly<Record<string, Suite>>

/** Registers the tests of one suite. */
export function registerSuite(name: keyof typeof SUITES): void {
  registerAttacks(SUITES[name])
}
