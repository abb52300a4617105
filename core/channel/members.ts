// The members of a shard: seats and groups. A new member gets the smallest free seat, so seats stay small.
// Invariant: every change returns its undo, because a turn that throws must leave no trace.

import { ByteReader, ByteWriter, EMPTY_BYTES, utf8Encoder } from '../wire/bytes.ts'

/** A channel as its members see it: it stores its own membership. */
export interface MemberChannel {
  setMember(member: Member | null): void
}

export interface Member<C = MemberChannel> {
  readonly channel: C
  readonly seat: number
  readonly groups: Set<string>
}
export type UndoStep = () => void

const MAX_GROUPS = 64

export class Members<C extends MemberChannel> {
  readonly #bySeat = new Map<number, Member<C>>()
  readonly #byGroup = new Map<string, Set<Member<C>>>()
  /** No seat below this one is free. */
  #lowestFreeSeat = 0

  get size(): number {
    return this.#bySeat.size
  }

  all(): Iterable<Member<C>> {
    return this.#bySeat.values()
  }

  atSeat(seat: number): Member<C> | undefined {
    return this.#bySeat.get(seat)
  }

  group(name: string): Iterable<Member<C>> {
    return this.#byGroup.get(name) ?? []
  }

  /** Adds the channel on `seat`, or on the smallest free seat when that one is taken or not given. */
  add(channel: C, seat = this.#nextFreeSeat()): UndoStep {
    const member: Member<C> = { channel, seat: this.#bySeat.has(seat) ? this.#nextFreeSeat() : seat, groups: new Set() }
    this.#bySeat.set(member.seat, member)
    channel.setMember(member)
    return () => this.#removeMember(member)
  }

  remove(member: Member<C>): UndoStep {
    const groups = [...member.groups]
    this.#removeMember(member)
    return () => {
      this.#bySeat.set(member.seat, member)
      member.channel.setMember(member)
      for (const group of groups) this.joinGroup(member, group)
    }
  }

  joinGroup(member: Member<C>, group: string): UndoStep {
    if (member.groups.has(group)) return NO_UNDO
    if (member.groups.size >= MAX_GROUPS) throw new Error(`a member of ${MAX_GROUPS} groups cannot join another`)
    member.groups.add(group)
    const set = this.#byGroup.get(group) ?? new Set()
    this.#byGroup.set(group, set.add(member))
    return () => void this.leaveGroup(member, group)
  }

  leaveGroup(member: Member<C>, group: string): UndoStep {
    if (!member.groups.delete(group)) return NO_UNDO
    const set = this.#byGroup.get(group)
    set?.delete(member)
    if (set?.size === 0) this.#byGroup.delete(group)
    return () => void this.joinGroup(member, group)
  }

  #removeMember(member: Member<C>): void {
    for (const group of member.groups) this.leaveGroup(member, group)
    this.#bySeat.delete(member.seat)
    this.#lowestFreeSeat = Math.min(this.#lowestFreeSeat, member.seat)
    member.channel.setMember(null)
  }

  #nextFreeSeat(): number {
    while (this.#bySeat.has(this.#lowestFreeSeat)) this.#lowestFreeSeat++
    return this.#lowestFreeSeat
  }
}

/** Encodes a membership for the gateway to store: u32 seat, then the groups. Empty = no member. */
export function encodeMembershipToken(member: Pick<Member, 'seat' | 'groups'> | null): Uint8Array {
  if (!member) return EMPTY_BYTES
  const groups = [...member.groups].map((group) => utf8Encoder.encode(group))
  const writer = new ByteWriter(4 + groups.reduce((sum, group) => sum + 2 + group.length, 0)).u32(member.seat)
  for (const group of groups) writer.blob(group)
  return writer.bytes
}

/** @throws ProtocolError for a truncated or damaged token */
export function decodeMembershipToken(token: Uint8Array): { seat: number; groups: string[] } | null {
  if (token.length === 0) return null
  const reader = new ByteReader('membership token', token, 0, token.length)
  const seat = reader.u32()
  const groups: string[] = []
  while (!reader.isAtEnd) groups.push(reader.text16())
  return { seat, groups }
}

const NO_UNDO: UndoStep = () => {}
