// The pressed controls, from keyboard and touch. `changed` is called only when the combination of both changes.

export interface Controls {
  readonly turn: number
  readonly thrust: boolean
  readonly fire: boolean
}
type Action = 'left' | 'right' | 'thrust' | 'fire'

const KEYS: ReadonlyMap<string, Action> = new Map([
  ['ArrowLeft', 'left'],
  ['KeyA', 'left'],
  ['ArrowRight', 'right'],
  ['KeyD', 'right'],
  ['ArrowUp', 'thrust'],
  ['KeyW', 'thrust'],
  ['Space', 'fire'],
])

export class Input {
  readonly #pressed = new Map<string, Action>()
  readonly #changed: (controls: Controls) => void
  #controls: Controls = { turn: 0, thrust: false, fire: false }
  #isEnabled = false

  /** `pads`: elements with `data-action`; several can be pressed at a time. */
  constructor(pads: Iterable<HTMLElement>, changed: (controls: Controls) => void) {
    this.#changed = changed
    addEventListener('keydown', (event) => {
      const action = KEYS.get(event.code)
      if (!action || !this.#isEnabled || event.metaKey || event.ctrlKey || event.altKey) return
      event.preventDefault()
      this.#press(event.code, action)
    })
    addEventListener('keyup', (event) => this.#release(event.code))
    // The release of a key in another window is not reported here.
    addEventListener('blur', () => this.#releaseAll())
    document.addEventListener('visibilitychange', () => document.hidden && this.#releaseAll())
    for (const pad of pads) this.#listenTo(pad)
  }

  get controls(): Controls {
    return this.#controls
  }

  get isEnabled(): boolean {
    return this.#isEnabled
  }

  enable(): void {
    this.#isEnabled = true
  }

  disable(): void {
    this.#isEnabled = false
    this.#releaseAll()
  }

  #releaseAll(): void {
    this.#pressed.clear()
    this.#update()
  }

  #listenTo(pad: HTMLElement): void {
    const action = pad.dataset['action'] as Action
    pad.addEventListener('pointerdown', (event) => {
      event.preventDefault()
      // With the capture, the pad also receives the end of a touch that has moved off it.
      pad.setPointerCapture(event.pointerId)
      pad.classList.add('held')
      if (this.#isEnabled) this.#press(`pointer ${event.pointerId}`, action)
    })
    const up = (event: PointerEvent): void => {
      pad.classList.remove('held')
      this.#release(`pointer ${event.pointerId}`)
    }
    pad.addEventListener('pointerup', up)
    pad.addEventListener('pointercancel', up)
    pad.addEventListener('contextmenu', (event) => event.preventDefault())
  }

  #press(source: string, action: Action): void {
    this.#pressed.set(source, action)
    this.#update()
  }

  #release(source: string): void {
    if (this.#pressed.delete(source)) this.#update()
  }

  #update(): void {
    const actions = new Set(this.#pressed.values())
    const turn = (actions.has('right') ? 1 : 0) - (actions.has('left') ? 1 : 0)
    const next = { turn, thrust: actions.has('thrust'), fire: actions.has('fire') }
    const last = this.#controls
    if (next.turn === last.turn && next.thrust === last.thrust && next.fire === last.fire) return
    this.#controls = next
    this.#changed(next)
  }
}
