// Whatever a soak finds wrong: how often, and the first few in words.

const SHOWN = 4
const MAX_CHARS = 300

export class Faults {
  readonly #known = new Map<string, { count: number; readonly first: string[] }>()

  add(kind: string, what: string): void {
    const known = this.#known.get(kind) ?? { count: 0, first: [] }
    this.#known.set(kind, known)
    if (known.count++ < SHOWN) known.first.push(what.slice(0, MAX_CHARS))
  }

  /** How often, all kinds together. */
  get count(): number {
    return [...this.#known.values()].reduce((sum, { count }) => sum + count, 0)
  }

  /** One line for each kind. */
  report(): string[] {
    return [...this.#known].map(([kind, { count, first }]) => {
      const more = count > first.length ? `; and ${count - first.length} more` : ''
      return `${kind}: ${first.join('; ')}${more}`
    })
  }
}
