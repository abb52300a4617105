// workerd on loopback without the proxy of wrangler's harness, so that the edge is at the other end of the client's TCP
// connection. It runs wrangler's production build of one worker module that contains edge and core.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'

const DATE = '2026-11-01'
const BUILD_MS = 60_000
const require = createRequire(import.meta.url)

export interface RawWorkerd {
  readonly port: number
  readonly child: ChildProcess
  /** Log lines of the Worker, oldest first. */
  readonly lines: readonly string[]
}

/** `entry` exports the edge as default and the object class as `Shard`; all files are written to `dir`. */
export async function serveWorkerd(entry: string, dir: string): Promise<RawWorkerd> {
  const config = join(dir, 'wrangler.json')
  writeFileSync(config, JSON.stringify({ name: 'slow', main: entry, compatibility_date: DATE }))
  const wrangler = join(require.resolve('wrangler/package.json'), '../bin/wrangler.js')
  await promisify(execFile)(
    process.execPath,
    [wrangler, 'deploy', '--dry-run', '--config', config, '--outdir', join(dir, 'out')],
    { cwd: dir, timeout: BUILD_MS, env: { ...process.env, WRANGLER_SEND_METRICS: 'false' } },
  )
  writeFileSync(join(dir, 'config.capnp'), configOf(`${basename(entry, '.ts')}.js`))
  const binary = join(require.resolve('workerd/package.json'), '../bin/workerd')
  const child = spawn(binary, ['serve', 'config.capnp', `--directory-path=data=${dir}`, '--control-fd=3'], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  for (const stream of [child.stdout!, child.stderr!])
    createInterface({ input: stream }).on('line', (line) => lines.push(line))
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdio[3] as Readable }).on('line', (line) => {
      const message = JSON.parse(line) as { event: string; port?: number }
      if (message.event === 'listen' && message.port) resolve(message.port)
    })
    child.on('error', reject)
    child.on('exit', (code) => reject(new Error(`workerd ended with ${code}: ${lines.join('\n')}`)))
  })
  return { port, child, lines }
}

const configOf = (script: string): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.js", esModule = embed "out/${script}")],
      compatibilityDate = "${DATE}",
      bindings = [(name = "SHARD", durableObjectNamespace = "Shard")],
      durableObjectNamespaces = [(className = "Shard", uniqueKey = "shard", enableSql = true)],
      durableObjectStorage = (localDisk = "data"),
    )),
    (name = "data", disk = (writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`
