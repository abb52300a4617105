// `connect`: a session from its first attempt to its first WELCOME. Invariant: it ends with a session, or with the cause.

import { CallError, SYSTEM_CODES } from '../core/wire/errors.ts'
import type { ConnectOptions, Firefly } from './api.ts'
import { closeText } from './closereason.ts'
import { diagnoseWebSocket } from './diagnosis.ts'
import { ClientSession } from './session.ts'
import { platformClock } from './socket.ts'

const CONNECT_MS = 10_000
/** What a WebSocket reports that was not opened, whatever the cause. */
const NOT_OPENED = closeText(1006, '')

/**
 * Opens a session; resolves after WELCOME.
 * @throws CallError UNAVAILABLE when no server answers within `connectMs`, or at once when a WebSocket cannot be opened for a cause
 * that another attempt would not change (port closed, wrong path, TLS, origin), unless `connectMs` is set; the message names the
 * cause. SessionError when the server rejects this client
 * (a bad ticket, another identity or version); the platform's error for the URL
 */
export function connect(url: string, options: ConnectOptions = {}): Promise<Firefly> {
  const { connectMs = CONNECT_MS, clock = platformClock } = options
  return new Promise((resolve, reject) => {
    let cause = ''
    const fail = (why: string): void => {
      timer.cancel()
      const [code = ''] = /^[A-Z_]+(?=:|$)/.exec(why) ?? []
      reject(new CallError(SYSTEM_CODES.find((known) => known === code) ?? 'UNAVAILABLE', `${url}: ${why}`))
      void session.close()
    }
    const session = new ClientSession(url, options, {
      onFailed: (reason) => {
        if (reason !== NOT_OPENED || options.dial || cause !== '') return
        cause = reason
        void diagnoseWebSocket(url).then((diagnosis) => {
          if (diagnosis) ({ cause } = diagnosis)
          // With a deadline of its own the game waits for a server that may still start.
          if (diagnosis?.isFinal && options.connectMs === undefined && !session.hasSession) fail(cause)
        })
      },
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
      const why = session.lastError === NOT_OPENED && cause !== '' ? cause : session.lastError
      fail(/^[A-Z_]+: /.test(why) ? why : `no answer within ${connectMs} ms (${why})`)
    })
    try {
      session.start()
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)))
      void session.close()
    }
  })
}
