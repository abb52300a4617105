// The edge Worker: players' sockets end here, in a gateway that knows no game. `/ws` is the door, anything else a
// static asset. Invariant: one gateway and one uplink a connection, because on Workers a socket, a timer and a
// fetch belong to the request that made them; only plain data (the door table) is shared by an isolate.

import { Hono } from 'hono'

import { WorkerClock, WorkerLog } from '../../core/durable/clock.ts'
import { RoutingTable, type RoutingTableData } from '../../core/game/routing.ts'
import { DEFAULT_FRAME_IDENTITY, type FrameIdentity } from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import { ConnectionLimiter } from '../gateway/connectionlimiter.ts'
import type { CipherFactory } from '../../core/wire/cipher.ts'
import { Gateway, type Transport } from '../gateway/gateway.ts'
import { originFilter, type OriginFilter } from '../gateway/origin.ts'
import { Slab } from '../gateway/writebuffer.ts'
import { ticketOptionsOf, TicketVerifier, type TicketEnvironment } from '../gateway/ticket.ts'
import type { TokenSigner } from '../gateway/token.ts'
import { DurableObjectLink } from './link.ts'

export interface EdgeEnv extends TicketEnvironment {
  readonly SHARD: DurableObjectNamespace
  readonly ASSETS?: Fetcher
  /** The game's frame identity: "78,37,38,48". */
  readonly FIREFLY_HEAD?: string
  readonly FIREFLY_PROTOCOL_VERSION?: string
  readonly FIREFLY_SERVER_VERSION?: string
  /** Whose pages may open a WebSocket: "https://game.example,https://*.game.example"; all without it. */
  readonly FIREFLY_ORIGINS?: string
}

export interface EdgeOptions {
  /** For games whose clients encrypt bodies themselves. */
  readonly cipher?: CipherFactory
}

/** A table is not asked for more often, however many versions the objects of a half-deployed core tell. */
const ROUTING_REFRESH_MS = 5_000

const clock = new WorkerClock()
const log = new WorkerLog()

/** What an isolate makes once: plain data, the same for every request. */
interface IsolateState {
  routingTable: RoutingTable
  readonly tokenSigner: TokenSigner
  readonly ticketVerifier: TicketVerifier | null
  readonly isOriginAllowed: OriginFilter
  readonly slab: Slab
  readonly connectionLimiter: ConnectionLimiter
}
const isolate: { kept: IsolateState | null; askedMs: number } = { kept: null, askedMs: 0 }

/** The edge Worker of a game; the default export is that of one without options. */
export function edge(options: EdgeOptions = {}): ExportedHandler<EdgeEnv> {
  const app = new Hono<{ Bindings: EdgeEnv }>()
  app.get('/healthz', (c) => c.text('ok'))
  app.get('/ws', async (c) => {
    if (c.req.header('Upgrade')?.toLowerCase() !== 'websocket') return c.text('expected a WebSocket', 426)
    let state: IsolateState
    try {
      state = await isolateState(c.env)
    } catch (error) {
      log.error('the door could not be opened', { error: String(error) })
      return c.text('the core does not answer', 503)
    }
    const origin = c.req.header('Origin') ?? null
    if (!state.isOriginAllowed(origin)) return c.text('this origin may not open a WebSocket here', 403)
    const { 0: client, 1: server } = new WebSocketPair()
    const address = c.req.header('CF-Connecting-IP') ?? ''
    serveWebSocket(gatewayOf(c.env, state, options), server, address)
    return new Response(null, { status: 101, webSocket: client })
  })
  app.all('*', async (c) => (await c.env.ASSETS?.fetch(c.req.raw)) ?? c.text('not found', 404))
  return {
    fetch: app.fetch,
    /** Inbound TCP, which a Worker gets only through another Worker's service binding so far. */
    async connect(socket, env) {
      await serveTcpStream(gatewayOf(env, await isolateState(env), options), socket)
    },
  }
}
export default edge()

function gatewayOf(env: EdgeEnv, state: IsolateState, { cipher }: EdgeOptions): Gateway {
  const link = new DurableObjectLink({
    shards: env.SHARD,
    clock,
    log,
    routingTable: () => gateway.routingTable,
    onRoutingTableVersion: (version) => void refreshRoutingTable(env, gateway, state, version),
  })
  const { routingTable, tokenSigner, ticketVerifier, slab, connectionLimiter } = state
  const frameIdentity = frameIdentityOf(env)
  const limits = DEFAULT_LIMITS
  const shared = {
    routingTable,
    link,
    clock,
    log,
    frameIdentity,
    limits,
    slab,
    tokenSigner,
    ticketVerifier,
    connectionLimiter,
  }
  const gateway = new Gateway({ ...shared, cipher: cipher ?? null, canReserveForResume: false })
  return gateway
}

async function isolateState(env: EdgeEnv): Promise<IsolateState> {
  if (isolate.kept) return isolate.kept
  const options = ticketOptionsOf(env)
  const tickets = options && new TicketVerifier(options, clock)
  const isOriginAllowed = originFilter(env.FIREFLY_ORIGINS ?? '')
  const [door, seal] = await Promise.all([fetchRoutingTable(env), fetchTokenSigner(env)])
  isolate.kept ??= {
    routingTable: door,
    tokenSigner: seal,
    ticketVerifier: tickets,
    isOriginAllowed,
    slab: new Slab(),
    connectionLimiter: new ConnectionLimiter(DEFAULT_LIMITS),
  }
  return isolate.kept
}

