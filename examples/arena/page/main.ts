// The page's entry: start screen, connection, and the drawing loop. The SDK reconnects by itself; the page shows the pause and
// calls `enter` again after it, which has no effect if the seat was retained.
// `?nick=Ada&auto=1` enters immediately, `?server=ws://host/ws` connects to another server.

import { connect, Refusal, type Firefly } from 'firefly-game/client'
import { Arena } from '../contract.ts'
import { unpackWorld, type ShipDot } from '../world.ts'
import { Battle } from './battle.ts'
import { CuttableConnection } from './cut.ts'
import { startDemo } from './demo.ts'
import { Picture } from './draw.ts'
import { Hud } from './hud.ts'
import { Input } from './input.ts'
import { Panel, type ArenaStats } from './panel.ts'
import { Ping } from './ping.ts'
import { Sound } from './sound.ts'

/** The page's current state, for tests and the browser's console. */
interface PageState {
  readonly seat: number | null
  readonly ping: number
  ships(): (ShipDot & { readonly nick: string; readonly score: number; readonly away: boolean })[]
}
declare global {
  interface Window {
    arena: PageState
  }
}

const NICK = 'firefly-arena-nick'
const RETRY_MS = 1_000
/** Long enough to see the other ships of the arena go on without this one. */
const CUT_MS = 3_000

const query = new URLSearchParams(location.search)
const url = query.get('server') ?? new URL('ws', document.baseURI).href.replace('http', 'ws')
const hud = new Hud()
const sound = new Sound()
const picture = new Picture(document.querySelector('canvas')!)
const battle = new Battle(picture, hud, sound)
const input = new Input(document.querySelectorAll<HTMLElement>('[data-action]'), () => steer())
const ping = new Ping()
const connection = new CuttableConnection()
const panel = new Panel({
  stats: () => stats(),
  cut: () => connection.cut(CUT_MS),
  secondTab: () => window.open(`?nick=${encodeURIComponent(`${nick.slice(0, 14)} 2`)}&auto=1`, '_blank'),
})
const frameEnd = new MessageChannel()
frameEnd.port1.onmessage = () => ping.frameEnded(performance.now())
let game: Firefly | null = null
let playing = false
let nick = (query.get('nick') ?? localStorage.getItem(NICK) ?? '').slice(0, 16)
let steer = (): void => undefined
let stats = (): Promise<ArenaStats> => Promise.reject(new Error('not playing'))

window.arena = {
  get seat() {
    return battle.seat
  },
  get ping() {
    return ping.ms
  },
  ships: () =>
    (battle.newest?.ships ?? []).map((ship) => {
      const { nick = '', score = 0, away = false } = battle.pilotOf(ship.seat) ?? {}
      return { ...ship, nick, score, away }
    }),
}

requestAnimationFrame(function frame(nowMs) {
  ping.frameStarted(performance.now())
  battle.frame(nowMs, game?.state === 'open' && input.isEnabled && input.controls.thrust)
  if (battle.seat !== null) hud.ping(ping.ms, battle.humans)
  requestAnimationFrame(frame)
  // Handled after the browser has painted the frame.
  frameEnd.port2.postMessage(null)
})

addEventListener('keydown', (event) => {
  if (event.code === 'KeyM' && input.isEnabled) mute()
})
for (const pressed of ['keydown', 'pointerdown']) addEventListener(pressed, () => sound.unlock(), { once: true })
const speaker = document.getElementById('sound')!
speaker.addEventListener('click', mute)
speaker.classList.toggle('muted', sound.isMuted)

let stopDemo = startDemo(battle)
if (query.has('auto')) void play()
else showStart()

function showStart(): void {
  hud.showStart(nick, (chosen) => {
    nick = chosen.slice(0, 16)
    localStorage.setItem(NICK, nick)
    void play()
  })
}

async function play(): Promise<void> {
  if (playing) return
  playing = true
  hud.notice('connecting…')
  const session = (game = await connectWithRetry())
  hud.notice('')
  stopDemo()
  battle.reset()
  battle.roster([])
  const arena = session.at(Arena, 'main')
  // Added before `enter`: the first events may arrive together with its reply.
  arena.on('world', (bytes) => battle.world(unpackWorld(bytes)))
  for (const event of ['world', 'roster', 'joined', 'left', 'hit'] as const) arena.on(event, () => panel.countEvent())
  arena.on('roster', ({ pilots }) => battle.roster(pilots))
  arena.on('joined', (pilot) => battle.joined(pilot.seat, pilot.nick))
  arena.on('left', (pilot) => battle.left(pilot.seat, pilot.nick))
  arena.on('hit', (hit) => battle.hit(hit))
  let entering = false
  const enter = async (): Promise<void> => {
    if (entering || game !== session) return
    entering = true
    try {
      const welcome = await arena.enter({ nick: nick || 'pilot' })
      if (battle.seat === null) {
        hud.setPlaying(true)
        panel.start()
      }
      input.enable()
      battle.takeSeat(welcome.seat)
      steer()
    } catch (error) {
      if (error instanceof Refusal) return returnToStart(`The arena is full (${error.code}). Try again in a moment.`)
      setTimeout(() => void enter(), RETRY_MS)
    } finally {
      entering = false
    }
  }
  steer = () => arena.steer(input.controls)
  stats = () => arena.stats()
  arena.onRestart(() => {
    battle.reset()
    void enter()
  })
  // Events were lost; the server sends the fresh state next.
  arena.onResync(() => battle.reset())
  session.on('paused', () => hud.setPaused(true))
  session.on('resumed', () => {
    hud.setPaused(false)
    panel.countResume()
    // After a long pause the seat may have expired; and the server has released all controls.
    void enter()
  })
  session.on('closed', ({ code }) => {
    if (game === session) returnToStart(`The server ended the session (${code}).`)
  })
  await enter()
}

/** Retries the first connection without limit. */
async function connectWithRetry(): Promise<Firefly> {
  for (;;) {
    try {
      return await connect(url, {
        dial: connection.dial,
        metrics: (metric) => metric.name === 'rtt' && ping.measured(metric.ms, performance.now()),
      })
    } catch {
      hud.notice('The server does not answer. Trying again…')
      // A server that rejects this client rejects it immediately.
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }
}

/** Returns to the start screen and shows the reason. */
function returnToStart(reason: string): void {
  const ended = game
  game = null
  playing = false
  steer = () => undefined
  panel.stop()
  input.disable()
  battle.takeSeat(null)
  hud.setPaused(false)
  stopDemo()
  stopDemo = startDemo(battle)
  showStart()
  hud.notice(reason)
  void ended?.close()
}

function mute(): void {
  sound.unlock()
  speaker.classList.toggle('muted', sound.toggle())
}
