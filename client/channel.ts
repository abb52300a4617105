// One channel of the client: the game's access to a shard, across connections, activations and sessions. Invariant: it is opened
// at most once per connection; except after its very first OPEN, no call is sent before OPENED. Transitions of its state:
//
//               | OPEN or RESUME sent | connection lost | session replaced | closed by either side
//   'new'       | 'opened'            | 'new'           | 'new'            | 'closed'
//   'opened'    | -                   | 'detached'      | 'opened'         | 'closed'
//   'detached'  | 'opened'            | 'detached'      | 'new'            | 'closed'
//   'refused'   | 'opened'            | 'refused'       | 'refused'        | 'closed'
//   'closed'    | -                   | 'closed'        | 'closed'         | 'closed'

import type { Codec } from '../core/wire/codec.ts'
import {
  entryCodec,
  type AnyEvent,
  type Args,
  type CommandNames,
  type Contract,
  type DataOf,
  type Entries,
  type EventNames,
  type InputOf,
  type OutputOf,
} from '../core/wire/contract.ts'
import { encodeClose, encodeOpen, MESSAGE, type ErrorMessage, type Open, type Opened } from '../core/wire/message.ts'
import { EventDeduplicator } from './deduplicator.ts'
import { ClientCalls, type CallTransport } from './calls.ts'
import { Listeners, type Measure } from './listeners.ts'

/** A shard for the game: a method per command, and its events. */
export type Remote<E extends Entries> = {
  readonly [K in CommandNames<E>]: (
    ...input: Args<InputOf<E[K]>>
  ) => [OutputOf<E[K]>] extends [void] ? void : Promise<OutputOf<E[K]>>
} & RemoteEvents<E>

/** Events of a shard, and what happens to the channel to it. */
export interface RemoteEvents<E extends Entries> {
  /**
   * Calls `listener` for every such event; returns a function that removes it. Add it before the call that joins: events may
   * arrive together with the reply, and are delivered before an `await` of the reply continues.
   */
  on<K extends EventNames<E>>(name: K, listener: (data: DataOf<E[K]>) => void): () => void
  /** The shard was restarted: its volatile state is lost, and so is this session's membership if the server lost it. */
  onRestart(listener: () => void): () => void
  /**
   * Events were lost: rebuild what the game shows of them. Called before the fresh state that the server may send as the next
   * events.
   */
  onResync(listener: () => void): () => void
  /** The server closed the channel: later calls fail. Or it refused it, as FORBIDDEN: the next call asks again, as after a login. */
  onClose(listener: (code: string) => void): () => void
  /** Leaves the shard permanently. */
  close(): void
}

export interface ChannelTransport extends CallTransport {
  /** The session has a connection. */
  isOpen(): boolean
  /** The server has answered an OPEN or RESUME. */
  onOpenAnswered(channel: ClientChannel): void
  /** The game's view of the shard is out of date. */
  onStale(channel: ClientChannel): void
  /** The server refused to open the channel. Returns the number of its next attempt. */
  onRefused(channel: ClientChannel): number
  /** The channel was closed. `pendingClose`: the server must still be notified, on the next connection. */
  onClosed(channel: ClientChannel, pendingClose: Open | null): void
}

/**
 * 'new': not opened in this session. 'opened': OPEN or RESUME was sent on this connection. 'detached': opened on an earlier
 * connection of this session. 'refused': the next call opens it again, as after a login.
 */
type ClientChannelState = 'new' | 'opened' | 'detached' | 'refused' | 'closed'

export interface DecodableEvent extends Pick<AnyEvent, 'data' | 'bounds'> {
  readonly name: string
  readonly codec: Codec
}

export class ClientChannel {
  /** Changes after the server has refused the channel. */
  number: number
  readonly contract: Contract
  readonly key: string
  readonly remote: object
  readonly calls: ClientCalls
  readonly #transport: ChannelTransport
  readonly #deduplicator = new EventDeduplicator()
  readonly #events = new Map<number, DecodableEvent>()
  readonly #listeners: Listeners
  #state: ClientChannelState = 'new'
  /** The last activation received in this session, 0 = none. */
  #activation = 0
  /** The session was replaced after an OPENED, so the next OPENED is reported as a restart. */
  #mustReportRestart = false

