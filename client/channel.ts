// One channel of the client: a shard as the game sees it, over connections, activations and sessions. Invariant: on each
// connection it is opened once, and after its first opening no call leaves before the shard has answered.

import type { Codec } from '../core/wire/codec.ts'
import {
  entryCodec,
  type Args,
  type CommandNames,
  type Contract,
  type DataOf,
  type Entries,
  type EventNames,
  type InputOf,
  type OutputOf,
  type Parser,
} from '../core/wire/contract.ts'
import {
  encodeClose,
  encodeOpen,
  MESSAGE,
  type ErrorMessage,
  type Open,
  type Opened,
} from '../core/wire/message.ts'
import { Arrivals } from './arrivals.ts'
import { Calls, type Sender } from './calls.ts'
import { Listeners } from './listeners.ts'

/** The shard as the game sees it: a method per command, and its events. */
export type Remote<E extends Entries> = {
  readonly [K in CommandNames<E>]: (
    ...input: Args<InputOf<E[K]>>
  ) => [OutputOf<E[K]>] extends [void] ? void : Promise<OutputOf<E[K]>>
} & RemoteEvents<E>

export interface RemoteEvents<E extends Entries> {
  /**
   * Calls `listener` for every such event; the returned function stops it. Listen before the call that joins: events
   * may arrive together with its reply, and are told before an `await` goes on.
   */
  on<K extends EventNames<E>>(name: K, listener: (data: DataOf<E[K]>) => void): () => void
  /** The shard lives anew: its volatile state, and this session's membership if the server lost it, are gone. */
  onRestart(listener: () => void): () => void
  /**
   * Events were lost for good: what the game shows of them must be made anew. Told before the fresh state that the
   * server may send as events right behind it.
   */
  onResync(listener: () => void): () => void
  /** The server refused or ended the channel; calls fail from here on. */
  onClose(listener: (code: string) => void): () => void
  /** Leaves the shard for good. */
  close(): void
}

/** What a channel needs of its session. */
export interface Carrier extends Sender {
  /** The shard has said something to an OPEN or RESUME. */
  answered(channel: ClientChannel): void
  /** What the game shows of the shard is out of date. */
  stale(channel: ClientChannel): void
  /** The channel is over. `open` = the server does not know yet, and cannot be told now. */
  forget(channel: ClientChannel, open: Open | null): void
}

/** An event of a contract, as it is decoded. */
interface Heard {
  readonly name: string
  readonly codec: Codec
  readonly data: Parser<unknown>
}

export class ClientChannel {
  readonly number: number
  readonly contract: Contract
  readonly key: string
  readonly remote: object
  readonly #carrier: Carrier
  readonly #arrivals = new Arrivals()
  readonly #calls: Calls
  readonly #events = new Map<number, Heard>()
  readonly #listeners: Listeners
  #activation = 0
  /** The server may know the channel from an earlier connection of this session. */
  #known = false
  /** Opened on this connection. */
  #asked = false
  /** The session is new: so is the shard to it, whatever its activation. */
  #renewed = false
  #closed = false

