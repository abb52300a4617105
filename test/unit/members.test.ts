// Seats and groups of a shard's members: small seats, exact undo, and the memo that a gateway keeps of them.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Channel } from '../../core/channel/channel.ts'
import {
  decodeMembershipToken,
  encodeMembershipToken,
  Members,
  type UndoStep,
} from '../../core/channel/members.ts'
import { NEW_CHANNEL_DEFAULTS } from '../../core/ports/link.ts'
import type { Shard } from '../../core/engine/shard.ts'
import { ProtocolError } from '../../core/wire/errors.ts'

/** A channel that no connection carries; nothing here asks for its shard. */
function channel(number = 1): Channel {
  const main = { shard: { contract: 'room', key: 'main' }, session: new Uint8Array(16), channel: number }
  return new Channel(null as unknown as Shard, { ...NEW_CHANNEL_DEFAULTS, ...main })
}

/** Members on the seats 0, 1, 2 … */
function membersWithSeats(count: number): { members: Members; channels: Channel[] } {
  const members = new Members()
  const channels = Array.from({ length: count }, (_, i) => channel(i))
  for (const one of channels) members.add(one)
  return { members, channels }
}

/** All that can be seen of the members, to compare before and after. */
function snapshotOf(members: Members, groups: readonly string[]): unknown {
  const seats = [...members.all()].map((member) => {
    assert.equal(member.channel.member, member)
    assert.equal(members.atSeat(member.seat), member)
    return [member.seat, member.channel.name, [...member.groups].toSorted()] as const
  })
  const inGroups = groups.map((group) =>
    [...members.group(group)].map(({ seat }) => seat).toSorted((a, b) => a - b),
  )
  return { seats: seats.toSorted(([a], [b]) => a - b), inGroups, size: members.size }
}

test('a new member gets the smallest free seat', () => {
  const { members, channels } = membersWithSeats(4)
  assert.deepEqual(
    channels.map((one) => one.member?.seat),
    [0, 1, 2, 3],
  )
  for (const seat of [2, 0]) members.remove(members.atSeat(seat)!)
  const late = [channel(10), channel(11), channel(12)]
  for (const one of late) members.add(one)
  assert.deepEqual(
    late.map((one) => one.member?.seat),
    [0, 2, 4],
  )
})

test('a wanted seat is given when it is free, else the smallest free one', () => {
  const { members } = membersWithSeats(2)
  const [back, other, last] = [channel(7), channel(8), channel(9)]
  members.add(back, 5)
  members.add(other, 5)
  members.add(last)
  assert.deepEqual(
    [back, other, last].map((one) => one.member?.seat),
    [5, 2, 3],
  )
})

test('a group holds who joined it, and is gone with its last member', () => {
  const { members, channels } = membersWithSeats(3)
  for (const seat of [0, 2]) members.joinGroup(members.atSeat(seat)!, 'red')
  members.joinGroup(members.atSeat(0)!, 'red')
  assert.deepEqual(
    [...members.group('red')].map(({ seat }) => seat),
    [0, 2],
  )
  members.leaveGroup(members.atSeat(0)!, 'red')
  members.remove(members.atSeat(2)!)
  assert.deepEqual([...members.group('red')], [])
  assert.equal(channels[2]!.member, null)
  assert.deepEqual([...members.group('nobody')], [])
})

test('a member of 64 groups cannot join another', () => {
  const { members } = membersWithSeats(1)
  const member = members.atSeat(0)!
  for (let i = 0; i < 64; i++) members.joinGroup(member, `g${i}`)
  assert.throws(() => members.joinGroup(member, 'one more'), /64 groups/)
  members.joinGroup(member, 'g0')
  assert.equal(member.groups.size, 64)
})

test('the undo of each change takes it back and nothing else', () => {
  const { members, channels } = membersWithSeats(2)
  members.joinGroup(members.atSeat(1)!, 'red')
  const before = snapshotOf(members, ['red', 'blue'])
  const changes: (() => UndoStep)[] = [
    () => members.add(channel(9)),
    () => members.joinGroup(members.atSeat(0)!, 'blue'),
    () => members.joinGroup(members.atSeat(1)!, 'red'),
    () => members.leaveGroup(members.atSeat(1)!, 'red'),
    () => members.leaveGroup(members.atSeat(1)!, 'blue'),
    () => members.remove(channels[1]!.member!),
  ]
  for (const change of changes) {
    change()()
    assert.deepEqual(snapshotOf(members, ['red', 'blue']), before)
  }
})

const GROUPS = ['a', 'b', 'c']
const step = fc.record({
  who: fc.nat(3),
  what: fc.constantFrom('join', 'leave', 'group', 'ungroup' as const),
  group: fc.constantFrom(...GROUPS),
})
type Step = { who: number; what: 'join' | 'leave' | 'group' | 'ungroup'; group: string }

function applyStep(
  members: Members,
  channels: readonly Channel[],
  { who, what, group }: Step,
): UndoStep | null {
  const one = channels[who]!
  if (what === 'join') return one.member ? null : members.add(one)
  if (!one.member) return null
  if (what === 'leave') return members.remove(one.member)
  return what === 'group' ? members.joinGroup(one.member, group) : members.leaveGroup(one.member, group)
}

test('a turn of many changes that throws leaves no trace', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.array(step, { maxLength: 12 }), (earlier, turn) => {
      const members = new Members()
      const channels = Array.from({ length: 4 }, (_, i) => channel(i))
      for (const one of earlier) applyStep(members, channels, one)
      const before = snapshotOf(members, GROUPS)
      const undos = turn.map((one) => applyStep(members, channels, one))
      for (const undo of undos.toReversed()) undo?.()
      assert.deepEqual(snapshotOf(members, GROUPS), before)
    }),
  )
})

test('a memo brings seat and groups back', () => {
  fc.assert(
    fc.property(
      fc.nat(0xffff),
      fc.uniqueArray(fc.string({ unit: 'binary', maxLength: 30 }), { maxLength: 64 }),
      (seat, groups) => {
        const members = new Members()
        const one = channel()
        members.add(one, seat)
        for (const group of groups) members.joinGroup(one.member!, group)
        assert.deepEqual(decodeMembershipToken(encodeMembershipToken(one.member)), { seat, groups })
      },
    ),
  )
})

test('the memo of nobody is empty, and its bytes are fixed', () => {
  assert.equal(encodeMembershipToken(null).length, 0)
  assert.equal(decodeMembershipToken(new Uint8Array(0)), null)
  const { members } = membersWithSeats(2)
  members.joinGroup(members.atSeat(1)!, 'red')
  assert.equal(
    Buffer.from(encodeMembershipToken(members.atSeat(1)!)).toString('hex'),
    '00000001' + '0003' + '726564',
  )
})

test('a memo that is cut or damaged is refused, never a raw exception', () => {
  const memo = Uint8Array.of(0, 0, 0, 1, 0, 3, 0x72, 0x65, 0x64, 0, 1, 0x61)
  for (const size of [1, 2, 3, 5, 6, 7, 8, 10, 11])
    assert.throws(() => decodeMembershipToken(memo.subarray(0, size)), ProtocolError, `cut at ${size}`)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        decodeMembershipToken(bytes)
      } catch (error) {
        assert.ok(error instanceof ProtocolError)
      }
    }),
  )
})
