// The edge Worker: players' sockets end here, in a gateway that knows no game. `/ws` is the door, anything else a
// static asset. Invariant: one gateway and one uplink a connection, because on Workers a socket, a timer and a
// fetch belong to the request that made them; only plain data (the door table) is shared by an isolate.

import { Hono } from 'hono'

import { WorkerClock, WorkerLog } from '../core/durable/clock.ts'
import { Door, type DoorTable } from '../core/run/door.ts'
import { DEFAULT_IDENTITY, type Identity } from '../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import { Bindings } from './bindings.ts'
import { Gateway, type Transport } from './gateway.ts'
import { Slab } from './outbox.ts'
import { Uplink } from './uplink.ts'

export interface EdgeEnv {
  readonly SHARD: DurableObjectNamespace
  readonly ASSETS?: Fetcher
  /** The game's frame identity: "78,37,38,48". */
  readonly FIREFLY_HEAD?: string
  readonly FIREFLY_PROTOCOL_VERSION?: string
  readonly FIREFLY_SERVER_VERSION?: string
}

/** A table is not asked for more often, however many versions the objects of a half-deployed core tell. */
const DOOR_PAUSE_MS = 5_000

const clock = new WorkerClock()
const log = new WorkerLog()
/** The isolate's copy of the core's door table: plain data, the same for every request. */
const cache: { door: Door | null; askedMs: number; slab: Slab | null; bindings: Bindings | null } = {
  door: null,
  askedMs: 0,
  slab: null,
  bindings: null,
}

const app = new Hono<{ Bindings: EdgeEnv }>()

app.get('/healthz', (c) => c.text('ok'))

app.get('/ws', async (c) => {
  if (c.req.header('Upgrade')?.toLowerCase() !== 'websocket') return c.text('expected a WebSocket', 426)
  const { 0: client, 1: server } = new WebSocketPair()
  try {
    const gateway = await gatewayFor(c.env)
    endSocket(gateway, server, c.req.header('CF-Connecting-IP') ?? '')
  } catch (error) {
    log.error('the core does not answer', { error: String(error) })
    return c.text('the core does not answer', 503)
  }
  return new Response(null, { status: 101, webSocket: client })
})

app.all('*', async (c) => (await c.env.ASSETS?.fetch(c.req.raw)) ?? c.text('not found', 404))

const worker: ExportedHandler<EdgeEnv> = {
  fetch: app.fetch,
  /** Inbound TCP, which a Worker gets only through another Worker's service binding so far. */
  async connect(socket, env) {
    await endStream(await gatewayFor(env), socket)
  },
}
export default worker

async function gatewayFor(env: EdgeEnv): Promise<Gateway> {
  cache.door ??= await askDoor(env)
  const link = new Uplink({
    shards: env.SHARD,
    clock,
    log,
    door: () => gateway.door,
    onDoorVersion: (version) => void refreshDoor(env, gateway, version),
  })
  cache.slab ??= new Slab()
  cache.bindings ??= new Bindings(clock, DEFAULT_LIMITS.maxConnections)
  const { door, slab, bindings } = cache
  const gateway = new Gateway({
    door,
    link,
    clock,
    log,
    identity: identityOf(env),
    bindings,
    limits: DEFAULT_LIMITS,
    slab,
  })
  return gateway
}

async function askDoor(env: EdgeEnv): Promise<Door> {
  cache.askedMs = clock.now()
  const stub = env.SHARD.get(env.SHARD.idFromName('@door'))
  const response = await stub.fetch('http://shard/door')
  if (!response.ok) throw new Error(`the door table is answered with ${response.status}`)
  return new Door((await response.json()) as DoorTable)
}

/** The core speaks of another table: a newer one as a rule, or an older one while a deploy is under way. */
async function refreshDoor(env: EdgeEnv, gateway: Gateway, version: string): Promise<void> {
  try {
    if (cache.door?.version !== version && clock.now() - cache.askedMs >= DOOR_PAUSE_MS) {
      cache.door = await askDoor(env)
      log.info('the door table is new', { version: cache.door.version })
    }
    if (cache.door) gateway.door = cache.door
  } catch (error) {
    log.warn('the door table could not be read again', { error: String(error) })
  }
}

function endSocket(gateway: Gateway, socket: WebSocket, remote: string): void {
  socket.binaryType = 'arraybuffer'
  socket.accept()
  const transport: Transport = {
    kind: 'ws',
    remote,
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
  const ended = (): void => {
    connection.ended()
    gateway.shutdown()
  }
  socket.addEventListener('message', ({ data }) => {
    if (data instanceof ArrayBuffer) connection.receive(new Uint8Array(data))
    else connection.close('TEXT_MESSAGE', 'a text message')
  })
  socket.addEventListener('close', ended)
  socket.addEventListener('error', ended)
}

async function endStream(gateway: Gateway, socket: Socket): Promise<void> {
  const writer = (socket.writable as WritableStream<Uint8Array>).getWriter()
  let bufferedBytes = 0
  const hangUp = (): void => void socket.close().catch(() => {})
  const transport: Transport = {
    kind: 'tcp',
    remote: '',
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
    connection.ended()
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
