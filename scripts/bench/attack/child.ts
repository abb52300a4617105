// The processes of `bench attack` and `bench idle`, seen from the benchmark: started on a core of their own, asked by
// name, stopped. Invariant: none of them outlives the benchmark, and one that ends fails whoever waits for its answer.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** What a process answers: numbers by name. */
export type Answer = Readonly<Record<string, number>>

/** A question on its way to a process, and what comes back; without `answer` it could not be answered. */
export interface Question {
  readonly id: number
  readonly what: string
  readonly value: number
}
export interface Answered {
  readonly id: number
  readonly answer?: Answer
  readonly error?: string
}

export interface Child extends AsyncDisposable {
  readonly pid: number
  /** @throws Error when the process has ended, cannot do it, or does not answer in two minutes */
  ask(what: string, value?: number): Promise<Answer>
}

export interface ChildOptions {
  readonly args?: readonly (string | number)[]
  /** null = whatever core is free. */
  readonly core: number | null
  /** Gives way to everybody else on its core. */
  readonly humble?: boolean
  /** Of Node, in front of the program. */
  readonly flags?: readonly string[]
}

const ANSWER_MS = 120_000
const STOP_MS = 5_000
const ERROR_TAIL_CHARS = 2_000

/** Resolves when the program is ready, see `answer` of answer.ts. */
export async function startChild(program: URL, options: ChildOptions): Promise<Child> {
  const { args = [], core, humble = false, flags = [] } = options
  const path = fileURLToPath(program)
  const command = [process.execPath, ...flags, path, ...args.map(String)]
  if (humble) command.unshift('nice', '-n', '19')
  if (core !== null) command.unshift('taskset', '-c', `${core}`)
  // An operator's FIREFLY_* settings would change what is measured.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FIREFLY_')))
  const child = spawn(command[0]!, command.slice(1), { env, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  const waiting = new Map<number, PromiseWithResolvers<Answer>>()
  const exited = Promise.withResolvers<void>()
  let errors = ''
  let ended: Error | null = null
  let asked = 0
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-ERROR_TAIL_CHARS)
  })
  const end = (how: string): void => {
    ended ??= new Error(`${path} ended: ${how} ${errors.trim()}`.trim())
    for (const { reject } of waiting.values()) reject(ended)
    waiting.clear()
    exited.resolve()
  }
  child.once('error', (error) => end(error.message))
  child.once('close', (code, signal) => end(`exit ${code ?? signal}`))
  const kill = (): boolean => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  child.on('message', (message) => {
    const { id, answer, error } = message as Answered
    const asker = waiting.get(id)
    waiting.delete(id)
    if (answer) asker?.resolve(answer)
    else asker?.reject(new Error(`${path}: ${error}`))
  })
  const ask = async (what: string, value = 0): Promise<Answer> => {
    if (ended) throw ended
    const question: Question = { id: ++asked, what, value }
    const answer = Promise.withResolvers<Answer>()
    waiting.set(question.id, answer)
    const timer = setTimeout(
      () => answer.reject(new Error(`${path}: no answer to ${what} in ${ANSWER_MS} ms`)),
      ANSWER_MS,
    )
    try {
      child.send(question)
      return await answer.promise
    } finally {
      clearTimeout(timer)
      waiting.delete(question.id)
    }
  }
  await ask('ready')
  return {
    pid: child.pid!,
    ask,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      const killer = setTimeout(kill, STOP_MS)
      await exited.promise
      clearTimeout(killer)
    },
  }
}
