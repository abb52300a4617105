// `connect`, the entry point of the SDK.

import { CallError } from '../core/wire/errors.ts'
import type { ConnectOptions, Firefly } from './api.ts'
import { ClientSession } from './session.ts'
import { platformClock } from './socket.ts'

/**
 * Opens a session; resolves after WELCOME.
 * @throws CallError UNAVAILABLE when no server answers within `connectMs`; SessionError when the server rejects this client
 * (a bad ticket, another identity or version); the platform's error for the URL
 */
export function connect(url: string, options: ConnectOptions = {}): Promise<Firefly> {
  const { connectMs = 10_000, clock = platformClock } = options
  return new Promise((resolve, reject) => {
    const session = new ClientSession(url, options, {
      onWelcome: () => {
        timer.cancel()
        // The same message may contain the end of the session: then `onEnded` rejects first.
        void Promise.resolve().then(() => resolve(session))
      },
      onEnded: (error) => {
        timer.cancel()
        reject(error)
      },
    })
    const timer = clock.after(connectMs, () => {
      reject(new CallError('UNAVAILABLE', `${url}: no answer within ${connectMs} ms (${session.lastError})`))
      void session.close()
    })
    try {
      session.start()
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)))
      void session.close()
    }
  })
}
