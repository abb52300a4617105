// The games of the soak. Sessions: a lane for each player, which answers, stores deposits and sends numbered events;
// rooms of many players, which send the same events to all; a service that logs players in; a home and a purse that
// only their uid reaches. The numbers belong to the game and are independent of the protocol's. Portable.

import { command, contract, event, firefly, service, shard, t, type Game } from '../../../core/game/index.ts'
import { answerOf, charsOf, MAX_CHARS, textOf } from './payload.ts'

/** One activation of a shard, and the number of its next event. */
const position = { activation: t.u32, next: t.u32 }
const numbered = { activation: t.u32, i: t.u32, chars: t.u16, text: t.string(MAX_CHARS) }
const join = { periodMs: t.u32 }
const uid = t.string(64)
/** The caller as the shard sees it, and the shard's key. */
const identity = { uid, key: t.string(64) }

export const Lane = contract('lane', {
  /** Joins; from then on one event each `periodMs`. */
  start: command(700, join, position, { resend: true }),
  ask: command(701, { n: t.u32 }, { n: t.u32, answer: t.u32, uid }),
  /** `count`: deposits so far, this one included. */
  deposit: command(702, { n: t.u32 }, { total: t.u32, count: t.u32 }, { durable: true }),
  /** Sends so many events at once, and as many pushes to the uid. */
  burst: command(703, { events: t.u16, chars: t.u16 }, position),
  totals: command(
    704,
    {},
    { ...position, pushes: t.u32, asks: t.u32, total: t.u32, count: t.u32, aways: t.u32, backs: t.u32 },
  ),
  /** From here on events are pushed to this uid; answers with their position. */
  follow: command(705, { uid }, position, { resend: true }),
  numbered: event(750, numbered),
  /** After a RESYNC: where the events continue. */
  resyncedAt: event(751, position),
  /** To the uid, not to the members. */
  pushed: event(752, numbered),
})

export const Accounts = contract('accounts', {
  /** Logs in, and with `binds` also binds the purse in the same turn. */
  login: command(720, { uid, binds: t.bool }, { uid }),
  bind: command(721, {}, { uid }),
})
/** Logged-in players only, each to the own home. */
export const Home = contract('home', { who: command(730, {}, identity) })
/** The session that it was bound to only. */
export const Purse = contract('purse', { who: command(740, {}, identity) })

export const homeOf = (name: string): string => `home-${name}`
export const purseOf = (name: string): string => `purse-${name}`

export const Room = contract('room', {
  enter: command(710, join, position, { resend: true }),
  where: command(711, {}, position),
  numbered: event(760, numbered),
  resyncedAt: event(761, position),
})

interface Sender {
  activation: number
  next: number
  periodMs: number
  isSending: boolean
}
const idle = (): Sender => ({ activation: 0, next: 0, periodMs: 0, isSending: false })

const positionOf = ({ activation, next }: Sender) => ({ activation, next })

function nextEvent(state: Sender, key: string, chars = charsOf(key, state.next)) {
  const i = state.next++
  return { activation: state.activation, i, chars, text: textOf(key, i, chars) }
}

interface SenderContext {
  readonly state: Sender
  join(): unknown
  random(): number
  setTimer(ms: number, timer: 'send'): unknown
}

/** The caller joins; the first one starts the timer. */
function startSending(c: SenderContext, { periodMs }: { readonly periodMs: number }) {
  const { state } = c
  c.join()
  state.activation ||= 1 + Math.floor(c.random() * 0xffff_fff0)
  state.periodMs = periodMs
  if (!state.isSending) c.setTimer(periodMs, 'send')
  state.isSending = true
  return positionOf(state)
}

/** One push for so many events. */
const EVENTS_PER_PUSH = 2

/** The name in the texts of a lane's pushes. */
export const pushName = (lane: string): string => `push-${lane}`

function nextPush(state: Sender & { pushes: number }, key: string, chars?: number) {
  return nextEvent({ ...state, next: state.pushes++ }, pushName(key), chars)
}

const lane = shard(Lane)
  .public()
  .state(() => ({ ...idle(), uid: '', pushes: 0, asks: 0, aways: 0, backs: 0 }))
  .kv({ total: t.u32, count: t.u32 })
  .timer('send', {}, (c) => {
    c.state.isSending = c.size > 0
    if (!c.state.isSending) return
    c.broadcast.numbered(nextEvent(c.state, c.key))
    if (c.state.uid !== '' && c.state.next % EVENTS_PER_PUSH === 0)
      c.user(c.state.uid).push.pushed(nextPush(c.state, c.key))
    c.setTimer(c.state.periodMs, 'send')
  })
  .on('start', startSending)
  .on('ask', (c, { n }) => {
    c.state.asks++
    return { n, answer: answerOf(c.key, n), uid: c.uid }
  })
  .on('deposit', (c, { n }) => {
    const total = (c.kv.get('total') ?? 0) + n
    const count = (c.kv.get('count') ?? 0) + 1
    c.kv.set('total', total)
    c.kv.set('count', count)
    return { total, count }
  })
  .on('burst', (c, { events, chars }) => {
    for (let n = 0; n < events; n++) {
      c.broadcast.numbered(nextEvent(c.state, c.key, chars))
      if (c.state.uid !== '') c.user(c.state.uid).push.pushed(nextPush(c.state, c.key, chars))
    }
    return positionOf(c.state)
  })
  .on('totals', (c) => {
    const { pushes, asks, aways, backs } = c.state
    const [total, count] = [c.kv.get('total') ?? 0, c.kv.get('count') ?? 0]
    return { ...positionOf(c.state), pushes, asks, aways, backs, total, count }
  })
  .on('follow', (c, { uid: follower }) => {
    c.state.uid = follower
    return { activation: c.state.activation, next: c.state.pushes }
  })
  .onDisconnect((c) => void c.state.aways++)
  .onReconnect((c) => void c.state.backs++)
  .onResync((c) => c.push.resyncedAt(positionOf(c.state)))

const room = shard(Room)
  .public()
  .state(idle)
  .timer('send', {}, (c) => {
    c.state.isSending = c.size > 0
    if (!c.state.isSending) return
    c.broadcast.numbered(nextEvent(c.state, c.key))
    c.setTimer(c.state.periodMs, 'send')
  })
  .on('enter', startSending)
  .on('where', (c) => positionOf(c.state))
  .onResync((c) => c.push.resyncedAt(positionOf(c.state)))

const accounts = service(Accounts)
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

export const sessionGame = firefly({ lane, room, accounts, home, purse })

/** Which session wins when one uid logs in twice: the newer one, or the older one. */
export type LoginMode = 'takeover' | 'refuse'

export const Login = contract('login', { login: command(720, { uid }, { uid }) })
/** Logged-in players only. */
export const Club = contract('club', { who: command(721, { n: t.u32 }, { n: t.u32, uid }) })

const login = service(Login)
  .public()
  .on('login', async (c, { uid: name }) => {
    await c.login(name)
    return { uid: name }
  })

const club = service(Club)
  .players()
  .on('who', (c, { n }) => ({ n, uid: c.uid }))

/** The game of the login races: a service that logs in every caller, and one for logged-in players only. */
export function loginGame(mode: LoginMode): Game {
  // Ticket signatures are tested elsewhere: here the ticket is the uid itself.
  return firefly({ login, club }, { login: mode, auth: ({ ticket }) => new TextDecoder().decode(ticket) })
}
