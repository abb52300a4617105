// The faults of the Node drill: each starts a server, waits for the ordered point, and kills the server.

import { cpSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { DatabaseServer } from '../../support/databaseserver.ts'
import { ServerProcess } from '../../support/serverprocess.ts'
import { withDeadline } from '../../support/wait.ts'
import { FaultLoop, type FaultLoopOptions } from './faultloop.ts'
import { isSelfKill, type KillPoint, type Mutant, type ServerMessage, type ServerOrder } from './killpoints.ts'
import type { LateBatches } from './latebatches.ts'

export interface ServerKillsOptions extends FaultLoopOptions<KillPoint> {
  readonly mariadb: DatabaseServer
  readonly lateBatches: LateBatches
  readonly order: Pick<ServerOrder, 'http' | 'tcp' | 'critical' | 'mutant'>
  /** The folder of the run: the server's data and its log. */
  readonly folder: string
}

type Server = ServerProcess<ServerMessage>

const PROGRAM = new URL('server.ts', import.meta.url)
/** Node's default folder: without the cache, half of the start time of a server is compilation. */
const COMPILE_CACHE = join(tmpdir(), 'node-compile-cache')
/** How often a point is passed at most before the kill; logarithmic: 1..10 is as likely as 100..1,000. */
const MAX_PASSES: Readonly<Partial<Record<KillPoint, number>>> = {
  'before-takeover': 8,
  'after-takeover': 8,
  'before-store-commit': 4_000,
  'after-store-commit': 4_000,
  'before-flush': 100,
  'between-commit-and-answer': 100,
  'after-flush': 100,
  zombie: 100,
  'dropped-answer': 50,
  'before-mark': 40,
  'before-local-commit': 100,
}
/** From the start of the process, which listens about half way. */
const MAX_RANDOM_MS = 1_200
const MAX_UNAVAILABLE_MS = 400
const MAX_PAUSE_MS = 800
const MAX_AFTER_MS = 200
const DRAIN_MS = 30_000

export class ServerKills extends FaultLoop<KillPoint, ServerKillsOptions> {
  databasePauses = 0
  /** One at a time: the next server uses the ports and the folder of this one. */
  #server: Server | null = null
  /** Resolves when the server drops the answer of a COMMIT. */
  #dropped = Promise.withResolvers<void>()

  get dataFolder(): string {
    return join(this.options.folder, 'data')
  }

  /** Afterwards a server runs that nothing kills. */
  override async run(): Promise<void> {
    await super.run()
    const server = this.#start(null)
    await this.#waitForServer(server, server.ready, 'does not listen')
  }

  /** Drains the last server. */
  async drain(): Promise<void> {
    const { log } = this.options
    this.#server?.kill('SIGTERM')
    const end = this.#server && (await withDeadline(this.#server.ended, DRAIN_MS))
    if (end?.code !== 0) log.violations.add('server', `it did not drain: ${JSON.stringify(end)}`)
  }

  async close(): Promise<void> {
    this.#server?.kill()
    await this.#server?.ended
  }

  protected override async inject(point: KillPoint): Promise<void> {
    const { random, mariadb } = this.options
    const server = this.#start(point)
    if (isSelfKill(point)) return this.#waitForEnd(server, point)
    switch (point) {
      case 'random':
        await sleep(random.below(MAX_RANDOM_MS))
        break
      case 'dropped-answer':
        await this.#waitForServer(server, this.#dropped.promise, 'dropped no answer')
        this.droppedAnswers++
        if (random.chance(0.5)) await this.#awaitAnswers(server)
        break
      case 'database-kill':
        await this.#awaitAnswers(server)
        await mariadb.kill()
        await sleep(random.below(MAX_UNAVAILABLE_MS))
        await mariadb.start()
        this.databaseKills++
        await this.#awaitAnswers(server)
        break
      case 'both-kill': {
        await this.#awaitAnswers(server)
        const killed = mariadb.kill()
        server.kill()
        await killed
        await mariadb.start()
        this.databaseKills++
        break
      }
      case 'database-pause':
        await this.#awaitAnswers(server)
        this.databasePauses++
        mariadb.pause()
        await sleep(random.below(MAX_PAUSE_MS))
        if (random.chance(0.5)) server.kill()
        mariadb.resume()
        break
      case 'drain':
        await this.#awaitAnswers(server)
        server.kill('SIGTERM')
        break
      case 'disk-loss':
        await this.#awaitAnswers(server)
        break
      case 'old-disk':
        return this.#restoreOldDisk(server)
    }
    if (random.chance(0.5)) await sleep(random.below(MAX_AFTER_MS))
    server.kill()
    await this.#waitForEnd(server, point)
    if (point === 'disk-loss') rmSync(this.dataFolder, { recursive: true })
  }

  /** Restores the folder of one server after another server has continued from it. */
  async #restoreOldDisk(first: Server): Promise<void> {
    const copy = `${this.dataFolder}.old`
    await this.#awaitAnswers(first)
    first.kill()
    await first.ended
    this.count++
    cpSync(this.dataFolder, copy, { recursive: true })
    const second = this.#start('old-disk')
    await this.#awaitAnswers(second)
    second.kill()
    await this.#waitForEnd(second, 'old-disk')
    rmSync(this.dataFolder, { recursive: true })
    renameSync(copy, this.dataFolder)
  }

  #start(point: KillPoint | null): Server {
    const { order, mariadb, folder, random, lateBatches } = this.options
    const nth = Math.floor(((point && MAX_PASSES[point]) ?? 1) ** random.next())
    const mutant = mutantAt(order.mutant, point)
    const dropped = (this.#dropped = Promise.withResolvers())
    return (this.#server = new ServerProcess<ServerMessage>({
      program: PROGRAM,
      order: { ...order, dir: this.dataFolder, mysql: mariadb.url, point, nth, mutant } satisfies ServerOrder,
      log: join(folder, 'server.log'),
      env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE },
      onMessage: (message) => {
        if (message.what === 'zombie') lateBatches.add(message.batch)
        else dropped.resolve()
      },
    }))
  }

  /** The server listens, and players are answered. @throws RunStopped */
  async #awaitAnswers(server: Server): Promise<void> {
    await this.#waitForServer(server, server.ready, 'does not listen')
    await this.awaitProgress()
  }

  /** @throws RunStopped when the server ends before the event, or the event takes too long */
  async #waitForServer(server: Server, event: Promise<unknown>, failure: string): Promise<void> {
    const { timeoutMs } = this.options
    const happened = event.then(
      () => true,
      () => false,
    )
    const outcome = await withDeadline(Promise.race([happened, server.ended.then(() => false)]), timeoutMs)
    if (outcome) return
    if (outcome === false) this.stopRun('server', `it ended: ${JSON.stringify(await server.ended)}`)
    server.kill()
    this.stopRun('server', `it ${failure} within ${timeoutMs} ms`)
  }

  /** @throws RunStopped when the server does not end, or not as ordered */
  async #waitForEnd(server: Server, point: KillPoint): Promise<void> {
    const { timeoutMs } = this.options
    const end = await withDeadline(server.ended, timeoutMs)
    if (end === null) {
      server.kill()
      await server.ended
      this.stopRun('point', `${point} was not reached within ${timeoutMs} ms`)
    }
    const isDrained = point === 'drain' && end.code === 0
    if (end.signal !== 'SIGKILL' && !isDrained) this.stopRun('server', `it ended by itself: ${JSON.stringify(end)}`)
    this.reached(point)
  }
}

/** A store that ignores MySQL is correct while MySQL is not newer than the store. */
function mutantAt(mutant: Mutant | null, point: KillPoint | null): Mutant | null {
  return mutant === 'takeover' && point === 'disk-loss' ? null : mutant
}
