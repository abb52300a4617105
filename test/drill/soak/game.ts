// What the soak of sessions plays: a lane for each player, which answers, keeps deposits and tells numbered events, rooms
// of many players which tell the same to all, a gate where players log in, and a home and a purse that only a uid
// reaches. The numbers are the game's own: they know nothing of the protocol's.

import { command, contract, event, firefly, service, shard, t } from '../../../core/game/index.ts'
import { answerOf, charsOf, MAX_CHARS, textOf } from './text.ts'

/** One life of a shard's memory, and the number of its next event. */
const place = { life: t.u32, next: t.u32 }
const beat = { life: t.u32, i: t.u32, chars: t.u16, text: t.string(MAX_CHARS) }
const join = { periodMs: t.u32 }
const uid = t.string(64)
/** Whom a shard takes the caller for, and which shard it is. */
const who = { uid, key: t.string(64) }

export const Lane = contract('lane', {
  /** Joins; from then on one event each `periodMs`. */
  start: command(700, join, place, { resend: true }),
  ask: command(701, { n: t.u32 }, { n: t.u32, answer: t.u32, uid }),
  /** `count` deposits have been made, this one included. */
  deposit: command(702, { n: t.u32 }, { total: t.u32, count: t.u32 }, { durable: true }),
  /** So many events at once, and as many notes. */
  surge: command(703, { events: t.u16, chars: t.u16 }, place),
  /** What the lane knows of its player. */
  books: command(
    704,
    {},
    { ...place, notes: t.u32, asked: t.u32, total: t.u32, count: t.u32, aways: t.u32, backs: t.u32 },
  ),
  /** From here on notes are pushed to this uid: from which number on. */
  follow: command(705, { uid }, place, { resend: true }),
  beat: event(750, beat),
  /** Behind a RESYNC: where the events go on. */
  fresh: event(751, place),
  /** To the uid, not to the members. */
  note: event(752, beat),
})

export const Gate = contract('gate', {
  /** Logs in; `binds`: and binds, in one turn. */
  login: command(720, { uid, binds: t.bool }, { uid }),
  bind: command(721, {}, { uid }),
})
/** Only for who has logged in, and only one's own. */
export const Home = contract('home', { who: command(730, {}, who) })
/** Only for whom it was bound to. */
export const Purse = contract('purse', { who: command(740, {}, who) })

export const homeOf = (name: string): string => `home-${name}`
export const purseOf = (name: string): string => `purse-${name}`

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

/** A note for so many events. */
const EVENTS_OF_NOTE = 2

/** By whom the notes of a lane are, as their texts say. */
export const noteName = (lane: string): string => `note-${lane}`

/** The number and text of one more note. */
function noteOf(state: Beats & { notes: number }, key: string, chars?: number) {
  return nextOf({ ...state, next: state.notes++ }, noteName(key), chars)
}

const lane = shard(Lane)
  .public()
  .state(() => ({ ...silent(), uid: '', notes: 0, asked: 0, aways: 0, backs: 0 }))
  .kv({ total: t.u32, count: t.u32 })
  .timer('beat', {}, (c) => {
    c.state.isBeating = c.size > 0
    if (!c.state.isBeating) return
    c.broadcast.beat(nextOf(c.state, c.key))
    if (c.state.uid !== '' && c.state.next % EVENTS_OF_NOTE === 0)
      c.user(c.state.uid).push.note(noteOf(c.state, c.key))
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
    return { n, answer: answerOf(c.key, n), uid: c.uid }
  })
  .on('deposit', (c, { n }) => {
    const total = (c.kv.get('total') ?? 0) + n
    const count = (c.kv.get('count') ?? 0) + 1
    c.kv.set('total', total)
    c.kv.set('count', count)
    return { total, count }
  })
  .on('surge', (c, { events, chars }) => {
    for (let n = 0; n < events; n++) {
      c.broadcast.beat(nextOf(c.state, c.key, chars))
      if (c.state.uid !== '') c.user(c.state.uid).push.note(noteOf(c.state, c.key, chars))
    }
    return { life: c.state.life, next: c.state.next }
  })
  .on('books', (c) => {
    const { life, next, notes, asked, aways, backs } = c.state
    const [total, count] = [c.kv.get('total') ?? 0, c.kv.get('count') ?? 0]
    return { life, next, notes, asked, aways, backs, total, count }
  })
  .on('follow', (c, { uid: whom }) => {
    c.state.uid = whom
    return { life: c.state.life, next: c.state.notes }
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

const gate = service(Gate)
  .public()
  .on('login', async (c, { uid: name, binds }) => {
    await c.login(name)
    if (binds) c.bind(Purse, purseOf(name))
    return { uid: name }
  })
  .on('bind', (c) => {
    if (c.uid !== '') c.bind(Purse, purseOf(c.uid))
    return { uid: c.uid }
  })

const home = shard(Home)
  .players()
  .admit((caller, key) => key === homeOf(caller.uid))
  .on('who', (c) => ({ uid: c.uid, key: c.key }))

const purse = shard(Purse)
  .bound()
  .on('who', (c) => ({ uid: c.uid, key: c.key }))

export const game = firefly({ lane, room, gate, home, purse })
