// Calls to a server that may be overloaded.

import { setTimeout as sleep } from 'node:timers/promises'

import { CallError } from '../../client/index.ts'

/** Repeats a call that an overloaded server refuses, at the time that the SDK reports. */
export async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof CallError && error.code === 'OVERLOADED')) throw error
      await sleep(error.retryAfterMs)
    }
  }
}
