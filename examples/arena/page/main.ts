// The page's entry: start screen, connection, and the loop that draws. The SDK mends a lost connection by itself; the
// page shows the pause and enters again after it, which is nothing to one whose seat was kept.
// `?nick=Ada&auto=1` enters at once, `?server=ws://host/ws` plays elsewhere.

import { connect, Refusal, type Firefly } from '../../../client/index.ts'
import { Arena } from '../contract.ts'
import { unpackWorld, type ShipDot } from '../world.ts'
import { Battle } from './battle.ts'
import { startDemo } from './demo.ts'
import { Picture } from './draw.ts'
import { Hud } from './hud.ts'
import { Input } from './input.ts'
import { Sound } from './sound.ts'

/** For tests and the curious: what the page knows right now. */
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

const query = new URLSearchParams(location.search)
const url = query.get('server') ?? `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`
const hud = new Hud()
const sound = new Sound()
const picture = new Picture(document.querySelector('canvas')!)
const battle = new Battle(picture, hud, sound)
const input = new Input(document.querySelectorAll<HTMLElement>('[data-action]'), () => steer())
let game: Firefly | null = null
let playing = false
let nick = (query.get('nick') ?? localStorage.getItem(NICK) ?? '').slice(0, 16)
let steer = (): void => undefined

window.arena = {
  get seat() {
    return battle.seat
  },
  get ping() {
    return game?.rttMs ?? 0
  },
  ships: () =>
    (battle.newest?.ships ?? []).map((ship) => {
      const { nick = '', score = 0, away = false } = battle.pilotOf(ship.seat) ?? {}
      return { ...ship, nick, score, away }
    }),
}

requestAnimationFrame(function frame(nowMs) {
  battle.frame(nowMs, game?.state === 'open' && input.enabled && input.controls.thrust)
  if (battle.seat !== null) hud.ping(game?.rttMs ?? 0, battle.humans)
  requestAnimationFrame(frame)
})

addEventListener('keydown', (event) => {
  if (event.code === 'KeyM' && input.enabled) mute()
})
for (const pressed of ['keydown', 'pointerdown'])
  addEventListener(pressed, () => sound.unlock(), { once: true })
const speaker = document.getElementById('sound')!
speaker.addEventListener('click', mute)
speaker.classList.toggle('muted', sound.muted)

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
  // Before `enter`: the first events may arrive together with its answer.
  arena.on('world', (bytes) => battle.world(unpackWorld(bytes)))
  arena.on('roster', ({ pilots }) => battle.roster(pilots))
  arena.on('joined', (who) => battle.joined(who.seat, who.nick))
  arena.on('left', (who) => battle.left(who.seat, who.nick))
  arena.on('hit', (hit) => battle.hit(hit))
  let entering = false
  const enter = async (): Promise<void> => {
    if (entering || game !== session) return
    entering = true
    try {
      const welcome = await arena.enter({ nick: nick || 'pilot' })
      if (battle.seat === null) hud.setPlaying(true)
      input.enabled = true
      battle.seat = welcome.seat
      steer()
    } catch (error) {
      if (error instanceof Refusal)
        return returnToStart(`The arena is full (${error.code}). Try again in a moment.`)
      setTimeout(() => void enter(), RETRY_MS)
    } finally {
      entering = false
    }
  }
  steer = () => arena.steer(input.controls)
  arena.onRestart(() => {
    battle.reset()
    void enter()
  })
  // Some events are gone for good; the server sends fresh ones right behind this.
  arena.onResync(() => battle.reset())
  session.on('paused', () => hud.setPaused(true))
  session.on('resumed', () => {
    hud.setPaused(false)
    // The seat may be lost, if the pause was long; and what is held down was let go by the server.
    void enter()
  })
  session.on('closed', ({ code }) => {
    if (game === session) returnToStart(`The server ended the session (${code}).`)
  })
  await enter()
}

/** The first connection, however long it takes. */
async function connectWithRetry(): Promise<Firefly> {
  for (;;) {
    try {
      return await connect(url)
    } catch {
      hud.notice('The server does not answer. Trying again…')
      // A server that says no says it at once.
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }
}

/** Back to the start screen, with a word why. */
function returnToStart(why: string): void {
  const ended = game
  game = null
  playing = false
  steer = () => undefined
  input.enabled = false
  input.release()
  battle.seat = null
  hud.setPaused(false)
  stopDemo()
  stopDemo = startDemo(battle)
  showStart()
  hud.notice(why)
  void ended?.close()
}

function mute(): void {
  sound.unlock()
  speaker.classList.toggle('muted', sound.toggle())
}
