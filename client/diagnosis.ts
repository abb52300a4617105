// Why a WebSocket could not be opened. The platform reports code 1006 for every cause; a plain HTTP request to the same address
// shows it, as far as the platform lets a page see. Used for the first connection only, so a server that is down gets no
// additional requests from clients that reconnect.

export interface Diagnosis {
  readonly cause: string
  /** Another attempt would fail in the same way. */
  readonly isFinal: boolean
}

const REQUEST_MS = 2_000
const TLS_CODES = /SSL|TLS|EPROTO|WRONG_VERSION/
const CERTIFICATE_CODES = /CERT|SELF_SIGNED|UNABLE_TO_/
const NOT_HTTP_CODES = /^HPE|ECONNRESET|UND_ERR_SOCKET/

/** @param url of a WebSocket; null = it shows no cause */
export async function diagnoseWebSocket(url: string): Promise<Diagnosis | null> {
  const target = URL.canParse(url) ? new URL(url.replace(/^ws/, 'http')) : null
  if (!target) return null
  const { host, hostname, pathname, protocol, origin } = target
  const page = typeof location === 'undefined' ? null : location.origin
  try {
    // A page sees the status of its own server only; of another one whether it answers.
    const mode = page === null || page === origin ? 'cors' : 'no-cors'
    // The Fetch standard fails a 'no-cors' request that does not follow redirects.
    const redirect = mode === 'cors' ? 'manual' : 'follow'
    const response = await fetch(target, { mode, redirect, signal: AbortSignal.timeout(REQUEST_MS) })
    await response.body?.cancel()
    const { status } = response
    if (status === 426) return refused(`${host} is a Firefly server but refused this WebSocket`, page)
    if (status === 0) return refused(`${host} answers HTTP but no WebSocket at ${pathname}`, page)
    if (status >= 500) return { cause: `${host} answers HTTP ${status}`, isFinal: false }
    const cause = `${host} answers HTTP ${status} at ${pathname} instead of a WebSocket: wrong path (Firefly's is /ws by default) or not a Firefly server`
    return { cause, isFinal: true }
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ECONNREFUSED') return { cause: `nothing listens on ${host} (${code})`, isFinal: true }
    if (code === 'ENOTFOUND') return { cause: `the host ${hostname} is unknown (${code})`, isFinal: true }
    if (CERTIFICATE_CODES.test(code))
      return { cause: `the certificate of ${host} is not trusted (${code})`, isFinal: true }
    if (protocol === 'https:' && (TLS_CODES.test(code) || NOT_HTTP_CODES.test(code)))
      return { cause: `${host} does not use TLS, so its URL is ws://, not wss:// (${code})`, isFinal: true }
    if (NOT_HTTP_CODES.test(code))
      return { cause: `${host} is no HTTP server, or uses TLS: then its URL is wss:// (${code})`, isFinal: true }
    // A browser gives no code: port closed, unknown host, certificate, or no network.
    if (code === '' && page !== null)
      return { cause: `${host} cannot be reached: nothing listens there, or TLS fails`, isFinal: true }
    return code === '' ? null : { cause: `${host} cannot be reached (${code})`, isFinal: false }
  }
}

function refused(what: string, page: string | null): Diagnosis {
  const origin = page === null ? '' : `; its --origins may not allow this page (${page})`
  return { cause: `${what}${origin}`, isFinal: page !== null }
}

/** The code of a failed fetch on Node: of its cause, or of the first address that was tried. */
function codeOf(error: unknown): string {
  let code = ''
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; depth++) {
    if ('code' in at && typeof at.code === 'string') ({ code } = at as { code: string })
    else if (at.name === 'HTTPParserError') code = 'HPE'
    at = at instanceof AggregateError ? at.errors[0] : at.cause
  }
  return code
}
