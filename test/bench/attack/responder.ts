// The child's side of child.ts: a process that answers requests by name until the benchmark ends it.

import type { NamedNumbers, ChildResponse, ChildRequest } from './child.ts'

export type RequestHandler = (value: number) => NamedNumbers | Promise<NamedNumbers>

/** Call this when the process is ready. */
export function serveRequests(handlers: Readonly<Record<string, RequestHandler>>): void {
  const byName = new Map([...Object.entries(handlers), ['ready', (): NamedNumbers => ({})] as const])
  process.on('message', (message) => void respond(message as ChildRequest, byName))
  // The benchmark has ended, for any reason.
  process.once('disconnect', () => process.exit(1))
  process.once('SIGTERM', () => process.exit(0))
}

async function respond(
  { id, what, value }: ChildRequest,
  handlers: ReadonlyMap<string, RequestHandler>,
): Promise<void> {
  let response: ChildResponse
  try {
    const handler = handlers.get(what)
    if (!handler) throw new Error(`unknown request ${what}`)
    response = { id, answer: await handler(value) }
  } catch (error) {
    response = { id, error: String(error) }
  }
  process.send!(response)
}
