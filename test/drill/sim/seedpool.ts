// Seeds on several processes; each takes the next seed when it has finished one. This file is also the program of these
// processes. Invariant: a result is one message, and a process that ends early fails the run.

import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import { runTwice, type SeedOptions, type SeedResult } from './seedrun.ts'

interface SeedTask {
  readonly seed: number
  readonly options: SeedOptions
}

const PROGRAM = fileURLToPath(import.meta.url)

/**
 * Runs the seeds until `onResult` returns false.
 * @throws Error when a process ends before its seeds
 */
export async function runSeeds(
  seeds: readonly number[],
  processes: number,
  options: SeedOptions,
  onResult: (result: SeedResult) => boolean,
): Promise<void> {
  const remaining = [...seeds]
  const children = Array.from({ length: processes }, () => fork(PROGRAM))
  try {
    await Promise.all(children.map((child) => serve(child, remaining, options, onResult)))
  } finally {
    for (const child of children) child.kill()
  }
}

function serve(
  child: ChildProcess,
  remaining: number[],
  options: SeedOptions,
  onResult: (result: SeedResult) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let seed: number | undefined
    const sendNext = (): void => {
      seed = remaining.shift()
      if (seed === undefined) resolve()
      else child.send({ seed, options } satisfies SeedTask)
    }
    child.on('message', (result) => {
      if (!onResult(result as SeedResult)) remaining.length = 0
      sendNext()
    })
    child.on('exit', (code) => reject(new Error(`a process ended with ${code} in seed ${seed}`)))
    child.on('error', reject)
    sendNext()
  })
}

if (process.argv[1] === PROGRAM)
  process.on('message', ({ seed, options }: SeedTask) => {
    void runTwice(seed, options, null).then((result) => process.send!(result))
  })
