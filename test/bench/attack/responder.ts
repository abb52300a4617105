// The other side of child.ts: a process that answers questions by name until it is told to end.

import type { NamedNumbers, ChildResponse, ChildRequest } from './child.ts'

export type RequestHandler = (value: number) => NamedNumbers | Promise<NamedNumbers>

/** To be called once the process can answer. */
export function serveRequests(verbs: Readonly<Record<string, RequestHandler>>): void {
  const handlers = new Map([...Object.entries(verbs), ['ready', (): NamedNumbers => ({})] as const])
  process.on('message', (message) => void respond(message as ChildRequest, handlers))
  // The benchmark is gone, however it ended.
  process.once('disconnect', () => process.exit(1))
  process.once('SIGTERM', () => process.exit(0))
}

async function respond({ id, what, value }: ChildRequest, verbs: ReadonlyMap<string, RequestHandler>): Promise<void> {
  let answered: ChildResponse
  try {
    const verb = verbs.get(what)
    if (!verb) throw new Error(`cannot ${what}`)
    answered = { id, answer: await verb(value) }
  } catch (error) {
    answered = { id, error: String(error) }
  }
  process.send!(answered)
}
