// What the pilot holds down, from keyboard and touch alike. `changed` is called only when the sum of both differs.

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
  readonly #held = new Map<string, Action>()
  readonly #changed: (controls: Controls) => void
  controls: Controls = { turn: 0, thrust: false, fire: false }
  enabled = false

  /** `pads`: elements with `data-action`, pressed by any number of fingers. */
  constructor(pads: Iterable<HTMLElement>, changed: (controls: Controls) => void) {
    this.#changed = changed
    addEventListener('keydown', (event) => {
      const action = KEYS.get(event.code)
      if (!action || !this.enabled || event.metaKey || event.ctrlKey || event.altKey) return
      event.preventDefault()
      this.#press(event.code, action)
    })
    addEventListener('keyup', (event) => this.#release(event.code))
    // A key released in another window is never reported here.
    addEventListener('blur', () => this.release())
    document.addEventListener('visibilitychange', () => document.hidden && this.release())
    for (const pad of pads) this.#listenTo(pad)
  }

  release(): void {
    this.#held.clear()
    this.#update()
  }

  #listenTo(pad: HTMLElement): void {
    const action = pad.dataset['action'] as Action
    pad.addEventListener('pointerdown', (event) => {
      event.preventDefault()
      // With the capture a finger that slides off the pad still reports its end to it.
      pad.setPointerCapture(event.pointerId)
      pad.classList.add('held')
      if (this.enabled) this.#press(`pointer ${event.pointerId}`, action)
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
    this.#held.set(source, action)
    this.#update()
  }

  #release(source: string): void {
    if (this.#held.delete(source)) this.#update()
  }

  #update(): void {
    const held = new Set(this.#held.values())
    const turn = (held.has('right') ? 1 : 0) - (held.has('left') ? 1 : 0)
    const next = { turn, thrust: held.has('thrust'), fire: held.has('fire') }
    const { controls } = this
    if (next.turn === controls.turn && next.thrust === controls.thrust && next.fire === controls.fire) return
    this.controls = next
    this.#changed(next)
  }
}
