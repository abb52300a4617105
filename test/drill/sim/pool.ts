// Seeds over several processes: each takes the next seed when it is done with one.

import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import type { Order, Verdict } from './verdict.ts'

export interface Task {
  readonly seed: number
  readonly order: Order
}

const WORKER = fileURLToPath(new URL('worker.ts', import.meta.url))

export class Pool {
  readonly #workers: number

  constructor(workers: number) {
    this.#workers = workers
  }

  /** Tells every verdict as it comes, until `told` has enough. @throws Error when a worker ends before its work does */
  async run(seeds: readonly number[], order: Order, told: (verdict: Verdict) => boolean): Promise<void> {
    const left = [...seeds]
    const workers = Array.from({ length: this.#workers }, () => fork(WORKER))
    try {
      await Promise.all(workers.map((worker) => serve(worker, left, order, told)))
    } finally {
      for (const worker of workers) worker.kill()
    }
  }
}

function serve(
  worker: ChildProcess,
  left: number[],
  order: Order,
  told: (verdict: Verdict) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let at = 0
    const next = (): void => {
      const seed = left.shift()
      if (seed === undefined) return resolve()
      at = seed
      worker.send({ seed, order } satisfies Task)
    }
    worker.on('message', (verdict) => {
      if (!told(verdict as Verdict)) left.length = 0
      next()
    })
    worker.on('exit', (code) => reject(new Error(`a worker ended with ${code} in seed ${at}`)))
    worker.on('error', reject)
    next()
  })
}
