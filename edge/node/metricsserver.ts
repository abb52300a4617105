// Where `/metrics` is served: with the page, or on a port of its own that the players' network does not reach; to everyone
// who reaches it, or to those who know a token. Invariant: the answer never depends on how much of the token is right.

import { createAdaptorServer } from '@hono/node-server'
import { Hono, type Context } from 'hono'
import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { Registry } from 'prom-client'
import { DefinitionError } from '../../core/wire/errors.ts'
import { httpOptionsOf, limitResponses, type WebTimes } from './httplimits.ts'

/** Where `/metrics` is served, and to whom. */
export interface MetricsOptions {
  /** Port of its own, plain HTTP, 0 = any. Default: none, `/metrics` is on the port of the page. */
  readonly port?: number | null
  /** Address of that port. Default 127.0.0.1. */
  readonly host?: string
  /** `/metrics` requires `Authorization: Bearer TOKEN`, at least 16 characters. Default: none. */
  readonly token?: string
}

const MIN_TOKEN_CHARS = 16
/** Of the port of its own: more than all scrapers, and few enough to be no burden. */
const MAX_SCRAPERS = 64

/** @throws DefinitionError for a token that could be guessed */
export function checkMetricsToken(token: string): void {
  if (token === '' || token.length >= MIN_TOKEN_CHARS) return
  throw new DefinitionError(`the metrics token has ${token.length} characters, at least ${MIN_TOKEN_CHARS} are needed`)
}

/** Answers a request for the metrics; '' = to everyone. */
export function metricsHandler(registry: Registry, token: string): (c: Context) => Promise<Response> {
  const expected = digest(`Bearer ${token}`)
  let rendered: Promise<string> | null = null
  /** Requests of one pass of the event loop share the work: many scrapers at once cost players as little as one. */
  const render = (): Promise<string> => {
    if (rendered === null) setImmediate(() => (rendered = null))
    return (rendered ??= registry.metrics())
  }
  return async (c) => {
    if (token !== '' && !timingSafeEqual(expected, digest(c.req.header('authorization') ?? '')))
      return c.text('the metrics require a token', 401, { 'www-authenticate': 'Bearer' })
    return c.text(await render(), 200, { 'content-type': registry.contentType })
  }
}

/** The server of the port of its own. */
export function metricsServer(answer: (c: Context) => Promise<Response>, times: WebTimes): Server {
  const { fetch } = new Hono().get('/metrics', answer)
  const server = createAdaptorServer({ fetch, createServer, serverOptions: httpOptionsOf(times) }) as Server
  server.maxConnections = MAX_SCRAPERS
  limitResponses(server, times)
  return server
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
