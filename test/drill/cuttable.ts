// Connections that a drill can cut in the middle, all at once. Invariant: neither side is asked to end its session, so
// every cut looks like a broken network.

import type { Dial, Socket } from '../../client/socket.ts'

export interface CuttableDial {
  readonly dial: Dial
  /** Cuts a share (0..1) of the open connections; returns their number. */
  cut(share: number): number
}

/** `random`: 0 <= x < 1 */
export function cuttable(inner: Dial, random: () => number): CuttableDial {
  const open = new Set<Socket>()
  return {
    dial: (url, events) => {
      const socket = inner(url, {
        opened: () => events.opened(),
        message: (bytes) => events.message(bytes),
        closed: (reason) => {
          open.delete(socket)
          events.closed(reason)
        },
      })
      open.add(socket)
      return socket
    },
    cut: (share) => {
      const chosen = [...open].filter(() => random() < share)
      for (const socket of chosen) socket.close()
      return chosen.length
    },
  }
}