  constructor(carrier: Carrier, number: number, contract: Contract, key: string) {
    this.#carrier = carrier
    this.number = number
    this.contract = contract
    this.key = key
    this.#calls = new Calls(carrier, number, contract.name, this.#arrivals)
    const listeners = (this.#listeners = new Listeners(carrier.clock))
    const remote: Record<string, unknown> = {
      on: (name: string, listener: (data: never) => void) => listeners.add(`event ${name}`, listener),
      onRestart: (listener: () => void) => listeners.add('restart', listener),
      onResync: (listener: () => void) => listeners.add('resync', listener),
      onClose: (listener: (code: never) => void) => listeners.add('close', listener),
      close: () => this.close(),
    }
    for (const [name, entry] of Object.entries(contract.entries)) {
      const codec = entryCodec(contract, entry)
      if (entry.kind === 'event') this.#events.set(entry.number, { name, codec, data: entry.data })
      else {
        const ready = { name, command: entry, codec }
        const calls = this.#calls
        remote[name] = entry.output
          ? (input: unknown = {}) => calls.call(ready, input)
          : (input: unknown = {}) => calls.cast(ready, input)
      }
    }
    this.remote = remote
  }

  /** The server may know it from an earlier connection, so RESUME speaks of it. */
  get known(): boolean {
    return this.#known
  }

  /** What an OPEN or RESUME says of it, on the connection in hand. */
  ask(): Open {
    this.#asked = this.#known = true
    return {
      channel: this.number,
      activation: this.#activation,
      eventAck: this.#arrivals.last,
      contract: this.contract.name,
      key: this.key,
    }
  }

  /** A connection stands: opens the channel on it, unless RESUME has. */
  open(): void {
    if (this.#closed || this.#asked) return
    const first = !this.#known
    this.#carrier.send(MESSAGE.OPEN, encodeOpen(this.ask()))
    // A first one may carry calls at once, behind the OPEN; later ones wait to hear what has survived, so that no
    // call overtakes an older one: its mark would hide it.
    if (first) this.#calls.start()
  }

  disconnected(): void {
    this.#asked = false
    this.#calls.stop()
  }

  /** The session is another one: nothing of the channel is known to the server, unless RESUME has just opened it. */
  renew(): void {
    this.#renewed ||= this.#activation !== 0
    this.#known = this.#asked
    this.#activation = 0
    this.#arrivals.enter(0)
    this.#calls.renew()
  }

  opened(opened: Opened): void {
    const restarted = this.#renewed || (this.#activation !== 0 && this.#activation !== opened.activation)
    this.#renewed = false
    this.#activation = opened.activation
    this.#arrivals.enter(opened.activation)
    this.#calls.opened(opened.opening, opened.mark, opened.lost)
    if (restarted) this.#stale('restart')
    this.#carrier.answered(this)
  }

  /** Events up to this number will not come. */
  resync(events: number): void {
    this.#arrivals.skip(Math.max(events, this.#arrivals.last))
    this.#carrier.measure({ name: 'resync', contract: this.contract.name, key: this.key })
    this.#stale('resync')
  }

  reply(sequence: number, body: Uint8Array): void {
    this.#calls.reply(sequence, body)
  }

  error(error: ErrorMessage): void {
    if (error.sequence === 0) this.end(error.code)
    else this.#calls.error(error)
  }

  event(sequence: number, number: number, body: Uint8Array): void {
    if (!this.#arrivals.take(sequence, body.length)) return
    if (this.#arrivals.due) this.#calls.acknowledge()
    const event = this.#events.get(number)
    if (event && this.#listeners.has(`event ${event.name}`)) hear(this.#listeners, event, body)
  }

  /** Acknowledges events that nothing else has acknowledged. */
  acknowledge(): void {
    if (this.#arrivals.waiting) this.#calls.acknowledge()
  }

  applied(mark: number): void {
    this.#calls.applied(mark)
  }

  /** The channel is over: by the server (`code`) or with the session. */
  end(code: string): void {
    this.#over(code, null)
  }

  /** The game leaves the shard. */
  close(): void {
    if (this.#closed) return
    const unsaid = this.#known && !this.#asked ? this.ask() : null
    this.#carrier.send(MESSAGE.CLOSE, encodeClose({ channel: this.number, code: 'CLOSED' }))
    this.#over('CLOSED', unsaid)
  }

  #over(code: string, unsaid: Open | null): void {
    if (this.#closed) return
    this.#closed = true
    this.#calls.end(code)
    this.#listeners.tell('close', code)
    this.#carrier.forget(this, unsaid)
  }

  #stale(what: 'restart' | 'resync'): void {
    this.#carrier.stale(this)
    this.#listeners.tell(what)
  }
}

/** Tells an event, unless its data breaks the contract: a server may have a newer one, and an event is no promise. */
export function hear(listeners: Listeners, event: Heard, body: Uint8Array): void {
  let data: unknown
  try {
    data = event.data(event.codec.decode(body))
  } catch {
    return
  }
  listeners.tell(`event ${event.name}`, data)
}
