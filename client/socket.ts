// The platform's interface: a socket for binary messages, and a clock. Browsers, Node 22 and Workers have both; client/tcp.ts
// connects by TCP, a test supplies its own.

import { closeText } from './closereason.ts'

/** One connection attempt. It ends with exactly one call of `closed`. */
export interface Socket {
  /** Sends one binary message. Dropped when the connection is not open. */
  send(bytes: Uint8Array): void
  /** `leave` = permanently; else the server retains the session for the next connection. Default false. */
  close(leave?: boolean): void
}
/** What a socket reports to the SDK. */
export interface SocketEvents {
  /** The connection is open. Called at most once, before any message. */
  opened(): void
  /** A binary message has arrived. */
  message(bytes: Uint8Array): void
  /** The connection has ended or could not be opened. */
  closed(reason: string): void
}
/** Opens a connection to a URL. Must not call the events before it has returned. */
export type Dial = (url: string, events: SocketEvents) => Socket

/** Time and randomness, as the SDK uses them. */
export interface ClientClock {
  /** Milliseconds, monotonic. */
  mono(): number
  /** Runs once after `ms`, unless it is cancelled. */
  after(ms: number, run: () => void): { cancel(): void }
  /** 0 <= x < 1 */
  random(): number
  /** Runs after the current code has returned. */
  defer(run: () => void): void
}

/** 1000 (and 1001, which a browser sends when the page is left) ends the session; after any other code it can resume. */
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
  socket.onclose = ({ code, reason }) => events.closed(closeText(code, reason))
  return {
    send: (bytes) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes as Uint8Array<ArrayBuffer>)
    },
    close: (leave = false) => socket.close(leave ? LEAVE_CLOSE_CODE : RECONNECT_CLOSE_CODE),
  }
}

/** A timer that is this late waits for the sockets. */
const LATE_MS = 20

/** Runs after the sockets were read, which a timer of Node precedes; elsewhere the next timer does. */
function afterReading(run: () => void): void {
  const { setImmediate } = globalThis as { readonly setImmediate?: (run: () => void) => unknown }
  if (setImmediate) setImmediate(run)
  else setTimeout(run, 0)
}

/**
 * The platform's clock. A timer that is late because this process was busy runs after the messages that arrived
 * meanwhile: no deadline expires over an answer that is already here.
 */
export const platformClock: ClientClock = {
  mono: () => performance.now(),
  after: (ms, run) => {
    const dueMs = performance.now() + ms
    let isCancelled = false
    const timer = setTimeout(() => {
      if (performance.now() - dueMs < LATE_MS) return run()
      afterReading(() => {
        if (!isCancelled) run()
      })
    }, ms)
    return {
      cancel: () => {
        isCancelled = true
        clearTimeout(timer)
      },
    }
  },
  random: () => Math.random(),
  defer: (run) => queueMicrotask(run),
}