  constructor(transport: ChannelTransport, number: number, contract: Contract, key: string) {
    this.#transport = transport
    this.number = number
    this.contract = contract
    this.key = key
    this.calls = new ClientCalls(transport, number, contract.name, this.#deduplicator)
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
      if (entry.kind === 'event') this.#events.set(entry.number, { ...entry, name, codec })
      else {
        const clientCommand = { name, command: entry, codec }
        const { calls } = this
        remote[name] = entry.output
          ? (input: unknown = {}) => (this.#reopen(), calls.sendCall(clientCommand, input))
          : (input: unknown = {}) => (this.#reopen(), calls.sendCast(clientCommand, input))
      }
    }
    this.remote = remote
  }

  /** Not opened in this session, so RESUME need not contain it. */
  get isNew(): boolean {
    return this.#state === 'new' || this.#state === 'refused'
  }

  /** Returns the channel's entry of the OPEN or RESUME that the caller sends on the current connection. */
  openMessage(): Open {
    this.#state = 'opened'
    return {
      channel: this.number,
      activation: this.#activation,
      eventAck: this.#deduplicator.lastSequence,
      contract: this.contract.name,
      key: this.key,
    }
  }

  /** Called after WELCOME: opens the channel, unless RESUME has opened it. */
  openChannel(): void {
    if (this.#state === 'closed' || this.#state === 'opened' || this.#state === 'refused') return
    const isFirst = this.#state === 'new'
    this.#transport.send(MESSAGE.OPEN, encodeOpen(this.openMessage()))
    // Calls may follow the first OPEN immediately. Later ones wait for OPENED: a new call that overtook a resent one would
    // raise the mark, and the resent call would be dropped as a duplicate.
    if (isFirst) this.calls.startSending()
  }

  connectionLost(): void {
    if (this.#state === 'opened') this.#state = 'detached'
    this.calls.connectionLost()
  }

  /** A new session has replaced the old one: the channel must be opened again, unless RESUME has just opened it. */
  sessionReplaced(): void {
    this.#mustReportRestart ||= this.#activation !== 0
    if (this.#state === 'detached') this.#state = 'new'
    this.#activation = 0
    this.#deduplicator.startActivation(0)
    this.calls.sessionReplaced()
  }

  openedReceived(opened: Opened): void {
    const restarted = this.#mustReportRestart || (this.#activation !== 0 && this.#activation !== opened.activation)
    this.#mustReportRestart = false
    this.#activation = opened.activation
    this.#deduplicator.startActivation(opened.activation)
    this.calls.channelOpened(opened.opening, opened.mark, opened.lost)
    if (restarted) this.#notifyStale('restart')
    this.#transport.onOpenAnswered(this)
  }

  /** Events up to this sequence are lost. */
  resyncReceived(events: number): void {
    this.#deduplicator.skipTo(events)
    this.#transport.measure({ name: 'resync', contract: this.contract.name, key: this.key })
    this.#notifyStale('resync')
  }

  errorReceived(error: ErrorMessage): void {
    if (error.sequence !== 0) return this.calls.errorReceived(error)
    if (this.#state === 'closed') return
    const wasOpen = this.#activation !== 0
    this.#state = 'refused'
    this.#activation = 0
    this.#mustReportRestart = false
    this.#deduplicator.startActivation(0)
    const { code } = error
    this.number = this.#transport.onRefused(this)
    this.calls.channelRefused(code, this.number, wasOpen)
    this.#listeners.notify('close', code)
  }

  /** The first call after a refusal opens the channel again, if there is a connection; else the next connection does. */
  #reopen(): void {
    if (this.#state !== 'refused') return
    this.#state = 'new'
    if (this.#transport.isOpen()) this.openChannel()
  }

  eventReceived(sequence: number, number: number, body: Uint8Array): void {
    if (!this.#deduplicator.accept(sequence, body.length)) return
    if (this.#deduplicator.isAckDue) this.calls.sendAck()
    const event = this.#events.get(number)
    if (event && this.#listeners.has(`event ${event.name}`))
      dispatchEvent(this.#listeners, event, body, this.#transport.measure)
  }

  /** Acknowledges events that no other message has acknowledged. */
  flushAck(): void {
    if (this.#deduplicator.isAckPending) this.calls.sendAck()
  }

  leaveChannel(): void {
    if (this.#state === 'closed') return
    const pendingClose = this.#state === 'detached' ? this.openMessage() : null
    if (this.#state !== 'refused')
      this.#transport.send(MESSAGE.CLOSE, encodeClose({ channel: this.number, code: 'CLOSED' }))
    this.finishChannel('CLOSED', pendingClose)
  }

  /** The channel was closed: by the server (`code`), by the game, or with the session. */
  finishChannel(code: string, pendingClose: Open | null = null): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.calls.channelClosed(code)
    this.#listeners.notify('close', code)
    this.#transport.onClosed(this, pendingClose)
  }

  #notifyStale(what: 'restart' | 'resync'): void {
    this.#transport.onStale(this)
    this.#listeners.notify(what)
  }
}

/** Calls the listeners of an event. Data that violates the contract is dropped and reported: the server may have a newer contract. */
export function dispatchEvent(listeners: Listeners, event: DecodableEvent, body: Uint8Array, measure: Measure): void {
  let data: unknown
  try {
    data = event.data(event.codec.decode(body, event.bounds))
  } catch (error) {
    return measure({ name: 'badEvent', event: event.name, message: error instanceof Error ? error.message : '' })
  }
  listeners.notify(`event ${event.name}`, data)
}
