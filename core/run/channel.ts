// One channel as its shard sees it: session x shard. It outlives connections and, by its mark, activations.
// Invariant: a call at or below the mark is never run again; its kept reply is sent again instead.

import { hexOf, Reader, Writer } from '../wire/bytes.ts'
import type { ErrorKind } from '../wire/message.ts'
import { encodeGrant, sayGrant, type Grant } from './grant.ts'
import { History, type Sent } from './history.ts'
import { encodeMemo, type Member } from './members.ts'
import type { ChannelIn, ChannelOut, ChannelWrite, OpenRequest, StoredChannel, Timer } from './ports.ts'
import type { Shard } from './shard.ts'

/** A kept answer. */
interface Answer {
  readonly sequence: number
  readonly command: number
  readonly kind: 'reply' | ErrorKind | Grant['kind']
  /** Empty for a reply. */
  readonly code: string
  /** Of a reply or a grant; for an error its message. */
  readonly body: Uint8Array
}

export function channelName(session: Uint8Array, channel: number): string {
  return [hexOf(session), channel].join(':')
}

export class Channel implements ChannelIn {
  readonly shard: Shard
  readonly name: string
  /** Channel 0: the session's own. */
  readonly isOwn: boolean
  /** The session part of the name, 32 hex digits. */
  readonly session: string
  readonly legacy: boolean
  /** null while no connection carries it. */
  out: ChannelOut | null = null
  /** The activation it was last introduced to. */
  told = 0
  /** Its last activation ended while calls may have been on their way. */
  severed = false
  /** What the client knew when a new connection brought the channel; null once introduced. */
  #knew: { readonly activation: number; readonly eventAck: number } | null = null
  /** Who has logged in, '' = nobody, and with which login of that uid. */
  uid: string
  epoch: number
  /** Of the newest connection that has carried it. */
  generation: number
  /** Monotonic time since when `out` is null. */
  detachedMs = 0
  /** The highest call that was begun. */
  mark = 0
  /** The highest call whose effects have left, after its commit. */
  settled = 0
  /** Events of this activation. */
  readonly #history = new History()
  /** Events go out as they come; else they wait, from here on those behind `#sent`. */
  #flows = false
  #sent = 0
  /** The client reads too slowly. */
  #held = false
  /** Until a member without connection loses its seat. */
  linger: Timer | null = null
  /** The game was told that the connection is gone. */
  away = false
  /** Calls that wait in the mailbox. */
  waiting = 0
  member: Member | null = null
  /** How the Store has it, as far as this activation knows. */
  stored: StoredChannel = { mark: 0, replies: EMPTY_REPLIES }
  /** The membership the gateway presented, until the shard is awake to honour it. */
  memo: Uint8Array
  #kept: Answer[] = []
  #keptBytes = 0

  constructor(shard: Shard, request: OpenRequest) {
    this.shard = shard
    this.name = channelName(request.session, request.channel)
    this.session = this.name.slice(0, 32)
    this.isOwn = request.channel === 0
    this.legacy = request.legacy
    this.memo = request.memo
    this.uid = request.uid
    this.epoch = request.epoch
    this.generation = request.generation
  }

  /** A connection carries it from now on. */
  attach(out: ChannelOut, request: OpenRequest): void {
    this.linger?.cancel()
    this.linger = null
    this.out = out
    this.#knew = request
    this.#flows = this.#held = false
    this.#sent = this.#history.last
    this.uid = request.uid
    this.epoch = request.epoch
    this.generation = request.generation
    if (request.memo.length > 0) this.memo = request.memo
  }

  /** No connection carries it. */
  detach(): void {
    this.out = null
    this.#flows = false
    this.#sent = this.#history.last
  }

  /** The number of its last event. */
  get lastEvent(): number {
    return this.#history.last
  }

  /** Its seat is lost: a client that comes back hears RESYNC, whatever it has. */
  lapse(): void {
    this.#history.forget(this.#history.last + 1)
  }

