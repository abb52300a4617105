// The other side of child.ts: a process that answers questions by name until it is told to end.

import type { Answer, Answered, Question } from './child.ts'

export type Verb = (value: number) => Answer | Promise<Answer>

/** To be called once the process can answer. */
export function answer(verbs: Readonly<Record<string, Verb>>): void {
  const known = new Map([...Object.entries(verbs), ['ready', (): Answer => ({})] as const])
  process.on('message', (message) => void reply(message as Question, known))
  // The benchmark is gone, however it ended.
  process.once('disconnect', () => process.exit(1))
  process.once('SIGTERM', () => process.exit(0))
}

async function reply({ id, what, value }: Question, verbs: ReadonlyMap<string, Verb>): Promise<void> {
  let answered: Answered
  try {
    const verb = verbs.get(what)
    if (!verb) throw new Error(`cannot ${what}`)
    answered = { id, answer: await verb(value) }
  } catch (error) {
    answered = { id, error: String(error) }
  }
  process.send!(answered)
}
