// The server under test, as the drill sees it: its health, and the errors and warnings of its log.

import { ServerProcess } from '../../support/serverprocess.ts'
import type { FuzzMessage, FuzzOrder, Health } from './server.ts'

export interface FuzzServerEvents {
  /** A line of the error log, or a line on stderr that is no log line. */
  error(what: string): void
  warning(what: string): void
  stall(ms: number, busyMs: number): void
}

export class FuzzServer extends ServerProcess<FuzzMessage> {
  /** The last report. */
  health: Health | null = null
  #onHealth: () => void = () => {}

  constructor(order: FuzzOrder, events: FuzzServerEvents) {
    super({
      program: new URL('server.ts', import.meta.url),
      order,
      execArgv: ['--expose-gc', '--max-semi-space-size=2'],
      log: (line, from) => {
        if (from === 'stderr') readLine(line, events)
      },
      onMessage: (message) => {
        if (message.what === 'stall') events.stall(message.ms, message.busyMs)
        if (message.what !== 'health') return
        this.health = message
        this.#onHealth()
      },
    })
  }

  /** Resolves at the next health report, or when the process has ended. */
  async refreshed(): Promise<void> {
    await Promise.race([new Promise<void>((resolve) => (this.#onHealth = resolve)), this.ended])
  }

  /** Its exit code, or the signal that ended it. */
  async exitStatus(): Promise<number | string> {
    const { code, signal } = await this.ended
    return signal ?? code ?? -1
  }
}

function readLine(line: string, events: FuzzServerEvents): void {
  let entry: Readonly<Record<string, unknown>>
  try {
    entry = Object(JSON.parse(line)) as typeof entry
  } catch {
    // Of a stack trace the first line is enough.
    if (/^\S/.test(line)) events.error(line)
    return
  }
  const { level, message, error } = entry
  const stack = typeof error === 'string' ? `: ${error.split('\n').slice(0, 3).join(' | ')}` : ''
  const what = `${String(message)}${stack}`
  if (level === 'error') events.error(what)
  else events.warning(what)
}
