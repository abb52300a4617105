// The edge Worker: terminates client sockets in a game-agnostic gateway. `/ws` is the WebSocket, every other path a static
// asset. Invariant: one gateway and one link per connection, because on Workers a socket, a timer and a fetch belong to the
// request that created them; requests share only plain data.

import { Hono } from 'hono/tiny'

import { WorkerClock, WorkerLog } from '../../core/durable/clock.ts'
import { RoutingTable, type RoutingTableData } from '../../core/game/routing.ts'
import type { CipherFactory } from '../../core/wire/cipher.ts'
import { DEFAULT_FRAME_IDENTITY, parseFrameHead, type FrameIdentity } from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import { canonicalAddress } from '../gateway/address.ts'
import { ConnectionLimiter } from '../gateway/connectionlimiter.ts'
import { Gateway } from '../gateway/gateway.ts'
import { originFilter, type OriginFilter } from '../gateway/origin.ts'
import { ticketOptionsOf, TicketVerifier, type TicketEnvironment } from '../gateway/ticket.ts'
import type { TokenSigner } from '../gateway/token.ts'
import { Slab } from '../gateway/writebuffer.ts'
import { ShardSocket, type ShardSocketContext } from './shardsocket.ts'
import { serveTcpStream, serveWebSocket } from './transport.ts'

export interface EdgeEnv extends TicketEnvironment {
  readonly SHARD: DurableObjectNamespace
  readonly ASSETS?: Fetcher
  /** HEAD_0..HEAD_3 of the game's frames: "78,37,38,48". Default: zeros. */
  readonly FIREFLY_HEAD?: string
  readonly FIREFLY_PROTOCOL_VERSION?: string
  readonly FIREFLY_SERVER_VERSION?: string
  /** Pages that may open a WebSocket: "https://game.example,https://*.game.example". Default: all. */
  readonly FIREFLY_ORIGINS?: string
}

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
  readonly connectionLimiter: ConnectionLimiter
}
const isolate: { state: IsolateState | null; routingFetchedMs: number } = { state: null, routingFetchedMs: 0 }

/** The edge Worker of a game; the default export is the one without options. */
export function edge(options: EdgeOptions = {}): ExportedHandler<EdgeEnv> {
  const app = new Hono<{ Bindings: EdgeEnv }>()
  app.get('/healthz', (c) => c.json({ status: 'ok', host: 'cloudflare' }))
  app.get('/ws', async (c) => {
    if (c.req.header('Upgrade')?.toLowerCase() !== 'websocket') return c.text('expected a WebSocket', 426)
    let state: IsolateState
    try {
      state = await isolateState(c.env)
    } catch (error) {
      log.error('the gateway could not be created', { error: String(error) })
      return c.text('the core does not answer', 503)
    }
    const origin = c.req.header('Origin') ?? null
    if (!state.isOriginAllowed(origin)) return c.text('this origin may not open a WebSocket', 403)
    const { 0: client, 1: server } = new WebSocketPair()
    const address = canonicalAddress(c.req.header('CF-Connecting-IP'))
    serveWebSocket(gatewayOf(c.env, state, options), server, address)
    return new Response(null, { status: 101, webSocket: client })
  })
  app.all('*', async (c) => (await c.env.ASSETS?.fetch(c.req.raw)) ?? c.text('not found', 404))
  return {
    fetch: app.fetch,
    /** Inbound TCP, which reaches a Worker only through the service binding of another Worker. */
    async connect(socket, env) {
      await serveTcpStream(gatewayOf(env, await isolateState(env), options), socket)
    },
  }
}
export default edge()

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
    limits: DEFAULT_LIMITS,
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
  const [routingTable, tokenSigner] = await Promise.all([fetchRoutingTable(env), fetchTokenSigner(env)])
  isolate.state ??= {
    routingTable,
    tokenSigner,
    ticketVerifier,
    isOriginAllowed,
    slab: new Slab(),
    connectionLimiter: new ConnectionLimiter(DEFAULT_LIMITS),
  }
  return isolate.state
}

async function fetchFromCore(env: EdgeEnv, path: string): Promise<Response> {
  const response = await env.SHARD.get(env.SHARD.idFromName('@door')).fetch(`http://shard${path}`)
  if (response.ok) return response
  throw new Error(`the core answered ${path} with ${response.status}`)
}

async function fetchRoutingTable(env: EdgeEnv): Promise<RoutingTable> {
  isolate.routingFetchedMs = clock.now()
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
    const isRecent = clock.now() - isolate.routingFetchedMs < ROUTING_REFRESH_MS
    if (state.routingTable.version !== version && !isRecent) {
      state.routingTable = await fetchRoutingTable(env)
      log.info('the routing table was updated', { version: state.routingTable.version })
    }
    gateway.updateRoutingTable(state.routingTable)
  } catch (error) {
    log.warn('the routing table could not be fetched', { error: String(error) })
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
