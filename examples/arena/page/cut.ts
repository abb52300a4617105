// A connection that the player can cut, to see that the session survives it.

import { dialWebSocket, type Dial, type Socket } from 'firefly-game/client'

export class CuttableConnection {
  #socket: Socket | null = null
  #cutUntilMs = 0

  /** For the option `dial` of `connect`. */
  readonly dial: Dial = (url, events) => {
    if (performance.now() >= this.#cutUntilMs) return (this.#socket = dialWebSocket(url, events))
    queueMicrotask(() => events.closed('cut by the player'))
    return { send: () => undefined, close: () => undefined }
  }

  /** Closes the socket, and lets every attempt to connect fail for `ms`. */
  cut(ms: number): void {
    this.#cutUntilMs = performance.now() + ms
    this.#socket?.close()
  }
}
