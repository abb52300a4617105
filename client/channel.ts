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
import { EventDeduplicator } from './deduplicator.ts'
import { ClientCalls, type CallTransport } from './calls.ts'
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
export interface ChannelTransport extends CallTransport {
  /** The shard has said something to an OPEN or RESUME. */
  onOpenAnswered(channel: ClientChannel): void
  /** What the game shows of the shard is out of date. */
  onStale(channel: ClientChannel): void
  /** The channel is over. `open` = the server does not know yet, and cannot be told now. */
  onClosed(channel: ClientChannel, open: Open | null): void
}

/** An event of a contract, as it is decoded. */
interface DecodableEvent {
  readonly name: string
  readonly codec: Codec
  readonly data: Parser<unknown>
}

export class ClientChannel {
  readonly number: number
  readonly contract: Contract
  readonly key: string
  readonly remote: object
  readonly #transport: ChannelTransport
  readonly #deduplicator = new EventDeduplicator()
  readonly #calls: ClientCalls
  readonly #events = new Map<number, DecodableEvent>()
  readonly #listeners: Listeners
  #activation = 0
  /** The server may know the channel from an earlier connection of this session. */
  #isKnownToServer = false
  /** Opened on this connection. */
  #isOpenSent = false
  /** The session is new: so is the shard to it, whatever its activation. */
  #isSessionReplaced = false
  #isClosed = false

  constructor(transport: ChannelTransport, number: number, contract: Contract, key: string) {
    this.#transport = transport
    this.number = number
    this.contract = contract
    this.key = key
    this.#calls = new ClientCalls(transport, number, contract.name, this.#deduplicator)
    const listeners = (this.#listeners = new Listeners(transport.clock))
    const remote: Record<string, unknown> = {
      on: (name: string, listener: (data: never) => void) => listeners.add(`event ${name}`, listener),
      onRestart: (listener: () => void) => listeners.add('restart', listener),
      onResync: (listener: () => void) => listeners.add('resync', listener),
      onClose: (listener: (code: never) => void) => listeners.add('close', listener),
      close: () => this.leaveChannel(),
    }
    for (const [name, entry] of Object.entries(contract.entries)) {
      const codec = entryCodec(contract, entry)
      if (entry.kind === 'event') this.#events.set(entry.number, { name, codec, data: entry.data })
      else {
        const clientCommand = { name, command: entry, codec }
        const calls = this.#calls
        remote[name] = entry.output
          ? (input: unknown = {}) => calls.sendCall(clientCommand, input)
          : (input: unknown = {}) => calls.sendCast(clientCommand, input)
      }
    }
    this.remote = remote
  }

  /** The server may know it from an earlier connection, so RESUME speaks of it. */
  get isKnownToServer(): boolean {
    return this.#isKnownToServer
  }

  /** What an OPEN or RESUME says of it, on the connection in hand. */
  openMessage(): Open {
    this.#isOpenSent = this.#isKnownToServer = true
    return {
      channel: this.number,
      activation: this.#activation,
      eventAck: this.#deduplicator.lastSequence,
      contract: this.contract.name,
      key: this.key,
    }
  }

  /** A connection stands: opens the channel on it, unless RESUME has. */
  openChannel(): void {
    if (this.#isClosed || this.#isOpenSent) return
    const isFirst = !this.#isKnownToServer
    this.#transport.send(MESSAGE.OPEN, encodeOpen(this.openMessage()))
    // A first one may carry calls at once, behind the OPEN; later ones wait to hear what has survived, so that no
    // call overtakes an older one: its mark would hide it.
    if (isFirst) this.#calls.startSending()
  }

  connectionLost(): void {
    this.#isOpenSent = false
    this.#calls.connectionLost()
  }

  /** The session is another one: nothing of the channel is known to the server, unless RESUME has just opened it. */
  sessionReplaced(): void {
    this.#isSessionReplaced ||= this.#activation !== 0
    this.#isKnownToServer = this.#isOpenSent
    this.#activation = 0
    this.#deduplicator.startActivation(0)
    this.#calls.sessionReplaced()
  }

  openedReceived(opened: Opened): void {
    const restarted =
      this.#isSessionReplaced || (this.#activation !== 0 && this.#activation !== opened.activation)
    this.#isSessionReplaced = false
    this.#activation = opened.activation
    this.#deduplicator.startActivation(opened.activation)
    this.#calls.channelOpened(opened.opening, opened.mark, opened.lost)
    if (restarted) this.#notifyStale('restart')
    this.#transport.onOpenAnswered(this)
  }

  /** Events up to this number will not come. */
  resyncReceived(events: number): void {
    this.#deduplicator.skipTo(Math.max(events, this.#deduplicator.lastSequence))
    this.#transport.measure({ name: 'resync', contract: this.contract.name, key: this.key })
    this.#notifyStale('resync')
  }

  replyReceived(sequence: number, body: Uint8Array): void {
    this.#calls.replyReceived(sequence, body)
  }

  errorReceived(error: ErrorMessage): void {
    if (error.sequence === 0) this.closedByServer(error.code)
    else this.#calls.errorReceived(error)
  }

  eventReceived(sequence: number, number: number, body: Uint8Array): void {
    if (!this.#deduplicator.accept(sequence, body.length)) return
    if (this.#deduplicator.isAckDue) this.#calls.sendAck()
    const event = this.#events.get(number)
    if (event && this.#listeners.has(`event ${event.name}`)) dispatchEvent(this.#listeners, event, body)
  }

  /** Acknowledges events that nothing else has acknowledged. */
  sendAckIfNeeded(): void {
    if (this.#deduplicator.hasUnacknowledged) this.#calls.sendAck()
  }

  markReceived(mark: number): void {
    this.#calls.markReceived(mark)
  }

  /** The channel is over: by the server (`code`) or with the session. */
  closedByServer(code: string): void {
    this.#finish(code, null)
  }

  /** The game leaves the shard. */
  leaveChannel(): void {
    if (this.#isClosed) return
    const pendingClose = this.#isKnownToServer && !this.#isOpenSent ? this.openMessage() : null
    this.#transport.send(MESSAGE.CLOSE, encodeClose({ channel: this.number, code: 'CLOSED' }))
    this.#finish('CLOSED', pendingClose)
  }

  #finish(code: string, pendingClose: Open | null): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#calls.channelClosed(code)
    this.#listeners.notify('close', code)
    this.#transport.onClosed(this, pendingClose)
  }

  #notifyStale(what: 'restart' | 'resync'): void {
    this.#transport.onStale(this)
    this.#listeners.notify(what)
  }
}

/** Tells an event, unless its data breaks the contract: a server may have a newer one, and an event is no promise. */
export function dispatchEvent(listeners: Listeners, event: DecodableEvent, body: Uint8Array): void {
  let data: unknown
  try {
    data = event.data(event.codec.decode(body))
  } catch {
    return
  }
  listeners.notify(`event ${event.name}`, data)
}
