// Floods of connections against servers with low connection limits: in total, per address, and unauthenticated. Earlier
// connections stay open; excess connections are closed.

import assert from 'node:assert/strict'
import { waitUntil } from '../../support/sockets.ts'
import { refusalCounter, turnedAwayCounters, type Attack } from './attack.ts'
import { frame, helloFrame, openFrame } from './frames.ts'
import { COMMAND } from './game.ts'
import type { AttackHarness } from './harness.ts'
import type { RawPeer } from './peer.ts'
import { signTicket, validClaims } from './ticketfactory.ts'

const { LOGIN, RAW } = COMMAND
/** Limit of the servers under attack; in `connections` and `addresses` the two players count too. */
export const MAX_CONNECTIONS = 12
const FREE_CONNECTIONS = MAX_CONNECTIONS - 2
const EXCESS_CONNECTIONS = 10
/** How many more connections may send only HTTP. */
const HTTP_RESERVE = 64

/** Opens connections up to the limit. */
async function fillServer(harness: AttackHarness): Promise<RawPeer[]> {
  const peers = []
  for (let i = 0; i < FREE_CONNECTIONS; i++) {
    const peer = await harness.dialTcp()
    await peer.send(frame(RAW, String(i)))
    await peer.waitForFrames(1)
    peers.push(peer)
  }
  return peers
}

/** Half of the excess connections are WebSockets, which receive the reason. */
async function assertExcessClosed(harness: AttackHarness): Promise<void> {
  for (let i = 0; i < EXCESS_CONNECTIONS; i++) {
    assert.equal((await harness.sendUntilClosed()).receivedBytes, 0)
    await (await harness.dialWebSocket()).assertClosed(1013, 'OVERLOADED')
  }
}

const overLimitAttack = (name: string, bound: string): Attack => ({
  name,
  receives: 'close OVERLOADED',
  counters: turnedAwayCounters(bound, 2 * EXCESS_CONNECTIONS),
  run: async (harness) => {
    const peers = await fillServer(harness)
    await assertExcessClosed(harness)
    for (const peer of peers) {
      await peer.send(frame(RAW, 'again'))
      await peer.waitForFrames(2)
    }
  },
})

export const totalConnections: readonly Attack[] = [
  overLimitAttack('closes connections above the total limit and keeps earlier ones', 'total'),
  {
    name: 'accepts new connections after earlier ones have ended',
    receives: 'answers',
    counters: { firefly_accepted_total: 5 * FREE_CONNECTIONS },
    run: async (harness) => {
      for (let round = 0; round < 5; round++) {
        const peers = await fillServer(harness)
        for (const peer of peers) peer.sendReset()
        await harness.waitForMetric('firefly_connections', (count) => count === 2)
      }
    },
  },
]

export const addressConnections: readonly Attack[] = [
  overLimitAttack('closes connections above the limit per address and keeps earlier ones', 'address'),
  {
    name: 'cuts connections that send only HTTP, or nothing, above their own limit per address',
    receives: 'cut',
    counters: refusalCounter('crowd', EXCESS_CONNECTIONS),
    run: async (harness) => {
      // Opens the connection that reads the metrics.
      await harness.readMetrics()
      const peers: RawPeer[] = []
      for (let i = 0; i < MAX_CONNECTIONS + HTTP_RESERVE + EXCESS_CONNECTIONS; i++) peers.push(await harness.dialHttp())
      await waitUntil(
        () => peers.filter(({ isClosed }) => isClosed).length >= EXCESS_CONNECTIONS,
        'the excess connections are cut',
      )
      assert.ok(peers.slice(0, MAX_CONNECTIONS).every(({ isClosed }) => !isClosed))
      for (const peer of peers) peer.sendReset()
    },
  },
]

/** Opens unauthenticated connections of each kind up to the limit. */
async function fillUnauthenticated(harness: AttackHarness): Promise<RawPeer[]> {
  const peers = []
  for (let i = 0; i < MAX_CONNECTIONS; i += 3) {
    const [silent, session] = [await harness.dialTcp(), await harness.dialTcp()]
    await session.send(helloFrame(), openFrame(1, 'login', ''))
    await session.waitForFrames(2)
    peers.push(silent, session, (await harness.dialWebSocket()).peer)
  }
  return peers
}

export const unauthenticatedConnections: readonly Attack[] = [
  {
    name: 'closes unauthenticated connections above their limit and keeps the players',
    receives: 'close OVERLOADED',
    counters: turnedAwayCounters('unproven', 2 * EXCESS_CONNECTIONS),
    run: async (harness) => {
      await fillUnauthenticated(harness)
      await assertExcessClosed(harness)
    },
  },
  {
    name: 'accepts a connection after an unauthenticated one has ended or logged in',
    receives: 'answers',
    counters: turnedAwayCounters('unproven', 2),
    run: async (harness) => {
      const peers = await fillUnauthenticated(harness)
      peers[0]!.sendReset()
      await harness.waitForMetric('firefly_unproven', (count) => count === MAX_CONNECTIONS - 1)
      const legacy = await harness.dialTcp()
      await legacy.send(frame(LOGIN, { uid: 'player by login' }))
      await legacy.waitForFrames(1)
      const ticket = Buffer.from(signTicket(validClaims('player by ticket')))
      const session = await harness.openSession({ ticket })
      assert.equal(session.errors().length, 0)
      await harness.dialTcp()
      for (let i = 0; i < 2; i++) await harness.sendUntilClosed()
    },
  },
]
