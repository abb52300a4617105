// What the SDK needs of a platform: a socket that carries binary messages, and a clock. Browsers, Node 22 and
// Workers bring both; client/tcp.ts dials TCP, a test brings its own.

/** One connection attempt. Exactly one of `closed` calls ends it. */
export interface Socket {
  send(bytes: Uint8Array): void
  /** `leave` = for good; else the server keeps the session for the next connection. Default false. */
  close(leave?: boolean): void
}
export interface SocketEvents {
  opened(): void
  message(bytes: Uint8Array): void
  closed(reason: string): void
}
export type Dial = (url: string, events: SocketEvents) => Socket

export interface ClientClock {
  /** Milliseconds, monotonic. */
  mono(): number
  after(ms: number, run: () => void): { cancel(): void }
  /** 0 <= x < 1 */
  random(): number
  /** Soon, once the code in hand is done. */
  defer(run: () => void): void
}

/** A server takes 1000 (and 1001, which a browser sends for a page that is left) as a farewell, any other code as a break. */
const LEAVE_CLOSE_CODE = 1000
const RECONNECT_CLOSE_CODE = 4000

/** The platform's WebSocket. */
export const dialWebSocket: Dial = (url, events) => {
  const socket = new WebSocket(url)
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => events.opened()
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) events.message(new Uint8Array(data))
  }
  socket.onclose = ({ code, reason }) => events.closed(reason || `closed with code ${code}`)
  return {
    send: (bytes) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes as Uint8Array<ArrayBuffer>)
    },
    close: (leave = false) => socket.close(leave ? LEAVE_CLOSE_CODE : RECONNECT_CLOSE_CODE),
  }
}

export const platformClock: ClientClock = {
  mono: () => performance.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms)
    return { cancel: () => clearTimeout(timer) }
  },
  random: () => Math.random(),
  defer: (run) => queueMicrotask(run),
}
