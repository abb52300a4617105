// Seats without connections, against a server with room for few of one address: whoever joins and is gone, again and
// again, keeps no more seats than it may have connections. Who is lost comes back to its own all the same.

import assert from 'node:assert/strict'
import { until } from '../../conformance/sockets.ts'
import { MOST } from './crowds.ts'
import { call, hello, open, opening, resume } from './frames.ts'
import type { Peer } from './peer.ts'
import { closes, type Attack, type Stage } from './stage.ts'

const JOIN = 9
const HERE = 13
/** Beside the two players and the member who is lost. */
const ROOM = MOST - 3
const COMINGS = 60
const RETURNS = 3
const away = (count: number): Record<string, number> => ({
  ...closes('OVERLOADED', count),
  'firefly_turned_away_total{bound="address"}': count,
})

/** A member with a session. */
async function member(stage: Stage): Promise<Peer> {
  const peer = await stage.session()
  await peer.send(call(1, 1, JOIN, {}))
  await peer.hears(3)
  return peer
}

async function members(peer: Peer, sequence: number): Promise<number> {
  await peer.send(call(1, sequence, HERE, {}, sequence - 1))
  await until(() => peer.replies().has(sequence), 'the number of members')
  return (JSON.parse(peer.replies().get(sequence)!.toString()) as { readonly members: number }).members
}

/** Joins and is reset; whether it was let in. */
async function haunt(stage: Stage, greeting: Uint8Array): Promise<boolean> {
  const peer = await stage.dial()
  await peer.send(greeting, open(1), call(1, 1, JOIN, {}))
  await until(() => peer.closed || peer.replies().has(1), 'an answer or the end')
  const isIn = peer.replies().has(1)
  assert.deepEqual(peer.errors(), isIn ? [] : ['0/0 OVERLOADED'])
  peer.reset()
  await peer.ends()
  return isIn
}

export const ghosts: readonly Attack[] = [
  {
    name: 'whoever joins and is reset, again and again, is no more members than one address may be',
    verdict: 'ERROR OVERLOADED, close',
    counters: { ...away(COMINGS - ROOM + RETURNS), firefly_resumes_total: RETURNS },
    run: async (stage) => {
      const lost = await member(stage)
      const shown = lost.welcome()
      let entered = 0
      for (let n = 0; n < COMINGS; n++) if (await haunt(stage, hello())) entered++
      assert.equal(entered, ROOM)
      // All that it has room for are counted, and one of them was lost: it comes back, as often as it likes.
      let back = lost
      let known = shown
      for (let n = 0; n < RETURNS; n++) {
        back.reset()
        assert.equal(await stage.figure('firefly_sessions', (sessions) => sessions === 1), 1)
        back = await stage.dial()
        await back.send(hello(known), resume(opening(1)))
        await back.hears(2)
        assert.deepEqual(back.errors(), [])
        known = back.welcome()
        assert.ok(known.resumed)
        assert.equal(await haunt(stage, hello()), false)
      }
      // The members of the yard are the ghosts, and who came back.
      assert.equal(await members(back, 2), ROOM + 1)
    },
  },
]
