// The edge Worker: players' sockets end here, in a gateway that knows no game. `/ws` is the door, anything else a
// static asset. Invariant: one gateway and one uplink a connection, because on Workers a socket, a timer and a
// fetch belong to the request that made them; only plain data (the door table) is shared by an isolate.

import { Hono } from 'hono'

import { WorkerClock, WorkerLog } from '../core/durable/clock.ts'
import { Door, type DoorTable } from '../core/run/door.ts'
import { DEFAULT_IDENTITY, type Identity } from '../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import { Census } from './census.ts'
import type { CipherFactory } from './cipher.ts'
import { Gateway, type Transport } from './gateway.ts'
import { originFilter, type OriginFilter } from './origin.ts'
import { Slab } from './outbox.ts'
import { ticketOptionsOf, Tickets, type TicketEnvironment } from './ticket.ts'
import type { Seal } from './token.ts'
import { Uplink } from './uplink.ts'

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
const DOOR_PAUSE_MS = 5_000

const clock = new WorkerClock()
const log = new WorkerLog()

/** What an isolate makes once: plain data, the same for every request. */
interface Kept {
  door: Door
  readonly seal: Seal
  readonly tickets: Tickets | null
  readonly allows: OriginFilter
  readonly slab: Slab
  readonly census: Census
}
const cache: { kept: Kept | null; askedMs: number } = { kept: null, askedMs: 0 }

/** The edge Worker of a game; the default export is that of one without options. */
export function edge(options: EdgeOptions = {}): ExportedHandler<EdgeEnv> {
  const app = new Hono<{ Bindings: EdgeEnv }>()
  app.get('/healthz', (c) => c.text('ok'))
  app.get('/ws', async (c) => {
    if (c.req.header('Upgrade')?.toLowerCase() !== 'websocket') return c.text('expected a WebSocket', 426)
    let kept: Kept
    try {
      kept = await keptOf(c.env)
    } catch (error) {
      log.error('the door could not be opened', { error: String(error) })
      return c.text('the core does not answer', 503)
    }
    const origin = c.req.header('Origin') ?? null
    if (!kept.allows(origin)) return c.text('this origin may not open a WebSocket here', 403)
    const { 0: client, 1: server } = new WebSocketPair()
    const address = c.req.header('CF-Connecting-IP') ?? ''
    endSocket(gatewayOf(c.env, kept, options), server, address)
    return new Response(null, { status: 101, webSocket: client })
  })
  app.all('*', async (c) => (await c.env.ASSETS?.fetch(c.req.raw)) ?? c.text('not found', 404))
  return {
    fetch: app.fetch,
    /** Inbound TCP, which a Worker gets only through another Worker's service binding so far. */
    async connect(socket, env) {
      await endStream(gatewayOf(env, await keptOf(env), options), socket)
    },
  }
}
export default edge()

function gatewayOf(env: EdgeEnv, kept: Kept, { cipher }: EdgeOptions): Gateway {
  const link = new Uplink({
    shards: env.SHARD,
    clock,
    log,
    door: () => gateway.door,
    onDoorVersion: (version) => void refreshDoor(env, gateway, kept, version),
  })
  const { door, seal, tickets, slab, census } = kept
  const identity = identityOf(env)
  const limits = DEFAULT_LIMITS
  const given = { door, link, clock, log, identity, limits, slab, seal, tickets, census }
  const gateway = new Gateway({ ...given, cipher: cipher ?? null, lingers: false })
  return gateway
}

async function keptOf(env: EdgeEnv): Promise<Kept> {
  if (cache.kept) return cache.kept
  const options = ticketOptionsOf(env)
  const tickets = options && new Tickets(options, clock)
  const allows = originFilter(env.FIREFLY_ORIGINS ?? '')
  const [door, seal] = await Promise.all([askDoor(env), askSeal(env)])
  cache.kept ??= { door, seal, tickets, allows, slab: new Slab(), census: new Census(DEFAULT_LIMITS) }
  return cache.kept
}

function ask(env: EdgeEnv, path: string): Promise<Response> {
  return env.SHARD.get(env.SHARD.idFromName('@door')).fetch(`http://shard${path}`)
}

