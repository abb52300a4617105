// The events of one shard as one player receives them, checked against the numbers that the game gave them. Invariant:
// every number from the first to the last was received, or is a gap, or was reported as missed.

import { textOf } from './payload.ts'

export interface NumberedEvent {
  readonly activation: number
  readonly i: number
  readonly chars: number
  readonly text: string
}
/** The next event of a shard. */
export interface EventPosition {
  readonly activation: number
  readonly next: number
}

/** The totals of a lane. */
export interface PushPosition {
  readonly activation: number
  readonly pushes: number
}

/**
 * The pushes between two totals of a lane. The player cannot tell: the lane pushes from its call `follow` on, and the
 * answer to that call may be lost or late. 0 = none, or the lane restarted and does not push any more.
 */
export function pushedBetween(before: PushPosition, after: PushPosition): number {
  return before.activation === after.activation ? after.pushes - before.pushes : 0
}

/** Missing numbers that a report shows. */
const MAX_SHOWN = 12

export class EventSequence {
  /** The source of the events. */
  readonly name: string
  events = 0
  duplicates = 0
  /** Received after a later event, or after they were reported as missed. */
  reordered = 0
  /** Events with a wrong text or activation, and positions that contradict the events. */
  wrong = 0
  resyncs = 0
  /** Events that were reported as missed. */
  skipped = 0
  restarts = 0
  /** The player was away for too long and had to join again. */
  seatsExpired = 0
  /** What was reported as missed: one range for each jump. */
  readonly #missed: { readonly from: number; readonly to: number }[] = []
  readonly #missing = new Set<number>()
  /** Of earlier activations. */
  #earlierGaps = 0
  #activation = 0
  /** The first event since the player joined. */
  #first: number | null = null
  #last: number | null = null
  #isJoining = true
  /** Missed events were reported before the answer to the call that joins. */
  #mayMissFirst = false
  #mayJump = false
  #positions = 0
  #awaitsPosition = false

  constructor(name: string) {
    this.name = name
  }

  /** Numbers that were neither received nor reported as missed. */
  get gaps(): number {
    return this.#earlierGaps + this.#missing.size
  }

  /** The first of them, as text. */
  get missingNumbers(): string {
    return [...this.#missing].slice(0, MAX_SHOWN).join(' ')
  }

  /** The last RESYNC was not followed by the position that the game pushes behind it. */
  get awaitsPosition(): boolean {
    return this.#awaitsPosition
  }

  receive({ activation, i, chars, text }: NumberedEvent): void {
    this.events++
    if (text !== textOf(this.name, i, chars)) return void this.wrong++
    if (this.#last === null) {
      this.#activation = activation
      this.#first ??= i
      this.#last = i
      return
    }
    if (activation !== this.#activation) return void this.wrong++
    if (i <= this.#last) return this.#receiveOld(i)
    this.#advanceTo(i)
  }

  /** The answer to the call that joins: the events begin with `next`. */
  joined({ activation, next }: EventPosition): void {
    if (!this.#isJoining) return
    this.#isJoining = false
    if (this.#first === null) {
      this.#activation = activation
      this.#last = next - 1
    } else if (activation !== this.#activation || this.#first < next) this.wrong++
    else this.#miss(next, this.#first - 1, this.#mayMissFirst)
  }

  /** RESYNC: events may be missing from here on. */
  resync(): void {
    this.resyncs++
    this.#mayJump = true
    this.#awaitsPosition = true
  }

  /** The game's push after a RESYNC: no event before `next` follows. */
  resyncedAt({ activation, next }: EventPosition): void {
    const isAwaited = this.#positions++ < this.resyncs
    this.#awaitsPosition = false
    if (!isAwaited || activation !== this.#activation || this.#last === null || next <= this.#last)
      return void this.wrong++
    if (next > this.#last + 1) this.#advanceTo(next - 1, next - 1)
    // One RESYNC may have overtaken the position of another.
    this.#mayJump = this.#positions < this.resyncs
  }

  /** The answer to a later call that joins. A RESYNC without its position means: the seat expired, this one is new. */
  rejoined({ activation, next }: EventPosition): void {
    if (!this.#awaitsPosition || activation !== this.#activation || this.#last === null) return
    this.seatsExpired++
    this.#awaitsPosition = false
    this.#positions = this.resyncs
    if (next > this.#last + 1) this.#advanceTo(next - 1, next - 1)
    this.#mayJump = false
  }

  /**
   * Missed events were reported, before or after the next event: the gaps so far are meant, or else the next jump. Before
   * the answer to the call that joins, the events before the first one may be meant too.
   */
  missedReported(): void {
    if (this.#isJoining) this.#mayMissFirst = true
    if (this.#missing.size === 0) this.#mayJump = true
    this.skipped += this.#missing.size
    for (const i of this.#missing) this.#missed.push({ from: i, to: i })
    this.#missing.clear()
  }

  /** The shard, or the player's seat in it, is new. */
  restart(): void {
    this.restarts++
    this.#earlierGaps += this.#missing.size
    this.#missing.clear()
    this.#missed.length = 0
    this.#first = null
    this.#last = null
    this.#isJoining = true
    this.#mayMissFirst = this.#mayJump = false
    this.#positions = this.resyncs
    this.#awaitsPosition = false
  }

  /** Returns true when everything before that position was received. */
  reaches({ activation, next }: EventPosition): boolean {
    return activation === this.#activation && this.#last !== null && this.#last >= next - 1
  }

  /** No event before that position follows: the rest of them are gaps. */
  endAt({ activation, next }: EventPosition): void {
    if (activation !== this.#activation) return void this.wrong++
    for (let i = (this.#last ?? -1) + 1; i < next; i++) this.#missing.add(i)
  }

  /** `last`: the newest number received or reported; `lastMissed`: the newest number that was not received. */
  #advanceTo(last: number, lastMissed: number = last - 1): void {
    this.#miss(this.#last! + 1, lastMissed, this.#mayJump)
    this.#last = last
    this.#mayJump = false
  }

  #miss(from: number, to: number, isReported: boolean): void {
    if (to < from) return
    if (isReported) {
      this.skipped += to - from + 1
      this.#missed.push({ from, to })
    } else for (let i = from; i <= to; i++) this.#missing.add(i)
  }

  /** An event that is not newer than the last one. */
  #receiveOld(i: number): void {
    if (this.#missing.delete(i) || this.#missed.some(({ from, to }) => i >= from && i <= to)) this.reordered++
    else this.duplicates++
  }
}
