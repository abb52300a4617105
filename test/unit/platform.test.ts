// The log and the clock of the Node host.

import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { systemClock } from '../../core/node/clock.ts'
import { jsonLog } from '../../core/node/log.ts'
import { BufferedOutput } from '../../core/node/output.ts'
import { boundedLine } from '../../core/ports/log.ts'

test('writes a log line as JSON, the message first and its values bounded', () => {
  const dir = mkdtempSync(join(tmpdir(), 'firefly-log-'))
  const fd = openSync(join(dir, 'log'), 'w')
  const log = jsonLog('warn', new BufferedOutput(fd))
  log.info('below the level')
  log.warn('careful', { level: 'mine', long: 'x'.repeat(5_000), deep: { a: 1 }, cause: new Error('why'), n: 7 })
  closeSync(fd)
  const [line, ...rest] = readFileSync(join(dir, 'log'), 'utf8').trimEnd().split('\n')
  rmSync(dir, { recursive: true })
  assert.deepEqual(rest, [])
  const fields = JSON.parse(line!) as Record<string, unknown>
  assert.deepEqual(Object.keys(fields), ['level', 'time', 'pid', 'message', 'level_', 'long', 'deep', 'cause', 'n'])
  assert.deepEqual([fields['level'], fields['message'], fields['deep'], fields['n']], ['warn', 'careful', 'object', 7])
  assert.equal(String(fields['long']).length, 2_001)
  assert.match(String(fields['cause']), /^Error: why\n/)
})

test('a log line can be written as JSON, whatever its fields contain', () => {
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  const line = boundedLine('m', { big: 1n, cycle, symbol: Symbol('s'), run: () => 1, none: undefined })
  assert.deepEqual(JSON.parse(JSON.stringify(line)), {
    message: 'm',
    big: '1',
    cycle: 'object',
    symbol: 'Symbol(s)',
    run: 'function',
  })
})

test('does not fire a timer beyond the range of setTimeout at once, and cancels it', async () => {
  let fired = false
  const timer = systemClock.after(3_000_000_000, () => (fired = true))
  // Node would fire after 1 ms.
  await new Promise((resolve) => setTimeout(resolve, 10))
  assert(!fired)
  timer.cancel()
})
