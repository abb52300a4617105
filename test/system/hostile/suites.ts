// Which attacks are proved in which file, and on what server: test/system/hostile-NAME.test.ts proves the suite NAME,
// and docs/hostile.md has a row for each.

import { addresses, crowds, MOST, strangers } from './crowds.ts'
import { BUDGET, FLOOD_MS, floods } from './floods.ts'
import { deadlines, TIMES } from './deadlines.ts'
import { framing } from './framing.ts'
import { ghosts } from './ghosts.ts'
import { jsons } from './jsons.ts'
import { messages } from './messages.ts'
import { CLUB } from './mint.ts'
import { packs } from './packs.ts'
import { readers } from './readers.ts'
import { sealed } from './sealed.ts'
import type { Overrides } from './server.ts'
import type { Attack } from './stage.ts'
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
const calm: Overrides = { limits: { maxCostPerSecond: 1_000_000, maxBytesPerSecond: 1_000_000_000 } }
/** Whoever plays has logged in. */
const club: Overrides = { game: 'club', tickets: CLUB }

export const SUITES = {
  framing: { attacks: framing, overrides: calm },
  bodies: { attacks: [...packs, ...jsons], overrides: {} },
  messages: { attacks: [...messages, ...readers], overrides: calm },
  websocket: { attacks: [...websockets, ...upgrades], overrides: {} },
  crowds: { attacks: crowds, overrides: { limits: { maxConnections: MOST } } },
  addresses: { attacks: addresses, overrides: { limits: { maxPerLoopback: MOST } } },
  ghosts: { attacks: ghosts, overrides: { limits: { maxPerLoopback: MOST } } },
  strangers: { attacks: strangers, overrides: { ...club, limits: { maxUnproven: MOST } } },
  tickets: { attacks: tickets, overrides: { ...club, times: { loginMs: LOGIN_MS } } },
  tokens: { attacks: tokens, overrides: { ...calm, secret: SECRET } },
  sealed: { attacks: sealed, overrides: { sealed: true } },
  deadlines: { attacks: deadlines, overrides: { times: TIMES, ...calm } },
  floods: { attacks: floods, overrides: { limits: BUDGET, times: { floodMs: FLOOD_MS } } },
} as const satisfies Readonly<Record<string, Suite>>
