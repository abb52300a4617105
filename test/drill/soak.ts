// Drill: what must hold for hours is tried in minutes, on real sockets. `npm run soak -- sessions`: connections are cut
// at random bytes and in the middle of logins, and no event is missed, doubled or out of place, and nobody becomes nobody.
// `npm run soak -- logins`: two clients race for one uid, some of them cut, and one of them has it. Figures go to stdout,
// one JSON line each; exit 1 when anything is wrong.

import { parseArgs } from 'node:util'

import { startNode, startWorkerd, type HostName } from './soak/hosts.ts'
import { soakLogins } from './soak/logins.ts'
import { soakSessions } from './soak/sessions.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    connections: { type: 'string' },
    seconds: { type: 'string' },
    /** Events of a lane a second. */
    hz: { type: 'string' },
    /** Of the players, those who log in. */
    accounts: { type: 'string' },
    seed: { type: 'string', default: '1' },
    host: { type: 'string', default: 'both' },
    races: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
})

/**
 * `accounts`: of the players, those who log in; `chances`: bytes before a cut. Objects of one workerd share one core, which
 * a thousand of them fill at one event a second each, and a player who has logged in has four.
 */
const FULL = {
  connections: 1_000,
  seconds: 60,
  hz: { node: 5, workerd: 0.5 },
  accounts: { node: 0.5, workerd: 0.2 },
  chances: { down: 24_000, up: 3_000 },
  patienceMs: 60_000,
  races: 10_000,
}
const QUICK: typeof FULL = {
  connections: 40,
  seconds: 5,
  hz: { node: 10, workerd: 10 },
  accounts: { node: 1, workerd: 1 },
  chances: { down: 12_000, up: 3_000 },
  patienceMs: 20_000,
  races: 300,
}
/** A half-open connection is found within 2.5 of them; the full 15 s would outlast most cuts. */
const HEARTBEAT_MS = 1_000

const preset = values.quick ? QUICK : FULL
const progress = (line: string): void => console.error(line)
const refuse = (why: string): never => {
  console.error(`soak: ${why}`)
  process.exit(2)
}
const positive = (name: 'hz' | 'accounts', otherwise: number, most: number): number => {
  const value = Number(values[name] ?? otherwise)
  return value > 0 && value <= most ? value : refuse(`--${name} ${values[name]} is not in 0..${most}`)
}
const whole = (name: 'connections' | 'seconds' | 'seed' | 'races', otherwise: number): number => {
  const value = Number(values[name] ?? otherwise)
  return Number.isSafeInteger(value) && value > 0
    ? value
    : refuse(`--${name} ${values[name]} is no positive number`)
}
const tell = (figure: { readonly faults: readonly string[] }): void => {
  console.log(JSON.stringify(figure))
  if (figure.faults.length > 0) process.exitCode = 1
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
const [what] = positionals
if (what === 'sessions') await sessions()
else if (what === 'logins') await logins()
else refuse(`which soak? sessions or logins, not ${what}`)

async function sessions(): Promise<void> {
  for (const name of hostsOf(values.host)) {
    await using host = await (name === 'node'
      ? startNode({ login: null, heartbeatMs: HEARTBEAT_MS })
      : startWorkerd())
    const figure = await soakSessions(host, {
      connections: whole('connections', preset.connections),
      seconds: whole('seconds', preset.seconds),
      hz: positive('hz', preset.hz[name], 120),
      accounts: positive('accounts', preset.accounts[name], 1),
      seed: whole('seed', 1),
      chances: preset.chances,
      patienceMs: preset.patienceMs,
      progress,
    })
    tell(figure)
  }
}

async function logins(): Promise<void> {
  for (const mode of ['takeover', 'refuse'] as const) {
    await using host = await startNode({ login: mode, heartbeatMs: HEARTBEAT_MS })
    for (const by of ['command', 'ticket'] as const) {
      const figure = await soakLogins(host, {
        races: whole('races', preset.races),
        mode,
        by,
        seed: whole('seed', 1),
        progress,
      })
      tell(figure)
      if (figure.bothAlive + figure.bothDead > 0) process.exitCode = 1
    }
  }
}

function hostsOf(name: string): readonly HostName[] {
  if (name === 'both') return ['node', 'workerd']
  return name === 'node' || name === 'workerd'
    ? [name]
    : refuse(`--host ${name} is not node, workerd or both`)
}
