// The processes of `bench attack` and `bench idle`, seen from the benchmark: started on a core of their own, asked by
// name, stopped. Invariant: none of them outlives the benchmark, and one that ends fails whoever waits for its answer.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** What a process answers: numbers by name. */
export type NamedNumbers = Readonly<Record<string, number>>

/** A question on its way to a process, and what comes back; without `answer` it could not be answered. */
export interface ChildRequest {
  readonly id: number
  readonly what: string
  readonly value: number
}
export interface ChildResponse {
  readonly id: number
  readonly answer?: NamedNumbers
  readonly error?: string
}

export interface ChildProcessClient extends AsyncDisposable {
  readonly pid: number
  /** @throws Error when the process has ended, cannot do it, or does not answer in two minutes */
  request(what: string, value?: number): Promise<NamedNumbers>
}

export interface ChildOptions {
  readonly args?: readonly (string | number)[]
  /** null = whatever core is free. */
  readonly core: number | null
  /** Gives way to everybody else on its core. */
  readonly lowPriority?: boolean
  /** Of Node, in front of the program. */
  readonly flags?: readonly string[]
}

const RESPONSE_TIMEOUT_MS = 120_000
const STOP_MS = 5_000
const ERROR_TAIL_CHARS = 2_000

/** Resolves when the program is ready, see `answer` of answer.ts. */
export async function startChild(program: URL, options: ChildOptions): Promise<ChildProcessClient> {
  const { args = [], core, lowPriority: humble = false, flags = [] } = options
  const path = fileURLToPath(program)
  const command = [process.execPath, ...flags, path, ...args.map(String)]
  if (humble) command.unshift('nice', '-n', '19')
  if (core !== null) command.unshift('taskset', '-c', `${core}`)
  // An operator's FIREFLY_* settings would change what is measured.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FIREFLY_')))
  const child = spawn(command[0]!, command.slice(1), { env, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  const waiting = new Map<number, PromiseWithResolvers<NamedNumbers>>()
  const exited = Promise.withResolvers<void>()
  let errors = ''
  let ended: Error | null = null
  let lastId = 0
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-ERROR_TAIL_CHARS)
  })
  const failPending = (reason: string): void => {
    ended ??= new Error(`${path} ended: ${reason} ${errors.trim()}`.trim())
    for (const { reject } of waiting.values()) reject(ended)
    waiting.clear()
    exited.resolve()
  }
  child.once('error', (error) => failPending(error.message))
  child.once('close', (code, signal) => failPending(`exit ${code ?? signal}`))
  const kill = (): boolean => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  child.on('message', (message) => {
    const { id, answer, error } = message as ChildResponse
    const pending = waiting.get(id)
    waiting.delete(id)
    if (answer) pending?.resolve(answer)
    else pending?.reject(new Error(`${path}: ${error}`))
  })
  const ask = async (what: string, value = 0): Promise<NamedNumbers> => {
    if (ended) throw ended
    const question: ChildRequest = { id: ++lastId, what, value }
    const answer = Promise.withResolvers<NamedNumbers>()
    waiting.set(question.id, answer)
    const timer = setTimeout(
      () => answer.reject(new Error(`${path}: no answer to ${what} in ${RESPONSE_TIMEOUT_MS} ms`)),
      RESPONSE_TIMEOUT_MS,
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
    request: ask,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      const killer = setTimeout(kill, STOP_MS)
      await exited.promise
      clearTimeout(killer)
    },
  }
}
