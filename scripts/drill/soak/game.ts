// What the soak of sessions plays: a lane for each player, which answers, keeps deposits and tells numbered events, and
// rooms of many players which tell the same to all. The numbers are the game's own: they know nothing of the protocol's.

import { command, contract, event, firefly, shard, t } from '../../../core/game/index.ts'
import { answerOf, charsOf, MAX_CHARS, textOf } from './text.ts'

/** One life of a shard's memory, and the number of its next event. */
const place = { life: t.u32, next: t.u32 }
const beat = { life: t.u32, i: t.u32, chars: t.u16, text: t.string(MAX_CHARS) }
const join = { periodMs: t.u32 }

export const Lane = contract('lane', {
  /** Joins; from then on one event each `periodMs`. */
  start: command(700, join, place, { resend: true }),
  ask: command(701, { n: t.u32 }, { n: t.u32, answer: t.u32 }),
  /** `count` deposits have been made, this one included. */
  deposit: command(702, { n: t.u32 }, { total: t.u32, count: t.u32 }, { durable: true }),
  /** So many events at once. */
  surge: command(703, { events: t.u16, chars: t.u16 }, place),
  /** What the lane knows of its player. */
  books: command(704, {}, { ...place, asked: t.u32, total: t.u32, count: t.u32, aways: t.u32, backs: t.u32 }),
  beat: event(750, beat),
  /** Behind a RESYNC: where the events go on. */
  fresh: event(751, place),
})

export const Room = contract('room', {
  enter: command(710, join, place, { resend: true }),
  where: command(711, {}, place),
  beat: event(760, beat),
  fresh: event(761, place),
})

interface Beats {
  life: number
  next: number
  periodMs: number
  isBeating: boolean
}
const silent = (): Beats => ({ life: 0, next: 0, periodMs: 0, isBeating: false })

/** The number and text of one more event. */
function nextOf(state: Beats, key: string, chars = charsOf(key, state.next)) {
  const i = state.next++
  return { life: state.life, i, chars, text: textOf(key, i, chars) }
}

const lane = shard(Lane)
  .public()
  .state(() => ({ ...silent(), asked: 0, aways: 0, backs: 0 }))
  .kv({ total: t.u32, count: t.u32 })
  .timer('beat', {}, (c) => {
    c.state.isBeating = c.size > 0
    if (!c.state.isBeating) return
    c.broadcast.beat(nextOf(c.state, c.key))
    c.later(c.state.periodMs, 'beat')
  })
  .on('start', (c, { periodMs }) => {
    const { state } = c
    c.join()
    state.life ||= 1 + Math.floor(c.random() * 0xffff_fff0)
    state.periodMs = periodMs
    if (!state.isBeating) c.later(periodMs, 'beat')
    state.isBeating = true
    return { life: state.life, next: state.next }
  })
  .on('ask', (c, { n }) => {
    c.state.asked++
    return { n, answer: answerOf(c.key, n) }
  })
  .on('deposit', (c, { n }) => {
    const total = (c.kv.get('total') ?? 0) + n
    const count = (c.kv.get('count') ?? 0) + 1
    c.kv.set('total', total)
    c.kv.set('count', count)
    return { total, count }
  })
  .on('surge', (c, { events, chars }) => {
    for (let n = 0; n < events; n++) c.broadcast.beat(nextOf(c.state, c.key, chars))
    return { life: c.state.life, next: c.state.next }
  })
  .on('books', (c) => {
    const { life, next, asked, aways, backs } = c.state
    return { life, next, asked, aways, backs, total: c.kv.get('total') ?? 0, count: c.kv.get('count') ?? 0 }
  })
  .away((c) => void c.state.aways++)
  .back((c) => void c.state.backs++)
  .resync((c) => c.push.fresh({ life: c.state.life, next: c.state.next }))

const room = shard(Room)
  .public()
  .state(silent)
  .timer('beat', {}, (c) => {
    c.state.isBeating = c.size > 0
    if (!c.state.isBeating) return
    c.broadcast.beat(nextOf(c.state, c.key))
    c.later(c.state.periodMs, 'beat')
  })
  .on('enter', (c, { periodMs }) => {
    const { state } = c
    c.join()
    state.life ||= 1 + Math.floor(c.random() * 0xffff_fff0)
    state.periodMs = periodMs
    if (!state.isBeating) c.later(periodMs, 'beat')
    state.isBeating = true
    return { life: state.life, next: state.next }
  })
  .on('where', (c) => ({ life: c.state.life, next: c.state.next }))
  .resync((c) => c.push.fresh({ life: c.state.life, next: c.state.next }))

export const game = firefly({ lane, room })
