// The edge Worker: terminates client sockets in a game-agnostic gateway. Its paths are the WebSocket, `/healthz`, and static
// assets. Invariant: one gateway and one link per connection, because on Workers a socket, a timer and a fetch belong to the
// request that created them; requests share only plain data.

import { Hono } from 'hono/tiny'
import { getPath } from 'hono/utils/url'

import { ISOLATE_BUDGET } from '../../core/durable/budget.ts'
import { WorkerClock, WorkerLog } from '../../core/durable/clock.ts'
import { RoutingTable, type RoutingTableData } from '../../core/game/routing.ts'
import type { CipherFactory } from '../../core/wire/cipher.ts'
import { DEFAULT_FRAME_IDENTITY, parseFrameHead, type FrameIdentity } from '../../core/wire/frame.ts'
import type { Limits } from '../../core/wire/limits.ts'
import { canonicalAddress } from '../gateway/address.ts'
import { ConnectionLimiter } from '../gateway/connectionlimiter.ts'
import { Gateway } from '../gateway/gateway.ts'
import { limitsOf, numberOptionsOf, timesOf } from '../gateway/limitoptions.ts'
import type { GatewayTimes } from '../gateway/context.ts'
import { originFilter, type OriginFilter } from '../gateway/origin.ts'
import { ticketOptionsOf, TicketVerifier, type TicketEnvironment } from '../gateway/ticket.ts'
import type { TokenSigner } from '../gateway/token.ts'
import { parseSubprotocols, selectSubprotocol, WebPaths } from '../gateway/webpaths.ts'
import { UnreadBudget } from '../gateway/unreadbudget.ts'
import { Slab } from '../gateway/writebuffer.ts'
import { ShardSocket, type ShardSocketContext } from './shardsocket.ts'
import { serveTcpStream, serveWebSocket } from './transport.ts'

/** Bindings of the edge Worker. */
export interface EdgeEnv extends TicketEnvironment {
  /** The objects that run the shards. */
  readonly SHARD: DurableObjectNamespace
  /** The game's page. Default: none. */
  readonly ASSETS?: Fetcher
  /** HEAD_0..HEAD_3 of the game's frames: "78,37,38,48". Default: zeros. */
  readonly FIREFLY_HEAD?: string
  /** The identity field protoVersion of frames. Default 0. */
  readonly FIREFLY_PROTOCOL_VERSION?: string
  /** The identity field serverVersion of frames. Default 0. */
  readonly FIREFLY_SERVER_VERSION?: string
  /** Pages that may open a WebSocket: "https://game.example,https://*.game.example". Default: all. */
  readonly FIREFLY_ORIGINS?: string
  /** Prefix of all paths, such as "/game", and another path of the WebSocket in addition to "/ws". Default: none. */
  readonly FIREFLY_BASE_PATH?: string
  /** Another path of the WebSocket in addition to "/ws". Default: none. */
  readonly FIREFLY_WS_PATH?: string
  /** Limits of the gateway are variables with the names of edge/gateway/limitoptions.ts: FIREFLY_MAX_MESSAGE, … */
  readonly FIREFLY_MAX_MESSAGE?: string
}

/** Options of `edge`. */
export interface EdgeOptions {
  /** For games whose clients encrypt bodies themselves. */
  readonly cipher?: CipherFactory
}

/** Minimum interval of requests for the routing table, while objects of a half-deployed core report different versions. */
const ROUTING_REFRESH_MS = 5_000

const clock = new WorkerClock()
const log = new WorkerLog()

/** Created once per isolate; shared by all its requests. */
interface IsolateState {
  routingTable: RoutingTable
  readonly tokenSigner: TokenSigner
  readonly ticketVerifier: TicketVerifier | null
  readonly isOriginAllowed: OriginFilter
  readonly slab: Slab
  readonly unreadBudget: UnreadBudget
  readonly limits: Limits
  readonly times: Partial<GatewayTimes>
  readonly connectionLimiter: ConnectionLimiter
}
const isolate: { state: IsolateState | null; routingFetchedMs: number; paths: WebPaths | null } = {
  state: null,
  routingFetchedMs: 0,
  paths: null,
}

/** The edge Worker of a game; the default export is the one without options. */
export function edge(options: EdgeOptions = {}): ExportedHandler<EdgeEnv> {
  const app = new Hono<{ Bindings: EdgeEnv }>({
    getPath: (request, init) => pathsOf(init!.env as EdgeEnv).localPath(getPath(request)),
  })
  app.get('/healthz', (c) => c.json({ status: 'ok', host: 'cloudflare' }))
  app.all('*', async (c) => {
    const paths = pathsOf(c.env)
    const { raw } = c.req
    const path = getPath(raw)
    if (paths.isWebSocket(path)) return upgradeToGame(raw, c.env, options)
    const redirect = paths.redirectOf(path)
    if (redirect !== null) return c.redirect(redirect + new URL(raw.url).search, 308)
    const asset = new URL(raw.url)
    asset.pathname = paths.localPath(path)
    return (await c.env.ASSETS?.fetch(new Request(asset, raw))) ?? c.text('not found', 404)
  })
  return {
    fetch: app.fetch,
    /** Inbound TCP, which reaches a Worker only through the service binding of another Worker. */
    async connect(socket, env) {
      await serveTcpStream(gatewayOf(env, await isolateState(env), options), socket)
    },
  }
}
/** The edge of a game whose clients do not encrypt bodies. */
export default edge()

function pathsOf(env: EdgeEnv): WebPaths {
  return (isolate.paths ??= new WebPaths(env.FIREFLY_BASE_PATH, env.FIREFLY_WS_PATH))
}

