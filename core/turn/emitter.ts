// Events of a turn: `c.broadcast.moved({...})`. One prototype per kind of shard. Invariant: a body is encoded once,
// when the handler emits the event, and all receivers share the same bytes.

import { Session } from '../wire/systemcontract.ts'
import { uidShardKey } from '../wire/systemshards.ts'
import { contractViolation } from '../wire/errors.ts'
import type { Emit } from '../game/context.ts'
import type { Entries } from '../wire/contract.ts'
import type { Channel } from '../channel/channel.ts'
import type { OutgoingEvent } from '../channel/eventhistory.ts'
import type { EventPlan, ShardPlan } from './plan.ts'
import { sessionCast } from './remote.ts'
import type { Effect, TurnHost, TurnScope } from './turnhost.ts'

export type Audience = LocalAudience | { readonly to: 'uid'; readonly uid: string }
/** Receivers with a channel to this shard. */
type LocalAudience =
  | { readonly to: 'all'; readonly except: Channel | null }
  | { readonly to: 'group'; readonly name: string }
  | { readonly to: 'seat'; readonly seat: number }
  | { readonly to: 'channel'; readonly channel: Channel | null }

interface Emitter {
  readonly turn: TurnScope
  readonly audience: Audience
}

const prototypes = new WeakMap<ShardPlan, object>()

export function emitterOf(turn: TurnScope, plan: ShardPlan, audience: Audience): Emit<Entries> {
  let prototype = prototypes.get(plan)
  if (!prototype) prototypes.set(plan, (prototype = prototypeOf(plan)))
  const emitter: { turn?: TurnScope; audience?: Audience } = Object.create(prototype) as object
  emitter.turn = turn
  emitter.audience = audience
  return emitter
}

function prototypeOf(plan: ShardPlan): object {
  const prototype: Record<string, unknown> = {}
  for (const [name, event] of plan.events) {
    prototype[name] = function (this: Emitter, data: unknown = {}): void {
      emit(this, event, data)
    }
  }
  return prototype
}

function emit({ turn, audience }: Emitter, event: EventPlan, data: unknown): void {
  let checked: unknown
  let body: Uint8Array
  try {
    checked = event.data(data)
    body = event.codec.encode(checked, event.bounds)
  } catch (cause) {
    // Created here, so that its stack contains the line of the game that sends the event.
    throw contractViolation(event.fullName, 'event', cause)
  }
  // `raw` returns the handler's own array, which the handler may change before the event is sent.
  if (body === data) body = new Uint8Array(body)
  const sent: OutgoingEvent = { event: event.number, body, latest: event.latest(checked) }
  // A push is encoded now, so that one that is too large fails its turn.
  const deliver: Effect =
    audience.to === 'uid'
      ? sessionCast(uidShardKey(audience.uid), Session.entries.push, sent)
      : (host) => deliverEvent(host, audience, sent)
  turn.addEffect((host) => {
    host.meter.events++
    deliver(host)
  })
}

export function deliverEvent(host: TurnHost, audience: LocalAudience, sent: OutgoingEvent): void {
  const { members } = host
  switch (audience.to) {
    case 'all':
      for (const { channel } of members.all()) if (channel !== audience.except) channel.emit(sent)
      return
    case 'group':
      for (const { channel } of members.group(audience.name)) channel.emit(sent)
      return
    case 'seat':
      return members.atSeat(audience.seat)?.channel.emit(sent)
    case 'channel':
      return audience.channel?.emit(sent)
  }
}
