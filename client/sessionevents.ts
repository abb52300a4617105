// Channel 0, the session itself: events of any contract, pushed to the logged-in session. Invariant: they are numbered,
// acknowledged and deduplicated like those of a channel; the client neither opens nor closes channel 0.

import { entryCodec, type Contract } from '../core/wire/contract.ts'
import { InputError, shorten } from '../core/wire/errors.ts'
import { encodeAck, MESSAGE } from '../core/wire/message.ts'
import { EventDeduplicator } from './deduplicator.ts'
import { dispatchEvent, type DecodableEvent } from './channel.ts'
import { Listeners, type Measure } from './listeners.ts'
import type { ClientClock } from './socket.ts'

export class SessionEvents {
  readonly #deduplicator = new EventDeduplicator()
  readonly #listeners: Listeners
  readonly #send: (command: number, body: Uint8Array) => void
  /** By event number. */
  readonly #events = new Map<number, DecodableEvent>()
  readonly #measure: Measure
  #activation = 0

  constructor(clock: ClientClock, send: (command: number, body: Uint8Array) => void, measure: Measure) {
    this.#listeners = new Listeners(clock)
    this.#send = send
    this.#measure = measure
  }

  /** @throws InputError when the contract has no such event */
  addListener(contract: Contract, name: string, listener: (data: never) => void): () => void {
    const entry = contract.entries[name]
    if (entry?.kind !== 'event') throw new InputError(`${contract.name} has no event ${shorten(name)}`)
    const event = { ...entry, name: String(entry.number), codec: entryCodec(contract, entry) }
    this.#events.set(entry.number, event)
    return this.#listeners.add(`event ${event.name}`, listener)
  }

  /** Returns true when earlier events may be lost. */
  openedReceived(activation: number): boolean {
    const restarted = this.#activation !== 0 && this.#activation !== activation
    this.#activation = activation
    this.#deduplicator.startActivation(activation)
    return restarted
  }

  /** The new session has no events yet. */
  sessionReplaced(): void {
    this.#activation = 0
    this.#deduplicator.startActivation(0)
  }

  resyncReceived(events: number): void {
    this.#deduplicator.skipTo(events)
  }

  eventReceived(sequence: number, number: number, body: Uint8Array): void {
    if (!this.#deduplicator.accept(sequence, body.length)) return
    if (this.#deduplicator.isAckDue) this.flushAck()
    const event = this.#events.get(number)
    if (event) dispatchEvent(this.#listeners, event, body, this.#measure)
  }

  flushAck(): void {
    if (!this.#deduplicator.isAckPending) return
    this.#deduplicator.markAcknowledged()
    this.#send(MESSAGE.ACK, encodeAck({ channel: 0, calls: 0, events: this.#deduplicator.lastSequence }))
  }
}
