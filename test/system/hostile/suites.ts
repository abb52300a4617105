// Which attacks are proved in which file, and on what server: test/system/hostile-NAME.test.ts proves the suite NAME,
// and docs/hostile.md has a row for each.

import { addressConnections, totalConnections, MAX_CONNECTIONS, unauthenticatedConnections } from './connections.ts'
import { RATE_LIMITS, FLOOD_MS, floods } from './floods.ts'
import { deadlines, TIMES } from './deadlines.ts'
import { framing } from './framing.ts'
import { abandonedSeats } from './abandonedseats.ts'
import { jsonBodies } from './json.ts'
import { messages } from './messages.ts'
import { TICKET_ENVIRONMENT } from './ticketfactory.ts'
import { msgpackBodies } from './msgpack.ts'
import { slowReaders } from './slowreaders.ts'
import { sealed } from './sealed.ts'
import type { Overrides } from './server.ts'
import type { Attack } from './harness.ts'
import { LOGIN_MS, tickets } from './tickets.ts'
import { SECRET, tokens } from './tokens.ts'
import { upgrades } from './upgrades.ts'
import { websockets } from './websockets.ts'

export interface Suite {
  readonly attacks: readonly Attack[]
  /** In what the server under attack differs from the defaults. */
  readonly overrides: Overrides
}

/** Attacks that are no flood, but are said as fast as they can be. */
const noRateLimits: Overrides = { limits: { maxCostPerSecond: 1_000_000, maxBytesPerSecond: 1_000_000_000 } }
/** Whoever plays has logged in. */
const membersOnly: Overrides = { game: 'membersgame', tickets: TICKET_ENVIRONMENT }

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
    overrides: { ...membersOnly, limits: { maxUnproven: MAX_CONNECTIONS } },
  },
  tickets: { attacks: tickets, overrides: { ...membersOnly, times: { loginMs: LOGIN_MS } } },
  tokens: { attacks: tokens, overrides: { ...noRateLimits, secret: SECRET } },
  sealed: { attacks: sealed, overrides: { sealed: true } },
  deadlines: { attacks: deadlines, overrides: { times: TIMES, ...noRateLimits } },
  floods: { attacks: floods, overrides: { limits: RATE_LIMITS, times: { floodMs: FLOOD_MS } } },
} as const satisfies Readonly<Record<string, Suite>>
