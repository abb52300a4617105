// The members of a shard: seats and groups. A seat is the smallest free number, so seats stay small.
// Every change gives back its undo, because a turn that throws must leave no trace.

import { Reader, Writer } from '../wire/bytes.ts'
import type { Channel } from './channel.ts'

export interface Member {
  readonly channel: Channel
  readonly seat: number
  readonly groups: Set<string>
}
export type Undo = () => void

const MAX_GROUPS = 64
const utf8 = new TextEncoder()

export class Members {
  readonly #bySeat = new Map<number, Member>()
  readonly #byGroup = new Map<string, Set<Member>>()
  /** No seat below this one is free. */
  #lowest = 0

  get size(): number {
    return this.#bySeat.size
  }

  all(): Iterable<Member> {
    return this.#bySeat.values()
  }

  at(seat: number): Member | undefined {
    return this.#bySeat.get(seat)
  }

  group(name: string): Iterable<Member> {
    return this.#byGroup.get(name) ?? NOBODY
  }

  /** Seats the channel on `seat`, or on the smallest free one. */
  add(channel: Channel, seat = this.#free()): Undo {
    const member: Member = { channel, seat: this.#bySeat.has(seat) ? this.#free() : seat, groups: new Set() }
    this.#bySeat.set(member.seat, member)
    channel.member = member
    return () => this.#take(member)
  }

  remove(member: Member): Undo {
    const groups = [...member.groups]
    this.#take(member)
    return () => {
      this.#bySeat.set(member.seat, member)
      member.channel.member = member
      for (const group of groups) this.join(member, group)
    }
  }

  join(member: Member, group: string): Undo {
    if (member.groups.has(group)) return NOTHING
    if (member.groups.size >= MAX_GROUPS)
      throw new Error(`a member of ${MAX_GROUPS} groups cannot join another`)
    member.groups.add(group)
    const set = this.#byGroup.get(group) ?? new Set()
    this.#byGroup.set(group, set.add(member))
    return () => void this.quit(member, group)
  }

  quit(member: Member, group: string): Undo {
    if (!member.groups.delete(group)) return NOTHING
    const set = this.#byGroup.get(group)
    set?.delete(member)
    if (set?.size === 0) this.#byGroup.delete(group)
    return () => void this.join(member, group)
  }

  #take(member: Member): void {
    for (const group of member.groups) this.quit(member, group)
    this.#bySeat.delete(member.seat)
    this.#lowest = Math.min(this.#lowest, member.seat)
    member.channel.member = null
  }

  #free(): number {
    while (this.#bySeat.has(this.#lowest)) this.#lowest++
    return this.#lowest
  }
}

/** A membership as the bytes that a gateway keeps: u32 seat, then the groups. Empty = no member. */
export function encodeMemo(member: Member | null): Uint8Array {
  if (!member) return new Uint8Array(0)
  const groups = [...member.groups].map((group) => utf8.encode(group))
  const writer = new Writer(4 + groups.reduce((sum, group) => sum + 2 + group.length, 0)).u32(member.seat)
  for (const group of groups) writer.blob(group)
  return writer.bytes
}

export function decodeMemo(memo: Uint8Array): { seat: number; groups: string[] } | null {
  if (memo.length === 0) return null
  const reader = new Reader('memo', memo, 0, memo.length)
  const seat = reader.u32()
  const groups: string[] = []
  while (!reader.done) groups.push(reader.text16())
  return { seat, groups }
}

const NOBODY: Iterable<Member> = []
const NOTHING: Undo = () => {}
