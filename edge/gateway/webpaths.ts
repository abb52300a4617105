// Where a server is found by HTTP: the path of its WebSocket, a prefix of all paths that a reverse proxy may leave in
// place, and the WebSocket's subprotocol. The same on every host.

/** Always served: a page finds it relative to itself. */
const WEBSOCKET_PATH = '/ws'
const SUBPROTOCOL = 'firefly'

/** An invalid path; the message contains it and valid examples. */
export class PathError extends Error {
  override readonly name = 'PathError'
}

export class WebPaths {
  readonly #base: string
  readonly #webSocket: string

  /**
   * `base`: the prefix; requests with it and without it are the same. `webSocket`: another path of the WebSocket, below
   * `base`, in addition to `/ws`. Both '' = none. @throws PathError
   */
  constructor(base = '', webSocket = '') {
    this.#base = checkPath(base).replace(/\/$/, '')
    this.#webSocket = checkPath(webSocket)
  }

  /** Returns the path without the prefix. */
  localPath(path: string): string {
    return path.startsWith(`${this.#base}/`) ? path.slice(this.#base.length) : path
  }

  isWebSocket(path: string): boolean {
    const local = this.localPath(path)
    return local === WEBSOCKET_PATH || local === this.#webSocket
  }

  /** The prefix without its slash: a page there would find nothing relative to itself. Returns its address, or null. */
  redirectOf(path: string): string | null {
    return this.#base !== '' && path === this.#base ? `${path}/` : null
  }
}

/**
 * Segments of the characters that RFC 3986 permits, not percent-encoded: paths are compared as they are sent. No client
 * sends the segments `.` and `..`.
 */
function checkPath(path: string): string {
  if (path === '' || path === '/' || /^(\/(?!\.{1,2}(?:\/|$))[\w.~!$&'()*+,;=:@-]+)+\/?$/.test(path)) return path
  throw new PathError(`path ${JSON.stringify(path.slice(0, 120))} is not like /game or /eu/game`)
}

/**
 * Selects a subprotocol of those that a client offers: `firefly`, or else the first, because many clients accept only one of
 * theirs. It has no meaning. null = none was offered.
 */
export function selectSubprotocol(offered: Iterable<string>): string | null {
  const names = [...offered]
  return names.includes(SUBPROTOCOL) ? SUBPROTOCOL : (names[0] ?? null)
}

/** The names in the header Sec-WebSocket-Protocol; null = it violates RFC 6455. */
export function parseSubprotocols(header: string | null): readonly string[] | null {
  if (header === null) return []
  const names = header.split(',').map((name) => name.trim())
  const isValid = names.every((name) => /^[!#$%&'*+.^_`|~\w-]+$/.test(name)) && new Set(names).size === names.length
  return isValid ? names : null
}
