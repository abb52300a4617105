// Logging never blocks and never ends the process: players are served while standard output and standard error are read
// by nobody, closed, on a full disk or on a stopped terminal, and what was dropped is counted and reported. Signals neither.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { connect } from '../../client/index.ts'
import { temporaryFolder } from '../support/program.ts'
import { PipeReader } from '../support/pipereader.ts'
import { serveRedirected, type RedirectedServer } from '../support/redirected.ts'
import { DEADLINE_MS, waitFor, withDeadline } from '../support/wait.ts'
import { Noisy } from './fixtures/noisy/contract.ts'

const APP = join(import.meta.dirname, 'fixtures/noisy')
/** More than buffer and pipe hold, in short lines and in long ones. */
const STORM = { lines: 1_500, characters: 1_000 }
const LONG_LINES = { lines: 20, characters: 200_000 }

async function metric(http: string, name: string): Promise<number> {
  const text = await (await fetch(`${http}/metrics`, { signal: AbortSignal.timeout(DEADLINE_MS) })).text()
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
}

/** The server prints far more than its outputs take; players are answered, and so is the health check. */
async function survivesStorm({ http }: RedirectedServer): Promise<void> {
  await using game = await connect(`${http.replace('http', 'ws')}/ws`)
  const noisy = game.at(Noisy)
  for (const storm of [STORM, LONG_LINES]) {
    const printed = noisy.print(storm)
    for (let n = 0; n < 50; n++)
      assert.deepEqual(await withDeadline(noisy.add({ n }), DEADLINE_MS), { sum: n + 1 }, 'a player was not answered')
    assert.notEqual(await withDeadline(printed, DEADLINE_MS), null)
    const health = await fetch(`${http}/healthz`, { signal: AbortSignal.timeout(DEADLINE_MS) })
    assert.equal(health.status, 200)
  }
}

const droppedLines = (http: string): Promise<number> => metric(http, 'firefly_log_dropped_total')

/** Line counts of the drop reports in a log. */
function reportsIn(text: string): number[] {
  const lines = text.split('\n').filter((line) => line.includes('lines were dropped here'))
  return lines.map((line) => (JSON.parse(line) as { lines: number }).lines)
}

async function endsAtOnce({ child, ended }: RedirectedServer): Promise<void> {
  child.kill('SIGTERM')
  assert.equal(await withDeadline(ended, DEADLINE_MS), 0, 'SIGTERM did not drain')
}

/** Both outputs, one pipe each. */
async function serveIntoPipes(t: TestContext): Promise<{ out: PipeReader; err: PipeReader; server: RedirectedServer }> {
  const folder = temporaryFolder()
  const [out, err] = [new PipeReader(join(folder, 'out')), new PipeReader(join(folder, 'err'))]
  const server = await serveRedirected(t, APP, `>${out.path} 2>${err.path}`, () => out.text)
  return { out, err, server }
}

test('pipes that nobody reads: players are served, dropped lines are counted and reported once', async (t) => {
  const { out, err, server } = await serveIntoPipes(t)
  for (const pipe of [out, err]) pipe.stopReading()
  await survivesStorm(server)
  const dropped = await droppedLines(server.http)
  assert.ok(dropped > 0, 'the pipes took everything')
  for (const pipe of [out, err]) pipe.resumeReading()
  await waitFor(() => [out, err].every(({ text }) => reportsIn(text).length > 0), 'the reports')
  const reported = [...reportsIn(out.text), ...reportsIn(err.text)]
  assert.deepEqual([reported.length, reported.reduce((sum, lines) => sum + lines, 0)], [2, dropped])
  // Later lines arrive as usual.
  out.text = ''
  await using game = await connect(`${server.http.replace('http', 'ws')}/ws`)
  await game.at(Noisy).print({ lines: 1, characters: 1 })
  await waitFor(() => out.text === 'console.log 0 .\nstdout 0 .\n', 'lines after the storm')
  await endsAtOnce(server)
})

test('closed pipes: players are served, and another reader gets what is buffered', async (t) => {
  const { out, err, server } = await serveIntoPipes(t)
  for (const pipe of [out, err]) pipe.close()
  await survivesStorm(server)
  assert.ok((await droppedLines(server.http)) > 0)
  err.open()
  await waitFor(() => reportsIn(err.text).length === 1, 'the report')
  await endsAtOnce(server)
})

