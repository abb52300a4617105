// A child process of `bench attack` or `bench idle`, as the benchmark controls it: requests by name, each answered with
// numbers. Invariant: a child that ends rejects all pending requests, and no child outlives the benchmark.

import { fileURLToPath } from 'node:url'

import { spawnNode, STOP_MS, type SpawnOptions } from '../server.ts'

export type NamedNumbers = Readonly<Record<string, number>>

export interface ChildRequest {
  readonly id: number
  readonly what: string
  readonly value: number
}
/** Without `answer` the request failed. */
export interface ChildResponse {
  readonly id: number
  readonly answer?: NamedNumbers
  readonly error?: string
}

export interface ChildProcessClient extends AsyncDisposable {
  readonly pid: number
  /** @throws Error when the process has ended, the request fails, or there is no answer within two minutes */
  request(what: string, value?: number): Promise<NamedNumbers>
}

export interface ChildOptions extends Omit<SpawnOptions, 'stdio'> {
  readonly args?: readonly (string | number)[]
  /** Of Node, before the program. */
  readonly flags?: readonly string[]
}

const RESPONSE_TIMEOUT_MS = 120_000

/** Resolves when the program has called `serveRequests` of responder.ts. */
export async function startChild(
  program: URL,
  { args = [], flags = [], ...options }: ChildOptions,
): Promise<ChildProcessClient> {
  const path = fileURLToPath(program)
  const { process: child, failureText } = spawnNode([...flags, path, ...args.map(String)], {
    ...options,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const pending = new Map<number, PromiseWithResolvers<NamedNumbers>>()
  const ended = Promise.withResolvers<void>()
  let endError: Error | null = null
  let lastId = 0
  const failPending = (): void => {
    endError ??= new Error(`${path} ended: ${failureText()}`)
    for (const { reject } of pending.values()) reject(endError)
    pending.clear()
    ended.resolve()
  }
  child.once('error', failPending)
  child.once('close', failPending)
  child.on('message', (message) => {
    const { id, answer, error } = message as ChildResponse
    const request = pending.get(id)
    pending.delete(id)
    if (answer) request?.resolve(answer)
    else request?.reject(new Error(`${path}: ${error}`))
  })
  const request = async (what: string, value = 0): Promise<NamedNumbers> => {
    if (endError) throw endError
    const message: ChildRequest = { id: ++lastId, what, value }
    const answer = Promise.withResolvers<NamedNumbers>()
    pending.set(message.id, answer)
    const timer = setTimeout(
      () => answer.reject(new Error(`${path}: no answer to ${what} within ${RESPONSE_TIMEOUT_MS} ms`)),
      RESPONSE_TIMEOUT_MS,
    )
    try {
      child.send(message)
      return await answer.promise
    } finally {
      clearTimeout(timer)
      pending.delete(message.id)
    }
  }
  await request('ready')
  return {
    pid: child.pid!,
    request,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      await ended.promise
      clearTimeout(timer)
    },
  }
}
