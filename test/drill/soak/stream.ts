// The events of one shard as one player hears them, held against the numbers that the game gave them. Invariant: every
// number from the first to the last is heard, or stands in `gaps`, or was told to be missed.

import { textOf } from './text.ts'

export interface Beat {
  readonly life: number
  readonly i: number
  readonly chars: number
  readonly text: string
}
/** The next event of a shard. */
export interface Place {
  readonly life: number
  readonly next: number
}

/** Of the numbers of a gap. */
const SHOWN = 12

export class Stream {
  /** Whose events. */
  readonly name: string
  events = 0
  duplicates = 0
  /** Heard behind a later one, or after they were told to be missed. */
  reordered = 0
  /** Bytes that are not the event's, or a life or a place that nobody told of. */
  wrong = 0
  resyncs = 0
  /** Told to be missed. */
  skipped = 0
  restarts = 0
  /** Away for too long: it had to join again. */
  seatsLost = 0
  /** Of those told to be missed, a range for each jump. */
  readonly #missed: { readonly from: number; readonly to: number }[] = []
  readonly #holes = new Set<number>()
  /** In lives that are over. */
  #oldGaps = 0
  #life = 0
  /** The first event since the player has joined. */
  #first: number | null = null
  #last: number | null = null
  #isJoining = true
  #mayJump = false
  #freshes = 0
  #awaitsFresh = false

  constructor(name: string) {
    this.name = name
  }

  /** Numbers that were not heard and that nobody told to be missed. */
  get gaps(): number {
    return this.#oldGaps + this.#holes.size
  }

  /** The first of them, in words. */
  get holes(): string {
    return [...this.#holes].slice(0, SHOWN).join(' ')
  }

  /** The last RESYNC came without the fresh state that the game pushes behind it. */
  get awaitsFresh(): boolean {
    return this.#awaitsFresh
  }

  hear({ life, i, chars, text }: Beat): void {
    this.events++
    if (text !== textOf(this.name, i, chars)) return void this.wrong++
    if (this.#last === null) {
      this.#life = life
      this.#first ??= i
      this.#last = i
      return
    }
    if (life !== this.#life) return void this.wrong++
    if (i <= this.#last) return this.#again(i)
    this.#goesTo(i)
  }

  /** The answer to the call that joins: its events begin with `next`. */
  begins({ life, next }: Place): void {
    if (!this.#isJoining) return
    this.#isJoining = false
    if (this.#first === null) {
      this.#life = life
      this.#last = next - 1
    } else if (life !== this.#life || this.#first < next) this.wrong++
    else for (let i = next; i < this.#first; i++) this.#holes.add(i)
  }

  /** Events may have been missed from here on. */
  resync(): void {
    this.resyncs++
    this.#mayJump = true
    this.#awaitsFresh = true
  }

  /** The game's answer to a RESYNC: whatever was before `next` is not to come any more. */
  fresh({ life, next }: Place): void {
    const isAwaited = this.#freshes++ < this.resyncs
    this.#awaitsFresh = false
    if (!isAwaited || life !== this.#life || this.#last === null || next <= this.#last)
      return void this.wrong++
    if (next > this.#last + 1) this.#goesTo(next - 1, next - 1)
    // One RESYNC may have overtaken the fresh state of another.
    this.#mayJump = this.#freshes < this.resyncs
  }

  /** The answer to another call that joins: without fresh state behind a RESYNC, the place was lost, and it is new. */
  rejoins({ life, next }: Place): void {
    if (!this.#awaitsFresh || life !== this.#life || this.#last === null) return
    this.seatsLost++
    this.#awaitsFresh = false
    this.#freshes = this.resyncs
    if (next > this.#last + 1) this.#goesTo(next - 1, next - 1)
    this.#mayJump = false
  }

  /**
   * Events were missed, and it is told afterwards or just before: the holes so far are what was told of, or else the
   * next jump is.
   */
  told(): void {
    if (this.#holes.size === 0) this.#mayJump = true
    this.skipped += this.#holes.size
    for (const i of this.#holes) this.#missed.push({ from: i, to: i })
    this.#holes.clear()
  }

  /** The shard, or this player's place in it, is new. */
  restart(): void {
    this.restarts++
    this.#oldGaps += this.#holes.size
    this.#holes.clear()
    this.#missed.length = 0
    this.#first = null
    this.#last = null
    this.#isJoining = true
    this.#mayJump = false
    this.#freshes = this.resyncs
    this.#awaitsFresh = false
  }

  /** Everything before that place has been heard. */
  reaches({ life, next }: Place): boolean {
    return life === this.#life && this.#last !== null && this.#last >= next - 1
  }

  /** Nothing before that place comes any more: what is not here is missed. */
  ends({ life, next }: Place): void {
    if (life !== this.#life) return void this.wrong++
    for (let i = (this.#last ?? -1) + 1; i < next; i++) this.#holes.add(i)
  }

  /** `last` is the newest that is heard or told of; `heldTo` the newest that is not heard itself. */
  #goesTo(last: number, heldTo: number = last - 1): void {
    const from = this.#last! + 1
    if (heldTo >= from) {
      if (this.#mayJump) {
        this.skipped += heldTo - from + 1
        this.#missed.push({ from, to: heldTo })
      } else for (let i = from; i <= heldTo; i++) this.#holes.add(i)
    }
    this.#last = last
    this.#mayJump = false
  }

  /** An event that is older than the last one. */
  #again(i: number): void {
    if (this.#holes.delete(i) || this.#missed.some(({ from, to }) => i >= from && i <= to)) this.reordered++
    else this.duplicates++
  }
}
