// The servers of the accidents, each in a process of its own. Invariant: none outlives the drill.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'

import { ServerProcess, type ServerProcessOptions } from '../../support/serverprocess.ts'
import type { PipeReader } from '../../support/pipereader.ts'
import { until } from '../../support/wait.ts'
import { serveWorkerd } from '../../support/workerd.ts'
import type { LedgerSource } from '../market/checker.ts'
import { SqliteSource } from '../market/sources.ts'
import type { NodeOrder, ServerMessage } from './server.ts'
import type { Endpoint } from './steadyload.ts'

/** A running server, as the drill uses it. */
export interface Target extends Endpoint, AsyncDisposable {
  readonly host: 'node' | 'workerd'
  readonly httpUrl: string
  /** Stops the server; returns what was wrong with its end, null = nothing. */
  stop(): Promise<string | null>
  /** Everything the stopped server has stored. */
  openSource(): LedgerSource & Disposable
}

export interface NodeTarget extends Target {
  readonly process: ServerProcess<ServerMessage>
}

export interface WorkerdTarget extends Target {
  readonly pid: number
}

export interface NodeTargetOptions
  extends
    Pick<NodeOrder, 'options' | 'critical'>,
    Partial<Pick<ServerProcessOptions<ServerMessage>, 'log' | 'execArgv' | 'env'>> {
  /** Where players connect, when a proxy stands before the server. Default: the server's ports. */
  readonly endpointOf?: (ports: { readonly http: number; readonly tcp: number }) => Promise<Endpoint>
}

const PROGRAM = new URL('server.ts', import.meta.url)
const COMMAND = new URL('../../../cli/firefly.ts', import.meta.url).pathname
const APP = new URL('fixtures/app', import.meta.url).pathname
const WORKER = new URL('fixtures/worker.ts', import.meta.url).pathname
/** A drain on a busy machine. */
const STOP_MS = 30_000

export async function startNodeTarget(folder: string, options: NodeTargetOptions): Promise<NodeTarget> {
  const { options: serverOptions = {}, critical = false, endpointOf, log, execArgv, env } = options
  const dir = join(folder, 'data')
  const server = new ServerProcess<ServerMessage>({
    program: PROGRAM,
    order: { dir, options: serverOptions, critical } satisfies NodeOrder,
    log: log === undefined ? join(folder, 'server.log') : log,
    ...(execArgv && { execArgv }),
    ...(env && { env }),
  })
  const ports = await server.ready
  const endpoint = endpointOf
    ? await endpointOf(ports)
    : { webSocketUrl: `ws://127.0.0.1:${ports.http}/ws`, tcpUrl: `tcp://127.0.0.1:${ports.tcp}` }
  const stop = async (): Promise<string | null> => {
    const { code, signal } = await server.stop(STOP_MS)
    return code === 0 ? null : `the server ended with ${code ?? signal}`
  }
  return {
    ...endpoint,
    host: 'node',
    httpUrl: `http://127.0.0.1:${ports.http}`,
    process: server,
    stop,
    openSource: () => new SqliteSource(dir),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

export interface CommandTarget extends Target {
  readonly pid: number
}

/** The same game by `firefly serve`, which prints into `log`. */
export async function startCommandTarget(folder: string, log: PipeReader): Promise<CommandTarget> {
  const dir = join(folder, 'data')
  const output = openSync(log.path, 'w')
  const options = ['--app', APP, '--http', '0', '--tcp', '0', '--data', dir]
  const child = spawn(process.execPath, [COMMAND, 'serve', ...options], { stdio: ['ignore', output, output] })
  closeSync(output)
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  const stop = async (): Promise<string | null> => {
    const timer = setTimeout(kill, STOP_MS)
    child.kill('SIGTERM')
    const [code, signal] = await ended
    clearTimeout(timer)
    process.off('exit', kill)
    return code === 0 ? null : `the server ended with ${code ?? signal}`
  }
  const ready = /http=(http:\/\/\S+) tcp=(\S+) /
  await until(() => ready.test(log.text) || child.exitCode !== null, STOP_MS)
  const [, httpUrl, tcp] = ready.exec(log.text) ?? []
  if (httpUrl === undefined) throw new Error(`firefly serve did not start: ${log.text}`)
  return {
    webSocketUrl: `${httpUrl.replace('http', 'ws')}/ws`,
    tcpUrl: `tcp://${tcp}`,
    host: 'node',
    httpUrl,
    pid: child.pid!,
    stop,
    openSource: () => new SqliteSource(dir),
    [Symbol.asyncDispose]: async () => void (await stop()),
  }
}

export async function startWorkerdTarget(folder: string): Promise<WorkerdTarget> {
  const { port, child } = await serveWorkerd(WORKER, folder)
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const stop = async (): Promise<null> => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'close')
      kill()
      await ended
    }
    process.off('exit', kill)
    return null
  }
  return {
    webSocketUrl: `ws://127.0.0.1:${port}/ws`,
    tcpUrl: null,
    host: 'workerd',
    httpUrl: `http://127.0.0.1:${port}`,
    pid: child.pid!,
    stop,
    openSource: () => new SqliteSource(join(folder, 'shard'), /\.sqlite$/, 'the objects'),
    [Symbol.asyncDispose]: async () => void (await stop()),
  }
}
