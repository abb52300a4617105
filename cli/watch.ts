// `firefly serve --watch`: serves the game in a child process, and replaces that by a new one when a file of the game changes.
// Invariant: a game that does not load never replaces one that runs. The ports stay the same, so clients reconnect and resume;
// volatile state is lost.

import { context, type BuildContext, type Plugin } from 'esbuild'
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { AppError, findEntry, loadApp } from '../core/node/app.ts'
import { onParentEnded } from './parent.ts'

/** @throws AppError */
export async function watchAndServe(app: string): Promise<void> {
  const entry = findEntry(app)
  const server = new RestartingServer()
  server.start()
  let pending = Promise.resolve()
  const contexts = await watchFiles(entry, () => {
    pending = pending.then(() => reload(app, server))
  })
  await server.ended
  for (const watching of contexts) await watching.dispose()
}

async function reload(app: string, server: RestartingServer): Promise<void> {
  try {
    await loadApp(app)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    console.error(`firefly: ${error.message}; the running game is unchanged`)
    return
  }
  console.error('firefly: a file has changed, restarting …')
  await server.restart()
}

/** Calls back after each change of a file that the game or its page consists of. */
async function watchFiles(entry: string, onChange: () => void): Promise<BuildContext[]> {
  const page = join(dirname(entry), 'page')
  const pageMain = join(page, 'main.ts')
  const entries = existsSync(pageMain) ? [entry, pageMain] : [entry]
  const contexts: BuildContext[] = []
  for (const path of entries) {
    let builds = 0
    const plugin: Plugin = {
      name: 'firefly-watch',
      setup(setup) {
        setup.onResolve({ filter: /.*/ }, ({ kind }) =>
          kind === 'entry-point' && path === pageMain
            ? { path, watchDirs: [page], watchFiles: readdirSync(page).map((name) => join(page, name)) }
            : null,
        )
        // The first build is the one of the start.
        setup.onEnd(() => void (builds++ > 0 && onChange()))
      },
    }
    const options = { bundle: true, write: false, packages: 'external', logLevel: 'silent', platform: 'node' } as const
    const watching = await context({ ...options, entryPoints: [path], format: 'esm', plugins: [plugin] })
    await watching.watch()
    contexts.push(watching)
  }
  return contexts
}

/** This command without --watch, in a child process. */
class RestartingServer {
  /** Resolves when the server has ended by a signal or could not start. */
  readonly ended: Promise<void>
  #child: ChildProcess | null = null
  #isRestarting = false
  /** The ports of the first start. */
  #ports: readonly string[] = []
  #end: () => void = () => undefined

  constructor() {
    this.ended = new Promise((resolve) => (this.#end = resolve))
    let isStopping = false
    const stop = (): void => {
      isStopping = true
      this.#child?.kill('SIGTERM')
    }
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
    // A second SIGTERM would end the drain.
    onParentEnded(() => isStopping || stop())
    // A terminal sends Ctrl-C to the whole process group; a second SIGINT would end the drain.
    process.on('SIGINT', () => process.stdin.isTTY || this.#child?.kill('SIGINT'))
  }

  start(): void {
    const args = [...process.execArgv, ...process.argv.slice(1), ...this.#ports, '--watch=false']
    const env = { ...process.env, FIREFLY_LAUNCHER: String(process.pid) }
    const child = spawn(process.execPath, args, { stdio: ['inherit', 'pipe', 'inherit'], env })
    this.#child = child
    createInterface(child.stdout).on('line', (line) => {
      const ready = /^firefly ready http=\S+:(\d+) tcp=\S+:(\d+) /.exec(line)
      if (ready) this.#ports = [`--http=${ready[1]}`, `--tcp=${ready[2]}`]
      console.log(line)
    })
    child.on('close', (code, signal) => {
      this.#child = null
      if (this.#isRestarting) return
      process.exitCode = code ?? (signal === null ? 0 : 1)
      this.#end()
    })
  }

  /** Drains the running server, then starts the next one. */
  async restart(): Promise<void> {
    const child = this.#child
    if (!child) return
    this.#isRestarting = true
    const closed = new Promise((resolve) => child.on('close', resolve))
    child.kill('SIGTERM')
    await closed
    this.#isRestarting = false
    this.start()
  }
}