/** Answers a request for the path of the WebSocket. */
async function upgradeToGame({ method, headers }: Request, env: EdgeEnv, options: EdgeOptions): Promise<Response> {
  if (method !== 'GET' || headers.get('Upgrade')?.toLowerCase() !== 'websocket')
    return new Response('expected a WebSocket', { status: 426, headers: { Upgrade: 'websocket' } })
  const offered = parseSubprotocols(headers.get('Sec-WebSocket-Protocol'))
  if (!offered) return new Response('Sec-WebSocket-Protocol is not a list of different names', { status: 400 })
  let state: IsolateState
  try {
    state = await isolateState(env)
  } catch (error) {
    log.error('the gateway could not be created', { error })
    return new Response('the core does not answer', { status: 503 })
  }
  if (!state.isOriginAllowed(headers.get('Origin')))
    return new Response('this origin may not open a WebSocket', { status: 403 })
  const { 0: client, 1: server } = new WebSocketPair()
  serveWebSocket(gatewayOf(env, state, options), server, canonicalAddress(headers.get('CF-Connecting-IP')))
  const subprotocol = selectSubprotocol(offered)
  const selected = subprotocol === null ? {} : { headers: { 'Sec-WebSocket-Protocol': subprotocol } }
  return new Response(null, { status: 101, webSocket: client, ...selected })
}

function gatewayOf(env: EdgeEnv, state: IsolateState, options: EdgeOptions): Gateway {
  const context: ShardSocketContext = {
    shards: env.SHARD,
    clock,
    log,
    routingTable: () => gateway.routingTable,
    onRoutingTableVersion: (version) => void refreshRoutingTable(env, gateway, state, version),
  }
  const gateway = new Gateway({
    ...state,
    link: { open: (request, out) => new ShardSocket(context, request, out) },
    clock,
    log,
    frameIdentity: frameIdentityOf(env),
    cipher: options.cipher ?? null,
    canReserveForResume: false,
  })
  return gateway
}

async function isolateState(env: EdgeEnv): Promise<IsolateState> {
  if (isolate.state) return isolate.state
  const options = ticketOptionsOf(env)
  const ticketVerifier = options && new TicketVerifier(options, clock)
  const isOriginAllowed = originFilter(env.FIREFLY_ORIGINS ?? '')
  const numbers = numberOptionsOf(env)
  const limits = limitsOf({ maxTotalUnreadBytes: ISOLATE_BUDGET.outboundBytes, ...numbers })
  const [routingTable, tokenSigner] = await Promise.all([fetchRoutingTable(env), fetchTokenSigner(env)])
  isolate.state ??= {
    routingTable,
    tokenSigner,
    ticketVerifier,
    isOriginAllowed,
    slab: new Slab(),
    unreadBudget: new UnreadBudget(limits.maxTotalUnreadBytes),
    limits,
    times: timesOf(numbers),
    connectionLimiter: new ConnectionLimiter(limits),
  }
  return isolate.state
}

async function fetchFromCore(env: EdgeEnv, path: string): Promise<Response> {
  const response = await env.SHARD.get(env.SHARD.idFromName('@door')).fetch(`http://shard${path}`)
  if (response.ok) return response
  throw new Error(`the core answered ${path} with ${response.status}`)
}

async function fetchRoutingTable(env: EdgeEnv): Promise<RoutingTable> {
  isolate.routingFetchedMs = clock.mono()
  return new RoutingTable(await (await fetchFromCore(env, '/door')).json<RoutingTableData>())
}

/** Every edge signs with the secret that the core created and stores. */
async function fetchTokenSigner(env: EdgeEnv): Promise<TokenSigner> {
  const response = await fetchFromCore(env, '/secret')
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', await response.arrayBuffer(), algorithm, false, ['sign'])
  return {
    sign: async (bytes) => new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes as Uint8Array<ArrayBuffer>)),
  }
}

/** `version`: the one that the core reported; usually newer, but older ones occur during a deploy. */
async function refreshRoutingTable(
  env: EdgeEnv,
  gateway: Gateway,
  state: IsolateState,
  version: string,
): Promise<void> {
  try {
    const isRecent = clock.mono() - isolate.routingFetchedMs < ROUTING_REFRESH_MS
    if (state.routingTable.version !== version && !isRecent) {
      state.routingTable = await fetchRoutingTable(env)
      log.info('the routing table was updated', { version: state.routingTable.version })
    }
    gateway.updateRoutingTable(state.routingTable)
  } catch (error) {
    log.warn('the routing table could not be fetched', { error })
  }
}

/** @throws Error for an invalid variable */
function frameIdentityOf(env: EdgeEnv): FrameIdentity {
  const { FIREFLY_HEAD, FIREFLY_PROTOCOL_VERSION, FIREFLY_SERVER_VERSION } = env
  const head = FIREFLY_HEAD ? parseFrameHead(FIREFLY_HEAD) : DEFAULT_FRAME_IDENTITY.head
  if (!head) throw new Error(`FIREFLY_HEAD ${JSON.stringify(FIREFLY_HEAD)} is not four bytes like 78,37,38,48`)
  return {
    head,
    protoVersion: integerOf('FIREFLY_PROTOCOL_VERSION', FIREFLY_PROTOCOL_VERSION, 255),
    serverVersion: integerOf('FIREFLY_SERVER_VERSION', FIREFLY_SERVER_VERSION, 4_294_967_295),
  }
}

function integerOf(name: string, text: string | undefined, max: number): number {
  const value = Number(text ?? 0)
  if (Number.isInteger(value) && value >= 0 && value <= max) return value
  throw new Error(`${name} ${JSON.stringify(text)} is not a whole number from 0 to ${max}`)
}
