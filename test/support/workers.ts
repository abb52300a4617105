// workerd on loopback, for tests and drills: edge and core as two scripts joined by `script_name`, run by wrangler's
// test harness without network. The entry exports `Shard` (with `abort()` for resets) and the edge's default.
// Invariant: it runs wrangler's production build of the sources that are deployed.

import { createTestHarness } from 'wrangler'

export interface WorkersOptions {
  /** A worker module: the edge as default export, the object class as `Shard`. */
  readonly entry: string
  /** Variables of the edge: FIREFLY_HEAD, … */
  readonly vars?: Readonly<Record<string, string>>
  /** Variables of the core: DATABASE_URL. */
  readonly coreVars?: Readonly<Record<string, string>>
}

export interface Workers extends AsyncDisposable {
  /** `ws://127.0.0.1:PORT/ws` */
  readonly url: string
  readonly http: string
  /** Resets one shard's object as the platform does: its memory is lost, its sockets break. */
  abortShard(contract: string, key: string): Promise<void>
  /** Removes the object from memory; its sockets hibernate or are closed. */
  evictShard(contract: string, key: string, sockets?: 'hibernate' | 'close'): Promise<void>
  /** The object's RPC stub, for the methods that the entry's class adds for tests. */
  stubOf<T>(contract: string, key: string): Promise<T>
  /** Rows of an object's SQLite. */
  queryShard(contract: string, key: string, statement: string): Promise<Record<string, unknown>[]>
  /** Log messages of both Workers so far. */
  logs(): string[]
  close(): Promise<void>
}

const COMPATIBILITY_DATE = '2026-11-01'
const CLASS = 'Shard'

export async function startWorkers({ entry, vars = {}, coreVars = {} }: WorkersOptions): Promise<Workers> {
  process.env['CLOUDFLARE_CF_FETCH_ENABLED'] ??= 'false'
  process.env['WRANGLER_SEND_METRICS'] ??= 'false'
  const harness = createTestHarness({
    workers: [
      {
        config: {
          name: 'edge',
          main: new URL('../../edge/worker/worker.ts', import.meta.url).pathname,
          compatibility_date: COMPATIBILITY_DATE,
          vars: { ...vars },
          durable_objects: { bindings: [{ name: 'SHARD', class_name: CLASS, script_name: 'core' }] },
        },
      },
      {
        config: {
          name: 'core',
          main: entry,
          compatibility_date: COMPATIBILITY_DATE,
          vars: { ...coreVars },
          durable_objects: { bindings: [{ name: 'SHARD', class_name: CLASS }] },
          exports: { [CLASS]: { type: 'durable-object', storage: 'sqlite' } },
        },
      },
    ],
  })
  const { url } = await harness.listen()
  const core = harness.getWorker<Record<string, unknown>>('core')
  const object = async <T>(contract: string, key: string): Promise<T> => {
    const SHARD = (await core.getEnv())['SHARD'] as Namespace
    return SHARD.get(SHARD.idFromName(`${contract}/${key}`)) as T
  }
  const close = (): Promise<void> => harness.close()
  return {
    url: `${url.href.replace(/^http/, 'ws')}ws`,
    http: url.href,
    // The call fails because it resets the object that runs it.
    abortShard: async (contract, key) => (await object<Resettable>(contract, key)).abort().catch(() => {}),
    stubOf: object,
    evictShard: (contract, key, webSockets = 'hibernate') =>
      core.evictDurableObject(CLASS, { name: `${contract}/${key}`, webSockets }),
    queryShard: async (contract, key, statement) => {
      const storage = await core.getDurableObjectStorage(CLASS, { name: `${contract}/${key}` })
      return (await storage.exec(statement)) as Record<string, unknown>[]
    },
    logs: () => harness.getLogs().map(({ message }) => message),
    close,
    [Symbol.asyncDispose]: close,
  }
}

interface Resettable {
  abort(): Promise<void>
}
interface Namespace {
  idFromName(name: string): unknown
  get(id: unknown): unknown
}
