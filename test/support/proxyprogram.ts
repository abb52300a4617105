// nginx and HAProxy from Debian as private processes in front of a server, each with a configuration and a folder of its
// own. Invariant: they end with the process that started them, on Linux also with a killed one.

import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after } from 'node:test'
import { haproxy, nginx } from '../../scripts/install.mjs'
import { FreePorts } from './ports.ts'
import { temporaryFolder } from './program.ts'
import { Random } from './random.ts'
import { until } from './wait.ts'

/** Why tests with proxies are skipped, or false. */
export const proxiesMissing = [nginx, haproxy].every(({ files }) => existsSync(files[0]!))
  ? false
  : 'nginx or haproxy is not installed'

const SETPRIV = '/usr/bin/setpriv'
const ports = new FreePorts(new Random(process.pid))

/** `http`: the directives of the block `http`, which listen on `port`. Returns the port. */
export function startNginx(http: (port: number) => string): Promise<number> {
  return startProxy(nginx.files[0]!, (folder, port) => {
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    const temporary = paths.map((name) => `${name}_temp_path ${join(folder, name)};`).join('\n')
    const config = join(folder, 'nginx.conf')
    const user = process.getuid?.() === 0 ? 'user root;' : ''
    const main = `daemon off; master_process off; pid ${join(folder, 'pid')}; error_log stderr; ${user}`
    writeFileSync(config, `${main}\nevents {}\nhttp {\naccess_log off;\n${temporary}\n${http(port)}\n}\n`)
    return ['-p', folder, '-c', config]
  })
}

/** `sections`: the proxy sections, one of which listens on `port`. Returns the port. */
export function startHaproxy(sections: (port: number) => string): Promise<number> {
  return startProxy(haproxy.files[0]!, (folder, port) => {
    const config = join(folder, 'haproxy.cfg')
    const defaults = 'defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n'
    writeFileSync(config, `global\n  maxconn 100\n${defaults}${sections(port)}\n`)
    return ['-db', '-f', config]
  })
}

async function startProxy(binary: string, argsOf: (folder: string, port: number) => string[]): Promise<number> {
  const folder = temporaryFolder()
  const port = await ports.next()
  const lifetime = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL'] : []
  const [command, ...args] = [...lifetime, binary, ...argsOf(folder, port)]
  const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  let isRunning = true
  child.once('exit', () => (isRunning = false))
  after(() => child.kill('SIGKILL'))
  if (await until(async () => !isRunning || (await isListening(port)), 10_000)) if (isRunning) return port
  child.kill('SIGKILL')
  throw new Error(`${binary} does not listen on ${port}: ${output}\n${readFileSync(args.at(-1)!, 'utf8')}`)
}

function isListening(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' })
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  }).then((isOpen) => {
    socket.destroy()
    return isOpen as boolean
  })
}
