// SIGTERM to exactly the process that the user started drains the server, however it was started: no process stays behind
// and keeps the ports.

import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { connect as dial } from 'node:net'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { connect } from '../../client/index.ts'
import { temporaryFolder } from '../support/program.ts'
import { DEADLINE_MS, waitFor, withDeadline } from '../support/wait.ts'
import { Noisy } from './fixtures/noisy/contract.ts'

const ROOT = join(import.meta.dirname, '../..')
const LAUNCHER = join(ROOT, 'cli/launch.mjs')
const NOISY = join(import.meta.dirname, 'fixtures/noisy')

interface Started {
  readonly child: ChildProcess
  readonly http: URL
  readonly ended: Promise<number | string>
}

/** Starts a command as a user does, on free ports; waits until it serves. */
async function startCommand(t: TestContext, command: readonly string[], cwd = ROOT): Promise<Started> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(FIREFLY_|npm_)/.test(name))
  const env = {
    ...Object.fromEntries(inherited),
    FIREFLY_HTTP: '0',
    FIREFLY_TCP: '0',
    FIREFLY_DATA: join(temporaryFolder(), 'data'),
  }
  const [file, ...args] = command
  const child = spawn(file!, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  // What a failed test leaves behind is in its process group.
  t.after(() => spawnSync('kill', ['-KILL', '--', `-${child.pid}`]))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = new Promise<number | string>((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal!)))
  const ready = /(?:firefly ready http=|Ready on )(\S+)/
  await waitFor(() => ready.test(output) || child.exitCode !== null, `${command.join(' ')} is ready`, DEADLINE_MS)
  const [, http] = ready.exec(output) ?? []
  assert.ok(http, `${command.join(' ')} ended with ${child.exitCode}: ${output}`)
  return { child, http: new URL(http), ended }
}

function accepts({ hostname, port }: URL): Promise<boolean> {
  const socket = dial(Number(port), hostname)
  return new Promise((resolve) => {
    socket.on('connect', () => resolve(true))
    socket.on('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}

async function assertDrains({ child, http, ended }: Started): Promise<void> {
  assert.ok(await accepts(http))
  child.kill('SIGTERM')
  assert.equal(await withDeadline(ended, DEADLINE_MS), 0)
  await waitFor(async () => !(await accepts(http)), 'the port is free', DEADLINE_MS)
}

/** The template with the packages of this checkout. */
function createGame(): string {
  const folder = join(temporaryFolder(), 'game')
  cpSync(join(ROOT, 'deploy/template'), folder, { recursive: true })
  mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true })
  symlinkSync(LAUNCHER, join(folder, 'node_modules/.bin/firefly'))
  symlinkSync(ROOT, join(folder, 'node_modules/firefly-game'))
  return folder
}

test('npm start', async (t) => assertDrains(await startCommand(t, ['npm', 'start'])))

test('npm run dev:edge', async (t) =>
  assertDrains(await startCommand(t, ['npm', 'run', 'dev:edge', '--', '--port', '0'])))

test('the scripts of a game from the template', async (t) => {
  const game = createGame()
  for (const script of ['start', 'watch'])
    await t.test(`npm run ${script}`, async (t) => assertDrains(await startCommand(t, ['npm', 'run', script], game)))
})

test('a shell that does not forward signals, as that of npx', async (t) => {
  // With a command after it, no shell replaces itself by the first one.
  const script = `npm_lifecycle_event=npx ${process.execPath} ${LAUNCHER} serve --app ${NOISY}; true`
  const { child, http } = await startCommand(t, ['sh', '-c', script])
  child.kill('SIGTERM')
  await waitFor(async () => !(await accepts(http)), 'the port is free', DEADLINE_MS)
})

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
}

test('the first process of a container forwards signals and reaps orphans', async (t) => {
  const container = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child']
  if (spawnSync(container[0]!, [...container.slice(1), 'true']).status !== 0)
    return t.skip('this process may not create a PID namespace')
  const started = await startCommand(t, [...container, process.execPath, LAUNCHER, 'serve', '--app', NOISY])
  const [first] = childrenOf(started.child.pid!)
  const children = childrenOf(first!).length
  await using game = await connect(`ws://${started.http.host}/ws`)
  for (let n = 0; n < 3; n++) await game.at(Noisy).orphan({})
  await waitFor(() => childrenOf(first!).length >= children + 3, 'orphans of the first process')
  await waitFor(() => childrenOf(first!).length === children, 'the first process reaps them')
  process.kill(first!, 'SIGTERM')
  assert.equal(await withDeadline(started.ended, DEADLINE_MS), 0)
  assert.equal(await accepts(started.http), false)
})
