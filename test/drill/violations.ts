// The violations that a drill found: a count and the first examples of each kind. Portable: the simulation and Worker
// bundles import it. Invariant: the memory per kind is bounded, however often a check fails.

const MAX_CHARS = 300

interface Examples<Kind extends string> {
  readonly kind: Kind
  readonly texts: string[]
  count: number
}

export class Violations<Kind extends string = string> {
  readonly #byKind = new Map<Kind, Examples<Kind>>()
  readonly #maxExamples: number
  readonly #onFirst: (kind: Kind, what: string) => void
  #first: { readonly kind: Kind; readonly what: string } | null = null

  /** @param onFirst called once, with the first violation of the run */
  constructor(maxExamples = 5, onFirst: (kind: Kind, what: string) => void = () => {}) {
    this.#maxExamples = maxExamples
    this.#onFirst = onFirst
  }

  add(kind: Kind, what: string): void {
    const examples = this.#byKind.get(kind) ?? { kind, texts: [], count: 0 }
    this.#byKind.set(kind, examples)
    if (examples.count++ < this.#maxExamples) examples.texts.push(what.slice(0, MAX_CHARS))
    if (this.#first) return
    this.#first = { kind, what }
    this.#onFirst(kind, what)
  }

  count(kind: Kind): number {
    return this.#byKind.get(kind)?.count ?? 0
  }

  get total(): number {
    return [...this.#byKind.values()].reduce((sum, { count }) => sum + count, 0)
  }

  /** In the order of their first occurrence. */
  get kinds(): readonly Kind[] {
    return [...this.#byKind.keys()]
  }

  get first(): { readonly kind: Kind; readonly what: string } | null {
    return this.#first
  }

  /** One line per kind. */
  report(): string[] {
    return [...this.#byKind.values()].map(({ kind, texts, count }) => {
      const more = count > texts.length ? `; and ${count - texts.length} more` : ''
      return `${kind}: ${texts.join('; ')}${more}`
    })
  }
}
