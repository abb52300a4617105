// Floods of connections against servers with room for few: in all, from one address, and of those who are nobody yet.
// Who is in stays in, who comes too late hears why.

import assert from 'node:assert/strict'
import { waitUntil } from '../../support/sockets.ts'
import { frame, helloFrame, openFrame } from './frames.ts'
import { validClaims, signTicket } from './ticketfactory.ts'
import type { RawPeer } from './peer.ts'
import { closeCounter, refusalCounter, type Attack, type AttackHarness } from './harness.ts'

const RAW = 1
const ENTER = 30
/** Of the servers under attack; in `connections` and `addresses` two are the players'. */
export const MAX_CONNECTIONS = 12
const FREE_CONNECTIONS = MAX_CONNECTIONS - 2
const EXCESS_CONNECTIONS = 10
/** What the lobby has room for above that, for connections that only speak HTTP. */
const HTTP_RESERVE = 64

/** The counters of connections that met a bound. */
const turnedAwayCounters = (bound: string, count: number): Record<string, number> => ({
  ...closeCounter('OVERLOADED', count),
  [`firefly_turned_away_total{bound="${bound}"}`]: count,
})

/** Fills the server; the peers that are in. */
async function fillServer(stage: AttackHarness): Promise<RawPeer[]> {
  const peers = []
  for (let i = 0; i < FREE_CONNECTIONS; i++) {
    const peer = await stage.dialTcp()
    await peer.send(frame(RAW, String(i)))
    await peer.waitForFrames(1)
    peers.push(peer)
  }
  return peers
}

/** Each half of them is told so in the way it can hear. */
async function assertExcessRefused(stage: AttackHarness): Promise<void> {
  for (let i = 0; i < EXCESS_CONNECTIONS; i++) {
    const peer = await stage.dialTcp()
    await peer.waitForClose()
    assert.equal(peer.receivedBytes, 0)
    const close = await (await stage.dialWebSocket()).waitForCloseFrame()
    assert.equal(close.code, 1013)
    assert.match(close.reason, /^OVERLOADED: /)
  }
}

const overLimitAttack = (name: string, bound: string): Attack => ({
  name,
  verdict: 'close OVERLOADED',
  counters: turnedAwayCounters(bound, 2 * EXCESS_CONNECTIONS),
  run: async (stage) => {
    const inside = await fillServer(stage)
    await assertExcessRefused(stage)
    for (const peer of inside) {
      await peer.send(frame(RAW, 'again'))
      await peer.waitForFrames(2)
    }
  },
})

export const totalConnections: readonly Attack[] = [
  overLimitAttack('connections beyond the total are closed, those before them stay', 'total'),
  {
    name: 'a place that is left is free again',
    verdict: 'answers',
    counters: { firefly_accepted_total: 5 * FREE_CONNECTIONS },
    run: async (stage) => {
      for (let round = 0; round < 5; round++) {
        const peers = await fillServer(stage)
        for (const peer of peers) peer.sendReset()
        assert.equal(await stage.waitForMetric('firefly_connections', (count) => count === 2), 2)
      }
    },
  },
]

export const addressConnections: readonly Attack[] = [
  overLimitAttack('connections of one address beyond its bound are closed, those before them stay', 'address'),
  {
    name: 'connections of one address that only speak HTTP, or nothing, are cut beyond their own bound',
    verdict: 'cut',
    counters: refusalCounter('crowd', EXCESS_CONNECTIONS),
    run: async (stage) => {
      // The figures are read on a connection that stands already.
      await stage.readMetrics()
      const peers: RawPeer[] = []
      for (let i = 0; i < MAX_CONNECTIONS + HTTP_RESERVE + EXCESS_CONNECTIONS; i++) peers.push(await stage.dialHttp())
      await waitUntil(
        () => peers.filter(({ isClosed: closed }) => closed).length >= EXCESS_CONNECTIONS,
        'those beyond the bound are cut',
      )
      assert.ok(peers.slice(0, MAX_CONNECTIONS).every(({ isClosed: closed }) => !closed))
      for (const peer of peers) peer.sendReset()
    },
  },
]

/** Fills the club with strangers of every kind, as far as there is room. */
async function fillUnauthenticated(stage: AttackHarness): Promise<RawPeer[]> {
  const strangers = []
  for (let i = 0; i < MAX_CONNECTIONS; i += 3) {
    const [silent, greeted] = [await stage.dialTcp(), await stage.dialTcp()]
    await greeted.send(helloFrame(), openFrame(1, 'gate', ''))
    await greeted.waitForFrames(2)
    strangers.push(silent, greeted, (await stage.dialWebSocket()).peer)
  }
  return strangers
}

export const unauthenticatedConnections: readonly Attack[] = [
  {
    name: 'connections without a login beyond their bound are closed, players and their places stay',
    verdict: 'close OVERLOADED',
    counters: turnedAwayCounters('unproven', 2 * EXCESS_CONNECTIONS),
    run: async (stage) => {
      await fillUnauthenticated(stage)
      await assertExcessRefused(stage)
    },
  },
  {
    name: 'a stranger who goes makes room, and so does one who logs in',
    verdict: 'answers',
    counters: turnedAwayCounters('unproven', 2),
    run: async (stage) => {
      const strangers = await fillUnauthenticated(stage)
      strangers[0]!.sendReset()
      assert.equal(
        await stage.waitForMetric('firefly_unproven', (count) => count < MAX_CONNECTIONS),
        MAX_CONNECTIONS - 1,
      )
      const next = await stage.dialTcp()
      await next.send(frame(ENTER, { uid: 'one who logs in' }))
      await next.waitForFrames(1)
      const player = await stage.openSession({
        ticket: Buffer.from(signTicket(validClaims('one with a ticket'))),
      })
      assert.equal(player.errors().length, 0)
      await stage.dialTcp()
      for (let i = 0; i < 2; i++) await (await stage.dialTcp()).waitForClose()
    },
  },
]
