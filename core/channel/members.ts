// The members of a shard: seats and groups. A seat is the smallest free number, so seats stay small.
// Every change gives back its undo, because a turn that throws must leave no trace.

import { ByteReader, ByteWriter, EMPTY_BYTES, utf8Encoder } from '../wire/bytes.ts'
import type { Channel } from './channel.ts'

export interface Member {
  readonly channel: Channel
  readonly seat: number
  readonly groups: Set<string>
}
export type UndoStep = () => void

const MAX_GROUPS = 64

export class Members {
  readonly #bySeat = new Map<number, Member>()
  readonly #byGroup = new Map<string, Set<Member>>()
  /** No seat below this one is free. */
  #lowestFreeSeat = 0

  get size(): number {
    return this.#bySeat.size
  }

  all(): Iterable<Member> {
    return this.#bySeat.values()
  }

  atSeat(seat: number): Member | undefined {
    return this.#bySeat.get(seat)
  }

  group(name: string): Iterable<Member> {
    return this.#byGroup.get(name) ?? NO_MEMBERS
  }

  /** Seats the channel on `seat`, or on the smallest free one. */
  add(channel: Channel, seat = this.#nextFreeSeat()): UndoStep {
    const member: Member = {
      channel,
      seat: this.#bySeat.has(seat) ? this.#nextFreeSeat() : seat,
      groups: new Set(),
    }
    this.#bySeat.set(member.seat, member)
    channel.member = member
    return () => this.#removeMember(member)
  }

  remove(member: Member): UndoStep {
    const groups = [...member.groups]
    this.#removeMember(member)
    return () => {
      this.#bySeat.set(member.seat, member)
      member.channel.member = member
      for (const group of groups) this.joinGroup(member, group)
    }
  }

  joinGroup(member: Member, group: string): UndoStep {
    if (member.groups.has(group)) return NO_UNDO
    if (member.groups.size >= MAX_GROUPS)
      throw new Error(`a member of ${MAX_GROUPS} groups cannot join another`)
    member.groups.add(group)
    const set = this.#byGroup.get(group) ?? new Set()
    this.#byGroup.set(group, set.add(member))
    return () => void this.leaveGroup(member, group)
  }

  leaveGroup(member: Member, group: string): UndoStep {
    if (!member.groups.delete(group)) return NO_UNDO
    const set = this.#byGroup.get(group)
    set?.delete(member)
    if (set?.size === 0) this.#byGroup.delete(group)
    return () => void this.joinGroup(member, group)
  }

  #removeMember(member: Member): void {
    for (const group of member.groups) this.leaveGroup(member, group)
    this.#bySeat.delete(member.seat)
    this.#lowestFreeSeat = Math.min(this.#lowestFreeSeat, member.seat)
    member.channel.member = null
  }

  #nextFreeSeat(): number {
    while (this.#bySeat.has(this.#lowestFreeSeat)) this.#lowestFreeSeat++
    return this.#lowestFreeSeat
  }
}

/** A membership as the bytes that a gateway keeps: u32 seat, then the groups. Empty = no member. */
export function encodeMembershipToken(member: Member | null): Uint8Array {
  if (!member) return EMPTY_BYTES
  const groups = [...member.groups].map((group) => utf8Encoder.encode(group))
  const writer = new ByteWriter(4 + groups.reduce((sum, group) => sum + 2 + group.length, 0)).u32(member.seat)
  for (const group of groups) writer.blob(group)
  return writer.bytes
}

export function decodeMembershipToken(token: Uint8Array): { seat: number; groups: string[] } | null {
  if (token.length === 0) return null
  const reader = new ByteReader('memo', token, 0, token.length)
  const seat = reader.u32()
  const groups: string[] = []
  while (!reader.isAtEnd) groups.push(reader.text16())
  return { seat, groups }
}

const NO_MEMBERS: Iterable<Member> = []
const NO_UNDO: UndoStep = () => {}