  /** Whether `opened` must still be said for this activation. */
  isStrangerTo(activation: number): boolean {
    // A service has one number for all its activations.
    return this.out !== null && (this.#knew !== null || this.severed || this.told !== activation)
  }

  /** Events may be gone of which nobody here knows. */
  miss(): void {
    if (this.out === null) this.lapse()
    else this.#resync(this.#history.last + 1)
  }

  /**
   * Tells the client which life it speaks to, and gives it the events that it misses; false = they are not all there.
   * `numbered`: events that this life had for the channel before it was forgotten, and that only the client knows of.
   */
  introduce(activation: number, numbered: number): boolean {
    const knew = this.#knew
    const known = knew?.activation ?? 0
    const isSame = this.told === activation
    const lost = this.severed || (known !== 0 && !(known === activation && isSame))
    this.told = activation
    this.severed = false
    this.#knew = null
    this.out?.opened(activation, this.settled, lost)
    this.#sayGrants()
    if (knew === null) return this.#flow()
    if (this.isOwn && this.member === null && this.memo.length === 0) {
      // Nothing is sent to it yet; who seats it says then that something may be missed.
      this.#history.forget(numbered)
      this.#sent = this.#history.last
      return this.#flow()
    }
    if (known === 0 && !isSame && numbered > 0) return this.#resync(numbered)
    // A gateway that knows nothing (of channel 0, say) goes on from what was acknowledged.
    const eventAck = known === activation ? knew.eventAck : this.#history.acked
    // Forgotten here and not by the client: its numbers go on, above what it says it has, so that it hears of this
    // once more if this word is lost.
    if (known === activation && !isSame) return this.#resync(eventAck + 1)
    this.#sent = eventAck
    return this.#flow()
  }

  /** An event of a turn that has ended. */
  emit(sent: Sent): void {
    if (this.#flows) {
      const sequence = this.legacy ? ++this.#history.last : this.#history.add(sent, false, this.shard.limits)
      this.out!.event(sequence, sent.event, sent.body)
    } else if (!this.legacy || this.#held) this.#history.add(sent, true, this.shard.limits)
  }

  hold(on: boolean): void {
    if (this.out === null || on === this.#held) return
    this.#held = on
    if (on) {
      this.#flows = false
      this.#sent = this.#history.last
    } else if (this.told !== 0 && this.#knew === null && !this.#flow()) this.shard.attendance.resynced(this)
  }

  /** Events go out again, those that waited first; false = some of them gave way. */
  #flow(): boolean {
    const { out } = this
    if (this.#flows || out === null || this.#held) return true
    if (!this.#history.reaches(this.#sent)) return this.#resync(0)
    this.#flows = true
    this.#history.replay(this.#sent, (sequence, { event, body }) => out.event(sequence, event, body))
    if (this.legacy) this.#history.forget(0)
    return true
  }

  #resync(last: number): false {
    this.#history.forget(last)
    this.#sent = this.#history.last
    this.#flows = !this.#held
    this.out?.resync(this.#history.last)
    return false
  }

  identify(uid: string, epoch: number): void {
    const before = this.uid
    this.uid = uid
    this.epoch = epoch
    this.shard.attendance.identified(this, before)
  }

  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    if (replyAck !== 0 && this.#kept.length > 0) this.ack(replyAck, 0)
    this.shard.call(this, sequence, command, flags, body)
  }

  /** The client has every answer up to `calls`, and every event up to `events`. */
  ack(calls: number, events: number): void {
    if (events !== 0) this.#history.ack(events)
    let gone = 0
    while (gone < this.#kept.length && this.#kept[gone]!.sequence <= calls) {
      this.#keptBytes -= weight(this.#kept[gone]!)
      gone++
    }
    if (gone > 0) this.#kept.splice(0, gone)
  }

  close(forget: boolean): void {
    this.shard.attendance.detach(this, forget)
  }

  /** Whether another answer may be kept; a client that never acknowledges is ended by its gateway's window. */
  hasRoom(replies: number, bytes: number): boolean {
    return this.#kept.length < replies && this.#keptBytes < bytes
  }

  keepReply(sequence: number, command: number, body: Uint8Array): void {
    this.#keep({ sequence, command, kind: 'reply', code: '', body })
  }

  keepError(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#keep(errorOf(sequence, command, kind, code, message))
  }

  /** What the turn of this call has granted; goes with its answer. */
  keepGrant(sequence: number, command: number, grant: Grant): void {
    this.#keep({ sequence, command, kind: grant.kind, code: '', body: encodeGrant(grant) })
  }

  /** Of calls whose answers may not have arrived; of one call, or of all. */
  #sayGrants(sequence = 0): void {
    for (const { kind, body, sequence: of } of this.#kept)
      if ((kind === 'login' || kind === 'bind') && of <= this.settled && (sequence === 0 || of === sequence))
        sayGrant(this.out, kind, body)
  }

  #keep(answer: Answer): void {
    this.#kept.push(answer)
    this.#keptBytes += weight(answer)
  }

  /** Answers a call that was begun before: the kept answer, or that it has been applied; later, if it still runs. */
  repeat(sequence: number): void {
    if (sequence > this.settled) return
    this.#sayGrants(sequence)
    const answer = this.#kept.findLast((kept) => kept.sequence === sequence)
    if (!answer || answer.kind === 'login' || answer.kind === 'bind') this.out?.applied(this.settled)
    else if (answer.kind === 'reply') this.out?.reply(sequence, answer.command, answer.body)
    else this.out?.error(sequence, answer.command, answer.kind, answer.code, text.decode(answer.body))
  }

  /** What a commit stores of this channel. */
  store(nowMs: number): ChannelWrite {
    const write = new Marked(this.name, nowMs, this.mark, this.#kept, this.#keptBytes)
    this.stored = write
    return write
  }

  /** The same, if this call had been refused and no later one had come. */
  storeRefused(sequence: number, command: number, code: string, message: string): StoredChannel {
    const kept = this.#kept.filter((answer) => answer.sequence < sequence)
    const refused = errorOf(sequence, command, 'system', code, message)
    return { mark: sequence, replies: pack([...kept, refused], sequence) }
  }

  /** Takes over what an earlier activation committed. */
  restore(stored: StoredChannel): void {
    this.stored = stored
    this.mark = this.settled = stored.mark
    const reader = new Reader('stored replies', stored.replies, 0, stored.replies.length)
    while (!reader.done) {
      const sequence = reader.u32()
      const command = reader.u32()
      const kind = KINDS[reader.u8()] ?? 'system'
      const code = reader.text8()
      const body = reader.view32().slice()
      this.#keep({ sequence, command, kind, code, body })
    }
  }

  /** A new activation knows only what was committed, and the seat that the gateway would present. */
  reset(): void {
    // Its gateway has not heard of a seat before it was introduced.
    if (this.member && this.told !== 0) this.memo = encodeMemo(this.member)
    this.mark = this.settled = 0
    this.stored = { mark: 0, replies: EMPTY_REPLIES }
    this.#history.reset()
    this.#sent = 0
    this.#flows = false
    this.away = false
    this.member = null
    this.#kept = []
    this.#keptBytes = 0
  }
}

/**
 * A channel as one turn left it. Of several in one transaction only the last is written, so its replies are packed when
 * they are asked for: what was acknowledged since is not among them, what was answered since is left out.
 */
class Marked implements ChannelWrite {
  readonly id: string
  readonly nowMs: number
  readonly mark: number
  readonly weight: number
  readonly #kept: readonly Answer[]
  #packed: Uint8Array | null = null

  constructor(id: string, nowMs: number, mark: number, kept: readonly Answer[], weight: number) {
    this.id = id
    this.nowMs = nowMs
    this.mark = mark
    this.weight = weight
    this.#kept = kept
  }

  get replies(): Uint8Array {
    return (this.#packed ??= pack(this.#kept, this.mark))
  }
}

const EMPTY_REPLIES = new Uint8Array(0)
const KINDS = ['reply', 'refusal', 'system', 'login', 'bind'] as const
const utf8 = new TextEncoder()
const text = new TextDecoder()

function errorOf(sequence: number, command: number, kind: ErrorKind, code: string, message: string): Answer {
  return { sequence, command, kind, code, body: utf8.encode(message) }
}

function weight({ code, body }: Answer): number {
  return 32 + code.length + body.length
}

/** Kept answers up to a mark, as one blob. Codes are names of ASCII letters. */
function pack(kept: readonly Answer[], mark: number): Uint8Array {
  let size = 0
  for (const { sequence, code, body } of kept) if (sequence <= mark) size += 14 + code.length + body.length
  const writer = new Writer(size)
  for (const { sequence, command, kind, code, body } of kept) {
    if (sequence > mark) continue
    writer.u32(sequence).u32(command).u8(KINDS.indexOf(kind)).u8(code.length)
    if (code !== '') writer.raw(utf8.encode(code))
    writer.u32(body.length).raw(body)
  }
  return writer.bytes
}
