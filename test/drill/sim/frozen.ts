// The real world, shut out: while a seed runs, whoever asks it for time or chance is found out. Invariant: nothing but
// the seed decides what happens.

const immediate = globalThis.setImmediate

/** Every promise that waits for nothing but its turn has had it: the event loop has come round. */
export function drained(): Promise<void> {
  return new Promise((resolve) => immediate(resolve))
}

type Names = readonly (readonly [holder: object, name: string])[]

const ASKS: Names = [
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

/** Runs `work` with the platform's clocks and chances shut off. `told` hears of who asked for one. */
export async function frozen<T>(told: (what: string) => void, work: () => Promise<T>): Promise<T> {
  const undo = ASKS.map(([holder, name]) => {
    const before = Object.getOwnPropertyDescriptor(holder, name)
    const refuse = (): never => {
      const what = `${name} was asked while time stood still`
      told(what)
      throw new Error(what)
    }
    Object.defineProperty(holder, name, { value: refuse, configurable: true, writable: true })
    return () => {
      if (before) Object.defineProperty(holder, name, before)
      else Reflect.deleteProperty(holder, name)
    }
  })
  const { Date: real } = globalThis
  const isNow = (args: unknown[]): boolean => args.length === 0
  globalThis.Date = new Proxy(real, {
    construct(target, args, newTarget) {
      if (isNow(args)) told('new Date() was asked while time stood still')
      return Reflect.construct(target, args, newTarget) as Date
    },
  })
  try {
    return await work()
  } finally {
    globalThis.Date = real
    for (const back of undo) back()
  }
}
