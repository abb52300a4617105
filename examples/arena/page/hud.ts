// The text around the battle: scores, kill feed, ping, banner, death message, start screen. Names are untrusted text, so they are
// only assigned to textContent.

export interface ScoreLine {
  readonly seat: number
  readonly nick: string
  readonly hue: number
  readonly score: number
  readonly bot: boolean
  /** Disconnected. */
  readonly away: boolean
}

const SCORES = 8
const FEED = 5
const FEED_MS = 6_000

export class Hud {
  readonly #start = find('start')
  readonly #nick = find<HTMLInputElement>('nick')
  readonly #notice = find('notice')
  readonly #scores = find('scores')
  readonly #feed = find('feed')
  readonly #ping = find('ping')
  readonly #banner = find('banner')
  readonly #deathMessage = find('fate')
  #shownPing = ''

  /** Shows the start screen until the pilot launches. */
  showStart(nick: string, launch: (nick: string) => void): void {
    this.#nick.value = nick
    this.setPlaying(false)
    const form = find<HTMLFormElement>('form')
    form.onsubmit = (event) => {
      event.preventDefault()
      launch(this.#nick.value.trim() || 'pilot')
    }
    this.#nick.focus()
    this.#nick.select()
  }

  setPlaying(yes: boolean): void {
    document.body.classList.toggle('playing', yes)
    this.#start.inert = yes
    if (yes) this.#nick.blur()
  }

  /** Shows a text below the name on the start screen; '' clears it. */
  notice(text: string): void {
    this.#notice.textContent = text
  }

  /** Without connection the picture stops and fades, and the banner shows the reason. */
  setPaused(yes: boolean): void {
    document.body.classList.toggle('paused', yes)
    this.#banner.textContent = yes ? 'connection lost, reconnecting…' : ''
  }

  deathMessage(text: string): void {
    if (this.#deathMessage.textContent !== text) this.#deathMessage.textContent = text
  }

  ping(ms: number, pilots: number): void {
    const text = `${ms > 0 ? `${ms < 1 ? '<1' : Math.round(ms)} ms` : '… ms'}  ·  ${pilots} ${pilots === 1 ? 'pilot' : 'pilots'}`
    if (text === this.#shownPing) return
    this.#shownPing = text
    this.#ping.textContent = text
    this.#ping.dataset['health'] = ms > 200 ? 'bad' : ms > 100 ? 'fair' : 'good'
  }

  /** Shows the best pilots, and always the own line. */
  scores(lines: Iterable<ScoreLine>, own: number | null): void {
    const ranked = [...lines].sort((a, b) => b.score - a.score || a.nick.localeCompare(b.nick))
    const place = ranked.findIndex((line) => line.seat === own)
    const shown = ranked.slice(0, place >= SCORES ? SCORES - 1 : SCORES)
    if (place >= SCORES) shown.push(ranked[place]!)
    this.#scores.replaceChildren(
      ...shown.map((line) => {
        const row = element('li', `${line.seat === own ? 'own' : ''} ${line.away ? 'away' : ''}`)
        const nick = element('span', 'nick', line.nick)
        nick.style.setProperty('--hue', String(line.hue))
        row.append(element('span', 'rank', String(ranked.indexOf(line) + 1)), nick)
        if (line.bot || line.away) row.append(element('span', 'tag', line.bot ? 'bot' : 'away'))
        row.append(element('span', 'score', String(line.score)))
        return row
      }),
    )
  }

  /** Adds a line to the kill feed; a part with a hue is a name. */
  feed(...parts: (string | { readonly nick: string; readonly hue: number })[]): void {
    const item = element('li')
    for (const part of parts) {
      if (typeof part === 'string') {
        item.append(element('span', 'verb', part))
        continue
      }
      const name = element('span', 'nick', part.nick)
      name.style.setProperty('--hue', String(part.hue))
      item.append(name)
    }
    this.#feed.append(item)
    while (this.#feed.childElementCount > FEED) this.#feed.firstElementChild?.remove()
    setTimeout(() => item.classList.add('old'), FEED_MS)
    setTimeout(() => item.remove(), FEED_MS + 600)
  }
}

/** @throws Error: the page has no such element */
export function find<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (!found) throw new Error(`index.html has no #${id}`)
  return found as T
}

function element(tag: string, className = '', text = ''): HTMLElement {
  const made = document.createElement(tag)
  made.className = className
  made.textContent = text
  return made
}
