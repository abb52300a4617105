// Floods of connections against servers with room for few: in all, from one address, and of those who are nobody yet.
// Who is in stays in, who comes too late hears why.

import assert from 'node:assert/strict'
import { until } from '../../conformance/sockets.ts'
import { frame, hello, open } from './frames.ts'
import { claims, ticket } from './mint.ts'
import type { Peer } from './peer.ts'
import { closes, refusals, type Attack, type Stage } from './stage.ts'

const RAW = 1
const ENTER = 30
/** Of the servers under attack; in `crowds` and `addresses` two are the players'. */
export const MOST = 12
const FREE = MOST - 2
const LATE = 10
/** What the lobby has room for above that, for connections that only speak HTTP. */
const SPARE = 64

/** The counters of connections that met a bound. */
const away = (bound: string, count: number): Record<string, number> => ({
  ...closes('OVERLOADED', count),
  [`firefly_turned_away_total{bound="${bound}"}`]: count,
})

/** Fills the server; the peers that are in. */
async function fill(stage: Stage): Promise<Peer[]> {
  const peers = []
  for (let i = 0; i < FREE; i++) {
    const peer = await stage.dial()
    await peer.send(frame(RAW, String(i)))
    await peer.hears(1)
    peers.push(peer)
  }
  return peers
}

/** Each half of them is told so in the way it can hear. */
async function late(stage: Stage): Promise<void> {
  for (let i = 0; i < LATE; i++) {
    const peer = await stage.dial()
    await peer.ends()
    assert.equal(peer.bytes, 0)
    const close = await (await stage.web()).ends()
    assert.equal(close.code, 1013)
    assert.match(close.reason, /^OVERLOADED: /)
  }
}

const overfull = (name: string, bound: string): Attack => ({
  name,
  verdict: 'close OVERLOADED',
  counters: away(bound, 2 * LATE),
  run: async (stage) => {
    const inside = await fill(stage)
    await late(stage)
    for (const peer of inside) {
      await peer.send(frame(RAW, 'again'))
      await peer.hears(2)
    }
  },
})

export const crowds: readonly Attack[] = [
  overfull('connections beyond the total are closed, those before them stay', 'total'),
  {
    name: 'a place that is left is free again',
    verdict: 'answers',
    counters: { firefly_accepted_total: 5 * FREE },
    run: async (stage) => {
      for (let round = 0; round < 5; round++) {
        const peers = await fill(stage)
        for (const peer of peers) peer.reset()
        assert.equal(await stage.figure('firefly_connections', (count) => count === 2), 2)
      }
    },
  },
]

export const addresses: readonly Attack[] = [
  overfull('connections of one address beyond its bound are closed, those before them stay', 'address'),
  {
    name: 'connections of one address that only speak HTTP, or nothing, are cut beyond their own bound',
    verdict: 'cut',
    counters: refusals('crowd', LATE),
    run: async (stage) => {
      // The figures are read on a connection that stands already.
      await stage.metrics()
      const peers: Peer[] = []
      for (let i = 0; i < MOST + SPARE + LATE; i++) peers.push(await stage.dialHttp())
      await until(() => peers.filter(({ closed }) => closed).length >= LATE, 'those beyond the bound are cut')
      assert.ok(peers.slice(0, MOST).every(({ closed }) => !closed))
      for (const peer of peers) peer.reset()
    },
  },
]

/** Fills the club with strangers of every kind, as far as there is room. */
async function crowd(stage: Stage): Promise<Peer[]> {
  const strangers = []
  for (let i = 0; i < MOST; i += 3) {
    const [silent, greeted] = [await stage.dial(), await stage.dial()]
    await greeted.send(hello(), open(1, 'gate', ''))
    await greeted.hears(2)
    strangers.push(silent, greeted, (await stage.web()).peer)
  }
  return strangers
}

export const strangers: readonly Attack[] = [
  {
    name: 'connections without a login beyond their bound are closed, players and their places stay',
    verdict: 'close OVERLOADED',
    counters: away('unproven', 2 * LATE),
    run: async (stage) => {
      await crowd(stage)
      await late(stage)
    },
  },
  {
    name: 'a stranger who goes makes room, and so does one who logs in',
    verdict: 'answers',
    counters: away('unproven', 2),
    run: async (stage) => {
      const strangers = await crowd(stage)
      strangers[0]!.reset()
      assert.equal(await stage.figure('firefly_unproven', (count) => count < MOST), MOST - 1)
      const next = await stage.dial()
      await next.send(frame(ENTER, { uid: 'one who logs in' }))
      await next.hears(1)
      const player = await stage.session({ ticket: Buffer.from(ticket(claims('one with a ticket'))) })
      assert.equal(player.errors().length, 0)
      await stage.dial()
      for (let i = 0; i < 2; i++) await (await stage.dial()).ends()
    },
  },
]
