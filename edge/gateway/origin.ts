// The list of web pages that may open a WebSocket. Browsers let any page connect to any address, but send the page's
// origin; pages whose origin is not in the list are rejected. Native clients send no origin and are accepted.

/** Returns true when a page of this origin, as a browser sends it, may connect; null = the request has none. */
export type OriginFilter = (origin: string | null) => boolean

/** An invalid entry of a list of origins; the message contains it and valid examples. */
export class OriginError extends Error {
  override readonly name = 'OriginError'
}

/** `scheme://host` or `scheme://host:port`; the host may begin with `*.`. */
const ORIGIN_PATTERN = /^([a-z][a-z0-9+.-]*):\/\/(\*\.)?(\[[0-9a-f:]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::(\d{1,5}))?$/
const SUBDOMAIN_PATTERN = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/
/** Browsers omit these. */
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443', ws: '80', wss: '443' }

interface OriginWildcard {
  readonly prefix: string
  readonly suffix: string
}

/**
 * The filter of a list such as `https://game.example,https://*.game.example`: `*.` matches one or more labels. An empty
 * list and `*` accept all; pages from a file or a sandboxed frame send the origin `null`.
 * @throws OriginError
 */
export function originFilter(list: string): OriginFilter {
  const entries = list.split(',').map((entry) => entry.trim().toLowerCase())
  if (list.trim() === '' || entries.includes('*')) return () => true
  const exact = new Set<string>()
  const wildcards: OriginWildcard[] = []
  for (const entry of entries) {
    if (entry === 'null') exact.add(entry)
    else addOrigin(entry, exact, wildcards)
  }
  return (origin) => {
    if (origin === null) return true
    const name = origin.toLowerCase()
    return exact.has(name) || wildcards.some((wildcard) => matchesWildcard(name, wildcard))
  }
}

function addOrigin(entry: string, exact: Set<string>, wildcards: OriginWildcard[]): void {
  const [, scheme, wildcardMark, host, digits] = ORIGIN_PATTERN.exec(entry) ?? []
  if (scheme === undefined || host === undefined || Number(digits ?? 0) > 65_535)
    throw new OriginError(
      `origin ${JSON.stringify(entry.slice(0, 120))} is not like https://game.example, https://*.game.example or http://localhost:8080`,
    )
  const port = digits === undefined || digits === DEFAULT_PORTS[scheme] ? '' : `:${digits}`
  if (wildcardMark === undefined) exact.add(`${scheme}://${host}${port}`)
  else wildcards.push({ prefix: `${scheme}://`, suffix: `.${host}${port}` })
}

function matchesWildcard(name: string, { prefix, suffix }: OriginWildcard): boolean {
  if (!name.startsWith(prefix) || !name.endsWith(suffix)) return false
  return SUBDOMAIN_PATTERN.test(name.slice(prefix.length, -suffix.length))
}
