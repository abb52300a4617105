// Seats and groups of a shard's members: small seats, exact undo, and the token that a gateway stores for them.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import {
  decodeMembershipToken,
  encodeMembershipToken,
  Members,
  type Member,
  type MemberChannel,
  type UndoStep,
} from '../../core/channel/members.ts'
import { assertField } from '../support/assertfield.ts'
import { ProtocolError } from '../../core/wire/errors.ts'

class TestChannel implements MemberChannel {
  readonly name: string
  member: Member<TestChannel> | null = null

  constructor(number = 1) {
    this.name = String(number)
  }
  setMember(member: Member<TestChannel> | null): void {
    this.member = member
  }
}

/** Members on the seats 0, 1, 2, ... */
function membersWithSeats(count: number): { members: Members<TestChannel>; channels: TestChannel[] } {
  const members = new Members<TestChannel>()
  const channels = Array.from({ length: count }, (_, i) => new TestChannel(i))
  for (const channel of channels) members.add(channel)
  return { members, channels }
}

/** The visible state of the members, to compare before and after. */
function snapshotOf(members: Members<TestChannel>, groups: readonly string[]): unknown {
  const seats = [...members.all()].map((member) => {
    assert.equal(member.channel.member, member)
    assert.equal(members.atSeat(member.seat), member)
    return [member.seat, member.channel.name, [...member.groups].toSorted()] as const
  })
  const inGroups = groups.map((group) => [...members.group(group)].map(({ seat }) => seat).toSorted((a, b) => a - b))
  return { seats: seats.toSorted(([a], [b]) => a - b), inGroups, size: members.size }
}

test('a new member gets the smallest free seat', () => {
  const { members, channels } = membersWithSeats(4)
  const seats = channels.map(({ member }) => member?.seat)
  assert.deepEqual(seats, [0, 1, 2, 3])
  for (const seat of [2, 0]) members.remove(members.atSeat(seat)!)
  const added = [new TestChannel(10), new TestChannel(11), new TestChannel(12)]
  for (const channel of added) members.add(channel)
  const addedSeats = added.map(({ member }) => member?.seat)
  assert.deepEqual(addedSeats, [0, 2, 4])
})

test('a requested seat is given when it is free, else the smallest free seat', () => {
  const { members } = membersWithSeats(2)
  const [first, second, third] = [new TestChannel(7), new TestChannel(8), new TestChannel(9)]
  members.add(first, 5)
  members.add(second, 5)
  members.add(third)
  const seats = [first, second, third].map(({ member }) => member?.seat)
  assert.deepEqual(seats, [5, 2, 3])
})

test('a group contains the members that joined it, and ends with its last member', () => {
  const { members, channels } = membersWithSeats(3)
  for (const seat of [0, 2]) members.joinGroup(members.atSeat(seat)!, 'red')
  members.joinGroup(members.atSeat(0)!, 'red')
  assertField(members.group('red'), 'seat', [0, 2])
  members.leaveGroup(members.atSeat(0)!, 'red')
  members.remove(members.atSeat(2)!)
  assert.deepEqual([...members.group('red')], [])
  assert.equal(channels[2]!.member, null)
  assert.deepEqual([...members.group('unknown')], [])
})

test('a member of 64 groups cannot join another', () => {
  const { members } = membersWithSeats(1)
  const member = members.atSeat(0)!
  for (let i = 0; i < 64; i++) members.joinGroup(member, `g${i}`)
  assert.throws(() => members.joinGroup(member, 'one more'), /64 groups/)
  members.joinGroup(member, 'g0')
  assert.equal(member.groups.size, 64)
})

test('the undo of each change reverts that change only', () => {
  const { members, channels } = membersWithSeats(2)
  members.joinGroup(members.atSeat(1)!, 'red')
  const before = snapshotOf(members, ['red', 'blue'])
  const changes: (() => UndoStep)[] = [
    () => members.add(new TestChannel(9)),
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
const stepArbitrary = fc.record({
  index: fc.nat(3),
  action: fc.constantFrom('join', 'leave', 'group', 'ungroup' as const),
  group: fc.constantFrom(...GROUPS),
})
type Step = { index: number; action: 'join' | 'leave' | 'group' | 'ungroup'; group: string }

function applyStep(
  members: Members<TestChannel>,
  channels: readonly TestChannel[],
  { index, action, group }: Step,
): UndoStep | null {
  const channel = channels[index]!
  const { member } = channel
  if (action === 'join') return member ? null : members.add(channel)
  if (!member) return null
  if (action === 'leave') return members.remove(member)
  return action === 'group' ? members.joinGroup(member, group) : members.leaveGroup(member, group)
}

test('a turn of many changes that throws leaves no trace', () => {
  fc.assert(
    fc.property(
      fc.array(stepArbitrary, { maxLength: 12 }),
      fc.array(stepArbitrary, { maxLength: 12 }),
      (earlier, turn) => {
        const members = new Members<TestChannel>()
        const channels = Array.from({ length: 4 }, (_, i) => new TestChannel(i))
        for (const step of earlier) applyStep(members, channels, step)
        const before = snapshotOf(members, GROUPS)
        const undos = turn.map((step) => applyStep(members, channels, step))
        for (const undo of undos.toReversed()) undo?.()
        assert.deepEqual(snapshotOf(members, GROUPS), before)
      },
    ),
  )
})

test('a membership token restores seat and groups', () => {
  fc.assert(
    fc.property(
      fc.nat(0xffff),
      fc.uniqueArray(fc.string({ unit: 'binary', maxLength: 30 }), { maxLength: 64 }),
      (seat, groups) => {
        const members = new Members<TestChannel>()
        const channel = new TestChannel()
        members.add(channel, seat)
        for (const group of groups) members.joinGroup(channel.member!, group)
        assert.deepEqual(decodeMembershipToken(encodeMembershipToken(channel.member)), { seat, groups })
      },
    ),
  )
})

test('the token without a member is empty, and the encoding is fixed', () => {
  assert.equal(encodeMembershipToken(null).length, 0)
  assert.equal(decodeMembershipToken(new Uint8Array(0)), null)
  const { members } = membersWithSeats(2)
  members.joinGroup(members.atSeat(1)!, 'red')
  assert.equal(Buffer.from(encodeMembershipToken(members.atSeat(1)!)).toString('hex'), '00000001' + '0003' + '726564')
})

test('a truncated or damaged token is rejected with a ProtocolError', () => {
  const token = Uint8Array.of(0, 0, 0, 1, 0, 3, 0x72, 0x65, 0x64, 0, 1, 0x61)
  for (const size of [1, 2, 3, 5, 6, 7, 8, 10, 11])
    assert.throws(() => decodeMembershipToken(token.subarray(0, size)), ProtocolError, `truncated at ${size}`)
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
