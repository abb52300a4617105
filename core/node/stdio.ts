// Standard output and standard error of the process as buffered outputs, also for `console`, warnings of Node and the
// libraries of a game. Invariant: each file that the two refer to has one buffer, so that lines are never mixed.

import { constants, fstatSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { isatty } from 'node:tty'
import { BufferedOutput } from './output.ts'

const STDOUT = 1
const STDERR = 2
/** Both outputs together; a process that ends must not wait for a reader that has stopped. */
const EXIT_FLUSH_MS = 500

let outputs: { readonly stdout: BufferedOutput; readonly stderr: BufferedOutput } | null = null

function standardOutputs(): NonNullable<typeof outputs> {
  if (outputs) return outputs
  const stderr = openOutput(STDERR, process.stderr)
  outputs = { stderr, stdout: isSameFile(STDOUT, STDERR) ? stderr : openOutput(STDOUT, process.stdout) }
  process.on('exit', () => {
    const endMs = performance.now() + EXIT_FLUSH_MS
    for (const output of distinctOutputs()) output.flushAtExit(endMs - performance.now())
  })
  return outputs
}

/** Standard error, where log lines go. */
export function standardError(): BufferedOutput {
  return standardOutputs().stderr
}

/** Lines that standard output and standard error did not take. */
export function droppedLines(): number {
  return distinctOutputs().reduce((sum, { dropped }) => sum + dropped, 0)
}

/**
 * Sends everything that this process prints through the buffered outputs: `console`, `process.stdout.write`, warnings.
 * A process that prints data for another program, which may be slow, must not call it: lines can be dropped.
 */
export function bufferStandardStreams(): void {
  const { stdout, stderr } = standardOutputs()
  redirect(process.stdout, stdout)
  redirect(process.stderr, stderr)
  // Node prints warnings by a write that can block.
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message, stack }) => {
    stderr.write(`(node:${process.pid}) ${process.traceDeprecation ? stack : `${name}: ${message}`}\n`)
  })
}

function distinctOutputs(): BufferedOutput[] {
  return outputs ? [...new Set([outputs.stderr, outputs.stdout])] : []
}

/**
 * Pipes and terminals are opened a second time, non-blocking, because other processes use the first open file too: each
 * child process that inherits it makes it blocking again (libuv does so in `spawn`).
 */
function openOutput(fd: number, stream: NodeJS.WriteStream): BufferedOutput {
  if (!(stream instanceof Socket)) return new BufferedOutput(fd, { inThread: true })
  try {
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
    return new BufferedOutput(openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY))
  } catch {
    // A socket, such as that of systemd's journal, or a pipe of another user: no second open file is possible.
    return new BufferedOutput(fd, isatty(fd) ? { inThread: true } : { beforeWrite: () => unblock(stream) })
  }
}

/** Node has no public name for the handle of a stream. */
function unblock(stream: Socket & { readonly _handle?: { setBlocking(isBlocking: boolean): number } | null }): void {
  // oxlint-disable-next-line no-underscore-dangle
  stream._handle?.setBlocking(false)
}

function isSameFile(a: number, b: number): boolean {
  try {
    const [first, second] = [fstatSync(a), fstatSync(b)]
    return first.dev === second.dev && first.ino === second.ino
  } catch {
    return false
  }
}

type WriteCallback = (error?: Error | null) => void

function redirect(stream: NodeJS.WriteStream, output: BufferedOutput): void {
  stream.write = (
    chunk: string | Uint8Array,
    encoding?: BufferEncoding | WriteCallback,
    onWritten?: WriteCallback,
  ): boolean => {
    const isPlain = typeof chunk !== 'string' || typeof encoding !== 'string' || encoding.startsWith('utf')
    output.write(isPlain ? chunk : Buffer.from(chunk, encoding))
    const callback = typeof encoding === 'function' ? encoding : onWritten
    if (callback) process.nextTick(callback)
    return true
  }
}
