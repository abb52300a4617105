// Seats without connections, against a server with room for few of one address: whoever joins and is gone, again and
// again, keeps no more seats than it may have connections. Who is lost comes back to its own all the same.

import assert from 'node:assert/strict'
import { waitUntil } from '../../support/sockets.ts'
import { MAX_CONNECTIONS } from './connections.ts'
import { callFrame, helloFrame, openFrame, openFields, resumeFrame } from './frames.ts'
import type { RawPeer } from './peer.ts'
import { closeCounter, type Attack, type AttackHarness } from './harness.ts'

const JOIN = 9
const HERE = 13
/** Beside the two players and the member who is lost. */
const FREE_SEATS = MAX_CONNECTIONS - 3
const ATTEMPTS = 60
const RETURNS = 3
const turnedAwayCounters = (count: number): Record<string, number> => ({
  ...closeCounter('OVERLOADED', count),
  'firefly_turned_away_total{bound="address"}': count,
})

/** A member with a session. */
async function joinAsMember(stage: AttackHarness): Promise<RawPeer> {
  const peer = await stage.openSession()
  await peer.send(callFrame(1, 1, JOIN, {}))
  await peer.waitForFrames(3)
  return peer
}

async function memberCount(peer: RawPeer, sequence: number): Promise<number> {
  await peer.send(callFrame(1, sequence, HERE, {}, sequence - 1))
  await waitUntil(() => peer.replies().has(sequence), 'the number of members')
  return (JSON.parse(peer.replies().get(sequence)!.toString()) as { readonly members: number }).members
}

/** Joins and is reset; whether it was let in. */
async function joinAndReset(stage: AttackHarness, greeting: Uint8Array): Promise<boolean> {
  const peer = await stage.dialTcp()
  await peer.send(greeting, openFrame(1), callFrame(1, 1, JOIN, {}))
  await waitUntil(() => peer.isClosed || peer.replies().has(1), 'an answer or the end')
  const isIn = peer.replies().has(1)
  assert.deepEqual(peer.errors(), isIn ? [] : ['0/0 OVERLOADED'])
  peer.sendReset()
  await peer.waitForClose()
  return isIn
}

export const abandonedSeats: readonly Attack[] = [
  {
    name: 'whoever joins and is reset, again and again, is no more members than one address may be',
    verdict: 'ERROR OVERLOADED, close',
    counters: { ...turnedAwayCounters(ATTEMPTS - FREE_SEATS + RETURNS), firefly_resumes_total: RETURNS },
    run: async (stage) => {
      const lost = await joinAsMember(stage)
      const shown = lost.welcome()
      let entered = 0
      for (let n = 0; n < ATTEMPTS; n++) if (await joinAndReset(stage, helloFrame())) entered++
      assert.equal(entered, FREE_SEATS)
      // All that it has room for are counted, and one of them was lost: it comes back, as often as it likes.
      let back = lost
      let known = shown
      for (let n = 0; n < RETURNS; n++) {
        back.sendReset()
        assert.equal(await stage.waitForMetric('firefly_sessions', (sessions) => sessions === 1), 1)
        back = await stage.dialTcp()
        await back.send(helloFrame(known), resumeFrame(openFields(1)))
        await back.waitForFrames(2)
        assert.deepEqual(back.errors(), [])
        known = back.welcome()
        assert.ok(known.resumed)
        assert.equal(await joinAndReset(stage, helloFrame()), false)
      }
      // The members of the yard are the ghosts, and who came back.
      assert.equal(await memberCount(back, 2), FREE_SEATS + 1)
    },
  },
]