async function askDoor(env: EdgeEnv): Promise<Door> {
  cache.askedMs = clock.now()
  const response = await ask(env, '/door')
  if (!response.ok) throw new Error(`the door table is answered with ${response.status}`)
  return new Door((await response.json()) as DoorTable)
}

/** Every edge signs with the secret that the core has made and keeps. */
async function askSeal(env: EdgeEnv): Promise<Seal> {
  const response = await ask(env, '/secret')
  if (!response.ok) throw new Error(`the secret is answered with ${response.status}`)
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', await response.arrayBuffer(), algorithm, false, ['sign'])
  return {
    sign: async (bytes) =>
      new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes as Uint8Array<ArrayBuffer>)),
  }
}

/** The core speaks of another table: a newer one as a rule, or an older one while a deploy is under way. */
async function refreshDoor(env: EdgeEnv, gateway: Gateway, kept: Kept, version: string): Promise<void> {
  try {
    if (kept.door.version !== version && clock.now() - cache.askedMs >= DOOR_PAUSE_MS) {
      kept.door = await askDoor(env)
      log.info('the door table is new', { version: kept.door.version })
    }
    gateway.door = kept.door
  } catch (error) {
    log.warn('the door table could not be read again', { error: String(error) })
  }
}

function endSocket(gateway: Gateway, socket: WebSocket, address: string): void {
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
  const ended = (leaves: boolean): void => {
    connection.ended(leaves)
    gateway.shutdown()
  }
  socket.addEventListener('message', ({ data }) => {
    if (data instanceof ArrayBuffer) connection.receive(new Uint8Array(data))
    else connection.close('TEXT_MESSAGE', 'a text message')
  })
  socket.addEventListener('close', ({ code }) => ended(code === 1000 || code === 1001))
  socket.addEventListener('error', () => ended(false))
}

async function endStream(gateway: Gateway, socket: Socket): Promise<void> {
  const writer = (socket.writable as WritableStream<Uint8Array>).getWriter()
  let bufferedBytes = 0
  const hangUp = (): void => void socket.close().catch(() => {})
  const transport: Transport = {
    kind: 'tcp',
    remote: '',
    address: '',
    get bufferedBytes() {
      return bufferedBytes
    },
    write(bytes) {
      bufferedBytes += bytes.length
      const written = (): number => (bufferedBytes -= bytes.length)
      writer.write(bytes).then(written, written)
    },
    close() {
      writer.close().then(hangUp, hangUp)
    },
    abort(_code, reason) {
      writer.abort(reason).then(hangUp, hangUp)
    },
  }
  const connection = gateway.accept(transport)
  if (!connection) return
  try {
    for await (const chunk of socket.readable as ReadableStream<Uint8Array>) connection.receive(chunk)
  } catch {
    // The peer is gone.
  } finally {
    connection.ended(false)
    gateway.shutdown()
  }
}

/** @throws Error for a variable that is no identity: better no door than a wrong one */
function identityOf(env: EdgeEnv): Identity {
  const head = env.FIREFLY_HEAD ? env.FIREFLY_HEAD.split(',').map(Number) : DEFAULT_IDENTITY.head
  const [a, b, c, d] = head
  const protoVersion = Number(env.FIREFLY_PROTOCOL_VERSION ?? DEFAULT_IDENTITY.protoVersion)
  const serverVersion = Number(env.FIREFLY_SERVER_VERSION ?? DEFAULT_IDENTITY.serverVersion)
  if (a === undefined || b === undefined || c === undefined || d === undefined || head.length !== 4) {
    throw new Error(`FIREFLY_HEAD ${JSON.stringify(env.FIREFLY_HEAD)} is not four bytes like 78,37,38,48`)
  }
  for (const byte of [...head, protoVersion]) check('a byte', byte, 255)
  check('FIREFLY_SERVER_VERSION', serverVersion, 4_294_967_295)
  return { head: [a, b, c, d], protoVersion, serverVersion }
}

function check(what: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 0 || value > most)
    throw new Error(`${what}: ${value} is not in 0..${most}`)
}
