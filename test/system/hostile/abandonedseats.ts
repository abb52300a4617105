// Seats of lost connections, against a server with a low limit per address. Invariant: one address has no more seats than
// it may have connections, and a lost session can always resume its own.

import assert from 'node:assert/strict'
import { waitUntil } from '../../support/sockets.ts'
import { turnedAwayCounters, type Attack } from './attack.ts'
import { MAX_CONNECTIONS } from './connections.ts'
import { callFrame, helloAndOpen, helloFrame, openFields, resumeFrame } from './frames.ts'
import { COMMAND } from './game.ts'
import type { AttackHarness } from './harness.ts'
import type { RawPeer } from './peer.ts'

const { JOIN, MEMBERS } = COMMAND
/** Without the two players and the member that is reset and resumes. */
const FREE_SEATS = MAX_CONNECTIONS - 3
const ATTEMPTS = 60
const RESUMES = 3

async function joinAsMember(harness: AttackHarness): Promise<RawPeer> {
  const peer = await harness.openSession()
  await peer.send(callFrame(1, 1, JOIN, {}))
  await peer.waitForFrames(3)
  return peer
}

async function memberCount(peer: RawPeer, sequence: number): Promise<number> {
  await peer.send(callFrame(1, sequence, MEMBERS, {}, sequence - 1))
  await waitUntil(() => peer.replies().has(sequence), 'the number of members')
  return (JSON.parse(peer.replyText(sequence)!) as { readonly members: number }).members
}

/** Returns whether the server accepted the connection. */
async function joinAndReset(harness: AttackHarness): Promise<boolean> {
  const peer = await harness.dialTcp()
  await peer.send(helloAndOpen, callFrame(1, 1, JOIN, {}))
  await waitUntil(() => peer.isClosed || peer.replies().has(1), 'a reply or the end')
  const isAccepted = peer.replies().has(1)
  assert.deepEqual(peer.errors(), isAccepted ? [] : ['0/0 OVERLOADED'])
  peer.sendReset()
  await peer.waitForClose()
  return isAccepted
}

export const abandonedSeats: readonly Attack[] = [
  {
    name: 'counts the seats of reset connections in the limit of their address',
    receives: 'ERROR OVERLOADED, close',
    counters: { ...turnedAwayCounters('address', ATTEMPTS - FREE_SEATS + RESUMES), firefly_resumes_total: RESUMES },
    run: async (harness) => {
      let member = await joinAsMember(harness)
      let accepted = 0
      for (let n = 0; n < ATTEMPTS; n++) if (await joinAndReset(harness)) accepted++
      assert.equal(accepted, FREE_SEATS)
      // The limit is reached, but this member holds one of the seats and can resume repeatedly.
      for (let n = 0; n < RESUMES; n++) {
        const credentials = member.welcome()
        member.sendReset()
        await harness.waitForMetric('firefly_sessions', (sessions) => sessions === 1)
        member = await harness.dialTcp()
        await member.send(helloFrame(credentials), resumeFrame(openFields(1)))
        await member.waitForFrames(2)
        assert.deepEqual(member.errors(), [])
        assert.ok(member.welcome().resumed)
        assert.equal(await joinAndReset(harness), false)
      }
      // The abandoned seats and this member.
      assert.equal(await memberCount(member, 2), FREE_SEATS + 1)
    },
  },
]
