// Objects with some of their methods replaced, for fault injection. Invariant: the other methods run on the inner
// object itself, so its private fields work.

/** `inner` with `methods` in place of its own. */
export function override<T extends object>(inner: T, methods: Partial<T>): T {
  return proxyOf(inner, methods, (method) => method)
}

/** The same, and while `isOpen` returns false no method runs: every call returns undefined. */
export function whileOpen<T extends object>(inner: T, isOpen: () => boolean, methods: Partial<T> = {}): T {
  return proxyOf(
    inner,
    methods,
    (method) =>
      (...args) =>
        isOpen() ? method(...args) : undefined,
  )
}

type Method = (...args: unknown[]) => unknown

function proxyOf<T extends object>(inner: T, methods: Partial<T>, guard: (method: Method) => Method): T {
  const guarded = new Map<unknown, Method>()
  return new Proxy(inner, {
    get(target, name): unknown {
      const owner = Object.hasOwn(methods, name) ? methods : target
      const value: unknown = Reflect.get(owner, name, owner)
      if (typeof value !== 'function') return value
      let method = guarded.get(value)
      if (!method) guarded.set(value, (method = guard(value.bind(owner) as Method)))
      return method
    },
  })
}
