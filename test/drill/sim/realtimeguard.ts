// Keeps real time and real randomness out of a run. Invariant: while a seed runs, every use of a platform source is reported,
// so only the seed decides what happens.

const immediate = globalThis.setImmediate

/** Resolves after all microtasks: every promise that can settle now has settled. */
export function macrotask(): Promise<void> {
  return new Promise((resolve) => immediate(resolve))
}

/** Platform functions that return time or randomness. */
const SOURCES: readonly (readonly [holder: object, name: string])[] = [
  [Date, 'now'],
  [Math, 'random'],
  [performance, 'now'],
  [globalThis, 'setTimeout'],
  [globalThis, 'setInterval'],
  [globalThis, 'setImmediate'],
  [crypto, 'getRandomValues'],
  [crypto, 'randomUUID'],
  [process, 'hrtime'],
]

/** Runs `work` while every source of time and randomness throws. `onUse` receives which one was used. */
export async function withoutRealTime<T>(onUse: (what: string) => void, work: () => Promise<T>): Promise<T> {
  const restore = SOURCES.map(([holder, name]) => {
    const original = Object.getOwnPropertyDescriptor(holder, name)
    const refuse = (): never => {
      const what = `${name} was called in virtual time`
      onUse(what)
      throw new Error(what)
    }
    Object.defineProperty(holder, name, { value: refuse, configurable: true, writable: true })
    return () => {
      if (original) Object.defineProperty(holder, name, original)
      else Reflect.deleteProperty(holder, name)
    }
  })
  const { Date: RealDate } = globalThis
  globalThis.Date = new Proxy(RealDate, {
    construct(target, args: unknown[], newTarget) {
      if (args.length === 0) onUse('new Date() was called in virtual time')
      return Reflect.construct(target, args, newTarget) as Date
    },
  })
  try {
    return await work()
  } finally {
    globalThis.Date = RealDate
    for (const undo of restore) undo()
  }
}