test('a pipe that both outputs share and nobody reads delays the exit by less than a second', async (t) => {
  const out = new PipeReader(join(temporaryFolder(), 'out'))
  const server = await serveRedirected(t, APP, `>${out.path} 2>&1`, () => out.text)
  out.stopReading()
  await survivesStorm(server)
  await endsAtOnce(server)
})

test('sockets that nobody reads, as of a stopped journal: players are served', async (t) => {
  const server = await serveRedirected(t, APP, '')
  await survivesStorm(server)
  assert.ok((await droppedLines(server.http)) > 0)
  await endsAtOnce(server)
})

test('an error that nothing caught is logged and ends the process, even if nobody reads', async (t) => {
  const { err, server } = await serveIntoPipes(t)
  await using game = await connect(`${server.http.replace('http', 'ws')}/ws`)
  err.stopReading()
  await game.at(Noisy).print(STORM)
  void game
    .at(Noisy)
    .crash({})
    .catch(() => {})
  assert.equal(await withDeadline(server.ended, DEADLINE_MS), 1)
})

test('the last line of a process that an uncaught error ends is written', async (t) => {
  const { err, server } = await serveIntoPipes(t)
  await using game = await connect(`${server.http.replace('http', 'ws')}/ws`)
  void game
    .at(Noisy)
    .crash({})
    .catch(() => {})
  assert.equal(await withDeadline(server.ended, DEADLINE_MS), 1)
  await waitFor(() => err.text.includes('a bug outside of every turn'), 'the last line')
})

test('a full disk under both outputs: players are served, and with space again the log continues', async (t) => {
  const folder = temporaryFolder()
  const disk = join(folder, 'disk')
  mkdirSync(disk)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk], { stdio: 'ignore' })
  } catch {
    return t.skip('this process may not mount a small disk')
  }
  t.after(() => execFileSync('umount', ['-l', disk]))
  const [log, filler] = [join(disk, 'log'), join(disk, 'filler')]
  const readLog = (): string => readFileSync(log, { encoding: 'utf8', flag: 'a+' })
  const server = await serveRedirected(t, APP, `>${log} 2>&1`, readLog)
  try {
    for (;;) appendFileSync(filler, Buffer.alloc(4_096))
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
  }
  await survivesStorm(server)
  assert.ok((await droppedLines(server.http)) > 0)
  rmSync(filler)
  execFileSync('mount', ['-o', 'remount,size=16m', disk])
  await waitFor(() => reportsIn(readLog()).length === 1, 'the report')
  await endsAtOnce(server)
})

test('a terminal that Ctrl-S stopped: players are served, and Ctrl-Q continues the output', async (t) => {
  const data = temporaryFolder()
  const command = `${process.execPath} cli/firefly.ts serve --app ${APP} --http 0 --tcp 0 --data ${data}`
  const terminal = spawn('script', ['-qfec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'] })
  let screen = ''
  terminal.stdout.on('data', (chunk: Buffer) => (screen += chunk.toString()))
  const ended = new Promise<number | string>((resolve) =>
    terminal.on('exit', (code, signal) => resolve(code ?? signal!)),
  )
  const ready = /firefly ready http=(\S+) tcp=\S+ pid=(\d+)/
  await waitFor(() => ready.test(screen), 'the ready line')
  const [, http, pid] = ready.exec(screen)!
  t.after(() =>
    ended.then(
      () => {},
      () => {},
    ),
  )
  terminal.stdin.write('\u0013')
  const server: RedirectedServer = { child: terminal, http: http!, pid: Number(pid), ended }
  await survivesStorm(server)
  assert.ok((await droppedLines(http!)) > 0)
  terminal.stdin.write('\u0011')
  await waitFor(() => screen.includes('lines were dropped here'), 'the report')
  process.kill(Number(pid), 'SIGTERM')
  assert.equal(await withDeadline(ended, DEADLINE_MS), 0)
})

test('signals that operators send by mistake do not end a server without TLS', async (t) => {
  const { err, server } = await serveIntoPipes(t)
  await using game = await connect(`${server.http.replace('http', 'ws')}/ws`)
  for (const signal of ['SIGHUP', 'SIGUSR2'] as const) process.kill(server.pid, signal)
  for (let n = 0; n < 5; n++) assert.deepEqual(await game.at(Noisy).add({ n }), { sum: n + 1 })
  assert.equal(server.child.exitCode, null)
  assert.equal(err.text, '')
  await endsAtOnce(server)
})
