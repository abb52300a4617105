// The panel behind the battle: what the framework does at this moment, and two experiments. Texts of the server are only assigned to
// textContent.

import { HZ } from '../rules.ts'
import module from '../server.ts' with { type: 'text' }
import { find } from './hud.ts'

/** The bundler replaces the import by the text of the file; TypeScript knows only the module. */
const source: unknown = module

/** The answer of the arena's command `stats`. */
export interface ArenaStats {
  readonly players: number
  readonly bots: number
  readonly turnMicros: number
}
export interface PanelActions {
  stats(): Promise<ArenaStats>
  cut(): void
  secondTab(): void
}
/** The answer of /healthz. */
interface Health {
  readonly host: string
  readonly shards?: number
}

const REFRESH_MS = 1_000

export class Panel {
  readonly #actions: PanelActions
  #events = 0
  #resumes = 0
  #isNode = false
  #refreshedMs = performance.now()
  #timer: ReturnType<typeof setInterval> | null = null

  constructor(actions: PanelActions) {
    this.#actions = actions
    find('cut').addEventListener('click', () => actions.cut())
    find('second').addEventListener('click', () => actions.secondTab())
    const dialog = find<HTMLDialogElement>('source')
    find('code').addEventListener('click', () => {
      find('source-text').textContent = source as string
      dialog.showModal()
    })
    // The dialog itself is the target of a click beside its content.
    dialog.addEventListener('click', ({ target }) => target === dialog && dialog.close())
    // A phone has no room for it beside the controls.
    find<HTMLDetailsElement>('panel').open = !matchMedia('(pointer: coarse), (max-width: 640px)').matches
  }

  countEvent(): void {
    this.#events++
  }

  countResume(): void {
    this.#resumes++
    show('resumes', this.#resumes)
  }

  start(): void {
    this.stop()
    show('resumes', this.#resumes)
    void this.#showHost()
    this.#timer = setInterval(() => void this.#refresh(), REFRESH_MS)
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  async #refresh(): Promise<void> {
    if (this.#isNode) void this.#showHost()
    const nowMs = performance.now()
    show('events', `${Math.round((this.#events * 1_000) / (nowMs - this.#refreshedMs))}/s`)
    this.#events = 0
    this.#refreshedMs = nowMs
    try {
      const { players, bots, turnMicros } = await this.#actions.stats()
      show('players', `${players} + ${bots} bots`)
      // The clock of a Worker stands still during a turn.
      show('turn', turnMicros === 0 ? `${HZ}/s` : `${(turnMicros / 1_000).toFixed(2)} ms, ${HZ}/s`)
    } catch {
      // The connection is cut; the banner shows it.
    }
  }

  async #showHost(): Promise<void> {
    try {
      const { host, shards } = (await (await fetch('healthz')).json()) as Health
      this.#isNode = host === 'node'
      show('host', this.#isNode ? 'Node' : 'Cloudflare')
      show('shards', shards === undefined ? 'one object each' : `${shards} in this process`)
    } catch {
      show('host', 'unknown')
    }
  }
}

function show(name: 'host' | 'shards' | 'players' | 'turn' | 'events' | 'resumes', value: string | number): void {
  find(`panel-${name}`).textContent = String(value)
}