function fetchFromCore(env: EdgeEnv, path: string): Promise<Response> {
  return env.SHARD.get(env.SHARD.idFromName('@door')).fetch(`http://shard${path}`)
}

async function fetchRoutingTable(env: EdgeEnv): Promise<RoutingTable> {
  isolate.askedMs = clock.now()
  const response = await fetchFromCore(env, '/door')
  if (!response.ok) throw new Error(`the door table is answered with ${response.status}`)
  return new RoutingTable((await response.json()) as RoutingTableData)
}

/** Every edge signs with the secret that the core has made and keeps. */
async function fetchTokenSigner(env: EdgeEnv): Promise<TokenSigner> {
  const response = await fetchFromCore(env, '/secret')
  if (!response.ok) throw new Error(`the secret is answered with ${response.status}`)
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', await response.arrayBuffer(), algorithm, false, ['sign'])
  return {
    sign: async (bytes) =>
      new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes as Uint8Array<ArrayBuffer>)),
  }
}

/** The core speaks of another table: a newer one as a rule, or an older one while a deploy is under way. */
async function refreshRoutingTable(
  env: EdgeEnv,
  gateway: Gateway,
  state: IsolateState,
  version: string,
): Promise<void> {
  try {
    if (state.routingTable.version !== version && clock.now() - isolate.askedMs >= ROUTING_REFRESH_MS) {
      state.routingTable = await fetchRoutingTable(env)
      log.info('the door table is new', { version: state.routingTable.version })
    }
    gateway.routingTable = state.routingTable
  } catch (error) {
    log.warn('the door table could not be read again', { error: String(error) })
  }
}

function serveWebSocket(gateway: Gateway, socket: WebSocket, address: string): void {
  socket.binaryType = 'arraybuffer'
  socket.accept()
  const transport: Transport = {
    kind: 'ws',
    remote: address,
    address,
    get bufferedBytes() {
      return socket.bufferedAmount
    },
    write(bytes) {
      try {
        socket.send(bytes)
      } catch {
        // Closing; its close event is on the way.
      }
    },
    close(code, reason) {
      try {
        socket.close(code, reason)
      } catch {
        // Closed already.
      }
      gateway.shutdown()
    },
    abort(code, reason) {
      transport.close(code, reason)
    },
  }
  const connection = gateway.accept(transport)
  if (!connection) return
  const onClosed = (isClean: boolean): void => {
    connection.onTransportClosed(isClean)
    gateway.shutdown()
  }
  socket.addEventListener('message', ({ data }) => {
    if (data instanceof ArrayBuffer) connection.receive(new Uint8Array(data))
    else connection.closeConnection('TEXT_MESSAGE', 'a text message')
  })
  socket.addEventListener('close', ({ code }) => onClosed(code === 1000 || code === 1001))
  socket.addEventListener('error', () => onClosed(false))
}

async function serveTcpStream(gateway: Gateway, socket: Socket): Promise<void> {
  const writer = (socket.writable as WritableStream<Uint8Array>).getWriter()
  let bufferedBytes = 0
  const closeSocket = (): void => void socket.close().catch(() => {})
  const transport: Transport = {
    kind: 'tcp',
    remote: '',
    address: '',
    get bufferedBytes() {
      return bufferedBytes
    },
    write(bytes) {
      bufferedBytes += bytes.length
      const onWritten = (): number => (bufferedBytes -= bytes.length)
      writer.write(bytes).then(onWritten, onWritten)
    },
    close() {
      writer.close().then(closeSocket, closeSocket)
    },
    abort(_code, reason) {
      writer.abort(reason).then(closeSocket, closeSocket)
    },
  }
  const connection = gateway.accept(transport)
  if (!connection) return
  try {
    for await (const chunk of socket.readable as ReadableStream<Uint8Array>) connection.receive(chunk)
  } catch {
    // The peer is gone.
  } finally {
    connection.onTransportClosed(false)
    gateway.shutdown()
  }
}

/** @throws Error for a variable that is no identity: better no door than a wrong one */
function frameIdentityOf(env: EdgeEnv): FrameIdentity {
  const head = env.FIREFLY_HEAD ? env.FIREFLY_HEAD.split(',').map(Number) : DEFAULT_FRAME_IDENTITY.head
  const [a, b, c, d] = head
  const protoVersion = Number(env.FIREFLY_PROTOCOL_VERSION ?? DEFAULT_FRAME_IDENTITY.protoVersion)
  const serverVersion = Number(env.FIREFLY_SERVER_VERSION ?? DEFAULT_FRAME_IDENTITY.serverVersion)
  if (a === undefined || b === undefined || c === undefined || d === undefined || head.length !== 4) {
    throw new Error(`FIREFLY_HEAD ${JSON.stringify(env.FIREFLY_HEAD)} is not four bytes like 78,37,38,48`)
  }
  for (const byte of [...head, protoVersion]) checkRange('a byte', byte, 255)
  checkRange('FIREFLY_SERVER_VERSION', serverVersion, 4_294_967_295)
  return { head: [a, b, c, d], protoVersion, serverVersion }
}

function checkRange(what: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max)
    throw new Error(`${what}: ${value} is not in 0..${max}`)
}
